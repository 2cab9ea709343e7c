"""PE-Net in ONNX Runtime: reads one face in one crop.

The rule: one thread, no state; the network's outputs are kept as it gives them (in its crop and
its rolled camera), and `FaceReading.pose` is the one place that turns them into metres.
Reference: portrait.facenet.net (the network), sender.facenet.crop (what its numbers mean).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from sender.facenet.crop import FaceCrop, head_pose, rotation_of_six

WEIGHTS = Path(__file__).parent / "weights"
PE_FILE, FB_FILE = "pe_net.onnx", "fb_net.onnx"
HALF_FOV = math.radians(31.5)
PLACE_RANGE = np.array([[-0.5, -0.45, -0.7], [0.5, 0.45, 1.3]])
"""What PE-Net was trained on: a place beyond is taken to be at its edge."""


def focal_of(height: int) -> float:
    """Focal length in pixels of the camera that a picture `height` px high is taken to have."""
    return height / 2 / math.tan(HALF_FOV)


@dataclass(frozen=True, slots=True, eq=False)
class FaceReading:
    """What PE-Net says about a crop."""

    landmarks: NDArray[np.float64]
    """[478, 2] pixels of the whole picture."""
    expression: NDArray[np.float32]
    """[46] `ARKIT46`, as the network gives them: about 0..1, not clipped."""
    rotation: NDArray[np.float64]
    """[3, 3] head → camera rolled with the crop."""
    origin: NDArray[np.float64]
    """[2] where the head's origin is seen, in sides of the crop about its centre."""
    scale: float
    """Natural logarithm of the crop's pixels per metre at the head over METRE_PX."""
    presence: float
    """0..1: whether there is a face at all."""
    features: NDArray[np.float32]
    """[256] what the numbers above are made of, for a personal corrector."""
    crop: FaceCrop
    """Where it looked."""

    def pose(self, focal_px: float, width: int, height: int) -> NDArray[np.float64]:
        """Head → camera [4, 4] in metres of the whole picture."""
        return head_pose(
            self.crop, self.rotation, self.origin, self.scale, focal_px, width, height
        )  # fmt: skip


def fingerprint(weights: Path | None = None) -> str:
    """Eight hexadecimal digits that change with the networks: avatars keep them, so that nobody
    sends what one pair says to a head that learned from another."""
    digest = hashlib.sha256()
    for name in (PE_FILE, FB_FILE):
        path = (weights or WEIGHTS) / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:8]


class FaceReader:
    """PE-Net, opened."""

    def __init__(self, weights: Path | None = None) -> None:
        """`weights`: the folder of the networks, the shipped ones by default."""
        self._session = open_network((weights or WEIGHTS) / PE_FILE)

    def read(self, image: NDArray[np.uint8], crop: FaceCrop) -> FaceReading:
        """What is to be seen in `crop` of the whole picture `image` [H, W, 3] RGB."""
        height, width = image.shape[:2]
        place = np.clip(crop.place(focal_of(height), width, height), *PLACE_RANGE)
        marks, expression, six, origin, scale, presence, features = self._session.run(
            None,
            {"picture": crop.cut(image)[None], "place": place[None].astype(np.float32)},
        )
        return FaceReading(
            crop.to_picture(marks[0]), expression[0], rotation_of_six(six[0]),
            origin[0].astype(np.float64), float(scale[0]),
            1.0 / (1.0 + math.exp(-max(-30.0, min(30.0, float(presence[0]))))), features[0], crop,
        )  # fmt: skip


def open_network(path: Path) -> Any:
    """An ONNX Runtime session on one thread; LocalError if the file is none."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except OSError as error:
        raise LocalError(
            f"the face tracker's network {path} cannot be read: install facewire again, or make "
            "it with: facewire facenet train"
        ) from error
    except Exception as error:  # ONNX Runtime's own classes have no public common base
        raise LocalError(f"{path} is no network that ONNX Runtime can open ({error})") from error
