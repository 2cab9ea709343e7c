"""The recording's core in simulated time: prompts, goals, hints, repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.record.overlay import draw, text_width, wrapped
from portrait.record.prompts import STEPS, Goal, Script, Step, measured, script_of
from portrait.record.session import (
    COUNTDOWN_S,
    GOOD_S,
    MAX_REPEATS,
    WAIT_S,
    Event,
    Finished,
    Prompt,
    RecordingSession,
    StepEnded,
    StepStarted,
)
from portrait.record.sight import HOLD_S, FaceSeen, Seen, measure_picture, picture_hints
from quic_transport.params import ARKIT46

FACE = FaceSeen((0.35, 0.3, 0.65, 0.75), 400.0, (0.0, 0.0, 0.0), [0.0] * 46)
GOOD = Seen(120.0, 110.0, FACE, True)
BLIND = Seen(120.0, 110.0)
TWO = Script((
    Step("a", "First", "do", 2.0),
    Step("b", "Turn", "far", 3.0, (Goal("yaw", 25.0),), (-1, 0), "turn further"),
))  # fmt: skip


def turned(yaw: float) -> Seen:
    return replace(GOOD, face=replace(FACE, rotation_deg=(0.0, yaw, 0.0)))


def play(session: RecordingSession, seen, until: float = 60.0, rate: float = 25.0):
    """(times, prompts, [(time, event)]) up to the end; `seen` is a picture or a function of
    (time, last prompt)."""
    times: list[float] = []
    prompts: list[Prompt] = []
    events: list[tuple[float, Event]] = []
    for i in range(int(until * rate)):
        t = 1000.0 + i / rate
        what = (
            seen if isinstance(seen, Seen) else seen(t - 1000.0, prompts[-1] if prompts else None)
        )
        prompt, new = session.step(t, what)
        times.append(t - 1000.0)
        prompts.append(prompt)
        events += [(t - 1000.0, e) for e in new]
        if prompt.phase == "done":
            break
    return times, prompts, events


def test_session_good_picture_counts_down_records_and_finishes_on_time() -> None:
    times, prompts, events = play(RecordingSession(TWO), turned(30.0))
    filming = [t for t, p in zip(times, prompts, strict=True) if p.filming]
    assert filming[0] == pytest.approx(GOOD_S + COUNTDOWN_S, abs=0.09)
    assert len(filming) == pytest.approx(5.0 * 25, abs=2)
    assert [type(e) for _, e in events] == [
        StepStarted, StepEnded, StepStarted, StepEnded, Finished
    ]  # fmt: skip
    assert [e.reached for _, e in events if isinstance(e, StepEnded)] == [None, True]
    assert [p.countdown for p in prompts if p.countdown][::25] == [3, 2, 1]
    assert prompts[-1].phase == "done"
    shares = [p.total_share for p in prompts]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_session_missed_step_is_asked_again_and_then_forgiven() -> None:
    def seen(t: float, last: Prompt | None) -> Seen:
        return turned(30.0 if last is not None and last.phase == "repeating" else 10.0)

    session = RecordingSession(TWO)
    _, prompts, events = play(session, seen)
    again = [p for p in prompts if p.phase == "repeating"]
    assert again[0].title == "Once more: Turn"
    assert again[0].detail == "Turn further."
    assert len(again) == pytest.approx(3.0 * 25, abs=2)
    assert [e.reached for _, e in events if isinstance(e, StepEnded)] == [None, False, True]
    assert events[-1][1] == Finished(())


def test_session_step_missed_twice_is_named_once_and_not_asked_a_third_time() -> None:
    session = RecordingSession(TWO)
    _, prompts, events = play(session, turned(5.0))
    assert prompts[-1].phase == "done"
    assert events[-1][1] == Finished((TWO.steps[1],))
    assert sum(isinstance(e, StepEnded) for _, e in events) == 3


def test_session_without_tracker_neither_judges_nor_repeats() -> None:
    _, prompts, events = play(RecordingSession(TWO), BLIND)
    assert prompts[-1].phase == "done"
    assert events[-1][1] == Finished(())
    assert {e.reached for _, e in events if isinstance(e, StepEnded)} == {None}


def test_session_tracker_with_other_coefficients_judges_the_head_only() -> None:
    script = Script((Step("o", "Open", "", 2.0, (Goal("jawOpen", 0.5),), again="wider"),))
    other = replace(GOOD, face=replace(FACE, expression=[]))
    _, _, events = play(RecordingSession(script), other)
    assert [e.reached for _, e in events if isinstance(e, StepEnded)] == [None]


def test_session_repeats_are_bounded() -> None:
    goal = (Goal("yaw", 60.0),)
    script = Script(tuple(Step(str(i), "T", "", 1.0, goal, again="x") for i in range(9)))
    _, prompts, events = play(RecordingSession(script), GOOD)
    assert sum(p.phase == "repeating" for p in prompts) == pytest.approx(MAX_REPEATS * 25, abs=2)
    finished = events[-1][1]
    assert isinstance(finished, Finished)
    assert len(finished.missed) == 9


def test_session_bad_picture_waits_with_a_hint_but_not_for_ever() -> None:
    dark = Seen(20.0, 20.0)
    times, prompts, _ = play(RecordingSession(TWO), dark)
    starts = next(t for t, p in zip(times, prompts, strict=True) if p.filming)
    assert starts == pytest.approx(WAIT_S + COUNTDOWN_S, abs=0.1)
    first = next(t for t, p in zip(times, prompts, strict=True) if p.hints)
    assert first == pytest.approx(HOLD_S, abs=0.05)
    assert prompts[-1].hints[0].startswith("too dark")


def test_session_start_key_skips_the_wait_and_only_the_wait() -> None:
    session = RecordingSession(TWO)
    session.step(0.0, Seen(20.0, 20.0))
    session.start(0.5)
    session.start(1.5)  # pressed again: the countdown goes on
    assert not session.step(0.5 + COUNTDOWN_S - 0.1, GOOD)[0].filming
    assert session.step(0.5 + COUNTDOWN_S, GOOD)[0].filming


def test_session_flicker_of_one_picture_shows_no_hint() -> None:
    def seen(t: float, last: Prompt | None) -> Seen:
        return Seen(20.0, 20.0) if round(t * 25) % 40 == 0 else BLIND

    _, prompts, _ = play(RecordingSession(TWO), seen)
    assert not any(p.hints for p in prompts)


@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=40))
def test_session_any_gaps_between_pictures_end_each_step_once(gaps: list[float]) -> None:
    session = RecordingSession(script_of(60.0))
    t, ended = 0.0, []
    for gap in [*gaps, 200.0, 200.0, 200.0]:
        t += gap
        prompt, events = session.step(t, BLIND)
        ended += [e.step.key for e in events if isinstance(e, StepEnded)]
    assert prompt.phase == "done"
    assert ended == [step.key for step in session.script.steps]


@pytest.mark.parametrize(
    ("seen", "hint"),
    [
        (Seen(120, 120, None, True), "out of the picture"),
        (replace(GOOD, face=replace(FACE, box=(0.4, 0.4, 0.5, 0.6), height_px=144)), "closer"),
        (replace(GOOD, face=replace(FACE, height_px=150)), "--size"),
        (replace(GOOD, face=replace(FACE, box=(0.2, 0.1, 0.8, 0.9))), "too close"),
        (replace(GOOD, face=replace(FACE, box=(0.0, 0.3, 0.4, 0.75))), "edge"),
        (replace(GOOD, face=replace(FACE, box=(0.3, 0.1, 0.7, 0.6))), "hair"),
        (replace(GOOD, face=replace(FACE, others=1)), "one person"),
        (replace(GOOD, brightness=30), "too dark"),
        (replace(GOOD, brightness=240), "too bright"),
        (replace(GOOD, brightness=70, surround=200), "behind"),
    ],
)
def test_picture_hints_name_the_fault_first(seen: Seen, hint: str) -> None:
    assert hint in picture_hints(seen)[0]


def test_picture_hints_good_picture_has_none() -> None:
    assert picture_hints(GOOD) == picture_hints(BLIND) == ()


def test_measure_picture_tells_the_face_from_its_surround() -> None:
    image = np.full((240, 320, 3), 200, np.uint8)
    image[72:180, 112:208] = 60
    seen = measure_picture(image, FACE, True)
    assert seen.brightness == pytest.approx(60, abs=12)
    assert seen.surround == pytest.approx(200, abs=8)
    everything = measure_picture(image, replace(FACE, box=(-1, -1, 2, 2)), True)
    assert everything.brightness == everything.surround


def test_script_keeps_its_length_and_the_head_turns_when_short() -> None:
    for seconds in (10.0, 20.0, 45.0, 100.0, 300.0):
        script = script_of(seconds)
        assert script.seconds == pytest.approx(seconds)
        assert {"left", "right"} <= {step.key for step in script.steps}
    assert script_of(100.0).steps == STEPS
    assert len({step.key for step in STEPS}) == len(STEPS)


def test_script_texts_can_be_drawn_and_goals_measured() -> None:
    for step in STEPS:
        assert (step.title + step.detail + step.again).isascii()
        assert len(wrapped(step.detail, 876, 0.8)) <= 3
        assert bool(step.goals) == bool(step.again)
        for goal in step.goals:
            assert np.isfinite(measured(goal.measure, (0, 0, 0), [0.0] * 46))
            assert not goal.reached_by(0.0)


def test_measured_unsided_name_is_the_weaker_side() -> None:
    face = [0.0] * 46
    face[ARKIT46.index("eyeBlinkLeft")] = 0.9
    assert measured("eyeBlink", (0, 0, 0), face) == 0.0
    assert measured("eyeBlinkLeft", (0, 0, 0), face) == 0.9
    assert measured("roll", (1, 2, 3), face) == 3


@pytest.mark.parametrize("shape", [(720, 1280), (1920, 1080), (48, 64)])
def test_overlay_mirrors_a_copy_and_leaves_the_picture_alone(shape: tuple[int, int]) -> None:
    image = np.zeros((*shape, 3), np.uint8)
    image[:, : shape[1] // 2] = (200, 40, 40)
    before = image.copy()
    prompt = play(RecordingSession(TWO), BLIND, until=5.0)[1][-1]
    shown = draw(prompt, image)
    np.testing.assert_array_equal(image, before)
    middle = shown.shape[1] // 2
    row = shown[-100]
    assert tuple(row[middle + 60]) == (200, 40, 40)  # the picture's left is the mirror's right
    assert tuple(row[middle - 60]) == (0, 0, 0)


def test_wrapped_lines_fit_and_lose_no_word() -> None:
    text = "one two three four five six seven"
    lines = wrapped(text, 120, 0.8)
    assert " ".join(lines) == text
    assert len(lines) > 1
    assert all(text_width(line, 0.8) <= 120 for line in lines if " " in line)
