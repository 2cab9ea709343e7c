"""One builder per folder.

The rule: the lock is the system's own (flock), so it ends with its process however that ends; the
file that carries it means nothing by being there. Where the system has no flock, nobody is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quic_transport.errors import LocalError

LOCK = "lock"


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder`; LocalError where another process does. The file is gone afterwards."""
    path = folder / LOCK
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except BlockingIOError as error:
            raise LocalError(
                f"another build is at work in {folder}: wait for it, or choose another -o"
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
