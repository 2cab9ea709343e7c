"""The body's own numbers: learned, measured in pictures never seen, doubted, kept at home."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from conference.full_frame_body import LEAST_PICTURES, Learned, learn_body
from nerf.cpu.pool import WorkerPool
from nerf.torso import TorsoLayer
from quic_transport.avatar_file import PRIVATE
from quic_transport.errors import AvatarFileError
from quic_transport.params import BODY_DIM, FaceParams
from sender.personal import model as personal
from sender.personal.body import BodyTracker, Measured, belief
from sender.personal.body_model import SECTION, from_sections, to_sections
from tests.nerf.swaying import FRAMING, REST, H, W, swaying_torso

POOL = WorkerPool(1)
HEAD = (225, 190, 160)


def room() -> np.ndarray:
    coarse = np.random.default_rng(8).integers(60, 160, (5, 6, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (W, H), interpolation=cv2.INTER_CUBIC), np.uint8)


def filmed(torso: TorsoLayer, face: FaceParams, body: Any, behind: np.ndarray) -> np.ndarray:
    """The person in a camera's picture, the head an ellipse."""
    assert face.offset is not None
    picture = np.dstack([behind, np.full((H, W), 255, np.uint8)])
    torso.over(picture, face.rotation, face.offset, face.expression, POOL, np.asarray(body))
    place = FRAMING.place(face.offset)
    out = np.ascontiguousarray(picture[..., :3])
    cv2.ellipse(out, (round(place.u), round(place.v)), (32, 40), 0, 0, 360, HEAD, -1)
    noise = np.random.default_rng(int(1000 * face.capture_time)).normal(0, 2, out.shape)
    return np.clip(out + noise, 0, 255).astype(np.uint8)


def said(k: int, time: float, x: float = 0.0) -> FaceParams:
    """What a tracker says of the head in frame k."""
    turn = 0.08 * np.sin([k, 2 * k, 3 * k])
    offset = np.array([x + 0.02 * np.cos(k), -0.1, 0.0], np.float32)
    return FaceParams(np.zeros(46, np.float32), turn.astype(np.float32), time, offset)


class Pictures:
    """A stage and a training set of pictures that are made when they are asked for."""

    train_count = 0
    img_id = np.zeros(0, int)

    def __init__(self, folder: Path, torso: TorsoLayer, count: int) -> None:
        self.folder, self.torso = folder, torso
        self.faces = {n: said(n, float(n)) for n in range(count)}
        self.own = 0.2 * np.random.default_rng(1).normal(size=(count, len(torso.own)))

    def plate(self) -> np.ndarray:
        return room()

    def source(self, n: int) -> np.ndarray:
        return filmed(self.torso, self.faces[n], self.own[n], room())


def learn(folder: Path, torso: TorsoLayer, count: int = 20) -> Learned:
    made: Any = Pictures(folder, torso, count)
    (folder / "matte").mkdir(exist_ok=True)
    matte = np.zeros((64, 64), np.uint8)
    side = 64 / REST.side
    cv2.ellipse(matte, (32, 32), (round(32 * side), round(40 * side)), 0, 0, 360, 255, -1)
    cv2.imwrite(str(folder / "matte" / "0.png"), matte)
    made.train_count, made.img_id = 1, np.zeros(1, int)
    return learn_body(torso, made, made, made.faces)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    return learn(tmp_path_factory.mktemp("body"), swaying_torso())


def sway(k: int) -> np.ndarray:
    """How the body really stands in frame k, units beside the guess."""
    return np.array([5 * np.sin(k / 5), 3 * np.cos(k / 7), 2 * np.sin(k / 3), np.sin(k / 4)])


def followed(learned: Learned, frames: int = 24, change: Any = None) -> tuple[Any, Any]:
    """(measured, true) [N, 4] of a film at 20 frames/s; `change(k, picture)` may spoil it."""
    assert learned.model is not None
    tracker, found, true = BodyTracker(learned.model), [], []
    for k in range(frames):
        face = said(k, k / 20)
        picture = filmed(learned.torso, face, sway(k), room())
        result = tracker.follow(picture if change is None else change(k, picture), face)
        found.append(result.body)
        true.append(sway(k))
    return np.array(found), np.array(true)


def test_numbers_are_measured_in_pictures_never_seen(learned: Learned) -> None:
    found, true = followed(learned)
    assert np.sqrt(((found - true) ** 2).mean()) < 0.6
    assert np.sqrt((true**2).mean()) > 2


def test_other_camera_sizes_and_light_say_the_same(learned: Learned) -> None:
    def larger(k: int, picture: np.ndarray) -> np.ndarray:
        whole = (3 * W, 3 * H)
        return np.asarray(cv2.resize(picture, whole, interpolation=cv2.INTER_LINEAR), np.uint8)

    def dimmer(k: int, picture: np.ndarray) -> np.ndarray:
        return (0.6 * picture).astype(np.uint8)

    for change in (larger, dimmer):
        found, true = followed(learned, 10, change)
        assert np.sqrt(((found - true) ** 2).mean()) < 1.0


