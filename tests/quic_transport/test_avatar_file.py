"""The avatar container: round trips, and everything that a file may be instead of an avatar."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quic_transport import avatar_container
from quic_transport.avatar_container import (
    DTYPES,
    HEAD,
    MAGIC,
    SECTION,
    SHORT_HASH_BYTES,
    SIZES,
)
from quic_transport.avatar_file import (
    AvatarFile,
    avatar_id,
    decode_avatar,
    decode_avatar_prefix,
    encode_avatar,
    load_avatar,
    load_meta,
    read_meta,
    save_avatar,
)
from quic_transport.errors import AvatarFileError, LocalError
from tests.quic_transport.strategies import AVATAR_META as META
from tests.quic_transport.strategies import same_meta

SMALL = AvatarFile(META, {"weights": np.arange(6, dtype=np.float32).reshape(2, 3)})


def signed(body: bytes) -> bytes:
    """`body` with the trailer that makes it a file whose hash fits."""
    return body + hashlib.sha256(body).digest()


def short(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:SHORT_HASH_BYTES]


def container(
    rows: list[tuple[bytes, int, int, tuple[int, ...], int, int, bytes]], version: int = 2
) -> bytes:
    """A signed file made by hand; a row is (name, dtype, compression, shape, raw bytes, shift of
    the offset, stored bytes)."""
    meta, extra = META.to_json(), SHORT_HASH_BYTES if version == 2 else 0
    table_bytes = sum(SECTION.size + len(r[0]) + 4 * len(r[3]) + SIZES.size + extra for r in rows)
    at = HEAD.size + len(meta) + table_bytes + extra
    body = HEAD.pack(MAGIC, version, len(rows), len(meta)) + meta
    for name, dtype, compression, shape, raw, shift, stored in rows:
        body += SECTION.pack(len(name), dtype, compression, len(shape)) + name
        body += struct.pack(f"<{len(shape)}I", *shape)
        body += SIZES.pack(at + shift, len(stored), raw)
        body += short(stored) if version == 2 else b""
        at += len(stored)
    body += short(body) if version == 2 else b""
    return signed(body + b"".join(row[-1] for row in rows))


# --- round trips

NAMES = st.from_regex(r"[a-z0-9][a-z0-9_.\-]{0,63}", fullmatch=True)
SHAPES = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, SHAPES))


@given(st.dictionaries(NAMES, ARRAYS, max_size=4))
@settings(max_examples=60)
def test_sections_survive_bit_for_bit_in_order_and_read_only(sections: dict[str, Any]) -> None:
    data = encode_avatar(AvatarFile(META, sections))
    again = decode_avatar(data)
    assert list(again.sections) == list(sections)
    for name, array in sections.items():
        out = again.sections[name]
        assert (out.dtype, out.shape, out.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert not out.flags.writeable
    assert encode_avatar(again) == data
    assert same_meta(again.meta, META)


def test_compressible_sections_are_deflated_and_noise_is_not() -> None:
    noise = np.random.default_rng(0).integers(0, 256, 1 << 16, dtype=np.uint8)
    blank = np.zeros(1 << 20, np.uint8)
    data = encode_avatar(AvatarFile(META, {"noise": noise, "blank": blank}))
    assert len(noise) < len(data) < len(noise) + 8192
    assert noise.tobytes() in data
    out = decode_avatar(data).sections
    assert np.array_equal(out["noise"], noise)
    assert np.array_equal(out["blank"], blank)


def test_arrays_are_copied_and_brought_into_little_endian_c_order() -> None:
    source = np.arange(6, dtype=">f4").reshape(2, 3)
    native = np.arange(4, dtype=np.float32)
    avatar = AvatarFile(META, {"a": source, "b": source.T, "c": native})
    source[0, 0] = native[0] = 99
    out = decode_avatar(encode_avatar(avatar)).sections
    assert out["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert out["b"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert out["c"].tolist() == [0, 1, 2, 3]
    assert out["a"].dtype == np.dtype("<f4")


def test_metadata_is_read_from_the_beginning_of_a_file_alone() -> None:
    data = encode_avatar(SMALL)
    assert same_meta(read_meta(data[: HEAD.size + len(META.to_json())]), META)


def test_id_is_the_hash_of_the_whole_file() -> None:
    data = encode_avatar(SMALL)
    assert avatar_id(data) == hashlib.sha256(data).hexdigest()


# --- misuse by the program


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("Weights", np.zeros(1, np.float32)), ("", np.zeros(1, np.float32)),
        ("../x", np.zeros(1, np.float32)), ("a" * 65, np.zeros(1, np.float32)),
        ("a", np.zeros(1, np.float64)), ("a", np.zeros(1, bool)), ("a", np.array([None])),
        ("a", np.array(["x"])), ("a", np.zeros((1,) * 9, np.uint8)),
        ("a", np.broadcast_to(np.float32(0), (1 << 14, 1 << 14))),
    ],
)  # fmt: skip
def test_section_that_has_no_place_in_a_file_is_misuse(name: str, array: Any) -> None:
    with pytest.raises(LocalError):
        AvatarFile(META, {name: array})


# --- files that are not avatars


def test_file_cut_at_every_byte_raises_avatar_file_error() -> None:
    data = encode_avatar(SMALL)
    for size in range(len(data)):
        with pytest.raises(AvatarFileError):
            decode_avatar(data[:size])


def test_file_with_any_bit_flipped_raises_avatar_file_error() -> None:
    data = encode_avatar(SMALL)
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(AvatarFileError):
            decode_avatar(bytes(broken))


def test_signed_file_with_any_byte_changed_gives_an_avatar_or_avatar_file_error() -> None:
    row = (b"w", DTYPES.index(np.dtype("<f2")), 1, (4, 50), 400, 0, zlib.compress(bytes(400)))
    body = container([row], 1)[:-32]  # version 1, where no other hash hides the parser
    accepted = 0
    for at in range(len(body)):
        for value in (0, 1, 0x7F, 0xFF, body[at] ^ 1):
            broken = body[:at] + bytes([value]) + body[at + 1 :]
            try:
                accepted += decode_avatar(signed(broken)).sections["w"].size == 200
            except (AvatarFileError, KeyError):
                pass
    assert accepted > 100  # e.g. digits of the metadata may change


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_raise_avatar_file_error(data: bytes, start_well: bool) -> None:
    data = HEAD.pack(MAGIC, 2, 2, 10) + data if start_well else data
    for reader in (decode_avatar, read_meta):
        with pytest.raises(AvatarFileError):
            reader(signed(data))
    try:
        assert decode_avatar_prefix(data) is None
    except AvatarFileError:
        pass


U32S = st.integers(0, 2**32 - 1)
U64S = st.integers(0, 2**64 - 1)


@given(
    st.integers(0, 255), st.integers(0, 2), st.lists(U32S, max_size=9), U64S,
    st.binary(max_size=40),
)  # fmt: skip
def test_arbitrary_section_rows_give_an_avatar_or_avatar_file_error(
    dtype: int, compression: int, shape: list[int], raw: int, stored: bytes
) -> None:
    for claimed in (raw, len(stored), 0):
        data = container([(b"w", dtype, compression, tuple(shape), claimed, 0, stored)])
        try:
            assert decode_avatar(data).sections["w"].nbytes == claimed
        except AvatarFileError:
            pass


DEFLATED = zlib.compress(b"abcd" * 5)
U8, F32 = 0, 7


@pytest.mark.parametrize("version", [1, 2])
def test_handmade_file_is_read(version: int) -> None:
    rows = [(b"z", U8, 1, (4, 5), 20, 0, DEFLATED), (b"n", F32, 0, (), 4, 0, b"\0\0\0?")]
    data = container(rows, version)  # type: ignore[arg-type]
    sections = decode_avatar(data).sections
    assert sections["z"].tobytes() == b"abcd" * 5
    assert sections["n"] == 0.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ((b"z", U8, 1, (19,), 19, 0, DEFLATED), "stated size"),
        ((b"z", U8, 1, (21,), 21, 0, DEFLATED), "stated size"),
        ((b"z", U8, 1, (20,), 20, 0, DEFLATED[:-1]), "stated size"),
        ((b"z", U8, 1, (20,), 20, 0, DEFLATED + b"x"), "stated size"),
        ((b"z", U8, 1, (20,), 20, 0, b"x" * 20), "damaged"),
        ((b"z", U8, 1, (2, 9), 20, 0, DEFLATED), "shape"),
        ((b"z", U8, 1, (2**20,), 2**20, 0, DEFLATED), "cannot unpack"),
        ((b"z", U8, 0, (20,), 20, 0, b"x" * 19), "cannot unpack"),
        ((b"z", U8, 0, (20,), 20, 1, b"x" * 20), "follow"),
        ((b"z", U8, 0, (20,), 20, -20, b"x" * 20), "follow"),
        ((b"z", 8, 0, (20,), 20, 0, b"x" * 20), "unknown"),
        ((b"z", U8, 2, (20,), 20, 0, b"x" * 20), "unknown"),
        ((b"z", U8, 0, (1,) * 9, 1, 0, b"x"), "unknown"),
        ((b"", U8, 0, (1,), 1, 0, b"x"), "name"),
        ((b"\xff", U8, 0, (1,), 1, 0, b"x"), "name"),
        ((b"a/b", U8, 0, (1,), 1, 0, b"x"), "name"),
        ((b"z" * 65, U8, 0, (1,), 1, 0, b"x"), "name"),
        ((b"z", U8, 0, (0, 2**32 - 1, 2**32 - 1), 0, 0, b""), "too large"),
    ],
)
def test_section_row_that_lies_raises_avatar_file_error(row: Any, message: str) -> None:
    with pytest.raises(AvatarFileError, match=message):
        decode_avatar(container([row]))


def test_two_sections_of_one_name_raise_avatar_file_error() -> None:
    row = (b"z", U8, 0, (1,), 1, 0, b"x")
    with pytest.raises(AvatarFileError, match="same name"):
        decode_avatar(container([row, row]))


def test_bytes_between_sections_and_hash_raise_avatar_file_error() -> None:
    with pytest.raises(AvatarFileError, match="end at byte"):
        decode_avatar(signed(encode_avatar(SMALL)[:-32] + b"x"))


def test_deflate_bomb_gets_no_more_room_than_it_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []
    real = zlib.decompressobj

    class Inflate:
        def __init__(self) -> None:
            self._real = real()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

        def decompress(self, data: bytes, room: int) -> bytes:
            rooms.append(room)
            return self._real.decompress(data, room)

    monkeypatch.setattr(avatar_container.zlib, "decompressobj", Inflate)
    bomb = zlib.compress(bytes(1 << 22), 9)
    with pytest.raises(AvatarFileError, match="stated size"):
        decode_avatar(container([(b"z", U8, 1, (1000,), 1000, 0, bomb)]))
    assert rooms == [1001]


def test_arrays_above_the_limit_are_refused_before_any_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(avatar_container, "MAX_RAW_BYTES", 30)
    row = (U8, 1, (20,), 20, 0, DEFLATED)
    assert len(decode_avatar(container([(b"a", *row)])).sections) == 1
    with pytest.raises(AvatarFileError, match="exceed"):
        decode_avatar(container([(b"a", *row), (b"b", *row)]))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ((b"\x89PNG\r\n\x1a\n", 1, 0, 0), "not an avatar"),
        ((MAGIC, 3, 0, 0), "version 3.*update facewire"),
        ((MAGIC, 1, 257, 0), "257"),
        ((MAGIC, 1, 0, 2**20 + 1), "too many"),
        ((MAGIC, 1, 0, 2**20), "truncated"),
    ],
)
def test_head_that_is_not_ours_raises_avatar_file_error(head: Any, message: str) -> None:
    for reader in (decode_avatar, read_meta):
        with pytest.raises(AvatarFileError, match=message):
            reader(signed(HEAD.pack(*head)))
    if message != "truncated":
        with pytest.raises(AvatarFileError, match=message):
            decode_avatar_prefix(HEAD.pack(*head))


# --- beginnings of files

THREE = AvatarFile(META, {name: np.full(50, i, np.uint8) for i, name in enumerate(("a", "b", "c"))})


def test_each_beginning_of_a_file_gives_the_sections_that_are_whole() -> None:
    data = encode_avatar(THREE)
    seen: list[tuple[str, ...]] = []
    shares = []
    for size in range(len(data) + 1):
        prefix = decode_avatar_prefix(data[:size])
        if prefix is None:
            assert not seen
            continue
        names = tuple(prefix.avatar.sections)
        for name in names:
            assert np.array_equal(prefix.avatar.sections[name], THREE.sections[name])
        assert prefix.size == len(data)
        assert same_meta(prefix.avatar.meta, META)
        shares.append(prefix.share)
        if not seen or seen[-1] != names:
            seen.append(names)
    assert seen == [(), ("a",), ("a", "b"), ("a", "b", "c")]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_beginning_with_any_bit_flipped_is_short_or_damaged_but_never_wrong() -> None:
    data = encode_avatar(THREE)
    end = len(data) - 32
    for bit in range(0, 8 * end, 3):
        broken = bytearray(data[:end])
        broken[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_avatar_prefix(bytes(broken)) is None  # a longer description is awaited
        except AvatarFileError:
            pass


def test_version_1_is_awaited_whole() -> None:
    data = container([(b"z", U8, 1, (4, 5), 20, 0, DEFLATED)], 1)
    assert decode_avatar_prefix(data) is None


# --- on disk


def test_saved_avatar_loads_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "me.fwa"
    assert save_avatar(path, SMALL) == avatar_id(path.read_bytes())
    save_avatar(path, SMALL)  # replaces
    assert os.listdir(path.parent) == ["me.fwa"]
    assert np.array_equal(load_avatar(path).sections["weights"], SMALL.sections["weights"])
    assert same_meta(load_meta(str(path)), META)


def test_missing_file_is_a_sentence_with_its_path(tmp_path: Path) -> None:
    for read in (load_avatar, load_meta):
        with pytest.raises(LocalError, match=r"no avatar file .*who\.fwa.*facewire train"):
            read(tmp_path / "who.fwa")
        with pytest.raises(LocalError, match="not a file"):
            read(tmp_path)


def test_damaged_file_is_a_sentence_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "bad.fwa"
    path.write_bytes(b"nonsense")
    for read in (load_avatar, load_meta):
        with pytest.raises(AvatarFileError, match=r"bad\.fwa: not an avatar file"):
            read(path)


@pytest.mark.parametrize("failing", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("code", "message"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "Permission denied")]
)
def test_write_that_fails_keeps_the_old_file_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, code: int, message: str
) -> None:
    path = tmp_path / "me.fwa"
    save_avatar(path, SMALL)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, failing, fail)
        with pytest.raises(LocalError, match=rf"me\.fwa.*{message}"):
            save_avatar(path, AvatarFile(META, {}))
    assert os.listdir(tmp_path) == ["me.fwa"]
    assert path.read_bytes() == before


def test_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="cannot be written"):
        save_avatar(tmp_path / "file" / "me.fwa", SMALL)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.fwa")
    reader: Callable[[Path], object] = load_avatar
    with pytest.raises(LocalError, match="not a file"):
        reader(tmp_path / "pipe.fwa")
