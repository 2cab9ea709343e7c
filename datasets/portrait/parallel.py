"""Doing the same to every frame on all cores, in bounded memory.

The rule: at most IN_FLIGHT items are held; the first error, or Ctrl-C, ends the work after the
items that are at hand, and is raised. OpenCV's own threads are off meanwhile: within a picture
they only spin.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

Item = TypeVar("Item")
Tool = TypeVar("Tool")

WORKERS = max(1, min(8, os.cpu_count() or 1))
IN_FLIGHT = 2 * WORKERS


class PerThread(Generic[Tool]):
    """One tool per thread, for tools that are not thread-safe; `close` closes all."""

    def __init__(self, make: Callable[[], Tool]) -> None:
        self._make = make
        self._local = threading.local()
        self._all: list[Tool] = []
        self._lock = threading.Lock()

    def get(self) -> Tool:
        """This thread's."""
        if not hasattr(self._local, "tool"):
            with self._lock:
                self._local.tool = self._make()
                self._all.append(self._local.tool)
        tool: Tool = self._local.tool
        return tool

    def close(self) -> None:
        """Close every tool that was made."""
        for tool in self._all:
            close = getattr(tool, "close", None)
            if close is not None:
                close()
        self._all.clear()


@contextmanager
def one_cv2_thread() -> Iterator[None]:
    """Without OpenCV's own threads."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def for_each(
    items: Iterable[Item], work: Callable[[Item], None], finished: Callable[[], None]
) -> None:
    """`work` on every item, a few side by side; `finished` is called in this thread, once for
    each item that is done (some of them late)."""
    room = threading.BoundedSemaphore(IN_FLIGHT)
    errors: list[BaseException] = []
    done: list[None] = []  # appending is atomic

    def ended(future: Future[None]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            errors.append(error)
        else:
            done.append(None)
        room.release()

    told = 0
    pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="frames")
    try:
        with one_cv2_thread():
            for item in items:
                room.acquire()
                if errors:
                    raise errors[0]
                pool.submit(work, item).add_done_callback(ended)
                while told < len(done):
                    told += 1
                    finished()
            pool.shutdown(wait=True)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if errors:
        raise errors[0]
    while told < len(done):
        told += 1
        finished()
