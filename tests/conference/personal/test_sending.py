"""What a live sender would have sent for a training set's frames: causal, and in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conference.personal.sending import Sent, sent
from nerf.camera import portrait_camera, project
from nerf.trainset import TrainSet, portrait_poses
from quic_transport.params import within_reach
from quic_transport.seat import Seat
from tests.conference.personal.painted import ball_surface, measured, model, pictures
from tests.sender.ball import DISTANCE, SCALE

FRAMES = 14


@pytest.fixture(scope="module")
def shown() -> tuple[TrainSet, list[np.ndarray], np.ndarray]:
    """A set of the painted ball, its portraits, and where the ball really was."""
    tracked, truth = measured(FRAMES, 7)
    trainset = TrainSet(
        folder=Path("."), camera=portrait_camera(256, DISTANCE, SCALE), distance_m=DISTANCE,
        scale=SCALE, img_id=np.arange(FRAMES), expression=tracked.expression.astype(np.float32),
        rotation=tracked.rotation, pose=portrait_poses(tracked.rotation, DISTANCE),
        time=np.arange(FRAMES) / 25, offset=np.zeros((FRAMES, 3)), train_count=1,
        extractor="facenet", frame_rate=25.0,
    )  # fmt: skip
    return trainset, pictures(tracked, truth), tracked.motion


def all_sent(shown: tuple[TrainSet, list[np.ndarray], np.ndarray], count: int) -> list[Sent]:
    return list(sent(model(), shown[0], range(count), lambda i: shown[1][i]))


def test_the_ball_is_drawn_where_it_was(
    shown: tuple[TrainSet, list[np.ndarray], np.ndarray],
) -> None:
    from sender.personal.motion import Motion
    from tests.sender.ball import CENTRE

    trainset, _, motions = shown
    generic, personal = [], []
    points = ball_surface().points[:400]
    for i, face in enumerate(all_sent(shown, FRAMES)):
        true = project(points, Motion.of(motions[i]).apply(trainset.pose[i], CENTRE),
                       trainset.camera)  # fmt: skip
        pose, camera = face.view(trainset.offset[i], Seat(DISTANCE, SCALE), 256)
        generic.append(np.abs(project(points, trainset.pose[i], trainset.camera) - true).mean())
        personal.append(np.abs(project(points, pose, camera) - true).mean())
    assert np.mean(generic) > 1.0
    assert np.mean(personal) < 0.5 * np.mean(generic)


def test_what_is_sent_does_not_know_the_future(
    shown: tuple[TrainSet, list[np.ndarray], np.ndarray],
) -> None:
    for early, late in zip(all_sent(shown, 5), all_sent(shown, FRAMES), strict=False):
        assert np.array_equal(early.expression, late.expression)
        assert np.array_equal(early.rotation, late.rotation)
        assert early.place == late.place


def test_coefficients_stay_within_reach(
    shown: tuple[TrainSet, list[np.ndarray], np.ndarray],
) -> None:
    for face in all_sent(shown, FRAMES):
        assert face.expression.shape == (46,)
        assert np.array_equal(face.expression, within_reach(face.expression))
