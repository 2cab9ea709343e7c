"""What a training run survives: a kill, a full disk, memory that runs out, Ctrl-C at any stage."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import facewire
from conference import train, train_finish, train_setup
from conference.train import Run
from conference.train_files import RunFiles
from conference.train_request import parse
from nerf.cpu import engine as cpu_engine
from nerf.cpu import ray_pass
from nerf.train import PRESETS, Trainer
from quic_transport.avatar_file import load_avatar
from quic_transport.errors import LocalError
from tests.conference.ball_set import write_ball_set
from tests.nerf.heads import SMALL

KILLED = """
import sys
from dataclasses import replace
from conference import train
from nerf.train import PRESETS
from tests.nerf.heads import SMALL
PRESETS["fast"] = replace(PRESETS["fast"], config=SMALL, size=64, samples=3000, hull_frames=3)
train.FIRST_LOOK_S = train.LOOK_EVERY_S = 0.0
train.LOOK_AT_LEAST_S = 0.0
train.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def ball_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ball_set(tmp_path_factory.mktemp("train") / "ball")


@pytest.fixture(autouse=True)
def small_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PRESETS["fast"], config=SMALL, steps=60, size=64, samples=3000, hull_frames=3)
    monkeypatch.setitem(PRESETS, "fast", small)


def command(ball_set: Path, out: Path, *more: str) -> list[str]:
    """With an avatar that needs no looking which weights matter."""
    return [str(ball_set), "-o", str(out), "--threads", "1", "--avatar-size", "full", *more]


