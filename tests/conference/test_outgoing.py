"""The tracker of an outgoing face: which one, smoothed or not, and warm before the call."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from conference import outgoing
from conference.outgoing import FaceWish, OutgoingFace, SendOptions, tracker_of
from quic_transport.avatar_file import decode_avatar, read_avatar_bytes
from quic_transport.avatar_meta import AvatarMeta
from quic_transport.errors import LocalError
from sender.extractor import Extractor, TrackedFace
from sender.frames import Frame
from sender.personal.extractor import PersonalExtractor
from sender.smoothing import ALIGNED, SmoothedExtractor
from tests.conference.conftest import SIZE, TinyPerson
from tests.conference.personal.painted import model
from tests.sender.faces import face_at


class Camera:
    """A tracker that writes down what it is asked."""

    name, schema = "facenet", "arkit46"

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def warm_up(self, width: int, height: int) -> None:
        self.asked.append((width, height))

    def extract(self, frame: Frame) -> list[TrackedFace]:
        self.asked.append(frame.image)
        return [face_at(expression=0.9 if len(self.asked) < 6 else 0.1, time=frame.capture_time)]

    def close(self) -> None:
        self.asked.append("closed")


@pytest.fixture
def meta(tiny: TinyPerson) -> AvatarMeta:
    return replace(decode_avatar(read_avatar_bytes(tiny.avatar)).meta, extractor="facenet")


def opened(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch, face: FaceWish
) -> tuple[OutgoingFace, Camera]:
    camera, names = Camera(), []

    def open_extractor(name: str, **rest: object) -> Extractor:
        names.append(name)
        return camera

    monkeypatch.setattr(outgoing, "open_extractor", open_extractor)
    made = OutgoingFace(SendOptions(source=str(tiny.clip), face=face), meta)
    assert names == ["facenet"]
    return made, camera


def test_warm_up_prepares_the_tracker_for_the_size_and_leaves_no_memory(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    face, camera = opened(tiny, meta, monkeypatch, FaceWish())
    face.warm_up()
    first, *pictures = camera.asked
    assert first == (SIZE, SIZE)
    assert len(pictures) == outgoing.WARM_UP_RUNS
    camera.asked += [None] * 10
    (seen,) = face.extractor.extract(Frame(0, 0.01, pictures[0]))
    assert seen.params.expression[0] == pytest.approx(0.1)  # not blended with the warm-up's
    face.close()
    assert camera.asked[-1] == "closed"


def test_warm_up_sees_the_mirrored_picture(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = []
    for mirror in (False, True):
        face, camera = opened(tiny, meta, monkeypatch, FaceWish(mirror=mirror))
        face.warm_up()
        pictures.append(camera.asked[-1])
        face.close()
    assert (pictures[0][:, ::-1] == pictures[1]).all()
    assert (pictures[0] != pictures[1]).any()


@pytest.mark.parametrize("raw", [False, True])
def test_tracker_is_smoothed_unless_told_otherwise(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch, raw: bool
) -> None:
    face, camera = opened(tiny, meta, monkeypatch, FaceWish.parse("left,raw" if raw else "left"))
    assert isinstance(face.extractor, SmoothedExtractor) != raw
    assert (face.extractor is camera) == raw
    face.close()


def test_exact_tracker_is_left_alone(tiny: TinyPerson, meta: AvatarMeta) -> None:
    face = OutgoingFace(SendOptions(source=str(tiny.clip)), replace(meta, extractor="truth"))
    assert not isinstance(face.extractor, SmoothedExtractor)
    face.close()


@pytest.mark.parametrize(
    ("made_with", "name"),
    [
        ("facenet", "facenet"), ("facenet-2", "facenet"), ("cpem", "cpem"), ("truth", "truth"),
        ("mediapipe-face-landmarker", "mediapipe"),
    ],
)  # fmt: skip
def test_tracker_is_opened_as_the_avatar_was_made(
    meta: AvatarMeta, made_with: str, name: str
) -> None:
    assert tracker_of(replace(meta, extractor=made_with)) == name


def test_tracker_of_another_avatar_is_refused_and_let_go(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    camera = Camera()
    monkeypatch.setattr(outgoing, "open_extractor", lambda *_, **__: camera)
    with pytest.raises(LocalError, match="was made with the tracker facenet-2 "):
        OutgoingFace(SendOptions(source=str(tiny.clip)), replace(meta, extractor="facenet-2"))
    assert camera.asked == ["closed"]


def test_budget_too_small_is_refused_before_anything_is_opened(
    meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "open_source", lambda *_, **__: pytest.fail("opened"))
    with pytest.raises(LocalError, match="too little"):
        OutgoingFace(SendOptions(source="camera:0", payload_kbps=0.0), meta)


def test_tracker_that_does_not_exist_is_one_sentence(meta: AvatarMeta) -> None:
    with pytest.raises(LocalError, match=r"'openface'.*train the avatar again"):
        tracker_of(replace(meta, extractor="openface"))


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("", FaceWish()),
        ("largest", FaceWish()),
        ("2, mirror", FaceWish(which="2", mirror=True)),
        ("raw,right", FaceWish(which="right", raw=True)),
    ],
)
def test_face_wish_words_in_any_order(text: str, wish: FaceWish) -> None:
    assert FaceWish.parse(text) == wish


@pytest.mark.parametrize(("text", "word"), [("left,right", "left and right"), ("me", "'me'")])
def test_face_wish_without_sense_is_one_sentence(text: str, word: str) -> None:
    with pytest.raises(LocalError, match=word):
        FaceWish.parse(text)


def test_the_personal_tracker_runs_behind_the_unsmoothed_one_under_its_own_filter(
    tiny: TinyPerson, meta: AvatarMeta, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conference.outgoing.open_extractor", lambda *a, **k: Camera())
    made = OutgoingFace(SendOptions(source=str(tiny.clip)), meta, model())
    try:
        outer = made.extractor
        assert isinstance(outer, SmoothedExtractor)
        assert outer._settings is ALIGNED
        assert isinstance(outer.inner, PersonalExtractor)
        assert isinstance(outer.inner.inner, Camera)
    finally:
        made.close()
