"""Ctrl-C (and SIGTERM) in a training run: at once, but never in the middle of a step.

The rule: what is held is finished before the interruption is heard, so weights, memories and files
are never half of one step and half of the next; a second signal is heard at once, held or not.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any


class Stop:
    """While entered, both signals come as KeyboardInterrupt; not entered, it changes nothing."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}
        self._holding = False
        self._heard = False

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # others get no signals
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) == signal.SIG_IGN:  # nohup, or a shell's background
                    continue
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let what is inside come to its end first."""
        self._holding, self._heard = True, False
        try:
            yield
        finally:
            self._holding = False
        if self._heard:
            self._heard = False
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._holding and not self._heard:
            self._heard = True
            return
        raise KeyboardInterrupt
