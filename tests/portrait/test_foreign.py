"""Sets from elsewhere: what is recognised, what is refused, what comes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import facewire
from nerf.trainset import load_images, read_trainset
from portrait import foreign_build
from portrait.foreign import open_foreign
from portrait.foreign_build import import_dataset
from portrait.options import BuildOptions
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.extractor import TrackedFace, open_extractor
from sender.frames import Frame
from sender.portrait_crop import crop_of
from sender.video import read_video
from tests.portrait import sets

COUNT = sets.FRAMES
PARSING = np.array([(255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)  # BGR


class KnownFace:
    """A tracker that knows where the disc is."""

    name, schema = "known", "arkit46"

    def extract(self, frame: Frame) -> list[TrackedFace]:
        pose = sets.poses()[frame.index]
        crop, rotation, offset = crop_of(pose, sets.FOCAL, sets.W, sets.H)
        params = FaceParams(
            np.full(46, 0.25, np.float32),
            rotation.astype(np.float32),
            frame.capture_time,
            offset.astype(np.float32),
        )
        marks = np.full((5, 2), 60.0, np.float32)
        return [TrackedFace(params, pose, sets.FOCAL, marks, crop, 1.0)]

    def close(self) -> None:
        """Nothing."""


class Disc:
    """A segmenter that tells orange from the rest."""

    def person(self, portrait: Any, frame: Frame, crop: Any) -> np.ndarray:
        return (portrait[..., 0].astype(int) > portrait[..., 2].astype(int) + 100) * np.float32(1)

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(name: str, **given: Any) -> Any:
        return KnownFace() if name == "known" else open_extractor(name, **given)

    monkeypatch.setattr(foreign_build, "open_extractor", opened)
    monkeypatch.setattr(foreign_build, "open_segmenter", lambda *_: Disc())


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ori_imgs and parsing of the disc, as PNG."""
    folder = tmp_path_factory.mktemp("foreign")
    images, classes, _ = sets.pictures()
    for name in ("ori_imgs", "parsing"):
        (folder / name).mkdir()
    for i, (image, labels) in enumerate(zip(images, classes, strict=True)):
        assert cv2.imwrite(str(folder / "ori_imgs" / f"{i}.png"), image[..., ::-1])
        assert cv2.imwrite(str(folder / "parsing" / f"{i}.png"), PARSING[labels])
    return folder


