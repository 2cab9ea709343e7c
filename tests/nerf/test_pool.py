"""The pool of threads behind the CPU kernels."""

from __future__ import annotations

import threading

import pytest

from nerf.cpu.pool import WorkerPool


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    assert WorkerPool(threads).map(lambda x: x * x, list(range(50))) == [x * x for x in range(50)]


def test_all_threads_work_at_once_the_calling_one_too() -> None:
    together = threading.Barrier(3, timeout=20)

    def work(_: int) -> str:
        together.wait()  # breaks unless three threads are in here at the same time
        return threading.current_thread().name

    names = WorkerPool(3).map(work, [0, 1, 2])
    assert len(set(names)) == 3
    assert threading.current_thread().name in names


def test_an_error_in_any_thread_is_raised() -> None:
    def work(item: int) -> int:
        if item == 17:
            raise RuntimeError("seventeen")
        return item

    pool = WorkerPool(3)
    with pytest.raises(RuntimeError, match="seventeen"):
        pool.map(work, list(range(40)))
    assert pool.map(work, [1, 2]) == [1, 2]
