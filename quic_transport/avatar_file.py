"""Avatar files `.fwa`, everything that others need: in memory, as bytes, on disk.

The rule: a reader of the path sees the old file or the whole new one, never a part, and what the
disk refuses becomes a `LocalError` that names the path. The bytes are `avatar_container`'s
business, the description `avatar_meta`'s.
"""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path

from quic_transport.avatar_container import (
    HEAD,
    MAX_FILE_BYTES,
    MAX_METADATA_BYTES,
    AvatarFile,
    AvatarPrefix,
    avatar_id,
    decode_avatar,
    decode_avatar_prefix,
    encode_avatar,
    read_meta,
    stored_sizes,
)
from quic_transport.avatar_meta import AvatarMeta
from quic_transport.errors import AvatarFileError, LocalError

PRIVATE = "personal."
"""Sections whose names begin so stay with their owner: see `public_bytes`."""

__all__ = [
    "PRIVATE",
    "AvatarFile",
    "AvatarMeta",
    "AvatarPrefix",
    "avatar_id",
    "decode_avatar",
    "decode_avatar_prefix",
    "encode_avatar",
    "load_avatar",
    "load_meta",
    "public_bytes",
    "read_avatar_bytes",
    "read_meta",
    "save_avatar",
    "stored_sizes",
    "write_avatar_bytes",
]


def save_avatar(path: str | os.PathLike[str], avatar: AvatarFile) -> str:
    """Write `avatar` to `path` (missing folders are made) and return its id."""
    data = encode_avatar(avatar)
    write_avatar_bytes(path, data)
    return avatar_id(data)


def write_avatar_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Put an encoded avatar at `path` in one step: written beside it, synced, then renamed."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, target)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise LocalError(_write_sentence(target, len(data), error)) from error


def load_avatar(path: str | os.PathLike[str]) -> AvatarFile:
    """The verified avatar at `path`."""
    data = read_avatar_bytes(path)
    try:
        return decode_avatar(data)
    except AvatarFileError as error:
        raise AvatarFileError(f"{path}: {error}") from error


def public_bytes(avatar: AvatarFile) -> bytes:
    """The file that others get of an avatar: without its private sections."""
    shown = {name: array for name, array in avatar.sections.items() if not name.startswith(PRIVATE)}
    return encode_avatar(AvatarFile(avatar.meta, shown))


def load_meta(path: str | os.PathLike[str]) -> AvatarMeta:
    """The description of the avatar at `path`, reading no more of the file than that."""
    data = read_avatar_bytes(path, HEAD.size + MAX_METADATA_BYTES)
    try:
        return read_meta(data)
    except AvatarFileError as error:
        raise AvatarFileError(f"{path}: {error}") from error


def read_avatar_bytes(path: str | os.PathLike[str], limit: int = MAX_FILE_BYTES + 1) -> bytes:
    """The first `limit` bytes at `path`, not yet checked; by default all, or one too many."""
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            raise LocalError(f"{target} is not a file: name an avatar file (.fwa)")
        with target.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise LocalError(
            f"there is no avatar file {target}: check the path, or make one with `facewire train`"
        ) from None
    except OSError as error:
        reason = error.strerror or error
        raise LocalError(f"the avatar file {target} cannot be read: {reason}") from error


def _write_sentence(target: Path, size: int, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the avatar {target} needs {size / 1e6:.1f} MB and the disk is full:"
            " free some space or name another folder"
        )
    return f"the avatar {target} cannot be written: {error.strerror or error}; name another path"