def linked(material: Path, folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(material / name)
    return folder


def blend_shape_set(folder: Path, width: int = 46, count: int = COUNT) -> Path:
    values = np.linspace(0.0, 1.2, count)
    document = {
        "fx": 1200.0, "fy": 1200.0, "cx": 80, "cy": 60, "h": 120, "w": 160,
        "frames": [{"img_id": i, "exp_ori": [float(values[i])] * width,
                    "transform_matrix": np.eye(4).tolist()} for i in range(count)],
    }  # fmt: skip
    (folder / "transforms.json").write_text(json.dumps(document))
    return folder


def rad_set(folder: Path, train: int = 20, count: int = COUNT) -> Path:
    for name, numbers in (("train", range(train)), ("val", range(train, count))):
        document = {"focal_len": 1200.0, "cx": 80, "cy": 60,
                    "frames": [{"img_id": i, "aud_id": i, "transform_matrix": np.eye(4).tolist()}
                               for i in numbers]}  # fmt: skip
        (folder / f"transforms_{name}.json").write_text(json.dumps(document))
    return folder


OPTIONS = BuildOptions(extractor="known")


@pytest.mark.usefixtures("known")
def test_import_nerf_blend_shape_keeps_its_coefficients_and_masks(material: Path, tmp_path) -> None:
    source = blend_shape_set(linked(material, tmp_path / "id1", "ori_imgs", "parsing"))
    made = import_dataset(source, tmp_path / "out", OPTIONS, rate=sets.RATE)
    got = read_trainset(made.folder)
    assert (got.schema, got.extractor, got.source) == ("fw46", "imported", "id1")
    np.testing.assert_allclose(got.expression[:, 7], np.linspace(0.0, 1.2, COUNT), atol=1e-6)
    assert got.distance_m == pytest.approx(sets.DISTANCE, abs=0.01)
    _, alpha = load_images(got, 128, range(COUNT))
    x = np.arange(128) + 0.5
    area = alpha.sum(axis=(1, 2)) / 255
    np.testing.assert_allclose((alpha / 255 * x).sum(axis=(1, 2)) / area, 64, atol=1.0)
    disc = np.pi * (30 * 128 / (sets.FOCAL / sets.DISTANCE / 2.6)) ** 2
    np.testing.assert_allclose(area, disc, rtol=0.08)  # the head alone, by the class maps
    torso = cv2.imread(str(made.folder / "torso_imgs" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert torso is not None
    assert torso[256 + round(48 * 512 / 154), 256, 3] == 255


def test_open_foreign_rad_nerf_joins_its_files_and_keeps_its_split(
    material: Path, tmp_path
) -> None:
    source = rad_set(linked(material, tmp_path / "obama", "ori_imgs", "parsing"), train=15)
    got = open_foreign(source / "transforms_train.json")
    assert (got.kind, len(got.pictures), got.expression) == ("RAD-NeRF", COUNT, None)
    assert got.held_out == pytest.approx((COUNT - 15) / COUNT)
    assert [p.stem for p in got.pictures] == [str(i) for i in range(COUNT)]
    assert got.parsing is not None
    assert got.parsing[3] == source / "parsing" / "3.png"


@pytest.mark.usefixtures("known")
def test_import_pictures_by_the_command_line(material: Path, tmp_path, capsys) -> None:
    out = str(tmp_path / "out")
    args = ["dataset", "import", str(material / "ori_imgs"), "-o", out, "--extractor", "known",
            "--fps", "4", "--held-out", "0.2"]  # fmt: skip
    assert facewire.main(args) == 0
    assert "22 of 22 frames (17 to train on, 5 held out)" in capsys.readouterr().out
    assert facewire.main([*args, "--force"]) == 0
    assert "kept from before: frames, segmentation" in capsys.readouterr().out
    assert facewire.main(args) == 1
    assert "not empty" in capsys.readouterr().err


def test_open_foreign_orders_pictures_by_number_and_reads_file_paths(tmp_path: Path) -> None:
    for i in (10, 9, 100, 1):
        (tmp_path / f"f{i}.jpg").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    got = open_foreign(tmp_path)
    assert [p.stem for p in got.pictures] == ["f1", "f9", "f10", "f100"]
    assert (got.kind, got.parsing, got.expression) == ("pictures", None, None)
    frames = [{"file_path": "./f9"}, {"file_path": "f10.jpg"}]
    (tmp_path / "transforms_train.json").write_text(json.dumps({"frames": frames}))
    assert [p.stem for p in open_foreign(tmp_path).pictures] == ["f9", "f10"]


def test_open_foreign_other_coefficients_are_not_used_and_it_is_said(
    material: Path, tmp_path
) -> None:
    source = blend_shape_set(linked(material, tmp_path / "a", "ori_imgs", "parsing"), width=76)
    got = open_foreign(source)
    assert got.expression is None
    assert "76 coefficients, not 46" in got.notes[0]
    assert got.parsing is not None
    assert (got.kind, len(got.pictures)) == ("NeRFBlendShape", COUNT)


def test_open_foreign_nonsense_ends_in_a_sentence(material: Path, tmp_path) -> None:
    def refuses(says: str, folder: Path) -> None:
        with pytest.raises(LocalError, match=says):
            open_foreign(folder)

    refuses("not a folder", tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    refuses("holds no transforms", tmp_path / "empty")
    bad = linked(material, tmp_path / "bad", "ori_imgs")
    path = bad / "transforms_train.json"
    for text, says in (("{torn", "not readable JSON"), ("[]", "no object"),
                       ("{}", "list of frames"),
                       ('{"frames": [{}]}', "without img_id"),
                       ('{"frames": [{"img_id": 0}, {"img_id": 99}]}', "1 of 2.*99"),
                       ('{"frames": [{"file_path": "../../secret.png"}]}', "none")):  # fmt: skip
        path.write_text(text)
        refuses(says, bad)
    path.unlink()
    (bad / "transforms.json").write_text('{"facewire": {}, "frames": [1]}')
    refuses("facewire set already", bad)


@pytest.mark.usefixtures("known")
def test_import_damaged_or_unequal_pictures_end_in_a_sentence(tmp_path: Path) -> None:
    for i, picture in enumerate((np.zeros((120, 160, 3)), np.zeros((60, 160, 3)))):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture.astype(np.uint8))
    with pytest.raises(LocalError, match=r"1\.png has 160×60 pixels"):
        import_dataset(tmp_path, tmp_path / "out", OPTIONS)
    (tmp_path / "1.png").write_bytes(b"no picture")
    with pytest.raises(LocalError, match=r"1\.png is damaged"):
        import_dataset(tmp_path, tmp_path / "out", OPTIONS)
    with pytest.raises(LocalError, match="performer's video only"):
        import_dataset(tmp_path, tmp_path / "out", BuildOptions(extractor="truth"))


@pytest.mark.assets
def test_import_real_pictures_with_mediapipe(assets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for frame in read_video(assets / "videos" / "trump_10s_512.mp4", warn=lambda _: None):
        if frame.index % 6 == 0 and frame.index < 180:
            cv2.imwrite(str(folder / f"{frame.index}.jpg"), frame.image[..., ::-1])
    options = BuildOptions(extractor="mediapipe", models=assets / "models")
    made = import_dataset(folder, tmp_path / "out", options, rate=5.0)
    assert made.frames == 30
    assert made.reprojection_px[0] < 6.0
    _, alpha = load_images(read_trainset(made.folder), 64, range(30))
    assert 0.2 < alpha.mean() / 255 < 0.4
