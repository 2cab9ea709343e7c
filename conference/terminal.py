"""What a running call says on the terminal: one live line, or a line every few seconds.

The rule: standard output carries results (the invite, the final table), standard error the live
line, so that a script can read the one without the other.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType, TracebackType
from typing import Any

PLAIN_INTERVAL_S = 5.0
LIVE_INTERVAL_S = 0.5


class StatusLine:
    """One line that is kept up to date; without a terminal, a line every five seconds."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)
        self._live: Any = None
        self._next = 0.0
        self._last = ""

    def __enter__(self) -> StatusLine:
        if self._console.is_terminal:
            from rich.live import Live

            self._live = Live("", console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._live is not None:
            self._live.stop()

    def due(self, now: float) -> bool:
        """Whether it is time for a fresh line (asking is cheap, making a line is not)."""
        return now >= self._next

    def show(self, text: str, now: float) -> None:
        """Replace the line."""
        if self._live is not None:
            self._next = now + LIVE_INTERVAL_S
            self._live.update(text, refresh=True)
        else:
            self._next = now + PLAIN_INTERVAL_S
            if text != self._last:
                print(text, file=sys.stderr, flush=True)
        self._last = text

    def say(self, text: str) -> None:
        """A line that stays."""
        target = self._live.console if self._live is not None else self._console
        target.print(text, markup=False, highlight=False, soft_wrap=True)


def announce(text: str) -> None:
    """A line of results on standard output, at once."""
    print(text, flush=True)


class Interrupt:
    """Ctrl-C and SIGTERM as a flag that loops look at, so that a call can end politely.

    A second signal ends the process at once.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            os._exit(128 + number)
        self.requested = True
