"""A hand, a turn, a walk out, a neighbour: scripted tracker outputs through the whole sender.

Virtual time, real smoothing, choice and codec. What is checked is what a receiver would decode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from quic_transport.codec import EncodedFrame, FaceDecoder, FaceEncoder, Reference
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.timeline import Timeline
from sender.extractor import TrackedFace
from sender.face_choice import FaceChooser
from sender.frames import Frame
from sender.pipeline import DURATIONS, Fate, SendStream
from sender.smoothing import SmoothedExtractor
from tests.sender.faces import face_at

BOUNDS = ParamBounds(np.r_[np.zeros(46), -2 * np.ones(3)], np.r_[np.ones(46), 2 * np.ones(3)])  # type: ignore[arg-type]
FINE = 0.02  # coefficients; more than the quantiser does
FINE_RAD = 0.03
SIZES = [(640, 480), (1080, 1920), (1920, 1080), (160, 120)]
RATES = [15.0, 20.0, 30.0, 60.0]

Scene = Callable[[float], list[TrackedFace]]


class Script:
    """A tracker that sees what the scene says."""

    name, schema = "script", "arkit46"

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def extract(self, frame: Frame) -> list[TrackedFace]:
        return self.scene(frame.capture_time)

    def close(self) -> None:
        pass


@dataclass
class Open:
    """A link that takes everything."""

    sent: list[EncodedFrame] = field(default_factory=list)

    def can_send_frame(self) -> bool:
        return True

    def reference(self) -> Reference:
        return "last"

    def send_frame(self, frame: EncodedFrame) -> bool:
        self.sent.append(frame)
        return True


@dataclass
class Played:
    """What a scene came to."""

    shown: dict[float, FaceParams]
    """By capture time, as a receiver decodes it."""
    fates: dict[float, Fate]
    told: list[float]
    """Since when, each time the receiver is told that there is no face."""


def play(scene: Scene, seconds: float, fps: float, wish: str = "largest") -> Played:
    """Send the scene; capture times are rounded to the microsecond."""
    link, told = Open(), list[float]()
    stream = SendStream(
        SmoothedExtractor(Script(scene)), FaceEncoder(BOUNDS), link, Timeline(DURATIONS),
        lambda: 0.0, chooser=FaceChooser(wish), on_absent=told.append,
    )  # fmt: skip
    image, fates = np.zeros((4, 4, 3), np.uint8), {}
    for k in range(round(seconds * fps)):
        at = round(k / fps, 6)
        fates[at] = stream.process(Frame(k, at, image))
    decoder = FaceDecoder(BOUNDS)
    decoded = [decoder.decode(frame) for frame in link.sent]
    return Played({round(p.capture_time, 6): p for p in decoded}, fates, told)


def person(
    t: float, size: tuple[int, int] = (640, 480), *, x: float = 0.5, large: float = 0.5,
    expression: float = 0.3, yaw: float = 0.0,
) -> TrackedFace:  # fmt: skip
    """Somebody at `x` of the width whose portrait takes `large` of the shorter side."""
    width, height = size
    return face_at(
        x * width, 0.5 * height, large * min(size), time=t, expression=expression,
        rotation=(0.0, yaw, 0.0), width=width, height=height, focal=0.8 * height,
    )  # fmt: skip


def first_after(played: Played, at: float) -> float:
    return min(t for t in played.shown if t >= at - 1e-6)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("size", SIZES)
def test_hand_before_the_face_is_told_once_and_the_return_is_exact(
    size: tuple[int, int], fps: float
) -> None:
    def scene(t: float) -> list[TrackedFace]:
        if 2.0 <= t < 3.0:
            return []
        if 1.9 <= t < 2.0:  # the tracker takes fingers for a mouth
            return [person(t, size, expression=0.95, yaw=0.3)]
        return [person(t, size, expression=0.2 if t < 3 else 0.6, yaw=-0.1 if t < 3 else 0.2)]

    out = play(scene, 4.0, fps)
    gone = [t for t, fate in out.fates.items() if fate is Fate.NO_FACE]
    assert out.told == [gone[0]]
    assert all(2.0 - 1e-6 <= t < 3.0 for t in gone)
    back = first_after(out, 3.0)
    assert back - 3.0 < 1 / fps  # the very first frame
    for t, params in out.shown.items():
        if t >= back:
            assert np.abs(params.expression - 0.6).max() < FINE
            assert params.rotation[1] == pytest.approx(0.2, abs=FINE_RAD)


@pytest.mark.parametrize("fps", RATES)
def test_wink_of_the_tracker_is_not_told_and_motion_goes_on(fps: float) -> None:
    def yaw(t: float) -> float:
        return 0.5 * float(np.sin(3 * t))

    def scene(t: float) -> list[TrackedFace]:
        return [] if 1.0 <= t < 1.2 else [person(t, yaw=yaw(t))]

    out = play(scene, 2.5, fps)
    assert out.told == []
    for t, params in out.shown.items():
        if t > 0.2:
            assert params.rotation[1] == pytest.approx(yaw(t), abs=0.06)


@pytest.mark.parametrize("away_s", [0.3, 0.8, 3.0])
@pytest.mark.parametrize("fps", RATES)
def test_turn_out_of_sight_comes_back_from_the_other_side_without_a_swing(
    fps: float, away_s: float
) -> None:
    def scene(t: float) -> list[TrackedFace]:
        if t < 1.0:
            return [person(t, yaw=1.1 * t)]
        if t < 1.0 + away_s:
            return []
        return [person(t, yaw=min(0.0, -1.1 + 2.0 * (t - 1.0 - away_s)))]

    out = play(scene, 2.0 + away_s, fps)
    assert len(out.told) == (away_s > 0.4)
    back = first_after(out, 1.0 + away_s)
    expected = -1.1 + 2.0 * (back - 1.0 - away_s)
    assert out.shown[back].rotation[1] == pytest.approx(expected, abs=FINE_RAD)
    later = [(t, p.rotation[1]) for t, p in out.shown.items() if t >= back]
    for t, value in later:
        assert value == pytest.approx(min(0.0, -1.1 + 2.0 * (t - 1.0 - away_s)), abs=0.08)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("away_s", [0.6, 2.5])
@pytest.mark.parametrize("fps", [15.0, 60.0])
def test_walk_out_and_back_in_elsewhere_is_tracked_at_once(
    fps: float, away_s: float, size: tuple[int, int]
) -> None:
    def scene(t: float) -> list[TrackedFace]:
        if t < 1.5:
            return [person(t, size, x=0.5 - 0.25 * t, expression=0.8)]
        if t < 1.5 + away_s:
            return []
        return [person(t, size, x=0.9, large=0.3, expression=0.1)]

    out = play(scene, 3.0 + away_s, fps)
    assert len(out.told) == 1
    back = first_after(out, 1.5 + away_s)
    assert back - 1.5 - away_s < 1 / fps
    after = [p for t, p in out.shown.items() if t >= back]
    assert max(np.abs(p.expression - 0.1).max() for p in after) < FINE


def test_jump_of_the_only_face_is_followed_after_a_moment_of_doubt() -> None:
    out = play(lambda t: [person(t, x=0.15 if t < 1 else 0.85, large=0.3)], 2.5, 30)
    back = first_after(out, 1.0)
    assert back == pytest.approx(1.4, abs=0.07)
    assert set(out.shown) >= {t for t in out.fates if t >= back}
    assert len(out.told) <= 1


@pytest.mark.parametrize(("wish", "level"), [("largest", 0.2), ("left", 0.2), ("right", 0.8)])
def test_two_people_one_hides_and_is_not_replaced_within_a_second(wish: str, level: float) -> None:
    def scene(t: float) -> list[TrackedFace]:
        both = [person(t, x=0.25, large=0.5, expression=0.2),
                person(t, x=0.75, large=0.45, expression=0.8)]  # fmt: skip
        mine = 0 if level == 0.2 else 1
        return [both[1 - mine]] if 1.0 <= t < 1.8 else both

    out = play(scene, 3.0, 20, wish)
    assert len(out.told) == 1
    assert [t for t in out.shown if 1.0 <= t < 1.8] == []
    assert max(np.abs(p.expression - level).max() for p in out.shown.values()) < FINE


def test_stranger_who_passes_in_front_is_not_sent() -> None:
    def scene(t: float) -> list[TrackedFace]:
        passing = person(t, x=-0.2 + 0.7 * (t - 1.0), large=0.9, expression=0.9)
        mine = person(t, x=0.55, large=0.4, expression=0.3)
        return ([passing] if 1.2 < t < 2.8 else []) + ([] if 1.9 < t < 2.2 else [mine])

    out = play(scene, 4.0, 30)
    assert max(np.abs(p.expression - 0.3).max() for p in out.shown.values()) < FINE


class LightFollower:
    """Takes the brightest column for the face."""

    name, schema = "light", "arkit46"

    def extract(self, frame: Frame) -> list[TrackedFace]:
        height, width = frame.image.shape[:2]
        column = int(frame.image.sum(axis=(0, 2)).argmax())
        yaw = 0.5 if column > width / 2 else -0.5
        return [person(frame.capture_time, (width, height), x=(column + 0.5) / width, yaw=yaw)]

    def close(self) -> None:
        pass


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("width", "height"), [(64, 48), (48, 64), (65, 33)])
def test_mirrored_camera_is_undone_before_anything_is_measured(
    width: int, height: int, mirror: bool
) -> None:
    link = Open()
    stream = SendStream(LightFollower(), FaceEncoder(BOUNDS), link, Timeline(DURATIONS),
                        lambda: 0.0, mirror=mirror)  # fmt: skip
    image = np.zeros((height, width, 3), np.uint8)
    image[:, 5] = 255
    before = image.copy()
    stream.process(Frame(0, 0.0, image))
    (params,) = (FaceDecoder(BOUNDS).decode(frame) for frame in link.sent)
    assert params.rotation[1] == pytest.approx(0.5 if mirror else -0.5, abs=FINE_RAD)
    assert (image == before).all()
