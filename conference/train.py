"""`facewire train DIR|VIDEO -o me.fwa`: a training set (or the video it is made of) → an avatar.

The rule: whatever ends the run (its last step, its time, Ctrl-C), an avatar that works is left and
the way to go on is said.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.progress_line import ProgressLine
from conference.terminal import announce
from conference.train_avatar import learn_whole, write_avatar
from conference.train_report import Trained, facts_of, scores_of, sentences
from conference.train_request import TrainRequest, parse
from quic_transport.errors import AvatarFileError, LocalError

if TYPE_CHECKING:
    from conference.full_frame import PictureScore
    from conference.personal.fitting import PersonalFitting
    from nerf.train import Trainer, TrainSettings
    from nerf.trainset import TrainSet

SCORE_FRAMES = 6  # held-out frames behind the score on the progress bar
THREADS = 2  # a step is a few thousand small calls: more threads wait for Python's lock (0.72 M
# samples per second on one, 1.03 on two, 0.80 on three, 0.57 on four)
SAVE_EVERY_S = 30.0  # between checkpoints, previews and scores


def main(argv: list[str]) -> int:
    """Train; 0 when the run came to its end, 130 when it was interrupted (an avatar is left)."""
    request = parse(argv)
    folder = training_set_of(request)
    run = Run(request, folder)
    finished = run.train()
    return 0 if finished else 130


def training_set_of(request: TrainRequest) -> Path:
    """The training set's folder; built from the video where the source is one."""
    source = request.source
    if source.is_dir():
        return source
    if not source.exists():
        raise LocalError(f"{source} does not exist: give a training set's folder or a video")
    folder = request.output.with_suffix(".dataset")
    if (folder / "transforms.json").is_file():
        announce(f"training set kept from before: {folder} (delete it to build it again)")
        return folder
    from portrait.build import BuildOptions, Selection, build_dataset
    from portrait.progress import stage_progress

    announce(f"building the training set {folder} from {source}")
    options = BuildOptions(
        extractor=request.extractor, models=request.models,
        selection=Selection(0.0, float("inf"), 1, None), force=False,
    )  # fmt: skip
    with stage_progress() as progress:
        build_dataset(source, folder, options, progress)
    return folder


def pick_device(wanted: str) -> str:
    """`wanted`, with auto resolved; LocalError where CUDA is asked for and not there."""
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise LocalError("no CUDA device is usable by this torch: use --device cpu")
    return "cpu"


