"""`facewire train DIR|VIDEO -o me.fwa`: a training set (or the video it is made of) → an avatar.

The rule: whatever ends the run (its last step, its time, Ctrl-C, a kill), what was learned is kept
and the way to go on is said; where the process still has a say, an avatar that works is left.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conference.progress_line import ProgressLine
from conference.terminal import announce
from conference.train_eta import Ahead, Eta, in_words
from conference.train_files import RunFiles
from conference.train_finish import Judge, finish
from conference.train_report import Trained
from conference.train_request import TrainRequest, parse
from conference.train_setup import open_trainer, pick_device, training_set_of
from conference.train_stop import Stop
from quic_transport.errors import AvatarFileError, LocalError

if TYPE_CHECKING:
    from conference.personal.fitting import PersonalFitting
    from conference.train_curve import Point
    from nerf.train import Trainer, TrainSettings
    from nerf.trainset import TrainSet

FIRST_LOOK_S = 10.0  # seconds of training before the first checkpoint, preview and score
LOOK_EVERY_S, LOOK_AT_LEAST_S = 15.0, 60.0  # between two of them: not less, and not more
LOOK_SHARE = 0.02  # of the time, which they may take in between


def main(argv: list[str]) -> int:
    """Train; 0 when the run came to its end, 130 when it was interrupted (its work is kept)."""
    request = parse(argv)
    try:
        folder = training_set_of(request)
    except KeyboardInterrupt:
        return 130
    try:
        run = Run(request, folder)
    except KeyboardInterrupt:
        announce("interrupted before training began: nothing is lost, the same command begins "
                 "again")  # fmt: skip
        return 130
    try:
        return 0 if run.train() else 130
    except KeyboardInterrupt:  # between two stages, or a second time within one
        announce(f"interrupted: what was learned is in {run.files.checkpoint}, and the same "
                 "command with --resume goes on")  # fmt: skip
        return 130


class Run:
    """One training run with its files (`conference.train_files`)."""

    def __init__(self, request: TrainRequest, folder: Path,
                 settings: TrainSettings | None = None) -> None:  # fmt: skip
        """`settings` stand in for those of the request's preset."""
        from conference.full_frame_lesson import stage_of
        from conference.personal.fitting import PersonalFitting
        from conference.train_look import Looks
        from nerf.train import PRESETS
        from nerf.trainset import TrainSetError, read_trainset

        self.request = request
        self.files = RunFiles(request.output)
        try:
            self.trainset: TrainSet = read_trainset(folder)
        except TrainSetError as error:
            raise LocalError(str(error)) from error
        announce(f"reading {len(self.trainset)} frames of {folder}")
        self.device = pick_device(request.device)
        self.trainer: Trainer = open_trainer(request, self.trainset,
                                             settings or PRESETS[request.preset])  # fmt: skip
        self.fitting: PersonalFitting | None = None
        if PersonalFitting.fits(self.trainset):
            self.fitting = PersonalFitting(self.trainer, self.trainset, self.trainer.pool.threads)
        self.spent, self.cpu, self.samples = 0.0, 0.0, 0.0
        self.points: list[Point] = []
        self._looks = Looks(self.trainer, self.trainset, self.fitting)
        self._stop = Stop()
        self._next_look = FIRST_LOOK_S
        if request.resume:
            self._load()
        elif self.files.checkpoint.is_file():
            announce(f"{self.files.checkpoint} of an interrupted run will be written over: stop "
                     "now and use --resume to go on with that run instead")  # fmt: skip
        self.eta = Eta(self.trainer.count, len(self.trainset) - self.trainer.count,
                       personal=self.fitting is not None,
                       whole=stage_of(self.trainset) is not None,
                       on_cpu=self.device == "cpu")  # fmt: skip

    def train(self, judge: Judge | None = None) -> bool:
        """Run to the end; False if it was interrupted. Where steps were taken the avatar is
        written, either way; `judge` adds to what it says of itself."""
        interrupted = False
        with self._stop:
            with ProgressLine() as line:
                try:
                    while not self.done():
                        self._step()
                        line.show(self.progress(), self.trainer.step_index, self.spent, self.left())
                        if self.spent >= self._next_look:
                            self._look(line)
                except KeyboardInterrupt:
                    interrupted = True
            if self.trainer.step_index == 0:
                announce("interrupted before the first step: nothing was made")
                return False
            if interrupted:
                announce("interrupted: the avatar is made of what there is, in about "
                         f"{in_words(self.eta.after())}; Ctrl-C again leaves out what takes "
                         "long")  # fmt: skip
            with self._stop.held():
                self._save()
            fitting = self.fitting if self.fitting is not None and self.fitting.model else None
            run = Trained(self.request, self.trainset, self.trainer, fitting, self.spent, self.cpu,
                          self.samples, self.device)  # fmt: skip
            return finish(run, self.files, self.points, interrupted, judge)

    def progress(self) -> float:
        """How much of the run is over, 0..1: by steps or by time, whichever is further."""
        steps = self.trainer.step_index / self.trainer.settings.steps
        if self.request.seconds is None:
            return steps
        return min(1.0, max(steps, self.spent / self.request.seconds))

    def done(self) -> bool:
        """Whether the run has come to its end."""
        return self.progress() >= 1.0

    def left(self) -> float | None:
        """Seconds until the avatar is written, None while nobody knows."""
        t, fitting = self.trainer, self.fitting
        return self.eta.left(Ahead(
            self.spent, self.request.seconds, max(t.settings.steps - t.step_index, 0),
            fitting.left if fitting is not None else 0,
        ))  # fmt: skip

    def _step(self) -> None:
        """The next step, and what is due before it."""
        from nerf.batch_size import out_of_memory

        wall, cpu = time.perf_counter(), time.process_time()
        if self.fitting is not None and self.fitting.due(self.progress()):
            self._fit(self.fitting)
        begun, before = time.perf_counter(), self.trainer.step_index
        try:
            with self._stop.held():
                self.samples += self.trainer.step(self.progress()).samples
        except (MemoryError, RuntimeError, OSError) as error:
            if not out_of_memory(error):
                raise
            self._take_less(str(error))
        else:
            self.eta.stepped(time.perf_counter() - begun, self.trainer.step_index - before)
        finally:
            self.spent += time.perf_counter() - wall
            self.cpu += time.process_time() - cpu

    def _fit(self, fitting: PersonalFitting) -> None:
        from nerf.batch_size import out_of_memory

        begun = time.perf_counter()
        try:
            fitting.update(announce)
        except (MemoryError, RuntimeError, OSError) as error:
            if not out_of_memory(error):
                raise
            fitting.leave_out()
            announce("memory ran out: this fit of the personal tracker is left out")
        took = time.perf_counter() - begun
        self.eta.fitted(took)
        if self.request.seconds is not None:
            fitting.pass_over(took / self.request.seconds)

    def _take_less(self, reason: str) -> None:
        """Half of each batch from here on; LocalError where that would be too little."""
        batch = self.trainer.batch
        before = batch.samples
        if not batch.halve():
            self._save()
            raise LocalError(
                f"there is no memory even for steps of {before:.0f} samples ({reason}): close "
                "other programs or use a smaller --size; what was learned is in "
                f"{self.files.checkpoint}, and the same command with --resume goes on"
            )
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()
        announce(f"memory ran out: from here on a step takes about {batch.samples:.0f} samples "
                 f"instead of {before:.0f}; the schedule goes on")  # fmt: skip

    def _look(self, line: ProgressLine) -> None:
        """Checkpoint, score, preview and plot."""
        from conference.train_curve import draw, to_csv
        from conference.train_finish import png
        from nerf.batch_size import out_of_memory

        wall, cpu = time.perf_counter(), time.process_time()
        with self._stop.held():
            self._save()
        try:
            point, picture = self._looks.take(self.spent)
            self.files.put(self.files.preview, png(picture))
            if point is not None:
                line.score = point.psnr
                self.points.append(point)
                self.files.put(self.files.rows, to_csv(self.points))
                self.files.put(self.files.plot, draw(self.points, self.request.output.stem,
                                                     self.request.seconds))  # fmt: skip
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            announce("memory ran out: no preview this time")
        cost = time.perf_counter() - wall
        self.spent += cost
        self.cpu += time.process_time() - cpu
        if len(self.points) < 2:  # the first one loads what the others have
            cost = 0.0
        wait = min(max(LOOK_EVERY_S, cost / LOOK_SHARE), LOOK_AT_LEAST_S)
        self._next_look = self.spent + wait

    def _save(self) -> None:
        from nerf.checkpoint import save_checkpoint

        facts = {"spent": self.spent, "cpu": self.cpu, "samples": self.samples}
        extra = self.fitting.state() if self.fitting is not None else {}
        self.files.attempt(
            self.files.checkpoint,
            lambda: save_checkpoint(self.trainer, self.files.checkpoint, facts, extra),
        )

    def _load(self) -> None:
        from conference.train_curve import from_csv
        from nerf.checkpoint import CheckpointError, load_checkpoint

        if not self.files.checkpoint.exists():
            raise LocalError(
                f"there is nothing to go on from: {self.files.checkpoint} does not exist; "
                "start without --resume"
            )
        try:
            facts, extra = load_checkpoint(self.trainer, self.files.checkpoint)
            if self.fitting is not None:
                self.fitting.load_state(extra)
        except (CheckpointError, AvatarFileError, KeyError) as error:
            raise LocalError(f"cannot go on: {error}; start without --resume") from error
        self.spent, self.cpu = float(facts["spent"]), float(facts["cpu"])
        self.samples = float(facts["samples"])
        self._next_look = self.spent + FIRST_LOOK_S
        if self.files.rows.is_file():
            self.points = from_csv(self.files.rows.read_bytes(), self.trainer.step_index)
        announce(f"going on from step {self.trainer.step_index} ({self.spent:.0f} s spent)")
