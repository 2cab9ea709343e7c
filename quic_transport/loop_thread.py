"""An asyncio loop in a thread of its own: where the sockets live.

The rule: everything asynchronous of one endpoint runs here; other threads come in through
`run` (and wait) or `soon` (and do not).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Starts at once; ends with `stop`."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
        for task in asyncio.all_tasks(self.loop):  # of a caller that gave up waiting
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(task)
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run `coroutine` in the loop and wait for its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def soon(self, work: Callable[[], object]) -> None:
        """Have `work` done in the loop soon; nothing happens once it has stopped."""
        try:
            self.loop.call_soon_threadsafe(work)
        except RuntimeError:
            pass  # the loop is closed: there is nothing left to do it for

    def stop(self, timeout: float = 2.0) -> None:
        """End the loop after what is already due, and wait for the thread."""
        self.soon(self.loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout)