class Run:
    """One training run with its files: FILE.fwa, FILE.checkpoint.npz, FILE.preview.png."""

    def __init__(self, request: TrainRequest, folder: Path,
                 settings: TrainSettings | None = None) -> None:  # fmt: skip
        """`settings` stand in for those of the request's preset."""
        from conference.personal.fitting import PersonalFitting
        from nerf.cpu.pool import WorkerPool, available_threads
        from nerf.train import PRESETS, Footage, Trainer
        from nerf.trainset import TrainSetError, detail_boxes, load_images, read_trainset

        self.request = request
        self.device = pick_device(request.device)
        settings = settings or PRESETS[request.preset]
        threads = request.threads or min(THREADS, available_threads())
        if request.size is not None:
            settings = replace(settings, size=request.size)
        try:
            self.trainset: TrainSet = read_trainset(folder)
            announce(f"reading {len(self.trainset)} frames of {folder}")
            indices = range(len(self.trainset))
            rgb, alpha = load_images(self.trainset, settings.size, indices)
            footage = Footage(
                rgb, alpha, self.trainset.rotation, self.trainset.expression,
                self.trainset.camera.resized(settings.size, settings.size),
                self.trainset.distance_m, detail_boxes(self.trainset, settings.size),
            )  # fmt: skip
            settings = replace(settings, holdout=1 - self.trainset.train_count / len(rgb))
            self.trainer: Trainer = Trainer(footage, settings, WorkerPool(threads), self.device,
                                            request.backend)  # fmt: skip
        except (TrainSetError, MemoryError, ValueError) as error:
            text = str(error) or "not enough memory for the frames: use a smaller --size"
            raise LocalError(text) from error
        if request.steps is not None:
            self.trainer.settings = replace(self.trainer.settings, steps=request.steps)
        self.fitting: PersonalFitting | None = None
        if PersonalFitting.fits(self.trainset):
            self.fitting = PersonalFitting(self.trainer, self.trainset, threads)
        stem = request.output.with_suffix("")
        self.checkpoint = stem.with_name(stem.name + ".checkpoint.npz")
        self.preview = stem.with_name(stem.name + ".preview.png")
        self.spent, self.cpu, self.samples = 0.0, 0.0, 0.0
        if request.resume:
            self._load()

    def train(self) -> bool:
        """Run to the end; False if it was interrupted. Either way the avatar is written."""
        import numpy as np

        held = np.arange(self.trainer.count, len(self.trainer.footage))
        some = held[np.unique(np.linspace(0, max(len(held) - 1, 0), SCORE_FRAMES).astype(int))] \
            if len(held) else held  # fmt: skip
        interrupted = False
        last_save = self.spent
        with ProgressLine() as line:
            try:
                while not self.done():
                    self._step()
                    line.show(self.progress(), self.trainer.step_index, self.spent)
                    if self.spent - last_save >= SAVE_EVERY_S:
                        last_save = self.spent
                        self._write_preview(some)
                        self._save()
                        if len(some):
                            line.score = self.trainer.score(some, corrected=False).psnr_whole
            except KeyboardInterrupt:
                interrupted = True
        if interrupted and self.trainer.step_index == 0:
            raise LocalError("interrupted before the first step: nothing was made")
        self._save()
        fitting = self.fitting if self.fitting is not None and self.fitting.model else None
        self.trainer.finish(corrected=fitting is None)
        self._write_preview(some, fitting)
        run = Trained(self.request, self.trainset, self.trainer, fitting, self.spent, self.cpu,
                      self.samples, self.device)  # fmt: skip
        scores = scores_of(run)
        whole: dict[str, Any] = {}
        picture: PictureScore | None = None
        try:
            whole, picture = learn_whole(run)
        except KeyboardInterrupt:
            announce("interrupted: this avatar is a head without its body")
            interrupted = True
        except LocalError as error:  # a picture that is missing: the head is there all the same
            announce(f"the avatar stays a head: {error}")
        size = write_avatar(run, whole, facts_of(run, scores, picture))
        for line_said in sentences(run, scores, picture, size):
            announce(line_said)
        if scores:
            announce(f"look at {self.preview}")
        if interrupted:
            announce(
                "interrupted: the avatar above works as it is; the same command with --resume "
                "goes on"
            )
        else:
            self.checkpoint.unlink(missing_ok=True)
        return not interrupted

    def progress(self) -> float:
        """How much of the run is over, 0..1: by steps or by time, whichever is further."""
        steps = self.trainer.step_index / self.trainer.settings.steps
        if self.request.seconds is None:
            return steps
        return min(1.0, max(steps, self.spent / self.request.seconds))

    def done(self) -> bool:
        """Whether the run has come to its end."""
        return self.progress() >= 1.0

    def _step(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        if self.fitting is not None and self.fitting.due(self.progress()):
            self.fitting.update(announce)
            if self.request.seconds is not None:
                self.fitting.pass_over((time.perf_counter() - wall) / self.request.seconds)
        self.samples += self.trainer.step(self.progress()).samples
        self.spent += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu

    def _save(self) -> None:
        from nerf.checkpoint import save_checkpoint

        facts = {"spent": self.spent, "cpu": self.cpu, "samples": self.samples}
        try:
            extra = self.fitting.state() if self.fitting is not None else {}
            save_checkpoint(self.trainer, self.checkpoint, facts, extra)
        except OSError as error:
            announce(f"no checkpoint could be written to {self.checkpoint}: {error.strerror}")

    def _load(self) -> None:
        from nerf.checkpoint import CheckpointError, load_checkpoint

        if not self.checkpoint.exists():
            raise LocalError(
                f"there is nothing to go on from: {self.checkpoint} does not exist; "
                "start without --resume"
            )
        try:
            facts, extra = load_checkpoint(self.trainer, self.checkpoint)
            if self.fitting is not None:
                self.fitting.load_state(extra)
        except (CheckpointError, AvatarFileError, KeyError) as error:
            raise LocalError(f"cannot go on: {error}; start without --resume") from error
        self.spent, self.cpu = float(facts["spent"]), float(facts["cpu"])
        self.samples = float(facts["samples"])
        announce(f"going on from step {self.trainer.step_index} ({self.spent:.0f} s spent)")

    def _write_preview(self, indices: Any, fitting: PersonalFitting | None = None) -> None:
        import cv2
        import numpy as np

        frames = np.asarray(list(indices)[:: max(1, len(indices) // 4)] or [0])
        if fitting is not None and len(indices):
            shown = list(fitting.drawn(frames))
        else:
            shown = [self.trainer.render(int(i)) for i in frames]
        columns = [np.concatenate([self.trainer.footage.rgb[i], picture.rgb])
                   for i, picture in zip(frames, shown, strict=True)]  # fmt: skip
        cv2.imwrite(str(self.preview), np.concatenate(columns, axis=1)[..., ::-1])
