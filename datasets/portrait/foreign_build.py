"""Sets from elsewhere through the same seven steps: `facewire dataset import`.

The rule: where the head is, is always measured by one of our own trackers, because a live sender
will measure it so; a set's own poses have other origins and units. Its 46 coefficients are kept
with the schema that they are in, and its class maps take the segmenter's place.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.trainset import TRAIN_FRACTION
from portrait.build import build_from, no_progress, tracker_identity
from portrait.footage import Material, PictureFootage, hash_files, read_picture
from portrait.foreign import ForeignSet, open_foreign
from portrait.matting import refine
from portrait.options import BuildOptions, BuildSummary
from portrait.pictures import BACKGROUND, classes_of, labels_through
from portrait.segmentation import open_segmenter
from portrait.target import refuse_occupied
from portrait.tracks import Progress
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.extractor import Extractor, TrackedFace, open_extractor
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop

SCHEMA = "fw46"  # FaceWarehouse: what NeRFBlendShape's tracker fits
DEFAULT_RATE = 25.0  # pictures per second where nothing says so

Image = NDArray[np.uint8]


def import_dataset(
    source: Path,
    out: Path,
    options: BuildOptions | None = None,
    *,
    rate: float = DEFAULT_RATE,
    keep_coefficients: bool = True,
    progress: Progress = no_progress,
) -> BuildSummary:
    """Make the training set `out` of the set or the pictures in the folder `source`, which holds
    `rate` pictures per second; LocalError with a sentence where that fails."""
    options = options or BuildOptions()
    refuse_occupied(out, options.force)
    if options.extractor == "truth":
        raise LocalError("the truth is known of a performer's video only: choose another extractor")
    foreign = open_foreign(source)
    if foreign.held_out is not None and options.held_out == 1.0 - TRAIN_FRACTION:
        options = replace(options, held_out=foreign.held_out)
    made = build_from(
        material_of(foreign, options, rate, keep_coefficients), out, options, progress
    )
    return replace(made, warnings=(*foreign.notes, *made.warnings))


def material_of(
    foreign: ForeignSet, options: BuildOptions, rate: float, keep_coefficients: bool
) -> Material:
    """What a build from a set from elsewhere starts from."""
    footage = PictureFootage(foreign.folder.resolve().name, foreign.pictures, rate)
    expression = foreign.expression if keep_coefficients else None
    identity = tracker_identity(options.extractor, options.models)

    def tracker() -> Extractor:
        inner = open_extractor(options.extractor, models=options.models)
        return inner if expression is None else KeptCoefficients(inner, expression)

    def segmenter() -> Any:
        if foreign.parsing is not None and options.segmenter == "auto":
            return ParsingMasks(foreign.parsing)
        return open_segmenter(options.extractor, options.models, foreign.folder, options.segmenter)

    if expression is not None:
        identity = f"{identity}:{hashlib.sha256(expression.tobytes()).hexdigest()}"
    return Material(footage, tracker, segmenter, tracker=identity)


class KeptCoefficients:
    """A tracker whose coefficients are replaced by those that a set brought along."""

    name = "imported"
    schema = SCHEMA

    def __init__(self, inner: Extractor, expression: NDArray[np.float32]) -> None:
        self._inner, self._expression = inner, expression

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The tracker's faces, the first with the set's expression."""
        faces = self._inner.extract(frame)
        if not faces:
            return faces
        seen = faces[0].params
        params = FaceParams(
            self._expression[frame.index], seen.rotation, seen.capture_time, seen.offset
        )
        return [replace(faces[0], params=params), *faces[1:]]

    def close(self) -> None:
        """Close the tracker."""
        self._inner.close()


class ParsingMasks:
    """A set's class maps in the place of a segmenter's; edges follow the picture."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths = paths

    @property
    def fingerprint(self) -> str:
        """Changes with the maps."""
        return hash_files(self._paths)

    def person(self, portrait: Image, frame: Frame, crop: PortraitCrop) -> NDArray[np.float32]:
        """Opacity of the person, float32 [H, W] in 0..1."""
        inside = self.classes(portrait, frame, crop) != BACKGROUND
        return refine(inside.astype(np.float32), portrait)

    def classes(self, portrait: Image, frame: Frame, crop: PortraitCrop) -> Image:
        """uint8 [H, W]: 0 background, 1 head, 2 neck, 3 torso."""
        path = self._paths[frame.index]
        classes = classes_of(read_picture(path))
        if classes.shape != frame.image.shape[:2]:
            raise LocalError(
                f"{path} has {classes.shape[1]}×{classes.shape[0]} pixels, its picture "
                f"{frame.image.shape[1]}×{frame.image.shape[0]}: copy the set again"
            )
        return labels_through(crop, classes, portrait.shape[0])

    def close(self) -> None:
        """Nothing is held."""
