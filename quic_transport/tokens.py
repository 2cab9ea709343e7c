"""The token of a listening that a crash interrupted, so that its invite is still good afterwards.

The rule: a listener that ends as it should forgets its token; one that is killed leaves it, for a
day, in a file that only its owner can read, and the next one on the same port takes it up. Then
callers who are trying to come back are let in without a new invite. Their tickets
(`kept_tickets`) last as long as the token does.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from pathlib import Path

from quic_transport.errors import LocalError
from quic_transport.folders import config_folder
from quic_transport.messages import TOKEN_BYTES

LASTS_S = 24 * 3600.0


def lasting_token(port: int, folder: Path | None = None) -> bytes:
    """The token for listening on `port` (0: any port, so nothing is kept)."""
    if port == 0:
        return secrets.token_bytes(TOKEN_BYTES)
    path = _path(port, folder)
    try:
        if time.time() - path.stat().st_mtime < LASTS_S:
            found = path.read_bytes()
            if len(found) == TOKEN_BYTES:
                return found
    except OSError:
        pass
    _forget_tickets(port, folder)
    token = secrets.token_bytes(TOKEN_BYTES)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(token)
    except OSError as error:
        raise LocalError(
            f"cannot write {path} ({error.strerror}); set FACEWIRE_CONFIG to a folder that you "
            "can write to"
        ) from error
    return token


def forget_token(port: int, folder: Path | None = None) -> None:
    """The listening on `port` has ended as it should: its invite is void."""
    if port:
        with contextlib.suppress(OSError):
            _path(port, folder).unlink()
        _forget_tickets(port, folder)


def tickets_folder(port: int, folder: Path | None = None) -> Path:
    """Where the tickets of the listening on `port` are."""
    return (folder if folder is not None else config_folder()) / f"tickets-{port}"


def _forget_tickets(port: int, folder: Path | None) -> None:
    where = tickets_folder(port, folder)
    with contextlib.suppress(OSError):
        for path in where.iterdir():
            path.unlink()
        where.rmdir()


def _path(port: int, folder: Path | None) -> Path:
    return (folder if folder is not None else config_folder()) / f"listening-{port}"