def test_a_killed_run_goes_on_from_its_last_checkpoint(ball_set: Path, tmp_path: Path) -> None:
    """The kill falls into a loop that does little else than writing checkpoints."""
    out = tmp_path / "ball.fwa"
    argv = command(ball_set, out, "--steps", "100000")
    root = Path(facewire.__file__).parent
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "datasets")])}
    child = subprocess.Popen([sys.executable, "-c", KILLED, *argv], env=env, cwd=root,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        while not (tmp_path / "ball.progress.png").is_file() and child.poll() is None:
            time.sleep(0.02)
        time.sleep(0.3)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL
    for name in ("ball.preview.png", "ball.progress.png", "ball.progress.csv"):
        assert (tmp_path / name).is_file()
    assert not out.exists()
    run = Run(parse([*argv, "--resume"]), ball_set)
    reached = run.trainer.step_index
    assert reached > 0
    assert run.spent > 0
    assert run.points
    assert max(p.step for p in run.points) <= reached
    assert run.progress() == reached / 100000
    run._step()
    assert run.trainer.step_index == reached + 1


def test_a_resumed_run_draws_the_curve_of_both(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "FIRST_LOOK_S", 0.0)
    monkeypatch.setattr(train, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(train, "LOOK_AT_LEAST_S", 0.0)
    out = tmp_path / "ball.fwa"
    step = Trainer.step

    def until_ctrl_c(self: Trainer, progress: float | None = None) -> object:
        if self.step_index == 5:
            raise KeyboardInterrupt
        return step(self, progress)

    monkeypatch.setattr(Trainer, "step", until_ctrl_c)
    assert train.main(command(ball_set, out, "--steps", "8")) == 130
    monkeypatch.setattr(Trainer, "step", step)
    assert train.main(command(ball_set, out, "--steps", "8", "--resume")) == 0
    rows = (tmp_path / "ball.progress.csv").read_text().splitlines()[1:]
    steps = [int(row.split(",")[1]) for row in rows]
    assert steps == [1, 2, 3, 4, 5, 5, 6, 7, 8, 8]  # at each stop once more
    seconds = [float(row.split(",")[0]) for row in rows]
    assert seconds == sorted(seconds)


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="needs limits on a file's size")
def test_a_disk_that_is_full_costs_one_sentence_and_keeps_the_last_checkpoint(
    ball_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    run = Run(parse(command(ball_set, tmp_path / "ball.fwa")), ball_set)
    run._step()
    run._save()
    before = run.files.checkpoint.read_bytes()
    run._step()
    capsys.readouterr()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        for _ in range(2):
            run._save()
        kept = run.files.put(tmp_path / "x.png", bytes(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    said = capsys.readouterr().out.splitlines()
    assert not kept
    assert len(said) == 2
    assert "ball.checkpoint.npz cannot be written" in said[0]
    assert "the one before it stays" in said[0]
    assert "stays" not in said[1]
    assert run.files.checkpoint.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["ball.checkpoint.npz"]
    run._save()
    assert run.files.checkpoint.read_bytes() != before


def test_a_file_that_can_be_written_again_is_missed_again(tmp_path: Path) -> None:
    said: list[str] = []
    files = RunFiles(tmp_path / "me.fwa", said.append)

    def full() -> None:
        raise OSError(28, "No space left on device")

    for write in (full, full, lambda: None, full):
        files.attempt(files.plot, write)
    assert len(said) == 2


def test_memory_that_runs_out_once_halves_the_batch_and_the_schedule_goes_on(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    calls = iter(range(10**9))
    real = ray_pass.backward

    def backward(*args: object) -> object:
        if next(calls) == 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1 byte")
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(ray_pass, "backward", backward)
    out = tmp_path / "ball.fwa"
    assert train.main(command(ball_set, out)) == 0
    assert "about 1500 samples instead of 3000" in capsys.readouterr().out
    assert load_avatar(out).meta.provenance["steps"] == 60


def test_memory_for_no_batch_at_all_stops_cleanly_with_a_checkpoint(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    step = cpu_engine.CpuEngine.step

    def never(*args: object, **kwargs: object) -> None:
        raise MemoryError

    def after_ten(self: Trainer, progress: float | None = None) -> object:
        if self.step_index == 10:
            monkeypatch.setattr(cpu_engine.CpuEngine, "step", never)
        return taken(self, progress)

    taken = Trainer.step
    monkeypatch.setattr(Trainer, "step", after_ten)
    out = tmp_path / "ball.fwa"
    assert facewire.main(["train", *command(ball_set, out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no memory even for steps of 47 samples" in error
    assert "--resume" in error
    monkeypatch.setattr(Trainer, "step", taken)
    monkeypatch.setattr(cpu_engine.CpuEngine, "step", step)
    run = Run(parse(command(ball_set, out, "--resume")), ball_set)
    assert run.trainer.step_index == 10


@pytest.mark.parametrize(("stage", "error"), [
    ("scores_of", KeyboardInterrupt), ("learn_whole", MemoryError),
])  # fmt: skip
def test_what_comes_after_training_may_fail_and_the_avatar_is_there(
    stage: str, error: type[BaseException], ball_set: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(train_finish, stage, fails)
    out = tmp_path / "ball.fwa"
    code = train.main(command(ball_set, out, "--steps", "5"))
    assert code == (130 if error is KeyboardInterrupt else 0)
    said = capsys.readouterr().out
    assert ("--resume" if code else "memory ran out") in said
    assert load_avatar(out).meta.provenance["steps"] == 5
    assert (tmp_path / "ball.checkpoint.npz").exists() is (code == 130)


@pytest.mark.parametrize(("error", "code"), [
    (KeyboardInterrupt(), 130), (LocalError("the disk is full"), 1),
])  # fmt: skip
def test_an_avatar_that_cannot_be_written_is_written_by_going_on(
    error: BaseException, code: int, ball_set: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fails(*_: object) -> None:
        raise error

    out = tmp_path / "ball.fwa"
    with monkeypatch.context() as patch:
        patch.setattr(train_finish, "write_avatar", fails)
        assert facewire.main(["train", *command(ball_set, out, "--steps", "5")]) == code
    said = capsys.readouterr()
    assert "--resume" in said.out + said.err
    assert not out.exists()
    assert train.main(command(ball_set, out, "--steps", "5", "--resume")) == 0
    assert load_avatar(out).meta.provenance["steps"] == 5


def test_ctrl_c_while_the_training_set_is_built_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from portrait import build

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "build_dataset", interrupted)
    (tmp_path / "me.mp4").write_bytes(b"a film")
    argv = ["train", str(tmp_path / "me.mp4"), "-o", str(tmp_path / "me.fwa")]
    assert facewire.main(argv) == 130
    said = capsys.readouterr().out
    assert "me.dataset.partial" in said
    assert "the same command" in said


def test_ctrl_c_while_pictures_are_read_says_that_nothing_is_lost(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "open_trainer", interrupted)
    assert train.main(command(ball_set, tmp_path / "x.fwa")) == 130
    assert "nothing is lost" in capsys.readouterr().out


def test_pictures_for_which_there_is_no_memory_are_refused_in_a_sentence(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("nerf.trainset.load_images", full)
    run = parse(command(ball_set, tmp_path / "x.fwa"))
    with pytest.raises(LocalError, match="16 pictures of 64 px"):
        Run(run, ball_set)
    assert train_setup.pick_device("cpu") == "cpu"


def test_an_interrupted_runs_checkpoint_is_not_written_over_without_a_word(
    ball_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.checkpoint.npz").write_bytes(b"")
    Run(parse(command(ball_set, tmp_path / "x.fwa")), ball_set)
    assert "use --resume" in capsys.readouterr().out


def test_pictures_on_disk_train_the_same_head(
    ball_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conference import train_memory

    weights = []
    for free in (1 << 40, 0):
        monkeypatch.setattr(train_memory, "free_memory", lambda free=free: free)
        run = Run(parse(command(ball_set, tmp_path / "x.fwa")), ball_set)
        for _ in range(5):
            run._step()
        weights.append(run.trainer.field.mean.copy())
    np.testing.assert_array_equal(weights[0], weights[1])
