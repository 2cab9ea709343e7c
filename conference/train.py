"""`facewire train DIR|VIDEO -o me.fwa`: a training set (or the video it is made of) → an avatar.

The rule: whatever ends the run (its last step, its time, Ctrl-C), an avatar that works is left and
the way to go on is said; the score is that of frames training never saw, with parameters as a live
sender would have sent them.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.progress_line import ProgressLine
from conference.terminal import announce
from quic_transport.errors import AvatarFileError, LocalError
from sender.extractor import DEFAULT_EXTRACTOR, EXTRACTORS

if TYPE_CHECKING:
    from conference.full_frame import PictureScore
    from conference.personal.fitting import Likenesses, PersonalFitting
    from nerf.metrics import Likeness
    from nerf.train import Trainer, TrainSettings
    from nerf.trainset import TrainSet

SCORE_FRAMES = 6  # held-out frames behind the score on the progress bar
THREADS = 2  # a step is a few thousand small calls: more threads wait for Python's lock (0.72 M
# samples per second on one, 1.03 on two, 0.80 on three, 0.57 on four)
SCORED = 60  # held-out frames behind the final score
CEILING_FRAMES = 15  # of these with the pose optimised: a second each
GENERIC, CORRECTED = "generic tracker", "with a correction"
PERSONAL, CEILING = "personal tracker", "pose by pose"
SAVE_EVERY_S = 30.0  # between checkpoints, previews and scores


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """What the user asked for."""

    source: Path
    """A training set's folder, or a video to make one of (beside the avatar)."""
    output: Path
    """The avatar file."""
    preset: str = "fast"
    """Name in `nerf.train.PRESETS`."""
    steps: int | None = None
    """Steps instead of the preset's."""
    seconds: float | None = None
    """At most this much training time, wall clock; the schedule is fitted to it."""
    size: int | None = None
    """Pixels of the training pictures instead of the preset's."""
    threads: int | None = None
    """CPU threads; None: two, or one where there is one core."""
    device: str = "auto"
    """auto, cpu or cuda."""
    backend: str = "auto"
    """One of `nerf.backends.BACKENDS`, or auto."""
    resume: bool = False
    """Go on from the checkpoint beside the avatar."""
    extractor: str = DEFAULT_EXTRACTOR
    """The tracker, for a video; a training set has its own."""
    models: Path | None = None
    """Folder of the tracker's model files, for a video."""
    avatar_size: str = "default"
    """One of `conference.avatar_size.SIZES`."""


