"""Bounded queues: capacity, order, the end, and counters that add up."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from quic_transport.fifo import EndOfStream, Fifo, join_stages, run_stage


@given(st.integers(1, 5), st.lists(st.booleans(), max_size=60))
def test_drop_oldest_keeps_order_and_capacity(capacity: int, puts: list[bool]) -> None:
    fifo: Fifo[int] = Fifo(capacity, "drop-oldest")
    model: list[int] = []
    peak = 0
    for i, put in enumerate(puts):
        if put:
            assert fifo.put(i)
            model = [*model, i][-capacity:]
            peak = max(peak, len(model))
        elif model:
            assert fifo.get(0) == model.pop(0)
        else:
            with pytest.raises(TimeoutError):
                fifo.get(0)
        assert len(fifo) == len(model) <= capacity
    stats = fifo.stats()
    assert stats.put == sum(puts)
    assert stats.put == stats.got + stats.dropped + len(model)
    assert stats.peak == peak


def test_full_blocking_fifo_waits_for_room() -> None:
    fifo: Fifo[int] = Fifo(1)
    assert fifo.put(1)
    assert not fifo.put(2, timeout=0)
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.append(fifo.get()))
    reader.start()
    assert fifo.put(3, timeout=10)
    reader.join()
    assert got == [1]
    assert fifo.stats().dropped == 0


def test_close_wakes_waiting_readers_and_writers() -> None:
    empty: Fifo[int] = Fifo(1)
    full: Fifo[int] = Fifo(1)
    full.put(0)
    ends: list[str] = []

    def wait(work: object, name: str) -> None:
        try:
            work()  # type: ignore[operator]
        except EndOfStream:
            ends.append(name)

    threads = [
        threading.Thread(target=wait, args=(empty.get, "reader")),
        threading.Thread(target=wait, args=(lambda: full.put(1), "writer")),
    ]
    for thread in threads:
        thread.start()
    empty.close()
    full.close()
    for thread in threads:
        thread.join(10)
    assert sorted(ends) == ["reader", "writer"]


def test_closed_fifo_gives_what_is_left_then_ends() -> None:
    fifo: Fifo[str] = Fifo(3)
    fifo.put("a")
    fifo.put("b")
    fifo.close()
    fifo.close()
    assert fifo.closed
    with pytest.raises(EndOfStream):
        fifo.put("c")
    assert [fifo.get(), fifo.get()] == ["a", "b"]
    with pytest.raises(EndOfStream):
        fifo.get()


def test_discard_drops_only_the_unwanted() -> None:
    fifo: Fifo[int] = Fifo(9)
    for i in range(6):
        fifo.put(i)
    assert fifo.discard(lambda i: i % 2 == 0) == 3
    fifo.close()
    assert [fifo.get() for _ in range(3)] == [1, 3, 5]
    assert fifo.stats().dropped == 3


def test_fifo_of_no_capacity_or_policy_is_our_mistake() -> None:
    with pytest.raises(LocalError, match="at least one"):
        Fifo(0)
    with pytest.raises(LocalError, match="policy"):
        Fifo(1, "drop-newest")  # type: ignore[arg-type]


def test_end_runs_through_a_pipeline_of_stages() -> None:
    first: Fifo[int] = Fifo(2)
    second: Fifo[int] = Fifo(2)
    out: list[int] = []

    def produce() -> None:
        for i in range(100):
            first.put(i)

    def double() -> None:
        while True:
            second.put(2 * first.get())

    def collect() -> None:
        while True:
            out.append(second.get())

    stages = [
        run_stage("produce", produce, first),
        run_stage("double", double, first, second),
        run_stage("collect", collect, second),
    ]
    join_stages(stages, timeout=30)
    assert out == [2 * i for i in range(100)]
    assert not any(stage.alive for stage in stages)


def test_failure_in_a_stage_ends_its_neighbours_and_is_raised() -> None:
    fifo: Fifo[int] = Fifo(1)

    def produce() -> None:
        while True:
            fifo.put(1)

    def fail() -> None:
        fifo.get()
        raise ValueError("broken")

    stages = [run_stage("produce", produce, fifo), run_stage("fail", fail, fifo)]
    with pytest.raises(ValueError, match="broken"):
        join_stages(stages, timeout=30)
    assert not any(stage.alive for stage in stages)


def test_stage_that_still_works_is_reported() -> None:
    fifo: Fifo[int] = Fifo(1)
    stage = run_stage("waits", lambda: [fifo.get()], fifo)  # type: ignore[arg-type,return-value]
    with pytest.raises(TimeoutError, match="waits"):
        stage.join(0.01)
    fifo.close()
    stage.join(10)
