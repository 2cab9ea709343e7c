"""The filter takes the tremble and leaves the motion, at any frame rate."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.params import ARKIT46, EXPRESSION_HIGH, EXPRESSION_LOW
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import crop_at, crop_of
from sender.smoothed_track import smoothed_track
from sender.smoothing import SmoothedExtractor, Smoother, rotation_exp, rotation_log
from tests.sender.faces import HEIGHT, WIDTH, face_at

IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
BLINK, JAW = ARKIT46.index("eyeBlinkLeft"), ARKIT46.index("jawOpen")


def run(faces: list[TrackedFace], smoother: Smoother | None = None) -> list[TrackedFace]:
    smoother = smoother or Smoother()
    return [smoother.step(face, face.params.capture_time) for face in faces]


def vectors(faces: list[TrackedFace]) -> np.ndarray:
    return np.array([face.params.vector() for face in faces])


def trembling(frames: int, rng: np.random.Generator, fps: float = 30.0) -> list[TrackedFace]:
    return [
        face_at(
            320 + rng.normal(0, 0.2), 240 + rng.normal(0, 0.2), 250 * math.exp(rng.normal(0, 2e-3)),
            time=k / fps, expression=0.3 + rng.normal(0, 0.01, 46),
            rotation=rng.normal(0, np.radians([0.3, 0.2, 0.12])),
        )
        for k in range(frames)
    ]  # fmt: skip


def test_smoothing_still_head_loses_most_of_its_tremble() -> None:
    faces = trembling(300, np.random.default_rng(1))
    before, after = vectors(faces), vectors(run(faces))

    def jitter(x: np.ndarray) -> np.ndarray:
        return np.sqrt((np.diff(x[30:], 2, axis=0) ** 2).mean(axis=0))

    ratio = jitter(after) / jitter(before)
    assert ratio[:46].max() < 0.5
    assert ratio[46:].max() < 0.5
    sides = np.array([[f.crop.side for f in run(faces)], [f.crop.side for f in faces]])
    assert np.log(sides[0]).std() < 0.5 * np.log(sides[1]).std()


def test_smoothing_blink_passes_within_a_frame_and_keeps_its_height() -> None:
    shape = np.concatenate([np.zeros(20), [0.3, 0.7, 0.9, 0.6, 0.3, 0.1], np.zeros(10)])
    out = vectors(run([face_at(time=k / 30, expression=x) for k, x in enumerate(shape)]))
    assert out[:, BLINK].max() > 0.93 * 0.9
    assert abs(int(out[:, BLINK].argmax()) - int(shape.argmax())) <= 1
    assert out[29:, BLINK].max() < 0.05  # and it is over when it is over


@pytest.mark.parametrize("degrees_per_s", [5.0, 30.0, 120.0])
def test_smoothing_turn_lags_no_more_at_15_or_60_fps_than_at_30(degrees_per_s: float) -> None:
    lags = []
    for fps in (15.0, 30.0, 60.0):
        time = np.arange(0, 2.0, 1 / fps)
        yaw = np.radians(np.clip(degrees_per_s * (time - 1.0), -40, 40))
        out = vectors(
            run([face_at(time=t, rotation=(0, y, 0)) for t, y in zip(time, yaw, strict=True)])
        )
        inside = slice(len(time) // 2 + 2, len(time) - 1)
        late = (yaw[inside] - out[inside, 47]) / np.radians(degrees_per_s)
        lags.append(float(np.median(late)) if degrees_per_s <= 40 else float(late[0]))
    assert lags[1] == pytest.approx(lags[2], abs=0.001)
    assert lags[1] - 0.012 < lags[0] < lags[1] + 0.001
    assert lags[1] < {5.0: 0.055, 30.0: 0.012, 120.0: 0.005}[degrees_per_s]


def test_smoothing_pose_crop_and_parameters_fit_each_other() -> None:
    for face in run(trembling(40, np.random.default_rng(3)))[1:]:
        crop, rotation, offset = crop_of(face.pose, face.focal_px, WIDTH, HEIGHT)
        assert (crop.u, crop.v, crop.side) == pytest.approx(
            (face.crop.u, face.crop.v, face.crop.side), abs=1e-6
        )
        np.testing.assert_allclose(rotation, face.params.rotation, atol=1e-6)
        assert face.params.offset is not None
        np.testing.assert_allclose(offset, face.params.offset, atol=1e-6)
        back = crop_at(face.params.offset, WIDTH, HEIGHT)
        assert back.u == pytest.approx(face.crop.u, abs=1e-3)


def test_smoothing_after_a_loss_nothing_stale_is_shown() -> None:
    before = [face_at(200, time=k / 20, expression=0.9, rotation=(0, 0.5, 0)) for k in range(20)]
    after = [face_at(400, time=2 + k / 20, expression=0.1, rotation=(0, -0.5, 0)) for k in range(5)]
    out = run(before + after)[20:]
    np.testing.assert_allclose(vectors(out), vectors(after), atol=1e-6)
    assert out[0] is after[0]


def test_smoothing_reset_lets_the_next_face_pass_unchanged() -> None:
    smoother = Smoother()
    smoother.step(face_at(time=0.0), 0.0)
    smoother.reset()
    face = face_at(time=0.05, expression=0.31)
    assert smoother.step(face, 0.05) is face


def test_smoothing_half_turn_between_two_frames_is_taken_as_it_is() -> None:
    faces = [face_at(time=0.0), face_at(time=0.05, rotation=(0.0, 0.0, math.pi))]
    out = run(faces)[1].params.rotation
    assert abs(out[2]) == pytest.approx(math.pi, abs=1e-5)


def test_smoothing_roll_across_the_wrap_takes_the_short_way() -> None:
    rolls = np.pi + 0.02 * np.arange(-10, 10)
    faces = [face_at(time=k / 30, rotation=(0, 0, r)) for k, r in enumerate(rolls)]
    out = np.unwrap(vectors(run(faces))[:, 48])
    assert np.abs(np.diff(out)).max() < 0.03


@pytest.mark.parametrize("value", [-0.3, 1.3])
def test_smoothing_corrections_below_zero_and_above_one_pass(value: float) -> None:
    shape = np.concatenate([np.full(5, 0.2), np.full(40, value)])
    faces = [face_at(time=k / 30, expression=x) for k, x in enumerate(shape)]
    live = vectors(run(faces))
    assert live[6:, BLINK] == pytest.approx(value, abs=0.02)
    track = smoothed_track(np.arange(45) / 30, vectors(faces), tracker="mediapipe")
    assert track[6:, BLINK] == pytest.approx(value, abs=0.02)


def test_smoothed_track_of_a_set_is_what_the_live_filter_sends() -> None:
    rng = np.random.default_rng(8)
    faces = [
        face_at(time=k / 25 + (k > 30), expression=rng.uniform(0.3, 0.4, 46),
                rotation=0.4 * np.sin(k / 9 + np.arange(3)) + rng.normal(0, 0.003, 3))
        for k in range(60)
    ]  # fmt: skip
    seen, sent = vectors(faces), vectors(run(faces))
    time = [f.params.capture_time for f in faces]
    whole = smoothed_track(time, seen, tracker="mediapipe")
    np.testing.assert_allclose(whole, sent, atol=1e-5)
    assert np.abs(whole - seen).max() > 0.01
    np.testing.assert_array_equal(
        smoothed_track(time[:20], seen[:20], tracker="mediapipe"), whole[:20]
    )  # no peeking
    np.testing.assert_array_equal(whole[31], seen[31])  # after the gap


def test_steadier_tracker_is_followed_more_closely() -> None:
    seen = np.full((40, 49), 0.3)
    seen[20:, :46] += 0.01
    early, late = (smoothed_track(np.arange(40) / 30, seen, tracker=t)[21, BLINK]
                   for t in ("facenet", "mediapipe-face-landmarker"))  # fmt: skip
    assert 0.3 < late < early <= 0.31
    assert early - late > 0.002


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, 1.5, 3.0])
def test_smoothing_rotation_log_inverts_exp(angle: float) -> None:
    vector = angle * np.array([0.6, -0.48, 0.64])
    np.testing.assert_allclose(rotation_log(rotation_exp(vector)), vector, atol=1e-7)


class Couple:
    """Two people with opposite faces; the tracker's order changes from frame to frame."""

    name, schema = "couple", "arkit46"
    closed = False

    def extract(self, frame: Frame) -> list[TrackedFace]:
        if frame.index == 7:
            return []
        pair = [
            face_at(180, time=frame.capture_time, expression=0.1),
            face_at(460, time=frame.capture_time, expression=0.9),
        ]
        return pair if frame.index % 2 else pair[::-1]

    def close(self) -> None:
        self.closed = True


