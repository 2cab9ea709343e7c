"""When an avatar will be there, from the pace of the run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conference.progress_line import ProgressLine
from conference.train_eta import STEP_S, WARM, Ahead, Eta, in_words


def eta(step_s: float = STEP_S, steps: int = 50, *, personal: bool = False,
        on_cpu: bool = True) -> Eta:  # fmt: skip
    out = Eta(1000, 200, personal=personal, whole=True, on_cpu=on_cpu)
    for _ in range(steps + WARM):
        out.stepped(step_s, 1)
    return out


def test_nothing_is_said_before_a_step_says_how_fast_the_machine_is() -> None:
    assert eta(steps=0).left(Ahead(0.0, None, 100, 0)) is None
    assert eta(steps=1).left(Ahead(0.0, None, 100, 0)) is not None


def test_steps_to_come_and_what_follows_them_make_the_time_that_is_left() -> None:
    e = eta()
    assert e.left(Ahead(5.0, None, 1000, 0)) == pytest.approx(1000 * STEP_S + e.after())
    assert e.left(Ahead(5.0, None, 0, 0)) == pytest.approx(e.after())


def test_a_budget_of_seconds_is_the_most_that_training_takes() -> None:
    e = eta()
    assert e.left(Ahead(20.0, 60.0, 1 << 40, 0)) == pytest.approx(40.0 + e.after())
    assert e.left(Ahead(20.0, 60.0, 100, 0)) == pytest.approx(100 * STEP_S + e.after())


def test_the_last_fit_of_the_tracker_is_not_cut_short() -> None:
    e = eta(personal=True)
    e.fitted(25.0)
    assert e.left(Ahead(50.0, 60.0, 1 << 40, 1)) == pytest.approx(25.0 + e.after())
    assert e.left(Ahead(0.0, None, 1000, 2)) == pytest.approx(1000 * STEP_S + 50.0 + e.after())


def test_a_slow_machine_is_slow_after_training_too_and_a_gpu_says_nothing_of_that() -> None:
    assert eta(4 * STEP_S).after() == pytest.approx(4 * eta().after())
    assert eta(4 * STEP_S, on_cpu=False).after() == pytest.approx(eta().after())


@given(st.floats(0.0, 1e6))
def test_words_are_within_a_sixth_of_the_seconds(seconds: float) -> None:
    number, unit, *more = in_words(seconds).split()
    said = float(number) * {"s": 1, "min": 60, "h": 3600}[unit]
    said += 60 * float(more[0]) if more else 0
    assert abs(said - seconds) <= max(5.0, seconds / 6 + 31)
    assert said > 0


def test_lines_say_how_long_it_will_take(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLine() as line:
        line.show(0.1, 5, 1.0, None)
        line.score = 30.125
        line.show(0.2, 9, 5.0, 100.0)  # too soon after the last one
        line.show(0.5, 20, 12.0, 184.0)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "training  10 %: step 5, 1 s",
        "training  50 %: step 20, 12 s, held-out PSNR 30.12 dB, avatar in about 3 min",
    ]
