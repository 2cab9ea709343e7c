"""Body and room from a film to an avatar and through a call."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import facewire
from conference.bench.fullframe import main as bench_main
from conference.full_frame import held_out, trained
from conference.full_frame_lesson import (
    PAINTED,
    SEEN,
    lesson_of,
    portrait_view,
    stage_of,
    whole_view,
)
from conference.seat import offset_in
from nerf import torso_fit
from nerf.torso import torso_from
from nerf.train import PRESETS
from nerf.trainset import read_trainset
from portrait.build import build_dataset
from quic_transport.avatar_file import load_avatar
from quic_transport.errors import LocalError
from receiver.full_frame import plate_from
from sender.portrait_crop import PortraitCrop, crop_at, offset_of
from tests.nerf.heads import SMALL
from tests.portrait.sets import BODY_RGB, NECK_RGB, TRUTH, H, W, film_disc, room


@pytest.fixture(scope="module")
def disc_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished set of the disc on a neck on a body before a blue room."""
    folder = tmp_path_factory.mktemp("disc")
    build_dataset(film_disc(folder), folder / "set", TRUTH)
    return folder / "set"


def test_bodies_are_neck_and_torso_of_whole_pictures(disc_set: Path) -> None:
    trainset = read_trainset(disc_set)
    stage = stage_of(trainset)
    assert stage is not None
    assert stage.framing.size == (W, H)
    assert set(stage.frames) == {int(p.stem) for p in (disc_set / "body").glob("*.png")}
    n = max(stage.frames)
    view = whole_view(stage, n, stage.framing.place(trainset.offset[n]))
    middle = round(stage.framing.place(trainset.offset[n]).u)
    alpha, rgb = view.picture[..., 3], view.picture[..., :3].astype(int)
    assert alpha[110, middle] > 250
    assert np.abs(rgb[110, middle] - BODY_RGB).max() < 25
    assert np.abs(rgb[94, middle] - NECK_RGB).max() < 45
    assert view.weight[110, middle] == SEEN
    assert view.weight[86, middle] == PAINTED  # under the disc's edge: painted in
    assert alpha[50].max() == 0
    assert alpha[110, (middle + 70) % W] == 0
    assert stage.raw(n).shape == stage.plate().shape == room().shape
    assert stage.body(n)[110, middle]


def test_portraits_and_whole_pictures_agree_about_the_torso(disc_set: Path) -> None:
    trainset = read_trainset(disc_set)
    stage = stage_of(trainset)
    assert stage is not None
    n = min(stage.frames)
    place = stage.framing.place(trainset.offset[n])
    whole, portrait = whole_view(stage, n, place), portrait_view(stage, n, place,
                                                                 trainset.offset[n])  # fmt: skip
    both = (whole.weight == SEEN) & (portrait.weight == SEEN)
    assert both[90:].any()
    apart = np.abs(whole.picture.astype(int) - portrait.picture)[both]
    assert np.median(apart) <= 2
    assert (apart.max(axis=-1) > 60).mean() < 0.05


def test_offset_of_a_square_within_a_portrait() -> None:
    own = np.array([0.2, -0.4, -0.3])
    crop = crop_at(own, 640, 480)
    inner = (0.53, 0.46, 1.1)
    u, v = crop.u + (inner[0] - 0.5) * crop.side, crop.v + (inner[1] - 0.5) * crop.side
    wanted = offset_of(PortraitCrop(u, v, inner[2] * crop.side), 640, 480)
    assert offset_in(inner, own) == pytest.approx(wanted)


def test_set_without_whole_pictures_has_no_stage(disc_set: Path, tmp_path: Path) -> None:
    trainset = read_trainset(disc_set)
    assert stage_of(replace(trainset, folder=tmp_path)) is None
    (tmp_path / "framing.json").write_text("[1, 2", encoding="utf-8")
    assert stage_of(replace(trainset, folder=tmp_path)) is None
    (tmp_path / "framing.json").write_text(json.dumps({"framing": [1], "frames": {}}))
    assert stage_of(replace(trainset, folder=tmp_path)) is None


