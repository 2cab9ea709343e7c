"""The bytes of an avatar file `.fwa`: a description and named arrays, safe to open.

The rule: nothing in a file is believed. Every size is checked against a limit and against the
bytes that are there before anything is allocated, arrays have plain number types only, and the
SHA-256 at the end must fit; a beginning of a file is read by the hashes in its table. Both readers
raise only `AvatarFileError` on any bytes. Written is version 2; version 1, without those hashes, is
read. The bytes are laid out in docs/wire-format.md, "Avatar file".
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.avatar_meta import AvatarMeta, meta_from_json
from quic_transport.errors import AvatarFileError, LocalError

MAGIC = b"\x89FWA\r\n\x1a\n"  # as PNG's: not text, and newline conversion destroys it
VERSION = 2
VERSIONS = (1, 2)
HEAD = struct.Struct("<8sHHI")  # magic, version, number of sections, bytes of metadata
SECTION = struct.Struct("<BBBB")  # bytes of name, dtype, compression, dimensions
SIZES = struct.Struct("<QQQ")  # offset, stored bytes, raw bytes
HASH_BYTES = 32
SHORT_HASH_BYTES = 16  # of a section's stored bytes, and of head, description and table

MAX_METADATA_BYTES = 1 << 20
MAX_SECTIONS = 256
MAX_NAME_BYTES = 64
MAX_DIMS = 8
MAX_RAW_BYTES = 512 << 20  # of all sections together; the paper's own model has 194 MB
MAX_FILE_BYTES = MAX_RAW_BYTES + (2 << 20)
MAX_ZLIB_RATIO = 1032  # deflate cannot do better (zlib's technical notes)

Array = NDArray[Any]
DTYPES: tuple[np.dtype[Any], ...] = tuple(
    np.dtype(code) for code in ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f2", "<f4")
)
STORED, ZLIB = 0, 1
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class AvatarFile:
    """One avatar in memory: what it is, and its arrays."""

    meta: AvatarMeta
    """The description."""

    sections: Mapping[str, Array]
    """Named read-only arrays (weights, occupancy, preview, …) of the types in `DTYPES`."""

    def __post_init__(self) -> None:
        if len(self.sections) > MAX_SECTIONS:
            raise LocalError(f"an avatar has at most {MAX_SECTIONS} sections")
        total = sum(np.asarray(array).nbytes for array in self.sections.values())
        if total > MAX_RAW_BYTES:
            raise LocalError(f"an avatar has at most {MAX_RAW_BYTES >> 20} MB, not {total >> 20}")
        arrays = {name: _frozen_array(name, array) for name, array in self.sections.items()}
        object.__setattr__(self, "sections", MappingProxyType(arrays))


@dataclass(frozen=True, slots=True)
class _Section:
    """One row of the section table, already checked against the limits."""

    name: str
    dtype: np.dtype[Any]
    compression: int
    shape: tuple[int, ...]
    offset: int
    stored_bytes: int
    raw_bytes: int
    digest: bytes
    """The beginning of its stored bytes' SHA-256; empty in version 1."""


@dataclass(frozen=True, slots=True, eq=False)
class AvatarPrefix:
    """What the beginning of a file holds."""

    avatar: AvatarFile
    """The description, and the sections that are there whole, each verified by its own hash."""

    names: tuple[str, ...]
    """Of all sections that the file has, in its order."""

    share: float
    """Bytes of those sections over bytes of all, 0..1."""

    size: int
    """Bytes of the whole file."""


def encode_avatar(avatar: AvatarFile) -> bytes:
    """The file's bytes; equal avatars give equal bytes (with the same zlib)."""
    metadata = avatar.meta.to_json()
    if len(metadata) > MAX_METADATA_BYTES:
        raise LocalError(f"an avatar's metadata has at most {MAX_METADATA_BYTES} bytes")
    packed = {name: _pack(array) for name, array in avatar.sections.items()}
    table_bytes = sum(
        SECTION.size + len(name) + 4 * array.ndim + SIZES.size + SHORT_HASH_BYTES
        for name, array in avatar.sections.items()
    )
    offset = HEAD.size + len(metadata) + table_bytes + SHORT_HASH_BYTES
    parts = [HEAD.pack(MAGIC, VERSION, len(packed), len(metadata)), metadata]
    for name, array in avatar.sections.items():
        compression, data = packed[name]
        dtype = DTYPES.index(array.dtype)
        parts.append(SECTION.pack(len(name), dtype, compression, array.ndim))
        parts.append(name.encode("ascii"))
        parts.append(struct.pack(f"<{array.ndim}I", *array.shape))
        parts.append(SIZES.pack(offset, len(data), array.nbytes))
        parts.append(_short_hash(data))
        offset += len(data)
    parts.append(_short_hash(b"".join(parts)))
    parts.extend(data for _, data in packed.values())
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])


