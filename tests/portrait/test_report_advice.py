"""Advice by name: each fault alone gives its sentence, and just below its threshold none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait import report_advice as advice
from portrait.report_advice import AGAIN, BETTER, WANTED, advise, verdict
from portrait.report_facts import ClipFacts
from portrait.report_measures import blurred, clock, light_step, percent, span
from portrait.report_praise import praise
from quic_transport.errors import LocalError
from tests.portrait.clips import RATE, clip, good_facts, without

COUNT = 1500


def only(facts: ClipFacts) -> tuple[str, str, str]:
    """The one advice that a clip gets."""
    found = advise(facts)
    assert len(found) == 1, [a.text for a in found]
    return found[0].level, found[0].topic, found[0].text


def marked(rows: slice | np.ndarray, value: float, otherwise: float) -> np.ndarray:
    out = np.full(COUNT, otherwise)
    out[rows] = value
    return out


def test_advise_good_clip_gets_none_and_a_good_verdict() -> None:
    assert advise(clip()) == []
    assert verdict(clip(), []) == (
        "good", "Good: 1500 of 1500 frames in the set, 60 s of face; nothing to film again."
    )  # fmt: skip


@pytest.mark.parametrize(("seconds", "level"), [(12.0, AGAIN), (30.0, BETTER)])
def test_advise_short_clip_names_its_seconds(seconds: float, level: str) -> None:
    found = advise(clip(good_facts(seconds)))
    assert (found[0].level, found[0].topic) == (level, "length")
    assert f"only {seconds:.0f} s" in found[0].text
    assert not advice.on_length(clip(good_facts(45.0)))


@pytest.mark.parametrize("wanted", WANTED, ids=lambda w: w.saying)
def test_advise_missing_shape_is_named_with_its_count(wanted: advice.Wanted) -> None:
    face = without(*wanted.names)
    level, topic, text = only(clip(expression=face))
    assert (level, topic) == (wanted.level, "expressions")
    assert text.startswith(f"{wanted.saying} in 0 of {COUNT} frames: ")
    columns = [advice.SCHEMAS["arkit46"].index(name) for name in wanted.names]
    face[100:103, columns] = wanted.least
    assert f" in 3 of {COUNT} frames" in only(clip(expression=face))[2]
    face[100:108, columns] = wanted.least  # SELDOM: 7.5 frames
    assert advise(clip(expression=face)) == []


def test_advise_one_closed_eye_is_no_blink() -> None:
    assert "eyes closed in 0" in only(clip(expression=without("eyeBlinkLeft")))[2]


def test_advise_other_schema_gets_no_advice_on_named_shapes() -> None:
    assert advise(clip(expression=np.zeros((COUNT, 46), np.float32), schema="fw46")) == []


@pytest.mark.parametrize(
    ("angle", "sign", "words"),
    [(1, 1, "never looked left"), (1, -1, "never looked right"),
     (0, -1, "never looked up"), (0, 1, "never looked down")],
)  # fmt: skip
def test_advise_missing_turn_names_the_persons_own_side(angle, sign, words) -> None:
    rotation = good_facts().rotation
    rotation[:, angle] = -sign * np.abs(rotation[:, angle])
    assert words in only(clip(rotation=rotation))[2]


def test_advise_small_turn_is_told_in_degrees() -> None:
    rotation = good_facts().rotation
    rotation[:, 1] = np.minimum(rotation[:, 1], np.radians(4.2))
    assert only(clip(rotation=rotation))[2].startswith("you never looked left (4° at most)")
    level = np.array(good_facts().rotation)
    level[:, 2] = 0.0
    assert "never tilted" in only(clip(rotation=level))[2]


def test_advise_light_step_has_percent_and_moment() -> None:
    level = marked(slice(round(31.3 * RATE), None), 112.0, 100.0)
    rotation = np.radians([[15, 30, 9], [-15, -30, -9]])[np.arange(COUNT) // 250 % 2]
    facts = clip(brightness=level, rotation=rotation)
    assert only(facts)[1:] == (
        "light", "light changed by +12 % at 0:31: even light, and the camera's automatic exposure "
        "off",
    )  # fmt: skip
    assert not advice.on_light(clip(brightness=marked(slice(800, None), 108.0, 100.0)))


def test_light_step_while_the_head_turns_is_not_the_light() -> None:
    time = np.arange(COUNT) / RATE
    level = marked(slice(750, None), 150.0, 100.0)
    still, turned = np.zeros((COUNT, 3)), np.zeros((COUNT, 3))
    turned[750:, 1] = 30.0
    when, change = light_step(time, level, still)
    assert (when, change) == (30.0, pytest.approx(0.5))
    assert abs(light_step(time, level, turned)[1]) < 0.1


@pytest.mark.parametrize(("grey", "word"), [(40.0, "dark"), (230.0, "overexposed")])
def test_advise_dark_and_bright_faces(grey: float, word: str) -> None:
    level, topic, text = only(clip(brightness=np.full(COUNT, grey)))
    assert (level, topic) == (AGAIN, "light")
    assert word in text
    assert f"{grey:.0f} of 255" in text


def test_advise_wandering_brightness() -> None:
    slow = 100 + 25 * np.sin(np.arange(COUNT) / 200)
    assert "wanders by" in only(clip(brightness=slow))[2]


@pytest.mark.parametrize(("height", "level"), [(110.0, AGAIN), (150.0, BETTER)])
def test_advise_small_face_is_told_in_pixels(height: float, level: str) -> None:
    got, topic, text = only(clip(face_px=np.full(COUNT, height)))
    assert (got, topic) == (level, "framing")
    assert text.startswith(f"face only {height:.0f} px high")


def test_advise_head_cut_off_is_told_in_percent() -> None:
    cut = marked(slice(500, 620), 1, 0).astype(bool)
    text = only(clip(top_cut=cut))[2]
    assert text.startswith("head cut off at the top in 8 % of frames (from 0:20 to 0:24)")
    assert advise(clip(top_cut=marked(slice(500, 540), 1, 0).astype(bool))) == []


def test_advise_blur_is_relative_to_the_frames_around() -> None:
    level, topic, text = only(clip(sharpness=marked(slice(700, 748), 30.0, 80.0)))
    assert (level, topic) == (BETTER, "sharpness")
    assert text.startswith("blurred by motion in 48 of 1500 frames (from 0:28 to 0:29)")
    defocused = np.linspace(80.0, 20.0, COUNT)  # slowly softer: not motion
    assert not blurred(clip(sharpness=defocused)).any()


def test_advise_uncertain_tracking_counts_frames() -> None:
    text = only(clip(error_px=marked(slice(0, 75), 9.0, 1.0)))[2]
    assert "uncertain in 75 of 1500 frames (from 0:00 to 0:02; up to 9 px)" in text


def test_advise_left_out_frames_by_reason_with_place_and_remedy() -> None:
    facts = good_facts()
    reason = facts.reason.copy()
    reason[100:300], reason[500:530], reason[900:905] = "no face", "turned away", "odd"
    found = advise(clip(reason=reason))
    assert [a.topic for a in found] == ["left out", "left out"]
    assert found[0].text.startswith("no face in 200 of 1500 frames (13 %, from 0:04 to 0:11): ")
    assert "turned away in 30 of 1500 frames" in found[1].text
    reason[:1000] = "no face"
    assert verdict(clip(reason=reason), advise(clip(reason=reason)))[0] == "film again"


def test_advise_unknown_numbers_are_passed_over() -> None:
    unknown = np.full(COUNT, np.nan)
    facts = clip(error_px=unknown, sharpness=unknown, brightness=unknown, face_px=unknown)
    assert advise(facts) == []


def test_advise_rows_without_a_face_hold_nan_and_are_ignored() -> None:
    facts = good_facts()
    reason = facts.reason.copy()
    reason[50:60] = "no face"
    rotation, face = facts.rotation.copy(), facts.expression.copy()
    rotation[50:60], face[50:60] = np.nan, np.nan
    assert advise(clip(reason=reason, rotation=rotation, expression=face)) == []


def test_advise_grave_things_come_first_and_decide_the_verdict() -> None:
    facts = clip(expression=without("jawOpen"), brightness=np.full(COUNT, 40.0))
    found = advise(facts)
    assert [a.level for a in found] == [AGAIN, BETTER]
    assert verdict(facts, found)[0] == "film again"
    assert verdict(facts, found[1:]) == (
        "usable",
        "Usable: 1500 of 1500 frames in the set, 60 s of face; one thing could be better.",
    )


@given(st.integers(0, 2**32 - 1))
def test_advise_any_numbers_give_sentences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    facts = good_facts(4.0)
    n = len(facts)
    facts = replace(
        facts, rotation=rng.normal(0, 1, (n, 3)), brightness=rng.uniform(0, 255, n),
        sharpness=rng.exponential(50, n), error_px=rng.exponential(3, n),
        expression=rng.random((n, 46), dtype=np.float32), top_cut=rng.random(n) < 0.3,
        reason=np.where(rng.random(n) < 0.3, "no face", ""),
    )  # fmt: skip
    found = advise(clip(facts))
    assert all(a.text and "nan" not in a.text for a in found)


def test_clip_facts_of_nothing_usable_or_of_a_wrong_shape_are_refused() -> None:
    with pytest.raises(LocalError, match="no usable frame"):
        clip(reason=np.full(COUNT, "no face"))
    with pytest.raises(LocalError, match=r"sharpness of facts.npz has shape \(3,\)"):
        clip(sharpness=np.zeros(3))


def test_words_for_times_and_shares() -> None:
    assert (clock(31.9), clock(125.0)) == ("0:31", "2:05")
    assert (percent(0.004), percent(0.126)) == ("less than 1 %", "13 %")
    assert span(np.array([3.0])) == "at 0:03"
    assert span(np.array([3.0, 4.0, 5.0, 60.0])) == "most from 0:03 to 0:05"


def test_praise_of_a_good_clip_has_numbers_for_every_topic() -> None:
    said = " / ".join(praise(clip(), []))
    for words in ("60 s of usable face, 100 %", "px high", "steady light", "no frame is blurred",
                  "explains the landmarks", "looked left (", "looked down (", "mouth wide open",
                  "eyes turned down"):  # fmt: skip
        assert words in said, words


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"brightness": np.full(COUNT, 30.0)}, "steady light"),
        ({"face_px": np.full(COUNT, 100.0)}, "px high"),
        ({"expression": without("jawOpen")}, "mouth wide open"),
        ({"error_px": np.full(COUNT, 40.0)}, "explains"),
        ({"error_px": np.full(COUNT, np.nan)}, "explains"),
        ({"sharpness": np.full(COUNT, np.nan)}, "blurred"),
    ],
)
def test_praise_says_nothing_where_there_is_advice_or_nothing_known(
    change: dict[str, np.ndarray], gone: str
) -> None:
    facts = clip(**change)  # type: ignore[arg-type]
    assert gone in " / ".join(praise(clip(), []))
    assert gone not in " / ".join(praise(facts, advise(facts)))


def test_praise_and_advice_name_each_turn_and_shape_exactly_once() -> None:
    rotation = good_facts().rotation
    rotation[:, 1] = np.abs(rotation[:, 1])
    facts = clip(rotation=rotation, expression=without("mouthPucker", "browInnerUp"))
    found = advise(facts)
    told = " / ".join([a.text for a in found] + praise(facts, found))
    for _, _, what in advice.TURNS:
        assert told.count(what) == 1, what
    for wanted in WANTED:
        assert told.count(wanted.saying) == 1, wanted.saying
