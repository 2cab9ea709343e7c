"""Ctrl-C in a run: never within a step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from conference.train_stop import Stop


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """As in a terminal, wherever the tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_held_comes_to_its_end_first(number: signal.Signals) -> None:
    done = []
    with Stop() as stop, pytest.raises(KeyboardInterrupt), stop.held():  # noqa: PT012
        os.kill(os.getpid(), number)
        done.append("the rest of the step")
    assert done == ["the rest of the step"]


def test_what_is_not_held_is_interrupted_at_once_and_a_second_signal_always() -> None:
    done = []
    with Stop() as stop:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt), stop.held():  # noqa: PT012
            os.kill(os.getpid(), signal.SIGINT)
            done.append(1)
            os.kill(os.getpid(), signal.SIGINT)
            done.append(2)
        with stop.held():  # nothing is left of it
            done.append(3)
    assert done == [1, 3]


def test_an_error_within_is_not_hidden_and_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with Stop() as stop, pytest.raises(ValueError, match="of the step"), stop.held():
        raise ValueError("of the step")
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Stop() as stop, stop.held():
        os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_other_threads_and_runs_that_are_not_entered_change_no_handlers() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def elsewhere() -> None:
        with Stop() as stop, stop.held():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    with Stop().held():
        seen.append(signal.getsignal(signal.SIGINT))
    assert seen == [before, before]
