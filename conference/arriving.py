"""The peer's avatar while it comes: a first picture from its beginning, the whole head when it is
there.

The rule: a beginning is used only where waiting for the rest would take long, and only when nothing
but finer layers of the head's tables is missing, so that codec, framing and background are already
the final ones. References: docs/avatar-size.md.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from quic_transport.avatar_file import AvatarFile, decode_avatar, decode_avatar_prefix
from quic_transport.errors import FacewireError
from quic_transport.events import AvatarProgress

PATIENCE_S = 2.0  # for the rest of an avatar, before its beginning is shown
LOOK_AGAIN_BYTES = 16_000
FINER = ("steps.", "mean.", "tables.")


class ArrivingAvatar:
    """Watches one transfer. All methods from one thread."""

    def __init__(
        self, beginning: Callable[[], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`beginning` gives what is here of the file."""
        self._beginning = beginning
        self._clock = clock
        self._first: tuple[float, int] | None = None  # when progress was first seen, and bytes then
        self._looked_at = 0

    def enough(self, progress: AvatarProgress | None) -> AvatarFile | None:
        """A head to begin with, if waiting for the whole would take long; AvatarFileError if what
        came is damaged."""
        if progress is None or progress.sending:
            return None
        now = self._clock()
        if self._first is None:
            self._first = now, progress.done
        began, had = self._first
        left, came = progress.total - progress.done, progress.done - had
        if not came or left * (now - began) < PATIENCE_S * came:
            return None
        if progress.done < self._looked_at + LOOK_AGAIN_BYTES:
            return None
        self._looked_at = progress.done
        return first_picture(self._beginning())


def first_picture(data: bytes) -> AvatarFile | None:
    """The avatar in the first bytes of a file, if a head of a lesser likeness can be drawn from
    them and everything else is there."""
    from nerf.weights import is_drawable

    prefix = decode_avatar_prefix(data)
    if prefix is None or not is_drawable(prefix.avatar.sections):
        return None
    missing = [name for name in prefix.names if name not in prefix.avatar.sections]
    return prefix.avatar if all(name.startswith(FINER) for name in missing) else None


class Completion:
    """Loads the whole head beside a running call."""

    def __init__(self, load: Callable[[AvatarFile], None]) -> None:
        """`load` opens, warms up and takes over; it runs in a thread of its own."""
        self._load = load
        self._thread: threading.Thread | None = None
        self._error: FacewireError | None = None

    def begin(self, data: bytes) -> None:
        """The whole file is here; further calls change nothing."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(data,), name="whole head", daemon=True
            )
            self._thread.start()

    def check(self) -> None:
        """Raise what went wrong, once."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def join(self) -> None:
        """Wait for it, if it has begun."""
        if self._thread is not None:
            self._thread.join()

    def _run(self, data: bytes) -> None:
        try:
            self._load(decode_avatar(data))
        except FacewireError as error:
            self._error = error
