"""Head mattes: who is person in a portrait, with a soft edge that follows the picture.

The rule: segmentation runs on the stabilised portrait, where the head always has the same place
and size; what is not picture is not person; only the part that holds the face counts. The neck
is cut elsewhere (neckline).
Our own network is portrait.parsing; MediaPipe's selfie segmenter is there on request.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from portrait.matting import disc, refine
from portrait.parsing.segmenter import ParsingSegmenter, fingerprint_of
from quic_transport.errors import LocalError
from sender.frames import Frame
from sender.model_files import SELFIE_SEGMENTER, find_model
from sender.native_noise import native_noise_silenced
from sender.portrait_crop import PortraitCrop

EDGE_PX = 10  # what is fainter than half belongs to what is nearer than this, at 512 px

Matte = NDArray[np.float32]
Image = NDArray[np.uint8]


class Segmenter(Protocol):
    """Finds the person in a portrait."""

    def person(self, portrait: Image, frame: Frame, crop: PortraitCrop) -> Matte:
        """Opacity of the person, float32 [H, W] in 0..1, in the portrait that `crop` cut out of
        `frame`. One that tells parts apart also has `classes`, with the same parameters: 0
        background, 1 head with hair, 2 neck, 3 torso, uint8 [H, W]."""

    def close(self) -> None:
        """Give back models and files."""


class SelfieSegmenter:
    """MediaPipe's selfie segmenter with a refined edge. Not thread-safe."""

    def __init__(self, models: Path | None = None) -> None:
        path = find_model(SELFIE_SEGMENTER, models)
        self.fingerprint = fingerprint_of(path)
        try:
            with native_noise_silenced():
                from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise LocalError(
                "MediaPipe's segmenter is not installed: pip install 'facewire[track]', or use "
                "facewire's own"
            ) from error
        options = vision.ImageSegmenterOptions(
            base_options=BaseOptions(model_asset_path=str(path)),
            running_mode=vision.RunningMode.IMAGE,
            output_confidence_masks=True,
            output_category_mask=False,
        )
        try:
            with native_noise_silenced():
                self._model: Any = vision.ImageSegmenter.create_from_options(options)
                blank = np.full((256, 256, 3), 255, dtype=np.uint8)
                self.person(blank, None, None)  # its last words
        except (RuntimeError, ValueError, OSError) as error:
            raise LocalError(
                f"{path} cannot be loaded as MediaPipe's segmenter: delete it and try again"
            ) from error

    def confidence(self, picture: Image) -> Matte:
        """The model's own answer, float32 [H, W] in 0..1."""
        import mediapipe as mp

        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        confidence = self._model.segment(image).confidence_masks[-1].numpy_view()
        return np.array(confidence, dtype=np.float32).reshape(picture.shape[:2])

    def person(self, portrait: Image, frame: Frame | None, crop: PortraitCrop | None) -> Matte:
        """Opacity of the person, float32 [H, W] in 0..1."""
        return refine(self.confidence(portrait), portrait)

    def close(self) -> None:
        """Free the model."""
        self._model.close()


SEGMENTERS = ("auto", "parsing", "mediapipe")


def open_segmenter(
    extractor: str, models: Path | None, video: Path, segmenter: str = "auto"
) -> Segmenter:
    """The segmenter to use: a performer's video (extractor "truth") brings exact masks, else
    "auto" is our own network, which needs no file and no package besides facewire's;
    "mediapipe" is taken only where it is asked for."""
    if segmenter not in SEGMENTERS:
        raise LocalError(f"there is no segmenter {segmenter!r}: choose {', '.join(SEGMENTERS)}")
    if extractor == "truth" and segmenter == "auto":
        from portrait.truth_masks import TruthMasks

        return TruthMasks(video)
    if segmenter == "mediapipe":
        return SelfieSegmenter(models)
    return ParsingSegmenter()


def part_with_face(matte: Matte, inside: NDArray[np.uint8] | None = None) -> Matte:
    """The connected part of `matte` that holds most of the portrait's middle, the rest 0.

    `inside` (0..255) says where the portrait is picture; elsewhere the result is 0.
    """
    import cv2

    if inside is not None:
        matte = np.minimum(matte, cv2.erode(inside, np.ones((3, 3), np.uint8)) / np.float32(255))
    solid = (matte > 0.5).astype(np.uint8)
    count, labels = cv2.connectedComponents(solid, connectivity=4)
    h, w = matte.shape
    middle = labels[h * 2 // 5 : h * 3 // 5, w * 2 // 5 : w * 3 // 5]
    votes = np.bincount(middle.ravel(), minlength=count)
    votes[0] = 0
    if not votes.any():
        return matte.astype(np.float32)
    mine = (labels == int(votes.argmax())).astype(np.uint8)
    keep = cv2.dilate(mine, disc(EDGE_PX * h / 512))
    return np.where(keep > 0, matte, 0.0).astype(np.float32)
