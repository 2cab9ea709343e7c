"""The head renderer: what a receiver calls, whatever backend does the work.

The rule: one call, one picture; everything that depends on the person is loaded before. Reads:
blend the tables → march → encode → networks → composite → over the background.
Reference: the paper, "Generate Module"; Gao et al. 2022.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.backends import SteadyRenderer
from nerf.camera import (
    Camera,
    euler_angles,
    portrait_at,
    portrait_camera,
    seen_pose,
    seen_rotation,
)
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import Rendered
from nerf.field import HeadField
from nerf.weights import from_sections

__all__ = ["HeadRenderer", "Rendered", "load_head"]


TURNED = 0.6
"""How much of a free viewpoint's turn counts as a turn of the head in its room. All of it: outlines
as the film has them, and a light that turns with the viewer. None: the light where it is, and
outlines that the field never learned under these angles."""


class HeadRenderer:
    """Renders one person's head. Not to be called from two threads at once."""

    def __init__(self, field: HeadField, distance_m: float, portrait_scale: float,
                 threads: int | None = None, device: str = "auto",
                 backend: str = "auto") -> None:  # fmt: skip
        """`distance_m` and `portrait_scale` (portrait widths per metre) are the avatar's; `device`
        and `backend` are wishes (`nerf.backends`)."""
        if not (0.05 <= distance_m <= 100 and 0.1 <= portrait_scale <= 100):
            raise ValueError(f"no portrait camera at {distance_m} m with scale {portrait_scale}")
        self.field = field
        self.distance_m = distance_m
        self.portrait_scale = portrait_scale
        self._pool = WorkerPool(threads)
        self._backend = SteadyRenderer(field, self._pool, device, backend)

    @property
    def backend(self) -> str:
        """Which kernels draw, and where: "triton on cuda"."""
        return f"{self._backend.choice.backend} on {self._backend.choice.device}"

    @property
    def threads(self) -> int:
        """Threads that a picture is spread over."""
        return self._pool.threads

    def portrait(self, size: int) -> Camera:
        """The stabilised portrait's camera with `size` × `size` pixels."""
        return portrait_camera(size, self.distance_m, self.portrait_scale)

    def render(self, expression: ArrayLike, pose: ArrayLike, camera: Camera,
               background: ArrayLike = (1.0, 1.0, 1.0)) -> Rendered:  # fmt: skip
        """The head with coefficients `expression` [k] under head → camera `pose` [4, 4] (metres).

        The avatar's learned pose correction is applied for a pose near the ones it was trained
        on, that is, for the rotation of `pose` itself; see `render_portrait` for free viewpoints.
        `background` is RGB in [0, 1].
        """
        rotation = euler_angles(seen_rotation(pose))
        return self._render(expression, pose, camera, rotation, background, rotation)

    def render_portrait(self, expression: ArrayLike, rotation: ArrayLike, size: int,
                        view: ArrayLike | None = None,
                        background: ArrayLike = (1.0, 1.0, 1.0),
                        camera: Camera | None = None,
                        position: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The stabilised portrait for the sender's `rotation` [3] (pitch, yaw, roll, radians).

        `view` [3] replaces that rotation on screen (free viewpoint): the head is shown as if it had
        turned TURNED of that far in its room; the tracker's correction still follows what the
        tracker saw.
        `position` [3] is where the sender's camera sees the head (metres, camera axes), by default
        in the middle; `camera` replaces the portrait's own of `size` pixels.
        """
        shown = rotation if view is None else view
        position = (0.0, 0.0, -self.distance_m) if position is None else position
        pose = seen_pose(shown, position)
        if camera is None:
            camera = portrait_at(position, size, self.portrait_scale)
        turned = np.asarray(rotation, dtype=np.float64)
        if view is not None:
            aim = np.asarray(view, dtype=np.float64)
            aim = np.array(euler_angles(aim)) if aim.shape == (3, 3) else aim
            turned = turned + TURNED * (aim - turned)
        return self._render(expression, pose, camera, rotation, background, turned)

    def set_stride(self, stride: float) -> None:
        """Make the steps along rays this much longer, ≥ 1: faster and worse (processor only)."""
        self._backend.set_stride(stride)

    def warm_up(self, size: int) -> None:
        """Compile and touch everything that the first picture would have to wait for."""
        code = self.field.code
        neutral = code.mean[: code.coefficients]
        self.render_portrait(neutral, (0.0, 0.0, 0.0), size)

    def close(self) -> None:
        """Let the threads go."""
        self._pool.close()

    def _render(self, expression: ArrayLike, pose: ArrayLike, camera: Camera, tracked: ArrayLike,
                background: ArrayLike, turned: ArrayLike) -> Rendered:  # fmt: skip
        if not (np.isfinite(expression).all() and np.isfinite(pose).all()):
            raise ValueError("expression and pose must be finite")
        self._backend.set_expression(self.field.code.face(expression, turned))
        rigid = self.field.rigid_correction(tracked, expression)
        return self._backend.render(pose, camera, background, rigid)


def load_head(sections: Mapping[str, NDArray[np.generic]], distance_m: float,
              portrait_scale: float, threads: int | None = None,
              device: str = "auto", backend: str = "auto") -> HeadRenderer:  # fmt: skip
    """The renderer of an avatar's sections; nerf.weights.WeightsError if they are not a head."""
    field = from_sections(sections)
    return HeadRenderer(field, distance_m, portrait_scale, threads, device, backend)