def test_lesson_leaves_held_out_frames_alone(disc_set: Path) -> None:
    trainset = read_trainset(disc_set)
    stage = stage_of(trainset)
    assert stage is not None
    n = trainset.train_count
    lesson = lesson_of(trainset, stage, trainset.rotation[:n], trainset.offset[:n],
                       trainset.expression[:n].astype(np.float64))  # fmt: skip
    assert lesson.spread.shape == (n, 7)
    shown = {tuple(row) for row in np.round(lesson.drivers[:, :6], 9)}
    kept = np.round(np.concatenate([trainset.rotation, trainset.offset], axis=1), 9)
    assert shown <= {tuple(row) for row in kept[:n]}
    assert not shown & {tuple(row) for row in kept[n:]}
    assert [i for i, _ in held_out(trainset, None)] == list(range(n, len(trainset)))


def test_training_writes_body_and_room_and_says_what_they_are_worth(
    disc_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(torso_fit, "STEPS", 30)
    monkeypatch.setattr(torso_fit, "SHARP_STEPS", 6)
    small = replace(PRESETS["fast"], config=SMALL, steps=40, size=48, samples=2000)
    monkeypatch.setitem(PRESETS, "fast", small)
    out = tmp_path / "disc.fwa"
    assert facewire.main(["train", str(disc_set), "-o", str(out), "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "body and room learned" in text
    assert "whole pictures, as sent: PSNR" in text
    avatar = load_avatar(out)
    found = plate_from(avatar.sections)
    assert found is not None
    framing, plate = found
    assert framing.size == (W, H)
    assert np.abs(plate[:40].astype(int) - room()[:40]).mean() < 12
    assert torso_from(avatar.sections, framing) is not None
    facts = avatar.meta.provenance
    assert float(facts["full frame psnr as sent"]) > 12
    assert 0 < float(facts["full frame ssim as sent"]) <= 1
    judge(disc_set, out, tmp_path, float(facts["full frame psnr as sent"]))


def judge(folder: Path, avatar: Path, out: Path, said: float) -> None:
    """The bench reads the film anew and comes to the same."""
    spec = f"{folder.parent / 'me.mp4'}={folder}={avatar}"
    assert bench_main([spec, "-o", str(out / "bench"), "--threads", "1"]) == 0
    rows = json.loads((out / "bench" / "fullframe.json").read_text())["rows"]
    found = {row["name"].rsplit(".", 1)[1]: row["value"] for row in rows}
    assert found["psnr"] == pytest.approx(said, abs=1.5)
    assert found["psnr_room"] > found["psnr_plate_alone"]
    assert (out / "bench" / "me.png").is_file()
    assert (out / "bench" / "me.mp4").is_file()
    with pytest.raises(LocalError):
        bench_main(["one=two", "-o", str(out / "bench")])


def test_training_whose_body_pictures_are_damaged_still_gives_a_head(
    disc_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    import shutil

    copy = tmp_path / "set"
    shutil.copytree(disc_set, copy)
    for path in (copy / "body").glob("*.png"):
        path.write_bytes(b"")
    small = replace(PRESETS["fast"], config=SMALL, steps=10, size=48, samples=2000)
    monkeypatch.setitem(PRESETS, "fast", small)
    out = tmp_path / "disc.fwa"
    assert facewire.main(["train", str(copy), "-o", str(out), "--threads", "1"]) == 0
    assert "the avatar stays a head" in capsys.readouterr().out
    assert plate_from(load_avatar(out).sections) is None


def test_trained_without_a_personal_tracker_is_what_the_set_says(disc_set: Path) -> None:
    class Nothing:
        count = 5

    trainset = read_trainset(disc_set)
    said = trained(trainset, Nothing(), None)  # type: ignore[arg-type]
    assert (said.offset == trainset.offset[:5]).all()
    assert cv2.imread(str(disc_set / "background.png")) is not None
