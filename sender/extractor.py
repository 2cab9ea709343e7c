"""What finds the face in a frame: the tracker's interface, and the way to open one by name.

The rule: an extractor is causal and frame by frame, so that a training set and a live call see
the same numbers; its `name` goes into the avatar, and both ends compare it at hello.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop


@dataclass(frozen=True, slots=True, eq=False)
class TrackedFace:
    """One face in one frame."""

    params: FaceParams
    """Expression, rotation along the line of sight, offset and time: what is sent."""
    pose: NDArray[np.float64]
    """[4, 4] head → camera in metres, in the full picture's camera."""
    focal_px: float
    """That camera's focal length in pixels; its principal point is the picture's middle."""
    landmarks: NDArray[np.float32]
    """[M, 2] pixels of the full picture; M and their order are the extractor's."""
    crop: PortraitCrop
    """The stabilised portrait's square."""
    confidence: float
    """0..1, the tracker's own belief; 1 where it has none."""

    @property
    def distance_m(self) -> float:
        """Metres from the camera to the head's origin."""
        return float(np.linalg.norm(self.pose[:3, 3]))


class Extractor(Protocol):
    """A face tracker."""

    name: str
    """Who measured: compared at hello, kept in the avatar."""
    schema: str
    """Which 46 numbers it puts out, a key of quic_transport.params.SCHEMAS."""

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, the largest first; empty where there is none."""

    def close(self) -> None:
        """Give back models and threads."""


DEFAULT_EXTRACTOR = "facenet"
EXTRACTORS = ("facenet", "mediapipe", "cpem", "truth")


def open_extractor(
    name: str = DEFAULT_EXTRACTOR, *, models: Path | None = None, source: str | None = None
) -> Extractor:
    """The extractor called `name`.

    "facenet" is ours and comes with facewire; "mediapipe" and "cpem" load their networks from
    `models` (or where model_files looks); "truth" reads the performance that was filmed, from the
    sidecar of the video `source`.
    """
    if name == "facenet":
        from sender.facenet.extractor import FacenetExtractor

        return FacenetExtractor()
    if name == "mediapipe":
        from sender.mediapipe_extractor import MediaPipeExtractor

        return MediaPipeExtractor(models)
    if name == "cpem":
        from sender.cpem.bundle import find_bundle
        from sender.cpem.extractor import CpemExtractor

        return CpemExtractor(find_bundle(models))
    if name == "truth":
        from sender.truth_extractor import TruthExtractor

        if source is None:
            raise LocalError("the truth extractor needs the performer's video as its source")
        return TruthExtractor(Path(source))
    raise LocalError(f"there is no extractor {name!r}: choose {', '.join(EXTRACTORS)}")
