"""The truth beside a film: one npz with what was true in every frame.

Keys (N frames, M landmarks): `time` float64 [N] s; `expression` float32 [N, 46] (schema arkit46);
`rotation` float32 [N, 3] (pitch, yaw, roll) of the stabilised portrait, radians; `pose` float64
[N, 4, 4] head → camera, metres; `focal_px` scalar; `width`, `height` scalars; `landmarks` float32
[N, M, 2] px; `landmark_names` [M] str; `seed`, `fps`, `script`.

The rule: no pickled objects; the arrays are exactly what was rendered.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera
from quic_transport.params import FaceParams


class TruthWriter:
    """Collects frames, then writes the file."""

    def __init__(
        self, names: tuple[str, ...], camera: Camera, *, seed: int, fps: float, script: str
    ) -> None:
        self._fixed: dict[str, Any] = {
            "focal_px": np.float64(camera.fx), "width": np.int64(camera.width),
            "height": np.int64(camera.height), "landmark_names": np.array(names),
            "seed": np.int64(seed), "fps": np.float64(fps), "script": np.array(script),
        }  # fmt: skip
        self._time: list[float] = []
        self._params: list[FaceParams] = []
        self._pose: list[NDArray[np.float64]] = []
        self._landmarks: list[NDArray[np.float64]] = []

    @property
    def frames(self) -> int:
        """Frames collected so far."""
        return len(self._time)

    def add(
        self, time: float, params: FaceParams, pose: NDArray[np.float64],
        landmarks: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """One more frame."""
        self._time.append(time)
        self._params.append(params)
        self._pose.append(pose)
        self._landmarks.append(landmarks)

    def save(self, path: Path) -> Path:
        """Write the npz; returns its path."""
        np.savez_compressed(
            path,
            time=np.array(self._time, np.float64),
            expression=np.stack([p.expression for p in self._params]),
            rotation=np.stack([p.rotation for p in self._params]),
            pose=np.stack(self._pose),
            landmarks=np.stack(self._landmarks).astype(np.float32),
            **self._fixed,
        )
        return path