def parse(argv: list[str]) -> TrainRequest:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire train", description="learn a personal 3D head")
    add = p.add_argument
    add("source", type=Path, help="a training set's folder, or a video of one person")
    add("-o", "--output", type=Path, required=True, metavar="FILE.fwa", help="the avatar to write")
    add("--preset", choices=("fast", "paper"), default="fast", help="default fast")
    add("--steps", type=int, metavar="N", help="instead of the preset's")
    add("--seconds", type=float, metavar="N", help="train at most so long; fits the schedule")
    add("--size", type=int, metavar="PX", help="of the training pictures, instead of the preset's")
    add("--threads", type=int, metavar="N", help="CPU threads; default 2")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto")
    add("--backend", choices=("auto", "triton", "tcnn", "torch", "cpu"), default="auto",
        help="whose kernels; default the best there is (docs/gpu.md)")  # fmt: skip
    add("--resume", action="store_true", help="go on where an interrupted run stopped")
    add(
        "--extractor",
        choices=EXTRACTORS,
        default=DEFAULT_EXTRACTOR,
        help="the tracker, for a video; default facenet",
    )
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    add(
        "--avatar-size",
        choices=("small", "default", "full"),
        default="default",
        help="small: at most 1 MB travel in a call; full: 32 bits, to be repacked later",
    )
    request = TrainRequest(**vars(p.parse_args(argv)))
    for name, low in (("steps", 1), ("seconds", 1.0), ("size", 32), ("threads", 1)):
        value = getattr(request, name)
        if value is not None and not value >= low:
            raise LocalError(f"--{name} must be at least {low}, not {value}")
    return request


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
        self.whole: dict[str, Any] = {}
        self.whole_score: PictureScore | None = None
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
        sample = held[:: max(1, len(held) // SCORED)]
        scores: dict[str, Likeness] = {}
        if len(held) and fitting is not None:
            announce("scoring held-out frames, as a live sender would send them")
            scores = named(fitting.score(sample, CEILING_FRAMES))
        elif len(held):
            scores[GENERIC] = self.trainer.score(sample, corrected=False)
            scores[CORRECTED] = self.trainer.score(sample)
        try:
            self._learn_whole(fitting)
        except KeyboardInterrupt:
            announce("interrupted" if self.whole else
                     "interrupted: this avatar is a head without its body")  # fmt: skip
            interrupted = True
        except LocalError as error:  # a picture that is missing: the head is there all the same
            announce(f"the avatar stays a head: {error}")
        size = self._write_avatar(scores)
        self._report(scores, size, interrupted)
        if not interrupted:
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

    def _learn_whole(self, fitting: PersonalFitting | None) -> None:
        """Body and room, where the training set has whole pictures; and what they are worth."""
        from conference.full_frame import learn_full_frame, score_full_frame
        from nerf.renderer import HeadRenderer

        t, threads = self.trainset, self.trainer.pool.threads
        wall = time.perf_counter()
        with ProgressLine("body and room") as line:
            sections = learn_full_frame(
                t, self.trainer, fitting,
                lambda share: line.show(share, None, time.perf_counter() - wall),
            )  # fmt: skip
        if not sections:
            announce("no whole pictures in this training set: the avatar is a head alone (build "
                     "the set again for a body and a room)")  # fmt: skip
            return
        self.whole = sections
        announce(f"body and room learned in {time.perf_counter() - wall:.0f} s")
        head = HeadRenderer(self.trainer.field, t.distance_m, t.scale, threads, self.device)
        try:
            model = fitting.model if fitting is not None else None
            self.whole_score = score_full_frame(t, sections, head, model)
        finally:
            head.close()

    def _write_avatar(self, scores: dict[str, Likeness]) -> int:
        import numpy as np

        from conference.avatar_size import Views, stored
        from conference.codec_enrol import codec_sections
        from quic_transport.avatar_file import AvatarMeta, save_avatar
        from quic_transport.params import ParamBounds
        from sender.personal import model as personal

        t, count = self.trainset, self.trainer.count
        expression = t.expression[:count].astype(np.float64)
        rotation = t.rotation[:count]
        sections: dict[str, Any] = {}
        if self.fitting is not None and self.fitting.model is not None:
            expression, rotation = self.fitting.sent()
            sections |= personal.to_sections(self.fitting.model)
        model = self.fitting.model if self.fitting is not None else None
        sections |= codec_sections(self.trainer.field, model, t, self.device)
        sections |= self.whole
        facts: dict[str, str | int | float] = {
            "preset": self.request.preset, "device": self.device,
            "backend": self.trainer.choice.backend,
            "steps": self.trainer.step_index, "train_frames": count,
            "held_out_frames": len(self.trainer.footage) - count,
            "seconds": round(self.spent, 1), "cpu_seconds": round(self.cpu, 1),
            "source": t.source,
        }  # fmt: skip
        for kind, score in scores.items():
            facts |= {
                f"{measure} {kind}": round(getattr(score, field), 4)
                for measure, field in (
                    ("psnr", "psnr_whole"), ("psnr head", "psnr_head"),
                    ("psnr rimless", "psnr_rimless"), ("ssim", "ssim_whole"),
                )
            }  # fmt: skip
        if self.whole_score is not None:
            facts |= self.whole_score.facts()
        meta = AvatarMeta(
            name=self.request.output.stem, schema=t.schema, extractor=t.extractor,
            bounds=ParamBounds.of(np.concatenate([expression, rotation], axis=1)),
            distance_m=float(t.distance_m), portrait_scale=float(t.scale),
            size_px=self.trainer.settings.size, frame_rate=float(t.frame_rate),
            created=datetime.now(UTC).isoformat(timespec="seconds"), provenance=facts,
        )  # fmt: skip
        self.request.output.parent.mkdir(parents=True, exist_ok=True)
        avatar = stored(
            meta, self.trainer.field, sections, Views.of_training(self.trainer.codes, rotation),
            size=self.request.avatar_size, threads=self.trainer.pool.threads, report=announce,
        )  # fmt: skip
        save_avatar(self.request.output, avatar)
        return self.request.output.stat().st_size

    def _report(self, scores: dict[str, Likeness], size: int, interrupted: bool) -> None:
        speed = self.samples / max(self.cpu, 1e-9) / 1e6
        announce(
            f"{self.request.output}: {size / 1e6:.1f} MB, {self.trainer.step_index} steps in "
            f"{self.spent:.0f} s ({self.cpu:.0f} CPU-s, {speed:.2f} M samples per CPU-s)"
        )
        if scores:
            announce(f"held-out frames at {self.trainer.settings.size} px, head on white:")
        for kind, s in scores.items():
            announce(
                f"  {kind:18} PSNR {s.psnr_whole:.2f} dB (head {s.psnr_head:.2f}, without its "
                f"rim {s.psnr_rimless:.2f}), SSIM {s.ssim_whole:.4f}"
            )
        if self.whole_score is not None:
            announce(f"  {self.whole_score.sentence()}")
        if scores:
            announce(f"look at {self.preview}")
        if interrupted:
            announce(
                "interrupted: the avatar above works as it is; the same command with --resume "
                "goes on"
            )


def named(scores: Likenesses) -> dict[str, Likeness]:
    """The three scores under the names that users read."""
    return {GENERIC: scores.generic, PERSONAL: scores.personal, CEILING: scores.ceiling}