def test_other_clothes_are_not_believed(learned: Learned) -> None:
    coarse = np.random.default_rng(3).integers(0, 255, (H // 8, W // 8, 3)).astype(np.uint8)
    other = np.asarray(cv2.resize(coarse, (W, H), interpolation=cv2.INTER_NEAREST), np.uint8)
    found, _ = followed(learned, 8, lambda k, picture: other)
    assert np.abs(found).max() < 0.2


def test_what_is_covered_for_a_while_fades_to_the_guess_and_comes_back(learned: Learned) -> None:
    def covered(k: int, picture: np.ndarray) -> np.ndarray:
        return np.full_like(picture, 90) if 10 <= k < 40 else picture

    found, true = followed(learned, 60, covered)
    assert np.abs(found[39]).max() < 0.15 * np.abs(found[9]).max()
    assert np.abs(found[59] - true[59]).max() < 1.0
    steps = np.abs(np.diff(found, axis=0)).max()
    assert steps < 2 * np.abs(np.diff(true, axis=0)).max() + 0.5


def test_person_in_another_room_is_still_measured(learned: Learned) -> None:
    assert learned.model is not None
    tracker = BodyTracker(learned.model)
    grid = np.indices((H, W)).sum(0) // 17 % 2
    elsewhere = np.repeat((40 + 150 * grid)[..., None], 3, -1).astype(np.uint8)
    for k in range(12):
        face = said(k, k / 20)
        result = tracker.follow(filmed(learned.torso, face, sway(k), elsewhere), face)
    assert result.body is not None
    assert np.abs(result.body - sway(11)).max() < 0.5 * np.abs(sway(11)).max()


def test_who_sits_elsewhere_has_taken_the_body_along(learned: Learned) -> None:
    assert learned.model is not None
    tracker = BodyTracker(learned.model)
    for k in range(6):
        face = said(k, k / 20, x=0.35)  # training saw 0.2 at most
        result = tracker.follow(filmed(learned.torso, face, sway(k), room()), face)
    assert result.body is not None
    assert np.abs(result.body[:2] - sway(5)[:2]).max() < 1.5


def test_face_without_a_place_passes_unchanged(learned: Learned) -> None:
    assert learned.model is not None
    face = replace(said(0, 0.0), offset=None)
    assert BodyTracker(learned.model).follow(room(), face) is face


def test_head_far_out_of_the_picture_harms_nothing(learned: Learned) -> None:
    assert learned.model is not None
    for x, y, size in ((9.0, 9.0, 0.0), (-9.0, -16.0, -3.0), (0.0, 0.0, 3.0), (0.0, 0.0, -6.0)):
        face = replace(said(0, 0.0), offset=np.array([x, y, size], np.float32))
        body = BodyTracker(learned.model).follow(room(), face).body
        assert body is not None
        assert np.abs(body).max() <= learned.model.reach.max()


def test_model_survives_its_file_and_stays_at_home(learned: Learned) -> None:
    assert learned.model is not None
    sections = to_sections(learned.model)
    assert all(name.startswith(PRIVATE) for name in sections)
    assert sum(array.nbytes for array in sections.values()) < 60_000
    again = from_sections(sections)
    assert again is not None
    found, true = followed(Learned(learned.torso, again), 8)
    assert np.sqrt(((found - true) ** 2).mean()) < 0.7
    assert from_sections({}) is None
    assert personal.from_sections(sections) is None  # a body's tracker is no head's


def test_damaged_models_are_refused(learned: Learned) -> None:
    assert learned.model is not None
    sections: dict[str, Any] = dict(to_sections(learned.model))
    for name, array in sections.items():
        with pytest.raises(AvatarFileError):
            from_sections({k: v for k, v in sections.items() if k != name})
        with pytest.raises(AvatarFileError):
            from_sections({**sections, name: array[..., None]})
        if array.dtype.kind == "f" and array.size:
            with pytest.raises(AvatarFileError):
                from_sections({**sections, name: np.full_like(array, np.nan)})
    wild = {SECTION + "uses": np.array([99.0], np.float32),
            SECTION + "information": -np.eye(BODY_DIM, dtype=np.float32)}  # fmt: skip
    for name, array in wild.items():
        with pytest.raises(AvatarFileError):
            from_sections({**sections, name: array})


def test_too_few_pictures_or_another_torso_give_nothing(tmp_path: Path) -> None:
    torso = swaying_torso()
    few = learn(tmp_path, torso, LEAST_PICTURES - 1)
    assert few.model is None
    assert few.torso is torso
    three = replace(torso, moves=torso.moves[:-1], shades=torso.shades[:-1], own=torso.own[:3])
    assert learn(tmp_path, three).model is None


def test_belief_fades_with_the_misfit_and_needs_something_seen() -> None:
    def found(misfit: float, unlike: float = 0.1, seen: float = 500.0) -> Measured:
        return Measured(np.zeros(BODY_DIM), misfit, 0.0, unlike, seen)

    assert belief(found(1.0), 1.0) == 1.0
    assert belief(found(9.0), 1.0) == 0.0
    assert 0.0 < belief(found(2.5), 1.0) < 1.0
    assert belief(found(1.0, unlike=0.9), 1.0) == 0.0
    assert belief(found(1.0, seen=3.0), 1.0) == 0.0
