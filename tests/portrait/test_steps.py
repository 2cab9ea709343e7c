"""The seven steps: what is done again, what is kept, and what a kill leaves."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import facewire
from nerf.camera import head_pose, invert_pose
from nerf.trainset import read_trainset
from portrait import frames, masks
from portrait.background import painted_in, plate_of
from portrait.build import build_dataset, material_of
from portrait.checks import ClipError
from portrait.footage import VideoFootage
from portrait.inspection import describe
from portrait.pictures import HEAD, NECK, TORSO, classes_of, read_rgb
from portrait.reprojection import fit_rigid_shape
from portrait.steps import EXPRESSIONS, FRAMES, SEGMENTATION, STEPS, TRAINING_FILE, Ledger
from portrait.target import only_one
from portrait.torso import torso_of
from portrait.tracks import Selection, Tracks, tracks_of
from quic_transport.errors import LocalError
from sender.extractor import TrackedFace
from sender.frames import Frame
from tests.portrait import sets
from tests.portrait.sets import TRUTH

COUNT = sets.FRAMES
NAMES = [step.name for step in STEPS]


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "me"))


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in folder.glob(pattern)}


KILLED = """
import os, signal, sys
from pathlib import Path
from portrait import frames
from portrait.build import BuildOptions, build_dataset
frames.PART = 8
video, out, stage, at = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
def progress(now, done, total):
    if now == stage and done == at:
        os.kill(os.getpid(), signal.SIGKILL)
