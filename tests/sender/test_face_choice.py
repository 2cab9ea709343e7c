"""Whose face is sent: the wished one, the same one, or nobody."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from sender.extractor import TrackedFace
from sender.face_choice import Choice, ChoiceSettings, FaceChooser, FaceTracks, Presence, check_wish
from tests.sender.faces import face_at

FPS = 20


def left(t: float, **where: float) -> TrackedFace:
    return face_at(**{"u": 180.0 + 10 * t, "side": 200.0, **where})  # type: ignore[arg-type]


def right(t: float, **where: float) -> TrackedFace:
    return face_at(**{"u": 460.0 - 10 * t, "side": 200.0, **where})  # type: ignore[arg-type]


def follow(chooser: FaceChooser, scene: list[list[TrackedFace]], fps: float = FPS) -> list[Choice]:
    return [chooser.step(faces, k / fps) for k, faces in enumerate(scene)]


def places(choices: list[Choice]) -> list[float | None]:
    return [c.face.crop.u if c.face is not None else None for c in choices]


@pytest.mark.parametrize(
    ("wish", "u"), [("largest", 460), ("left", 180), ("right", 460), ("1", 180), ("2", 460)]
)
def test_face_choice_wish_is_followed(wish: str, u: float) -> None:
    faces = [right(0, side=220), left(0)]
    choice = FaceChooser(wish).step(faces, 0.0)
    assert choice.presence is Presence.TRACKING
    assert choice.face is not None
    assert choice.face.crop.u == pytest.approx(u)


def test_face_choice_two_faces_never_swapped_while_both_stay() -> None:
    # Their sizes change places again and again, and so does the tracker's order.
    scene = []
    for k in range(200):
        pair = [left(0, side=200 + 30 * (k % 2)), right(0, side=200 + 30 * ((k + 1) % 2))]
        scene.append(pair if k % 3 else pair[::-1])
    seen = places(follow(FaceChooser(), scene))
    assert {round(u) for u in seen if u is not None} == {460}


def test_face_choice_faces_that_cross_in_front_keep_their_numbers() -> None:
    tracks = FaceTracks()
    for k in range(81):
        t = k / 40
        near = face_at(u=160 + 160 * t, side=300)
        far = face_at(u=480 - 160 * t, side=140)
        assert tracks.step([near, far], k / FPS) == [0, 1]


def test_face_choice_small_neighbour_does_not_take_over_during_a_short_loss() -> None:
    both, alone = [left(0, side=260), right(0)], [right(0)]
    choices = follow(FaceChooser(), [both] * 40 + [alone] * 15 + [both] * 5)
    assert {c.presence for c in choices[40:47]} == {Presence.LOST}
    assert {c.presence for c in choices[47:55]} == {Presence.SEARCHING}
    assert {round(u) for u in places(choices) if u is not None} == {180}


def test_face_choice_neighbour_takes_over_when_the_followed_one_stays_away() -> None:
    both, alone = [left(0, side=260), right(0)], [right(0)]
    choices = follow(FaceChooser(), [both] * 40 + [alone] * 40)
    taken = next(k for k, u in enumerate(places(choices)) if k > 40 and u is not None)
    assert taken / FPS == pytest.approx(39 / FPS + 1.0, abs=1.5 / FPS)
    assert places(choices)[-1] == pytest.approx(460)


def test_face_choice_hand_before_the_face_is_lost_then_absent_then_tracking_at_once() -> None:
    scene = [[left(k / FPS)] for k in range(20)] + [[]] * 20 + [[left(2.0)]] * 3
    choices = follow(FaceChooser(), scene)
    states = [c.presence for c in choices]
    assert states[:20] == [Presence.TRACKING] * 20
    assert states[20:27] == [Presence.LOST] * 7
    assert states[27:40] == [Presence.SEARCHING] * 13
    assert states[40:] == [Presence.TRACKING] * 3


def test_face_choice_missed_frames_are_no_absence() -> None:
    scene = [[left(0)] if k % 4 == 0 else [] for k in range(80)]
    assert Presence.SEARCHING not in {c.presence for c in follow(FaceChooser(), scene)}


def test_face_choice_newcomer_that_fits_better_takes_over_only_at_first() -> None:
    early = [[right(0)]] * 5 + [[right(0), left(0)]] * 40
    late = [[right(0)]] * 40 + [[right(0), left(0)]] * 40
    assert places(follow(FaceChooser("left"), early))[-1] == pytest.approx(180)
    assert places(follow(FaceChooser("left"), late))[-1] == pytest.approx(460)


def test_face_choice_number_waits_until_there_are_so_many() -> None:
    choices = follow(FaceChooser("2"), [[left(0)]] * 30 + [[left(0), right(0)]] * 5)
    assert {c.presence for c in choices[:30]} == {Presence.SEARCHING}
    assert places(choices)[-1] == pytest.approx(460)


def test_face_choice_clock_that_starts_again_forgets_everybody() -> None:
    chooser = FaceChooser("largest")
    chooser.step([left(0)], 1000.0)
    assert places([chooser.step([left(0, side=100), right(0)], 0.0)])[0] == pytest.approx(460)


@pytest.mark.parametrize("wish", ["", "0", "-1", "biggest", "1.5", "²"])
def test_face_choice_wish_without_sense_is_one_sentence(wish: str) -> None:
    with pytest.raises(LocalError, match=r"say largest, left, right, or a number"):
        check_wish(wish)


@settings(max_examples=60)
@given(
    frames=st.lists(
        st.lists(
            st.tuples(st.floats(0, 640), st.floats(0, 480), st.floats(20, 600)), max_size=3
        ),
        max_size=40,
    ),
    steps=st.lists(st.floats(0.0, 1.5), min_size=40, max_size=40),
    wish=st.sampled_from(["largest", "left", "right", "1", "2"]),
)  # fmt: skip
def test_face_choice_any_scene_keeps_its_promises(
    frames: list[list[tuple[float, float, float]]], steps: list[float], wish: str
) -> None:
    chooser, patience = FaceChooser(wish), ChoiceSettings()
    now, missed = 0.0, None
    for k, row in enumerate(frames):
        now += steps[k]
        faces = [face_at(u, v, side) for u, v, side in row]
        choice = chooser.step(faces, now)
        assert (choice.face is not None) == (choice.presence is Presence.TRACKING)
        assert choice.face is None or any(choice.face is face for face in faces)
        if choice.presence is Presence.TRACKING:
            missed = None
        elif choice.presence is Presence.LOST:
            missed = now if missed is None else missed
            assert now - missed < patience.grace_s
        if wish == "largest" and len(faces) == 1 and k and steps[k] > 1.4 and not frames[k - 1]:
            assert choice.face is faces[0]  # nobody else has been there for long
