"""The personal tracker behind a general one: what it hands on, and what stays at home."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import ArrayLike

from quic_transport.avatar_file import (
    AvatarFile,
    AvatarMeta,
    decode_avatar,
    encode_avatar,
    public_bytes,
)
from quic_transport.errors import AvatarFileError
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.seat import Seat
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.personal.align import sight
from sender.personal.extractor import PersonalExtractor
from sender.personal.model import SECTION, from_sections, to_sections
from sender.personal.motion import Motion, project
from sender.portrait_crop import crop_of, line_of_sight_turn, rotation_matrix
from tests.conference.personal.painted import (
    ball_surface,
    measured,
    model,
    pictures,
    pixels_off,
)
from tests.sender.ball import CENTRE, DISTANCE, SCALE

SIDE = 300  # of the portrait within the whole picture


class Scripted:
    """A general tracker that says what it is told."""

    name, schema = "facenet", "arkit46"

    def __init__(self) -> None:
        self.faces: list[TrackedFace] = []
        self.was_reset = self.closed = False

    def extract(self, frame: Frame) -> list[TrackedFace]:
        return self.faces

    def reset(self) -> None:
        self.was_reset = True

    def close(self) -> None:
        self.closed = True


def scene(
    index: int, middle: tuple[int, int] = (320, 240), expression: ArrayLike | None = None
) -> tuple[Frame, TrackedFace]:
    """A whole picture around a portrait of the ball, and what the general tracker says of it;
    `expression` [46] instead of the ball's own, of which that tracker sees what lies in 0 to 1."""
    tracked, truth = measured(12, 7)
    if expression is not None:
        truth[index] = expression
        tracked.expression[index] = np.clip(expression, 0.0, 1.0)
    portrait = pictures(tracked, truth)[index]
    image = np.full((480, 640, 3), 190, np.uint8)
    x, y = middle[0] - SIDE // 2, middle[1] - SIDE // 2
    image[y : y + SIDE, x : x + SIDE] = cv2.resize(portrait, (SIDE, SIDE),
                                                   interpolation=cv2.INTER_CUBIC)  # fmt: skip
    focal = 600.0
    depth = focal / (SCALE * SIDE)
    pose = np.eye(4)
    pose[:3, 3] = ((middle[0] - 320) * depth / focal, (240 - middle[1]) * depth / focal, -depth)
    pose[:3, :3] = line_of_sight_turn(pose[:3, 3]).T @ rotation_matrix(tracked.rotation[index])
    crop, rotation, offset = crop_of(pose, focal, 640, 480, SCALE)
    params = FaceParams(
        tracked.expression[index].astype(np.float32), rotation.astype(np.float32), 1.5,
        offset.astype(np.float32),
    )  # fmt: skip
    face = TrackedFace(params, pose, focal, np.zeros((5, 2), np.float32), crop, 0.9)
    return Frame(0, 1.5, image), face


@pytest.mark.parametrize("middle", [(320, 240), (200, 300), (450, 180)])
def test_the_face_is_where_the_picture_shows_it(middle: tuple[int, int]) -> None:
    inner = Scripted()
    tracker = PersonalExtractor(inner, model())
    tracked, _ = measured(12, 7)
    before, after = [], []
    for index in range(6):
        frame, face = scene(index, middle)
        inner.faces = [face]
        (found,) = tracker.extract(frame)
        crop, rotation, offset = crop_of(found.pose, found.focal_px, 640, 480, SCALE)
        assert crop.u == pytest.approx(found.crop.u)
        assert crop.side == pytest.approx(found.crop.side)
        assert np.allclose(found.params.rotation, rotation, atol=1e-5)
        assert found.params.offset is not None
        assert np.allclose(found.params.offset, offset, atol=1e-5)
        assert found.params.capture_time == 1.5
        before.append(off_screen(face, face, tracked.motion[index]))
        after.append(off_screen(found, face, tracked.motion[index]))
    assert np.mean(after) < 0.3 * np.mean(before)