def decode_avatar(data: bytes) -> AvatarFile:
    """The avatar in `data`, verified; only `AvatarFileError` on any bytes."""
    if len(data) > MAX_FILE_BYTES:
        raise AvatarFileError(f"an avatar file has at most {MAX_FILE_BYTES >> 20} MB")
    view = memoryview(data)
    version, count, metadata = _read_head(view)
    body = view[:-HASH_BYTES]
    if hashlib.sha256(body).digest() != view[-HASH_BYTES:]:
        raise AvatarFileError("the avatar file is damaged: its SHA-256 does not fit; get it again")
    meta = meta_from_json(metadata)
    table, end = _read_table(body, HEAD.size + len(metadata), version, count)
    if end != len(body):
        raise AvatarFileError(f"the avatar's sections end at byte {end}, the file at {len(body)}")
    return AvatarFile(meta, {section.name: _unpack(body, section) for section in table})


def decode_avatar_prefix(data: bytes) -> AvatarPrefix | None:
    """What can be had of the first bytes of a file; None where even description and table are not
    there yet. Version 1 must be there whole. Only `AvatarFileError` on any bytes.

    A section that came whole but damaged is an error: the rest would be in vain.
    """
    view = memoryview(data)
    if len(view) < HEAD.size:
        if bytes(view[: len(MAGIC)]) != MAGIC[: len(view)]:
            raise AvatarFileError("not an avatar file: it does not start as one")
        return None
    version, count, length = _checked_head(view)
    if version == 1 or len(view) < HEAD.size + length:
        return None
    metadata = bytes(view[HEAD.size : HEAD.size + length])
    try:
        table, end = _read_table(view, HEAD.size + length, version, count)
    except _TruncatedError:
        return None
    meta = meta_from_json(metadata)
    here: dict[str, Array] = {}
    done = 0
    for section in table:
        if section.offset + section.stored_bytes > len(view):
            break
        here[section.name] = _unpack(view, section)
        done += section.stored_bytes
    total = sum(section.stored_bytes for section in table)
    names = tuple(section.name for section in table)
    share = done / total if total else 1.0
    return AvatarPrefix(AvatarFile(meta, here), names, share, end + HASH_BYTES)


def stored_sizes(avatar: AvatarFile) -> dict[str, int]:
    """Bytes that each section takes in a file."""
    return {name: len(_pack(array)[1]) for name, array in avatar.sections.items()}


def read_meta(data: bytes) -> AvatarMeta:
    """The description alone. The first `HEAD.size + MAX_METADATA_BYTES` bytes of a file are
    enough; neither the arrays nor the hash are looked at."""
    return meta_from_json(_read_head(memoryview(data))[2])


def avatar_id(data: bytes) -> str:
    """What identifies an avatar: the SHA-256 of the whole file, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class _TruncatedError(AvatarFileError):
    """The bytes end before what they announce."""


def _short_hash(data: bytes | memoryview) -> bytes:
    return hashlib.sha256(data).digest()[:SHORT_HASH_BYTES]


def _read_head(view: memoryview) -> tuple[int, int, bytes]:
    """Version, number of sections and the metadata's bytes."""
    if len(view) < HEAD.size:
        raise AvatarFileError(f"not an avatar file: {len(view)} bytes are too few")
    version, count, length = _checked_head(view)
    return version, count, bytes(_take(view, HEAD.size, length))


def _checked_head(view: memoryview) -> tuple[int, int, int]:
    """Version, number of sections, bytes of metadata of at least `HEAD.size` bytes."""
    magic, version, count, length = HEAD.unpack_from(view)
    if magic != MAGIC:
        raise AvatarFileError("not an avatar file: it does not start as one")
    if version not in VERSIONS:
        raise AvatarFileError(
            f"the avatar file has format version {version}, this program reads 1 and {VERSION}:"
            " update facewire, or train the avatar again"
        )
    if count > MAX_SECTIONS:
        raise AvatarFileError(f"an avatar file has at most {MAX_SECTIONS} sections, not {count}")
    if length > MAX_METADATA_BYTES:
        raise AvatarFileError(f"the avatar's metadata has {length} bytes, too many")
    return version, count, length


