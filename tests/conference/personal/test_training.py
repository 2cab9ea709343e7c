"""`facewire train` on a painted ball with a tracker that errs: three scores, a tracker in the
avatar, and a run that goes on with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import facewire
from conference import train_report
from conference.heldout import cut_trainset
from conference.personal import fitting
from conference.personal.fitting import MOMENTS, PersonalFitting
from conference.train import Run
from conference.train_request import parse
from nerf.camera import portrait_camera
from nerf.train import PRESETS
from nerf.trainset import TrainSet, portrait_poses, read_trainset, write_trainset
from quic_transport.avatar_file import load_avatar
from quic_transport.codec.rc_tables import from_sections as tables_of
from sender.personal.model import from_sections
from tests.conference.personal.painted import measured
from tests.nerf.heads import SMALL
from tests.sender.ball import DISTANCE, SCALE, picture

FRAMES, TRAINED = 130, 110


@pytest.fixture(scope="module")
def painted_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("painted") / "set"
    for name in ("head_imgs", "ori_imgs", "matte"):
        (folder / name).mkdir(parents=True)
    tracked, truth = measured(FRAMES, 5)
    fine = [cv2.IMWRITE_JPEG_QUALITY, 97]
    for i in range(FRAMES):
        image, matte = picture(tracked.rotation[i], truth[i], tracked.motion[i])
        head = np.where(matte[..., None] > 0, image, 255)
        cv2.imwrite(str(folder / "ori_imgs" / f"{i}.jpg"), image[..., ::-1], fine)
        cv2.imwrite(str(folder / "head_imgs" / f"{i}.jpg"), head[..., ::-1], fine)
        cv2.imwrite(str(folder / "matte" / f"{i}.png"), matte)
    write_trainset(TrainSet(
        folder=folder, camera=portrait_camera(256, DISTANCE, SCALE), distance_m=DISTANCE,
        scale=SCALE, img_id=np.arange(FRAMES), expression=tracked.expression.astype(np.float32),
        rotation=tracked.rotation, pose=portrait_poses(tracked.rotation, DISTANCE),
        time=np.arange(FRAMES) / 25, offset=np.zeros((FRAMES, 3)), train_count=TRAINED,
        extractor="facenet", frame_rate=25.0,
    ))  # fmt: skip
    return folder


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PRESETS["fast"], config=SMALL, steps=360, size=80, samples=3000)
    monkeypatch.setitem(PRESETS, "fast", small)
    monkeypatch.setattr(train_report, "CEILING_FRAMES", 3)


def test_the_personal_tracker_lies_between_the_general_one_and_the_ceiling(
    painted_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(fitting, "MOMENTS", (0.25, 0.5))  # two fits tell as much as four
    out = tmp_path / "ball.fwa"
    assert facewire.main(["train", str(painted_set), "-o", str(out), "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "personal tracker" in text
    avatar = load_avatar(out)
    generic, personal, ceiling = (
        float(avatar.meta.provenance[f"psnr {kind}"])
        for kind in ("generic tracker", "personal tracker", "pose by pose")
    )
    assert personal > generic + 1.5
    assert ceiling > generic + 1.5
    model = from_sections(avatar.sections)
    assert model is not None
    assert model.misfit[1] > model.misfit[0] > 0
    assert tables_of(avatar.sections) is not None
    again = tmp_path / "cut"
    cut_trainset(painted_set, 0.0, again, model)
    moved = read_trainset(again)
    whole = read_trainset(painted_set)
    assert len(moved) == FRAMES - TRAINED
    assert np.abs(moved.rotation - whole.rotation[TRAINED:]).max() > 0.005
    before, after = ((f / "ori_imgs" / f"{TRAINED}.jpg").read_bytes() for f in (painted_set, again))
    assert before != after


def test_a_run_goes_on_with_the_tracker_that_it_had(painted_set: Path, tmp_path: Path) -> None:
    argv = [str(painted_set), "-o", str(tmp_path / "ball.fwa"), "--threads", "1"]
    first = Run(parse(argv), painted_set)
    assert first.fitting is not None
    while first.fitting.done < 2:
        first._step()
    first._save()
    second = Run(parse([*argv, "--resume"]), painted_set)
    assert second.fitting is not None
    assert second.fitting.done == 2
    assert second.fitting.model is not None
    assert np.array_equal(second.trainer.codes, first.trainer.codes)
    assert not second.trainer.poses_fixed


def test_sets_that_cannot_have_a_personal_tracker_are_known(painted_set: Path) -> None:
    whole = read_trainset(painted_set)
    assert PersonalFitting.fits(whole)
    assert not PersonalFitting.fits(replace(whole, extractor="truth"))
    assert not PersonalFitting.fits(replace(whole, train_count=50))
    assert not PersonalFitting.fits(replace(whole, folder=painted_set / "nowhere"))


@pytest.mark.parametrize(("cost", "times"), [(0.01, len(MOMENTS)), (0.2, 2)])
def test_dear_fits_leave_the_moments_between_out(
    painted_set: Path, tmp_path: Path, cost: float, times: int
) -> None:
    run = Run(
        parse([str(painted_set), "-o", str(tmp_path / "b.fwa"), "--threads", "1"]), painted_set
    )
    fitting, fits = run.fitting, 0
    assert fitting is not None
    for _ in range(90):
        run.trainer.step()
    for progress in np.linspace(0, 1, 30):
        if fitting.due(progress):
            fitting.update(lambda _: None)
            fitting.pass_over(cost)
            fits += 1
    assert fits == times
    assert run.trainer.poses_fixed


def test_a_head_without_a_surface_gets_no_personal_tracker(
    painted_set: Path, tmp_path: Path
) -> None:
    argv = [str(painted_set), "-o", str(tmp_path / "b.fwa"), "--threads", "1", "--steps", "4"]
    assert facewire.main(["train", *argv]) == 0
    avatar = load_avatar(tmp_path / "b.fwa")
    assert from_sections(avatar.sections) is None
    assert "psnr with a correction" in avatar.meta.provenance
