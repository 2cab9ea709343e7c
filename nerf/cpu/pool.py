"""A few threads that run GIL-free kernels and single-threaded matrix products side by side.

The rule: parallelism is here and only here; torch's and numba's own thread pools stay at one
thread, because two pools on one machine spin against each other (measured: 40 % of all CPU time).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
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
    """`threads` threads, the calling one among them."""

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
        """[work(item) for item in items], each item taken by whichever thread is free next.

        The calling thread works too. The first error is raised when all threads have stopped.
        """
        if self._executor is None or len(items) < 2:
            return [work(item) for item in items]
        results: list[B | None] = [None] * len(items)
        taken = iter(range(len(items)))  # next() on it is atomic

        def run() -> None:
            for i in taken:
                results[i] = work(items[i])

        helpers = min(self.threads, len(items)) - 1
        futures = [self._executor.submit(run) for _ in range(helpers)]
        try:
            run()
        finally:
            for _ in taken:  # after an error: nothing is left to take
                pass
            wait(futures)
        for future in futures:
            future.result()
        return results  # type: ignore[return-value]

    def close(self) -> None:
        """Let the threads end."""
        if self._executor is not None:
            self._executor.shutdown(wait=True)