def test_smoothed_extractor_keeps_two_people_apart_and_the_order() -> None:
    inner = Couple()
    extractor = SmoothedExtractor(inner)
    assert (extractor.name, extractor.schema) == ("couple", "arkit46")
    for k in range(12):
        faces = extractor.extract(Frame(k, 100 + k / 20, IMAGE))
        for face in faces:
            assert face.params.expression[0] == pytest.approx(0.1 if face.crop.u < 320 else 0.9)
        assert [f.crop.u < 320 for f in faces] == ([] if k == 7 else [k % 2 == 1, k % 2 == 0])
    extractor.close()
    assert inner.closed


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(EXPRESSION_LOW, EXPRESSION_HIGH), st.floats(-1.5, 1.5), st.floats(-1.4, 1.4),
            st.floats(-3, 3),
            st.floats(0, 640), st.floats(20, 600),
            st.sampled_from([0.0, 1e-6, 0.016, 0.05, 0.2, 9.0]),
        ),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_smoothing_any_input_stays_within_what_was_seen(
    rows: list[tuple[float, float, float, float, float, float, float]],
) -> None:
    smoother, now, seen = Smoother(), 0.0, []
    for e, pitch, yaw, roll, u, side, dt in rows:
        now += dt
        face = face_at(u, side=side, time=now, expression=e, rotation=(pitch, yaw, roll))
        seen.append((e, u, side))
        out = smoother.step(face, now)
        assert np.isfinite(out.pose).all()
        assert np.isfinite(out.params.vector()).all()
        np.testing.assert_allclose(out.pose[:3, :3] @ out.pose[:3, :3].T, np.eye(3), atol=1e-9)
        for value, k in ((out.params.expression[0], 0), (out.crop.u, 1), (out.crop.side, 2)):
            low, high = min(s[k] for s in seen), max(s[k] for s in seen)
            assert low - 1e-3 <= value <= high + 1e-3
    for _ in range(60):  # held still, it comes to rest at what is seen
        now += 0.1
        out = smoother.step(face, now)
    np.testing.assert_allclose(out.params.vector()[:46], face.params.vector()[:46], atol=1e-3)
    np.testing.assert_allclose(out.pose, face.pose, atol=5e-3)