build_dataset(video, out, BuildOptions(extractor="truth"), progress)
"""


KILLS = (("1/7 frames", 12, "tracks/*.npz", 1), ("1/7 frames, portraits", 9, "ori_imgs/*.jpg", 9),
         ("2/7 segmentation", 8, "head_imgs/*.jpg", 8),
         ("4/7 torso", 10, "gt_imgs/*.jpg", 10))  # fmt: skip


def test_build_killed_again_and_again_goes_on_at_the_frame(
    video: Path, tmp_path, monkeypatch
) -> None:
    out, partial = tmp_path / "me", tmp_path / "me.partial"
    before: dict[str, dict[str, int]] = {}
    for stage, at, pattern, least in KILLS:
        args = [sys.executable, "-c", KILLED, str(video), str(out), stage, str(at)]
        ended = subprocess.run(args, capture_output=True, check=False)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert not out.exists()
        before[pattern] = stamps(partial, pattern)
        assert least <= len(before[pattern]) < COUNT
        assert "begun" in "\n".join(describe(out))
    monkeypatch.setattr(frames, "track_frame", None)  # nobody looks again
    assert build_dataset(video, out, TRUTH).frames == COUNT
    for pattern, old in before.items():
        if "imgs" in pattern:
            new = stamps(out, pattern)
            assert {name: new[name] for name in old} == old  # none is made twice
            assert len(new) == COUNT


def test_look_goes_on_after_the_stored_parts(video: Path, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(frames, "PART", 8)
    (tmp_path / "tracks").mkdir()
    material = material_of(VideoFootage(video), TRUTH)
    tracked: list[int] = []
    once = frames.track_frame

    def track_frame(frame: Frame, faces: list[TrackedFace]) -> dict[str, Any]:
        if len(tracked) == 19:
            raise KeyboardInterrupt
        tracked.append(frame.index)
        return once(frame, faces)

    monkeypatch.setattr(frames, "track_frame", track_frame)
    look = (tmp_path, material, Selection(), lambda *_: None, print)
    with pytest.raises(KeyboardInterrupt):
        frames.look(*look)
    tracked.clear()
    tracks, _, _ = frames.look(*look)
    assert tracked == list(range(16, COUNT))
    assert tracks.index.tolist() == list(range(COUNT))
    np.testing.assert_allclose(tracks.pose, sets.poses())


def test_build_force_makes_anew_only_what_an_option_changes(video: Path, copy: Path) -> None:
    before = stamps(copy, "head_imgs/*.jpg")
    again = build_dataset(video, copy, replace(TRUTH, force=True))
    assert list(again.kept_steps) == NAMES
    third = build_dataset(video, copy, replace(TRUTH, force=True, held_out=0.5))
    assert third.train_frames == COUNT // 2
    assert set(NAMES) - set(third.kept_steps) == {EXPRESSIONS.name, TRAINING_FILE.name}
    assert read_trainset(copy).train_count == COUNT // 2
    assert stamps(copy, "head_imgs/*.jpg") == before


def test_build_content_decides_not_the_name(video: Path, copy: Path, tmp_path) -> None:
    for path in video.parent.iterdir():
        shutil.copy(path, tmp_path / path.name.replace("me.", "other."))
    moved = build_dataset(tmp_path / "other.mp4", copy, replace(TRUTH, force=True))
    assert set(NAMES) - set(moved.kept_steps) == {TRAINING_FILE.name}  # it names the source
    truth = dict(np.load(tmp_path / "other.truth.npz"))
    truth["expression"] = truth["expression"] * 0.5
    np.savez(tmp_path / "other.truth.npz", **truth)
    changed = build_dataset(tmp_path / "other.mp4", copy, replace(TRUTH, force=True))
    assert changed.kept_steps == ()
    assert read_trainset(copy).expression.max() <= 0.5


def test_build_missing_pictures_are_made_again(video: Path, copy: Path, monkeypatch) -> None:
    shutil.rmtree(copy / "torso_imgs")
    for name in ("ori_imgs/3.jpg", "matte/5.png"):
        (copy / name).unlink()
    before = stamps(copy, "head_imgs/*.jpg")
    monkeypatch.setattr(frames, "track_frame", None)  # nobody looks again
    mended = build_dataset(video, copy, replace(TRUTH, force=True))
    assert set(NAMES) - set(mended.kept_steps) == {"frames", "segmentation", "torso"}
    assert len(list((copy / "torso_imgs").iterdir())) == COUNT
    assert (copy / "ori_imgs" / "3.jpg").is_file()
    after = stamps(copy, "head_imgs/*.jpg")
    assert [name for name in before if after[name] != before[name]] == ["5.jpg"]


def test_build_failing_in_force_leaves_the_old_set(video: Path, copy: Path) -> None:
    before = (copy / "transforms.json").read_bytes()
    short = replace(TRUTH, force=True, selection=Selection(end=1.0))
    with pytest.raises(ClipError):
        build_dataset(video, copy, short)
    assert (copy / "transforms.json").read_bytes() == before
    assert len(list((copy / "head_imgs").iterdir())) == COUNT


def test_only_one_builder_per_folder(video: Path, tmp_path) -> None:
    partial = tmp_path / "me.partial"
    partial.mkdir()
    with only_one(partial), pytest.raises(LocalError, match="another build is at work"):
        build_dataset(video, tmp_path / "me", TRUTH)
    assert list(partial.iterdir()) == []


def test_ledger_step_depends_on_what_it_needs(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.begin(FRAMES, {"a": 1})
    ledger.finish(FRAMES, 0.0, kept=3)
    assert ledger.begin(SEGMENTATION, {})
    (tmp_path / "matte" / "0.png").write_text("x")
    again = Ledger(tmp_path)
    assert not again.begin(FRAMES, {"a": 1})
    assert again.note(FRAMES) == {"kept": 3}
    assert again.begin(SEGMENTATION, {})
    assert (tmp_path / "matte" / "0.png").exists()  # begun under the same key: gone on with
    assert again.begin(FRAMES, {"a": 2})
    again.finish(FRAMES, 0.0)
    assert again.begin(SEGMENTATION, {})
    assert not (tmp_path / "matte" / "0.png").exists()
    (tmp_path / "steps.json").write_text("{torn")
    assert Ledger(tmp_path).begin(FRAMES, {"a": 2})


def test_set_parsing_and_torso_show_the_known_parts(made: Path) -> None:
    classes = classes_of(read_rgb(made / "parsing" / "0.png"))
    scale = 512 / (sets.FOCAL / sets.DISTANCE / 2.6)
    down = {n: round(256 + scale * (y - sets.H / 2))
            for n, y in ((HEAD, 60), (NECK, 93), (TORSO, 108))}  # fmt: skip
    assert {n: int(classes[y, 256]) for n, y in down.items()} == {n: n for n in down}
    import cv2

    torso = cv2.imread(str(made / "torso_imgs" / "0.png"), cv2.IMREAD_UNCHANGED)
    assert torso is not None
    assert torso.shape == (512, 512, 4)
    np.testing.assert_allclose(torso[down[TORSO], 256, :3][::-1], sets.BODY_RGB, atol=16)
    assert torso[down[TORSO], 256, 3] == 255
    assert torso[down[NECK], 256, 3] == 255
    assert torso[down[HEAD], 256, 3] == 0
    whole = read_rgb(made / "gt_imgs" / "0.jpg").astype(int)
    portrait = read_rgb(made / "ori_imgs" / "0.jpg").astype(int)
    body = classes > 0
    assert np.abs(whole - portrait)[body].mean() < 4


def test_set_plate_is_the_room_where_it_was_seen(made: Path) -> None:
    plate = read_rgb(made / "background.png").astype(int)
    error = np.abs(plate - sets.room()).max(axis=-1)
    seen = np.zeros(error.shape, bool)
    seen[:24] = seen[:, :16] = seen[:, -16:] = True  # the person never comes there
    assert error[seen].max() <= 12
    assert np.median(error) <= 4
    assert error.max() < 60  # painted in: bluish, neither orange nor green
    assert np.abs(read_rgb(made / "plate.jpg")[256, 256].astype(int) - (52, 82, 198)).max() < 25
    assert (read_rgb(made / "bc.jpg") == 255).all()  # head_imgs stand over white
    facts = json.loads((made / "background.json").read_text())
    assert 0.02 < facts["inpainted"] < 0.5
    assert facts["seen"] > 0.4


def test_set_poses_are_the_true_ones(made: Path) -> None:
    document = json.loads((made / "poses.json").read_text())
    assert document["camera"]["fx"] == pytest.approx(sets.FOCAL)
    assert (document["camera"]["w"], document["camera"]["cy"]) == (sets.W, sets.H / 2)
    got = np.array([f["transform_matrix"] for f in document["frames"]])
    np.testing.assert_allclose(got, [invert_pose(p) for p in sets.poses()], atol=1e-6)
    reprojection = json.loads((made / "reprojection.json").read_text())
    assert reprojection["median_px"] < 0.6
    assert len(reprojection["error_px"]) == COUNT


def test_reprojection_finds_the_shape_and_the_bad_frame() -> None:
    rng = np.random.default_rng(3)
    rotation = rng.normal(0, 0.25, (80, 3))
    points = np.vstack([sets.POINTS, -sets.POINTS * 0.7])
    from nerf.camera import portrait_camera, project

    camera = portrait_camera(1, 0.4, 2.6)
    seen = np.stack([project(points, head_pose(r, 0.4), camera) for r in rotation])
    rotation[17, 1] += 0.3  # a pose that is wrong
    fit = fit_rigid_shape(seen.astype(np.float32), rotation, np.full(80, 0.4))
    assert fit is not None
    assert np.abs(fit.shape - points).max() < 0.004
    assert int(fit.error.argmax()) == 17
    assert fit.error[17] > 5 * np.median(fit.error)
    assert fit_rigid_shape(seen[:, :3].astype(np.float32), rotation, np.full(80, 0.4)) is None


def test_plate_median_ignores_the_person_and_counts_what_is_hidden() -> None:
    stack = np.full((9, 4, 6, 3), 100, np.uint8)
    away = np.full((9, 4, 6), 255, np.uint8)
    stack[:4, :, 2], away[:4, :, 2] = 250, 0  # the person for nearly half of the time
    stack[:8, :, 3], away[:8, :, 3] = 250, 0  # nearly always
    stack[:, :, 4], away[:, :, 4] = 250, 0  # always
    plate, state, (moved, count) = plate_of(stack, away)
    assert (plate[:, :4] == 100).all()
    assert state[0].tolist() == [2, 2, 2, 1, 0, 2]
    assert (moved, count > 0) == (0.0, True)
    whole = painted_in(plate, state == 0)
    assert (np.abs(whole.astype(int) - 100) <= 3).all()


def test_torso_goes_on_under_the_head() -> None:
    head = np.zeros((512, 512), np.float32)
    head[100:300, 150:350] = 1.0
    person = head.copy()
    person[300:, 200:300] = 1.0
    colour = np.zeros((512, 512, 3), np.float32)
    colour[...] = person[..., None] * np.array([0.8, 0.4, 0.2], np.float32)
    torso = torso_of(colour, person, head)
    assert torso[400, 250].tolist() == [204, 102, 51, 255]
    assert torso[285, 250, 3] == 255
    assert 0.6 * 204 < torso[285, 250, 0] <= 204
    assert torso[150, 250, 3] == 0
    assert torso_of(head[..., None] * colour, head, head).max() == 0  # nothing below: no torso


def test_inspect_prints_states_bounds_and_reprojection(made: Path, capsys) -> None:
    assert facewire.main(["dataset", "inspect", str(made)]) == 0
    text = capsys.readouterr().out
    for step in STEPS:
        assert f"{step.number} {step.name}" in text
    assert text.count("done") == len(STEPS)
    for words in ("22 of 22 frames kept", "painted in", "reprojection error median", "jawOpen",
                  "46 of 46 coefficients move", "warning: only 5 s of face"):  # fmt: skip
        assert words in text, words


def test_segment_person_is_what_hangs_together_with_the_face() -> None:
    class PersonAndShelf:
        def person(self, portrait: Any, frame: Frame, crop: Any) -> np.ndarray:
            out = np.zeros(portrait.shape[:2], np.float32)
            out[:, 16:40] = out[40:50, 56:60] = 1.0
            return out

    person, head, classes = masks.cut_out(
        np.zeros((64, 64, 3), np.uint8), Tracks.join([_one_row()]), 0, PersonAndShelf(), None, False
    )
    assert (person[20:40, 20:36] == 1).all()
    assert (person[:, 50:] == 0).all()
    assert (classes[20:40, 20:36] == HEAD).all()  # no landmarks, no classes: all of it is head
    assert (head[:4] == 0).all()  # beyond the picture's upper edge


def _one_row() -> Tracks:
    row = {
        "index": 0, "time": 0.0, "faces": 1, "second": 0.0, "expression": np.zeros(46, np.float32),
        "rotation": np.zeros(3), "offset": np.zeros(3), "crop": np.array([50.0, 40.0, 100.0]),
        "distance": 0.5, "landmarks": np.zeros((5, 2), np.float32),
        "thumbnail": np.zeros((24, 24), np.uint8), "size": (100, 100), "pose": np.eye(4),
        "focal": 100.0, "sharpness": 1.0, "brightness": 1.0,
    }  # fmt: skip
    return tracks_of([row])
