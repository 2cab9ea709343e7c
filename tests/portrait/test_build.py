"""The whole build, on a tiny performance with exact truth; on real clips where there are any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import facewire
import portrait.build
from nerf.trainset import load_images, read_trainset
from portrait import frames
from portrait.build import BuildOptions, Selection, build_dataset
from portrait.steps import STEPS
from portrait.tracks import Prefetched
from quic_transport.errors import LocalError
from sender.frames import Frame
from tests.portrait.sets import FRAMES, RATE, TRAINED, TRUTH
from tests.sender.films import write_film


def test_build_makes_a_complete_set_with_the_head_in_the_middle(
    video: Path, built: tuple[Path, list[str]]
) -> None:
    folder, stages = built
    got = read_trainset(folder)
    assert (len(got), got.train_count) == (FRAMES, TRAINED)
    assert (got.extractor, got.schema, got.source) == ("truth", "arkit46", "me.mp4")
    assert got.distance_m == pytest.approx(0.5, abs=0.01)
    assert got.frame_rate == pytest.approx(RATE, rel=0.01)
    truth = np.load(video.with_name("me.truth.npz"))
    np.testing.assert_allclose(got.expression, truth["expression"], atol=1e-6)
    rgb, alpha = load_images(got, 128, range(FRAMES))
    x = np.arange(128) + 0.5
    area = alpha.sum(axis=(1, 2)) / 255
    np.testing.assert_allclose((alpha / 255 * x).sum(axis=(1, 2)) / area, 64, atol=0.6)
    np.testing.assert_allclose(area, area.mean(), rtol=0.02)  # neither moves nor grows
    assert (rgb[:, :8] == 255).all()
    np.testing.assert_allclose(rgb[:, 64, 64], np.tile((220, 120, 40), (FRAMES, 1)), atol=14)
    for step in STEPS:
        assert any(stage.startswith(step.title) for stage in stages), step.title
        for name in set(step.outputs) - {"tracks"}:
            assert (folder / name).exists(), name
    last = FRAMES - 1
    for name in (f"ori_imgs/{last}.lms", f"parsing/{last}.png", f"gt_imgs/{last}.jpg"):
        assert (folder / name).is_file(), name
    assert [p.name for p in folder.parent.iterdir()] == ["me"]
    assert not (folder / "lock").exists()


def test_a_guessed_lens_is_not_believed_and_held_out_frames_do_not_say(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def told(landmarks: np.ndarray, rotation: np.ndarray, measured: np.ndarray) -> float:
        asked.append((len(landmarks), len(rotation), len(measured)))
        return 1.25

    monkeypatch.setattr(portrait.build, "camera_distance", told)
    monkeypatch.setattr(portrait.build, "KNOWN_LENS", ())
    folder = build_dataset(video, tmp_path / "set", TRUTH).folder
    got = read_trainset(folder)
    assert asked == [(TRAINED, TRAINED, TRAINED)]
    assert got.distance_m == 1.25
    np.testing.assert_allclose(got.pose[:, 2, 3], -1.25)
    assert got.camera.fx == pytest.approx(1.25 * got.scale * got.camera.width)


def test_build_refuses_an_occupied_folder_and_force_replaces_it(video: Path, tmp_path) -> None:
    (tmp_path / "me").mkdir()
    (tmp_path / "me" / "precious").write_text("x")
    with pytest.raises(LocalError, match="--force"):
        build_dataset(video, tmp_path / "me", TRUTH)
    assert (tmp_path / "me" / "precious").exists()
    options = BuildOptions(extractor="truth", force=True, selection=Selection(every=2))
    short = BuildOptions(extractor="truth", force=True, selection=Selection(end=1.0))
    with pytest.raises(LocalError, match="usable face"):  # too short: what was there stays
        build_dataset(video, tmp_path / "me", short)
    assert (tmp_path / "me" / "precious").exists()
    assert build_dataset(video, tmp_path / "me", options).frames == FRAMES // 2
    assert [p.name for p in tmp_path.iterdir()] == ["me"]
    assert not (tmp_path / "me" / "precious").exists()


def test_build_interrupted_says_how_to_go_on(video: Path, tmp_path, monkeypatch, capsys) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(frames, "track_frame", interrupt)
    args = ["dataset", "build", str(video), "-o", str(tmp_path / "me"), "--extractor", "truth"]
    assert facewire.main(args) == 130
    assert "The same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "me").exists()


def test_build_full_disk_ends_in_a_sentence(video: Path, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(frames, "write_image", full)
    with pytest.raises(LocalError, match="No space left on device"):
        build_dataset(video, tmp_path / "me", TRUTH)


def test_build_video_without_truth_ends_in_a_sentence(tmp_path: Path) -> None:
    path = write_film(tmp_path / "x.mp4", [np.zeros((64, 64, 3), np.uint8)] * 3, [0, 0.1, 0.2])
    with pytest.raises(LocalError, match=r"no x\.truth\.npz"):
        build_dataset(path, tmp_path / "me", TRUTH)


def test_selection_takes_range_rate_and_every() -> None:
    blank = np.zeros((1, 1, 3), np.uint8)
    source = [Frame(i, i / 30, blank) for i in range(90)]
    assert [f.index for f in Selection(start=1, end=2).choose(source)] == list(range(30, 60))
    assert [f.index for f in Selection(every=40).choose(source)] == [0, 40, 80]
    ten = [f.index for f in Selection(rate=10.0).choose(source)]
    assert ten == [*range(0, 90, 3), 89]  # the last is nearest to the tick at 3 s
    assert len(list(Selection(rate=60.0).choose(source))) == 90


def test_prefetched_hands_on_errors_and_can_be_left_early() -> None:
    def broken():
        yield Frame(0, 0.0, np.zeros((1, 1, 3), np.uint8))
        raise LocalError("torn")

    source = Prefetched(broken())
    with pytest.raises(LocalError, match="torn"):
        list(source)
    endless = Prefetched(iter(lambda: Frame(0, 0.0, np.zeros((1, 1, 3), np.uint8)), None))
    assert next(iter(endless)).index == 0
    endless.close()


def test_cli_builds_and_inspects(video: Path, tmp_path, capsys) -> None:
    out = str(tmp_path / "me")
    build_args = ["dataset", "build", str(video), "-o", out, "--extractor", "truth"]
    assert facewire.main([*build_args, "--range", "0:5.1", "--held-out", "0.5"]) == 0
    assert "21 of 21 frames (10 to train on, 11 held out)" in capsys.readouterr().out
    assert facewire.main(["dataset", "inspect", out]) == 0
    assert "21 frames, 10 to train on" in capsys.readouterr().out
    assert facewire.main(build_args) == 1
    assert "not empty" in capsys.readouterr().err
    assert facewire.main(["dataset", "inspect", str(tmp_path)]) == 1
    assert "not a finished training set" in capsys.readouterr().err
    assert facewire.main(["dataset", "build", out, "-o", out + "2"]) == 1
    assert "facewire dataset import" in capsys.readouterr().err


@pytest.mark.assets
def test_build_real_clip_cuts_a_head_out(assets: Path, tmp_path) -> None:
    options = BuildOptions(models=assets / "models", selection=Selection(end=6.0, every=5))
    made = build_dataset(assets / "videos" / "trump_10s_512.mp4", tmp_path / "t", options)
    assert made.frames == 30
    _, alpha = load_images(read_trainset(made.folder), 64, range(30))
    assert 0.2 < alpha.mean() / 255 < 0.4
    assert (alpha[:, 32, 32] == 255).all()
    assert (alpha[:, 56:] == 0).all()  # the body is gone


@pytest.mark.assets
@pytest.mark.parametrize(
    ("name", "part", "says"),
    [("hard_overlays_av1_30s_1080p.mp4", (4.0, 5.5), "usable face|cut"),
     ("hard_two_faces_debate_17s_640x368.mp4", (3.0, 9.0), "two people"),
     ("hard_no_face_bottles_40s_640x360.mp4", (0.0, 2.0), "usable face"),
     ("hard_corrupt_bitflips.mp4", (0.0, 99.0), "damaged after")],
)  # fmt: skip
def test_build_hard_clips_end_in_a_sentence(assets, tmp_path, name, part, says) -> None:
    options = BuildOptions(models=assets / "models", selection=Selection(part[0], part[1], every=2))
    with pytest.raises(LocalError, match=says):
        build_dataset(assets / "videos" / name, tmp_path / "x", options)
