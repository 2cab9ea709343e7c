"""From footage to a training set, in the paper's seven steps.

The rule: everything is made in DIR.partial, which becomes DIR in one rename when it is complete.
The ledger there (portrait.steps) says what is done: the same command goes on where an
interrupted one stopped, at the frame, and another option makes anew only what depends on it. The
crop is the live sender's (sender.portrait_crop), before its filter against tremble.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import sender
from nerf.trainset import train_count_of
from portrait import background, body, frames, masks, poses, torso, training_file
from portrait.checks import Verdict
from portrait.distance import camera_distance
from portrait.facts import face_px
from portrait.footage import Material, VideoFootage, hash_files
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
    TORSO,
    TRAINING_FILE,
    Ledger,
    Step,
    read_ledger,
)
from portrait.target import only_one, publish, refuse_occupied, take_over
from portrait.tracks import Progress, Selection, Tracks
from quic_transport.errors import LocalError
from sender.extractor import open_extractor
from sender.truth_extractor import truth_path


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
    segmenter = options.segmenter
    exact = name == "truth" and segmenter == "auto"
    return Material(
        footage=footage,
        open_extractor=lambda: open_extractor(name, models=models, source=str(video)),
        open_segmenter=lambda: open_segmenter(name, models, video, segmenter),
        exact=exact,
        tracker=tracker_identity(name, models, video),
    )


def tracker_identity(name: str, models: Path | None, video: Path | None = None) -> str:
    """Changes whenever the extractor called `name` would say something else."""
    if name == "truth" and video is not None and truth_path(video).is_file():
        return f"{name}:{hash_files([truth_path(video)])}"
    weights = sorted((Path(sender.__file__).parent / name).rglob("*.onnx"))
    if models is not None and models.is_dir():
        weights += sorted(models.glob("*.onnx"))
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
            take_over(out, partial)
        partial.mkdir(parents=True, exist_ok=True)
        with only_one(partial):
            made = _Build(material, partial, options, progress)
            made.run()
        publish(partial, out)
    except OSError as error:
        raise LocalError(
            f"{partial} cannot be written ({error.strerror or error}): make room or choose "
            "another place with -o"
        ) from error
    return made.summary(out, time.monotonic() - started)


KNOWN_LENS = ("truth", "imported")
"""Trackers whose camera is given, not guessed."""


class _Build:
    """One run through the steps."""

    tracks: Tracks
    kept: Tracks
    verdict: Verdict
    distance: float

    def __init__(
        self, material: Material, folder: Path, options: BuildOptions, progress: Progress
    ) -> None:
        self.material, self.folder, self.options = material, folder, options
        self.ledger = Ledger(folder)
        self.progress = progress
        self.kept_steps: list[str] = []
        self.warnings: list[str] = []

    def run(self) -> None:
        """All seven, each only as far as it is needed."""
        self._step(FRAMES, self._frames_inputs(), self._look_and_cut)
        self._recall_frames()
        from_where = {"distance": round(self.distance, 4)}
        segmenter = {"segmenter": self._segmenter_identity()}
        self._step(SEGMENTATION, segmenter | from_where, self._segment)
        self._step(BACKGROUND, {}, self._plate)
        self._step(TORSO, {}, self._torsos)
        self._step(POSES, from_where, self._poses)
        self._step(EXPRESSIONS, {"held_out": self.options.held_out}, self._expressions)
        self.warnings += training_file.advice(self.kept)
        self.warnings += background.advice(self.ledger.note(BACKGROUND))
        source = {"source": self.material.footage.name}
        self._step(TRAINING_FILE, source | from_where, self._training_file)

    def _step(
        self, step: Step, inputs: dict[str, Any], work: Callable[[], Mapping[str, Any]]
    ) -> None:
        started = time.monotonic()
        if not self.ledger.begin(step, inputs):
            self.kept_steps.append(step.name)
            self.progress(f"{step.title} (kept)", 1, 1)
            return
        self.progress(step.title, 0, None)
        note = work()
        self.ledger.finish(step, time.monotonic() - started, **note)

    def _frames_inputs(self) -> dict[str, Any]:
        return {
            "content": self.material.footage.identity(),
            "tracker": self.material.tracker,
            "selection": asdict(self.options.selection),
        }

    def _look_and_cut(self) -> dict[str, Any]:
        selection: Selection = self.options.selection
        said = self.folder / "tracks" / "said.json"
        tracks = Tracks.load(self.folder / "tracks.npz")
        note = self.ledger.note(FRAMES)
        if tracks is not None and said.is_file():
            note = json.loads(said.read_text(encoding="utf-8"))
        if tracks is None or not note:
            warnings: list[str] = []
            tracks, extractor, schema = frames.look(
                self.folder, self.material, selection, self.progress, warnings.append
            )
            note = {"extractor": extractor, "schema": schema, "warnings": warnings}
            said.write_text(json.dumps(note), encoding="utf-8")
            tracks.save(self.folder / "tracks.npz")
        verdict = frames.judged(tracks, self.material.footage.name, note["warnings"])
        frames.cut(self.folder, self.material, selection, tracks, verdict, self.progress)
        shutil.rmtree(self.folder / "tracks")
        return note | {"looked_at": len(tracks), "kept": len(verdict.rows)}

    def _recall_frames(self) -> None:
        tracks = Tracks.load(self.folder / "tracks.npz")
        if tracks is None:
            raise LocalError(f"{self.folder / 'tracks.npz'} is damaged: delete {self.folder}")
        note = self.ledger.note(FRAMES)
        self.schema, self.extractor = str(note["schema"]), str(note["extractor"])
        self.warnings = [str(w) for w in note["warnings"]]
        self.tracks = tracks
        self.verdict = frames.judged(tracks, self.material.footage.name, self.warnings)
        self.kept = tracks.take(self.verdict.rows)
        self.distance = float(np.median(self.kept.distance))
        if self.extractor not in KNOWN_LENS:
            trained = slice(train_count_of(len(self.kept), 1.0 - self.options.held_out))
            self.distance = camera_distance(
                self.kept.landmarks[trained], self.kept.rotation[trained],
                self.kept.distance[trained],
            )  # fmt: skip

    def _segmenter_identity(self) -> str:
        segmenter: Any = self.material.open_segmenter()
        try:
            weights = getattr(segmenter, "fingerprint", "")
            return f"{type(segmenter).__name__}:{weights}:{self.material.exact}"
        finally:
            segmenter.close()

    def _segment(self) -> dict[str, Any]:
        neckline = masks.neckline_of(self.kept, self.distance, self.schema, self.material.exact)
        masks.segment(self.folder, self.material, self.kept, neckline, self.progress)
        return {"neckline": neckline is not None}

    def _plate(self) -> dict[str, float]:
        return background.make_plate(
            self.folder, self.material, self.tracks, self.verdict.rows, self.progress
        )

    def _torsos(self) -> dict[str, Any]:
        torso.make_torsos(self.folder, len(self.kept), self.progress)
        bodies = body.make_bodies(
            self.folder, self.material, self.tracks, self.verdict.rows, self.progress
        )
        return {"bodies": bodies}

    def _poses(self) -> dict[str, float | None]:
        return poses.make_poses(self.folder, self.kept, self.distance)

    def _expressions(self) -> dict[str, int]:
        return training_file.make_expressions(
            self.folder, self.kept, self.schema, self.options.held_out
        )

    def _training_file(self) -> dict[str, Any]:
        training_file.make_training_file(
            self.folder,
            self.tracks,
            self.verdict,
            train_frames=int(self.ledger.note(EXPRESSIONS)["train_frames"]),
            schema=self.schema,
            extractor=self.extractor,
            source=self.material.footage.name,
            distance=self.distance,
        )
        write_report(self.folder)
        return {"warnings": self.warnings, "left_out": self.verdict.left_out}

    def summary(self, out: Path, elapsed_s: float) -> BuildSummary:
        """What was made."""
        kept = self.kept
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
            reprojection_px=(_number(poses_note["median_px"]), _number(poses_note["p95_px"])),
            plate={name: float(value) for name, value in plate.items()},
        )


def _number(value: Any) -> float:
    """A number of the ledger; null is NaN."""
    return float("nan") if value is None else float(value)


__all__ = [
    "BuildOptions", "BuildSummary", "Selection", "build_dataset", "build_from", "no_progress",
    "read_ledger",
]  # fmt: skip