def _read_table(view: memoryview, at: int, version: int, count: int) -> tuple[list[_Section], int]:
    """The section table that starts at `at`, and where the payloads end, which must follow it and
    each other without a gap."""
    table: list[_Section] = []
    for _ in range(count):
        section, at = _read_section(view, at, version)
        table.append(section)
    if version > 1:
        if _take(view, at, SHORT_HASH_BYTES) != _short_hash(view[:at]):
            raise AvatarFileError("the avatar file's table is damaged; get it again")
        at += SHORT_HASH_BYTES
    if len({section.name for section in table}) != count:
        raise AvatarFileError("two sections of the avatar file have the same name")
    if sum(section.raw_bytes for section in table) > MAX_RAW_BYTES:
        raise AvatarFileError(f"the avatar's arrays exceed {MAX_RAW_BYTES >> 20} MB")
    for section in table:
        if section.offset != at:
            raise AvatarFileError(f"section {section.name} does not follow the one before it")
        at += section.stored_bytes
    return table, at


def _read_section(body: memoryview, at: int, version: int) -> tuple[_Section, int]:
    """One checked row of the table, and where the next one starts."""
    name_bytes, dtype, compression, dims = SECTION.unpack(_take(body, at, SECTION.size))
    at += SECTION.size
    name = bytes(_take(body, at, name_bytes)).decode("ascii", "replace")
    at += name_bytes
    if name_bytes > MAX_NAME_BYTES or not NAME.fullmatch(name):
        raise AvatarFileError("a section of the avatar file has an illegal name")
    if dtype >= len(DTYPES) or compression > ZLIB or dims > MAX_DIMS:
        raise AvatarFileError(f"section {name} has an unknown type, compression or rank")
    shape = struct.unpack(f"<{dims}I", _take(body, at, 4 * dims))
    at += 4 * dims
    if math.prod(max(size, 1) for size in shape) > MAX_RAW_BYTES:  # also where another size is 0
        raise AvatarFileError(f"section {name} has the shape {shape}, too large")
    offset, stored, raw = SIZES.unpack(_take(body, at, SIZES.size))
    if raw != math.prod(shape) * DTYPES[dtype].itemsize:
        raise AvatarFileError(f"section {name} has {raw} bytes, which is not its shape {shape}")
    if stored != raw if compression == STORED else raw > MAX_ZLIB_RATIO * stored:
        raise AvatarFileError(f"section {name} cannot unpack {stored} bytes to {raw}")
    at += SIZES.size
    digest = bytes(_take(body, at, SHORT_HASH_BYTES)) if version > 1 else b""
    section = _Section(name, DTYPES[dtype], compression, shape, offset, stored, raw, digest)
    return section, at + len(digest)


def _take(view: memoryview, at: int, count: int) -> memoryview:
    if at + count > len(view):
        raise _TruncatedError(f"the avatar file is truncated: it ends at byte {len(view)}")
    return view[at : at + count]


def _pack(array: Array) -> tuple[int, bytes]:
    """(compression, bytes): deflated where the first megabyte shows that it is worth it."""
    raw = array.tobytes()
    sample = raw[: 1 << 20]
    if len(zlib.compress(sample, 1)) > 0.95 * len(sample):
        return STORED, raw
    packed = zlib.compress(raw, 6)
    return (ZLIB, packed) if len(packed) < len(raw) else (STORED, raw)


def _unpack(body: memoryview, section: _Section) -> Array:
    """A read-only array; deflate never gets more room than the table claims, plus one byte."""
    data: memoryview | bytes = _take(body, section.offset, section.stored_bytes)
    if section.digest and _short_hash(data) != section.digest:
        raise AvatarFileError(f"section {section.name} is damaged: get the avatar again")
    if section.compression == ZLIB:
        inflate = zlib.decompressobj()
        try:
            data = inflate.decompress(data, section.raw_bytes + 1)
        except zlib.error as error:
            raise AvatarFileError(f"section {section.name} is damaged: {error}") from None
        if len(data) != section.raw_bytes or not inflate.eof or inflate.unused_data:
            raise AvatarFileError(f"section {section.name} does not unpack to its stated size")
    return np.frombuffer(bytes(data), dtype=section.dtype).reshape(section.shape)


def _frozen_array(name: str, value: Array) -> Array:
    """`value` as a read-only little-endian array in C order; copied if it could still change."""
    if not isinstance(name, str) or len(name) > MAX_NAME_BYTES or not NAME.fullmatch(name):
        raise LocalError(f"illegal section name {name!r}: use a-z, 0-9, _, . and -")
    array = np.asarray(value)
    dtype = array.dtype.newbyteorder("<")
    if dtype not in DTYPES:
        allowed = ", ".join(dtype.name for dtype in DTYPES)
        raise LocalError(f"section {name} is {array.dtype}, not one of {allowed}")
    if array.ndim > MAX_DIMS:
        raise LocalError(f"section {name} has {array.ndim} dimensions, more than {MAX_DIMS}")
    if array.flags.writeable or array.dtype != dtype or not array.flags.c_contiguous:
        array = np.array(array, dtype=dtype, order="C")
        array.setflags(write=False)
    return array
