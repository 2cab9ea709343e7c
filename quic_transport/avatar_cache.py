"""Received avatars on disk, named by their SHA-256.

The rule: what `load` returns has the hash that was asked for; a file is there whole or not at
all, and only its owner can read it (a head is biometric data).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from quic_transport.errors import LocalError
from quic_transport.folders import cache_folder


class AvatarCache:
    """A folder of `<id>.fwa` files and, for broken-off transfers, `<id>.part`."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is made when something is first kept; None: the user's cache folder."""
        self.folder = folder if folder is not None else cache_folder() / "avatars"

    def load(self, avatar_id: str) -> bytes | None:
        """The avatar with this id, or None; a file whose hash is wrong is deleted."""
        path = self._path(avatar_id, ".fwa")
        try:
            data = path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(data).hexdigest() != avatar_id:
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return data

    def store(self, avatar_id: str, data: bytes) -> None:
        """Keep a verified avatar and forget its partial transfer."""
        if hashlib.sha256(data).hexdigest() != avatar_id:
            raise LocalError("an avatar is only cached under its own SHA-256")
        self._write(self._path(avatar_id, ".fwa"), data)
        self.drop_partial(avatar_id)

    def load_partial(self, avatar_id: str) -> bytes:
        """The beginning that an earlier call brought; empty if there is none."""
        try:
            return self._path(avatar_id, ".part").read_bytes()
        except OSError:
            return b""

    def store_partial(self, avatar_id: str, data: bytes) -> None:
        """Keep the beginning of an avatar for a later call."""
        self._write(self._path(avatar_id, ".part"), data)

    def drop_partial(self, avatar_id: str) -> None:
        """Forget a beginning: it is complete now, or was wrong."""
        with contextlib.suppress(OSError):
            self._path(avatar_id, ".part").unlink()

    def _path(self, avatar_id: str, suffix: str) -> Path:
        if len(avatar_id) != 64 or any(c not in "0123456789abcdef" for c in avatar_id):
            raise LocalError("an avatar id is 64 lower-case hex digits")
        return self.folder / (avatar_id + suffix)

    def _write(self, path: Path, data: bytes) -> None:
        """Temporary file (mode 0600 by mkstemp), then rename."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".new-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise LocalError(
                f"cannot keep the avatar in {self.folder} ({error.strerror}); "
                "free some space or set FACEWIRE_CACHE to another folder"
            ) from None
