"""`facewire train` on a ball that the test draws: avatar, interruption, resumption, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import facewire
from conference.train import Run
from conference.train_request import parse
from nerf.train import PRESETS, Trainer
from quic_transport.avatar_file import load_avatar
from tests.conference.ball_set import write_ball_set
from tests.nerf.heads import SMALL


@pytest.fixture(scope="module")
def ball_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training set of 16 pictures of the ball, 64 px."""
    return write_ball_set(tmp_path_factory.mktemp("train") / "ball")


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    small = replace(PRESETS["fast"], config=SMALL, steps=250, size=64, samples=3000)
    monkeypatch.setitem(PRESETS, "fast", small)


def test_training_leaves_an_avatar_that_says_how_good_it_is(
    ball_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "ball.fwa"
    assert facewire.main(["train", str(ball_set), "-o", str(out), "--threads", "1"]) == 0
    text = capsys.readouterr().out
    assert "250 steps" in text
    assert "with a correction" in text
    meta = load_avatar(out).meta
    assert (meta.schema, meta.size_px, meta.provenance["train_frames"]) == ("arkit46", 64, 13)
    assert float(meta.provenance["psnr with a correction"]) > 18
    assert (tmp_path / "ball.preview.png").is_file()
    assert (tmp_path / "ball.progress.png").is_file()
    assert "ball.progress.png" in text
    assert not (tmp_path / "ball.checkpoint.npz").exists()


def test_interrupted_training_leaves_an_avatar_and_goes_on(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "ball.fwa"
    step = Trainer.step

    def until_ctrl_c(self: Trainer, progress: float | None = None) -> object:
        if self.step_index == 30:
            raise KeyboardInterrupt
        return step(self, progress)

    monkeypatch.setattr(Trainer, "step", until_ctrl_c)
    argv = ["train", str(ball_set), "-o", str(out), "--threads", "1"]
    assert facewire.main(argv) == 130
    assert "--resume" in capsys.readouterr().out
    assert load_avatar(out).meta.provenance["steps"] == 30
    monkeypatch.setattr(Trainer, "step", step)
    assert facewire.main([*argv, "--resume"]) == 0
    assert "going on from step 30" in capsys.readouterr().out
    assert load_avatar(out).meta.provenance["steps"] == 250


def test_a_time_budget_ends_the_run_and_moves_the_schedule(ball_set: Path, tmp_path: Path) -> None:
    argv = [str(ball_set), "-o", str(tmp_path / "b.fwa"), "--seconds", "3600", "--threads", "1"]
    run = Run(parse(argv), ball_set)
    run.spent = 1800.0
    assert run.progress() == pytest.approx(0.5)
    run.spent = 3600.0
    assert run.done()


@pytest.mark.parametrize(("argv", "says"), [
    (["nowhere"], "does not exist"),
    (["SET", "--resume"], "nothing to go on from"),
    (["SET", "--steps", "0"], "--steps"),
    (["EMPTY"], "transforms.json"),
])  # fmt: skip
def test_bad_input_is_one_sentence(
    argv: list[str], says: str, ball_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"SET": str(ball_set), "EMPTY": str(tmp_path), "nowhere": str(tmp_path / "nowhere")}
    argv = [places.get(a, a) for a in argv]
    assert facewire.main(["train", *argv, "-o", str(tmp_path / "x.fwa")]) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("facewire train: ")
    assert says in error
    assert "\n" not in error


def test_cuda_is_refused_in_a_sentence_where_there_is_none(
    ball_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    argv = ["train", str(ball_set), "-o", str(tmp_path / "x.fwa"), "--device", "cuda"]
    assert facewire.main(argv) == 1
    assert "--device cpu" in capsys.readouterr().err


def test_bench_train_makes_a_row_of_every_run_and_goes_on(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    from conference.bench import perceptual

    monkeypatch.setattr(perceptual, "open_lpips", lambda: (lambda a, b: 0.25, "by heart"))
    out, rows = tmp_path / "runs", tmp_path / "t.json"
    command = ["bench", "train", str(ball_set), "-o", str(out), "--seconds", "1", "1.5",
               "--without", "rank12", "--threads", "1", "--json", str(rows),
               "--plot", str(tmp_path / "t.png")]  # fmt: skip
    assert facewire.main(command) == 0
    values = {row["name"]: row["value"] for row in json.loads(rows.read_text())["rows"]}
    for name in ("train.fast.1s", "train.fast.1.5s", "train.rank12.1.5s"):
        assert values[f"{name}.steps"] > 3
        assert values[f"{name}.generic.psnr"] > 8
        assert values[f"{name}.corrected.psnr_rimless"] > 1
        assert 0 < values[f"{name}.corrected.ssim_head"] < 1
        assert values[f"{name}.corrected.lpips"] == 0.25
        assert values[f"{name}.seconds"] >= 1
        assert values[f"{name}.cpu"] > 0
        assert 0 < values[f"{name}.file"] < 5
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert facewire.main(command) == 0
    assert capsys.readouterr().out.count("is there from before") == 3