def off_screen(said: TrackedFace, cut: TrackedFace, truth: np.ndarray) -> float:
    """Pixels of the whole picture between where a receiver puts the ball's points, from the
    rotation and the portrait's square that were said, and where they are."""
    surface = ball_surface()

    def on_screen(face: TrackedFace, motion: Motion) -> tuple[np.ndarray, np.ndarray]:
        seen = project(
            surface.points,
            surface.normals,
            CENTRE,
            motion,
            *sight(Seat(DISTANCE, SCALE), face.params.rotation, None, 1),
        )
        place = np.array([face.crop.u, face.crop.v])
        return place + (seen.pixels - 0.5) * face.crop.side, seen.facing

    there, facing = on_screen(cut, Motion.of(truth))
    here, _ = on_screen(said, Motion.of(np.zeros(6)))
    return float(np.sqrt(((here - there)[facing > 0.3] ** 2).sum(axis=1).mean()))


def test_no_face_stays_no_face_and_the_inner_tracker_is_told() -> None:
    inner = Scripted()
    tracker = PersonalExtractor(inner, model())
    assert tracker.extract(scene(0)[0]) == []
    assert (tracker.name, tracker.schema) == ("facenet", "arkit46")
    tracker.warm_up(640, 480)
    tracker.reset()
    tracker.close()
    assert inner.was_reset
    assert inner.closed


def test_sections_hold_the_model() -> None:
    back = from_sections(to_sections(model()))
    assert back is not None
    assert np.array_equal(back.points, model().points)
    assert np.allclose(back.appearance, model().appearance, atol=2e-3)
    assert from_sections({"mean": np.zeros(3, np.float32)}) is None


def test_a_tracker_from_before_its_points_moved_is_read() -> None:
    sections = to_sections(model())
    for name in ("shift", "rotation_mean"):
        del sections[SECTION + name]
    back = from_sections(sections)
    assert back is not None
    assert np.array_equal(back.points_at(np.ones(3), np.ones(46)), back.points)


@pytest.mark.parametrize("damage", ["missing", "shape", "nan", "spread", "reach"])
def test_damaged_sections_are_refused(damage: str) -> None:
    sections = to_sections(model())
    if damage == "missing":
        del sections["personal.normals"]
    elif damage == "shape":
        sections["personal.points"] = sections["personal.points"][:-1]
    elif damage == "nan":
        sections["personal.camera"] = np.array([np.nan, 2.6], np.float32)
    elif damage == "reach":
        sections["personal.expression_range"] = np.full((2, 46), [[-9.0], [9.0]], np.float32)
    else:
        sections["personal.spread"] = np.zeros_like(sections["personal.spread"])
    with pytest.raises(AvatarFileError, match="personal tracker"):
        from_sections(sections)


def test_what_others_get_of_an_avatar_has_no_personal_tracker() -> None:
    meta = AvatarMeta(
        name="ada", schema="arkit46", extractor="facenet",
        bounds=ParamBounds(np.zeros(49, np.float32), np.ones(49, np.float32)),
        distance_m=0.6, portrait_scale=2.6,
        size_px=256, frame_rate=25.0, created="2026-11-21", provenance={},
    )  # fmt: skip
    avatar = AvatarFile(meta, {"mean": np.arange(12, dtype=np.float32)})
    own = replace(avatar, sections={**avatar.sections, **to_sections(model())})
    shown = decode_avatar(public_bytes(own))
    assert set(shown.sections) == set(avatar.sections)
    assert public_bytes(own) == public_bytes(avatar)
    assert len(encode_avatar(own)) > len(public_bytes(own))


def test_pixels_off_measures_pixels() -> None:
    sideways = Motion.of([0, 0, 0, 0.001, 0, 0])
    assert pixels_off(sideways, np.zeros(6), np.zeros(3)) == pytest.approx(0.67 * 1.15, rel=0.15)
