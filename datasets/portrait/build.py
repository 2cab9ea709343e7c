"""From footage to a training set, in the paper's seven steps.

The rule: everything is made in DIR.partial, which becomes DIR in one rename when it is complete.
The ledger there (portrait.steps) says what is done: the same command goes on where an
interrupted one stopped, at the frame, and another option makes anew only what depends on it. The
crop is the live sender's (sender.portrait_crop), unsmoothed: what is trained on is what is sent.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import sender
from portrait import background, frames, masks, poses, torso, training_file
from portrait.checks import Verdict
from portrait.facts import face_px
from portrait.footage import Material, VideoFootage, hash_files
from portrait.lock import only_one
from portrait.options import BuildOptions, BuildSummary
from portrait.report import write_report
from portrait.segmentation import open_segmenter
from portrait.steps import (
    BACKGROUND,
    EXPRESSIONS,
    FRAMES,
    LEDGER,
    POSES,
    SEGMENTATION,
    STEPS,
    TORSO,
    TRAINING_FILE,
    Ledger,
    Step,
    read_ledger,
)
from portrait.tracks import Progress, Selection, Tracks
from quic_transport.errors import LocalError
from sender.extractor import open_extractor
from sender.truth_extractor import truth_path

OWN = (LEDGER, *(name for step in STEPS for name in step.outputs))


def no_progress(stage: str, done: int, total: int | None) -> None:
    """The default progress: none."""


def build_dataset(
    video: Path, out: Path, options: BuildOptions | None = None, progress: Progress = no_progress
) -> BuildSummary:
    """Make the training set `out` of `video`; FacewireError with a sentence where that fails."""
    options = options or BuildOptions()
    refuse_occupied(out, options.force)
    footage = VideoFootage(video)
    footage.info()  # a bad file is refused before anything is made
    return build_from(material_of(footage, options), out, options, progress)


def material_of(footage: VideoFootage, options: BuildOptions) -> Material:
    """What a build from a video starts from."""
    name, models, video = options.extractor, options.models, footage.path
    exact = name == "truth"
    return Material(
        footage=footage,
        open_extractor=lambda: open_extractor(name, models=models, source=str(video)),
        open_segmenter=lambda: open_segmenter(name, models, video),
        exact=exact,
        tracker=tracker_identity(name, video),
    )


def tracker_identity(name: str, video: Path | None = None) -> str:
    """Changes whenever the extractor called `name` would say something else."""
    weights = sorted((Path(sender.__file__).parent / name).glob("*.onnx"))
    if name == "truth" and video is not None and truth_path(video).is_file():
        weights = [truth_path(video)]
    return f"{name}:{hash_files(weights)}"


def build_from(
    material: Material, out: Path, options: BuildOptions, progress: Progress = no_progress
) -> BuildSummary:
    """Make the training set `out` of any material."""
    started = time.monotonic()
    refuse_occupied(out, options.force)
    partial = out.with_name(out.name + ".partial")
    try:
        if not partial.exists() and (out / LEDGER).is_file():
            _take_over(out, partial)
        partial.mkdir(parents=True, exist_ok=True)
        with only_one(partial):
            made = _Build(material, partial, options, progress)
            made.run()
        _publish(partial, out)
    except OSError as error:
        raise LocalError(
            f"{partial} cannot be written ({error.strerror or error}): make room or choose "
            "another place with -o"
        ) from error
    return made.summary(out, time.monotonic() - started)


class _Build:
    """One run through the steps."""

    def __init__(
        self, material: Material, folder: Path, options: BuildOptions, progress: Progress
    ) -> None:
        self.material, self.folder, self.options = material, folder, options
        self.ledger = Ledger(folder)
        self.progress = progress
        self.kept_steps: list[str] = []
        self.warnings: list[str] = []
        self.tracks: Tracks
        self.verdict: Verdict

    def run(self) -> None:
        """All seven, each only as far as it is needed."""
        material, folder = self.material, self.folder
        source = material.footage.name
        self._step(FRAMES, self._frames_inputs(), self._look_and_cut)
        self._recall_frames()
        tracks, verdict = self.tracks, self.verdict
        kept = tracks.take(verdict.rows)
        note = self.ledger.note(FRAMES)
        schema, extractor = str(note["schema"]), str(note["extractor"])
        self._step(SEGMENTATION, {"segmenter": self._segmenter_identity()}, lambda: {
            "neckline": self._segment(kept, schema)})  # fmt: skip
        self._step(BACKGROUND, {}, lambda: background.make_plate(
            folder, material, tracks, verdict.rows, self.progress))  # fmt: skip
        self._step(TORSO, {}, lambda: torso.make_torsos(folder, len(kept), self.progress))
        self._step(
            POSES,
            {},
            lambda: dict(zip(("median_px", "p95_px"), poses.make_poses(folder, kept), strict=True)),
        )
        self._step(
            EXPRESSIONS,
            {"held_out": self.options.held_out},
            lambda: training_file.make_expressions(folder, kept, schema, self.options.held_out),
        )
        count = int(self.ledger.note(EXPRESSIONS)["train_frames"])
        self.warnings += training_file.advice(kept)
        self.warnings += background.advice(self.ledger.note(BACKGROUND))
        self._step(TRAINING_FILE, {"source": source}, lambda: self._training_file(
            count, schema, extractor, source))  # fmt: skip

    def _step(self, step: Step, inputs: dict[str, Any], work: Callable[[], Any]) -> None:
        started = time.monotonic()
        if not self.ledger.begin(step, inputs):
            self.kept_steps.append(step.name)
            self.progress(f"{step.title} (kept)", 1, 1)
            return
        self.progress(step.title, 0, None)
        note = work() or {}
        self.ledger.finish(step, time.monotonic() - started, **note)

    def _frames_inputs(self) -> dict[str, Any]:
        return {
            "content": self.material.footage.identity(),
            "tracker": self.material.tracker,
            "selection": asdict(self.options.selection),
        }

    def _look_and_cut(self) -> dict[str, Any]:
        selection: Selection = self.options.selection
        tracks = Tracks.load(self.folder / "tracks.npz")
        asked = self.folder / "tracks" / "asked.txt"
        if tracks is None or not asked.exists():
            tracks, extractor, schema = frames.look(
                self.folder, self.material, selection, self.progress, self.warnings.append
            )
            asked.write_text("\n".join([extractor, schema, *self.warnings]), encoding="utf-8")
            tracks.save(self.folder / "tracks.npz")
        extractor, schema, *self.warnings = asked.read_text(encoding="utf-8").split("\n")
        verdict = frames.judged(tracks, self.material.footage.name, self.warnings)
        frames.cut(self.folder, self.material, selection, tracks, verdict, self.progress)
        shutil.rmtree(self.folder / "tracks")
        return {"extractor": extractor, "schema": schema, "warnings": self.warnings,
                "looked_at": len(tracks), "kept": len(verdict.rows)}  # fmt: skip

    def _recall_frames(self) -> None:
        tracks = Tracks.load(self.folder / "tracks.npz")
        if tracks is None:
            raise LocalError(f"{self.folder / 'tracks.npz'} is damaged: delete {self.folder}")
        self.tracks = tracks
        self.warnings = [str(w) for w in self.ledger.note(FRAMES)["warnings"]]
        self.verdict = frames.judged(tracks, self.material.footage.name, self.warnings)

    def _segmenter_identity(self) -> str:
        segmenter = self.material.open_segmenter()
        try:
            extra = getattr(segmenter, "fingerprint", "")
            classes = "classes" if hasattr(segmenter, "classes") else "person"
            return f"{type(segmenter).__name__}:{classes}:{extra}:{self.material.exact}"
        finally:
            segmenter.close()  # type: ignore[attr-defined]

    def _segment(self, kept: Tracks, schema: str) -> bool:
        distance = float(np.median(kept.distance))
        neckline = masks.neckline_of(kept, distance, schema, self.material.exact)
        masks.segment(self.folder, self.material, kept, neckline, self.progress)
        return neckline is not None

    def _training_file(
        self, count: int, schema: str, extractor: str, source: str
    ) -> dict[str, Any]:
        training_file.make_training_file(
            self.folder, self.tracks, self.verdict, train_frames=count, schema=schema,
            extractor=extractor, source=source,
        )  # fmt: skip
        write_report(self.folder)
        return {"warnings": self.warnings, "left_out": self.verdict.left_out}

    def summary(self, out: Path, elapsed_s: float) -> BuildSummary:
        """What was made."""
        kept = self.tracks.take(self.verdict.rows)
        poses_note = self.ledger.note(POSES)
        plate = self.ledger.note(BACKGROUND)
        return BuildSummary(
            folder=out,
            frames=len(kept),
            train_frames=int(self.ledger.note(EXPRESSIONS)["train_frames"]),
            looked_at=len(self.tracks),
            left_out=self.verdict.left_out,
            face_px=float(np.median(face_px(kept))),
            seconds=float(kept.time[-1] - kept.time[0]),
            elapsed_s=elapsed_s,
            warnings=tuple(self.warnings),
            kept_steps=tuple(self.kept_steps),
            reprojection_px=(float(poses_note["median_px"]), float(poses_note["p95_px"])),
            plate={name: float(value) for name, value in plate.items()},
        )


def refuse_occupied(out: Path, force: bool) -> None:
    """LocalError where `out` is a file, or a folder with content that may not be replaced."""
    if out.is_file():
        raise LocalError(f"{out} is a file: name a folder for the training set with -o")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise LocalError(f"{out} is not empty: choose another -o, or replace it with --force")


def _take_over(out: Path, partial: Path) -> None:
    """Begin with the files of the set that is to be replaced: linked where that works."""
    for name in OWN:
        source = out / name
        if source.is_dir():
            shutil.copytree(source, partial / name, copy_function=_link)
        elif source.is_file():
            partial.mkdir(parents=True, exist_ok=True)
            _link(str(source), str(partial / name))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def _publish(partial: Path, out: Path) -> None:
    """Put the finished set in its place; what was there goes only after that."""
    old = None
    if out.exists():
        old = out.with_name(out.name + ".old")
        if old.exists():
            shutil.rmtree(old)
        out.rename(old)
    partial.rename(out)
    if old is not None:
        shutil.rmtree(old)


__all__ = [
    "BuildOptions", "BuildSummary", "Selection", "build_dataset", "build_from", "no_progress",
    "read_ledger",
]  # fmt: skip
