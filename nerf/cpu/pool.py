"""A few threads that run GIL-free kernels and single-threaded matrix products side by side.

The rule: parallelism is here and only here; torch's and numba's own thread pools stay at one
thread, because two pools on one machine spin against each other (measured: 40 % of all CPU time).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def available_threads() -> int:
    """Cores that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not Linux
        return max(1, os.cpu_count() or 1)


class WorkerPool:
    """`threads` workers; `map` runs the first item on the calling thread."""

    def __init__(self, threads: int | None = None) -> None:
        self.threads = available_threads() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        torch.set_num_threads(1)
        self._executor = (
            ThreadPoolExecutor(
                self.threads - 1, "nerf", initializer=torch.set_num_threads, initargs=(1,)
            )
            if self.threads > 1
            else None
        )

    def map(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        """[work(item) for item in items], spread over the threads; the first error is raised."""
        if self._executor is None or len(items) < 2:
            return [work(item) for item in items]
        futures = [self._executor.submit(work, item) for item in items[1:]]
        try:
            head = [work(items[0])]
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        return head + [future.result() for future in futures]

    def close(self) -> None:
        """Let the threads end."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
