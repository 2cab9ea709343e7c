"""Bounded queues between threads, and the threads that they join.

The rule: no queue grows without bound. A full one either makes the producer wait ("block") or
loses its oldest item ("drop-oldest", for raw frames only: nothing that was coded may be lost
alone). Reference: trio's memory channels (statistics, typed end).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from quic_transport.errors import LocalError

T = TypeVar("T")


class EndOfStream(Exception):
    """The fifo was closed and, for a reader, is empty."""


@dataclass(frozen=True, slots=True)
class FifoStats:
    """What a fifo has seen."""

    put: int
    """Items accepted."""
    got: int
    """Items handed out."""
    dropped: int
    """Items lost to make room, or discarded."""
    peak: int
    """The most items that were ever in it."""


class Fifo(Generic[T]):
    """A bounded thread-safe queue with an end."""

    def __init__(self, capacity: int, policy: Literal["block", "drop-oldest"] = "block") -> None:
        if capacity < 1:
            raise LocalError(f"a fifo holds at least one item, not {capacity}")
        if policy not in ("block", "drop-oldest"):
            raise LocalError(f"a fifo's policy is block or drop-oldest, not {policy!r}")
        self.capacity = capacity
        self._drop_oldest = policy == "drop-oldest"
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._put = self._got = self._dropped = self._peak = 0

    def put(self, item: T, timeout: float | None = None) -> bool:
        """Append `item`; False if it still found no room after `timeout` seconds.

        EndOfStream once the fifo is closed, also while waiting.
        """
        with self._changed:
            if self._drop_oldest:
                while not self._closed and len(self._items) >= self.capacity:
                    self._items.popleft()
                    self._dropped += 1
            elif not self._changed.wait_for(
                lambda: self._closed or len(self._items) < self.capacity, timeout
            ):
                return False
            if self._closed:
                raise EndOfStream
            self._items.append(item)
            self._put += 1
            self._peak = max(self._peak, len(self._items))
            self._changed.notify_all()
            return True

    def get(self, timeout: float | None = None) -> T:
        """The oldest item; TimeoutError after `timeout` seconds, EndOfStream at the end."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._closed, timeout):
                raise TimeoutError
            if not self._items:
                raise EndOfStream
            self._got += 1
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def discard(self, unwanted: Callable[[T], bool]) -> int:
        """Drop every queued item that is unwanted; how many there were."""
        with self._changed:
            kept = [item for item in self._items if not unwanted(item)]
            count = len(self._items) - len(kept)
            self._items = deque(kept)
            self._dropped += count
            self._changed.notify_all()
            return count

    def close(self) -> None:
        """No more puts; readers get what is left, then EndOfStream. May be called twice."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    def stats(self) -> FifoStats:
        """Counters so far."""
        with self._changed:
            return FifoStats(self._put, self._got, self._dropped, self._peak)


class Stage:
    """A named thread that runs one function and remembers how it failed."""

    def __init__(self, name: str, work: Callable[[], None], on_exit: Callable[[], None]) -> None:
        self.name = name
        self.error: BaseException | None = None
        self._work = work
        self._on_exit = on_exit
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self._work()
        except EndOfStream:
            pass  # the usual end: a neighbour closed its fifo
        except BaseException as error:  # carried to whoever joins
            self.error = error
        finally:
            self._on_exit()

    @property
    def alive(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def start(self) -> Stage:
        self._thread.start()
        return self

    def join(self, timeout: float | None = None) -> None:
        """Wait for the end and raise what the stage raised; TimeoutError if it still works."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError(f"the stage {self.name} is still at work")
        if self.error is not None:
            raise self.error


def run_stage(name: str, work: Callable[[], None], *fifos: Fifo[T]) -> Stage:
    """Start `work` in a thread of its own; whatever ends it, `fifos` (its neighbours) close, so
    the end runs through the pipeline in both directions."""

    def close_all() -> None:
        for fifo in fifos:
            fifo.close()

    return Stage(name, work, close_all).start()


def join_stages(stages: list[Stage], timeout: float | None = None) -> None:
    """Join all; the first failure in pipeline order is raised after every stage has ended."""
    deadline = None if timeout is None else time.monotonic() + timeout
    failure: BaseException | None = None
    for stage in stages:
        try:
            stage.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure
