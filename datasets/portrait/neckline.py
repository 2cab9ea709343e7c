"""Where the head ends: a curve under the jaw that is fixed in the head's frame.

The rule: the cut depends on nothing but what is also transmitted. Each of its points is a 3D
point of the head frame plus a linear function of the jaw's and mouth's coefficients, fitted once
per clip to the tracked jaw line; a frame's cut is its projection by the frame's rotation. It
therefore carries none of the landmarks' jitter, and a NeRF that is driven by the same numbers
can represent it as a fixed surface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import rotation_matrix
from quic_transport.params import ARKIT46

# MediaPipe's face oval from the right jaw angle over the chin to the left one.
JAW_LINE = (58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288)
JAW_LINE_68 = tuple(range(3, 14))  # the same of the 68 landmarks of 300-W
JAW_SHAPES = tuple(
    i for i, name in enumerate(ARKIT46)
    if name.startswith("jaw") or name in (
        "mouthClose", "mouthFunnel", "mouthPucker", "mouthLeft", "mouthRight", "mouthShrugLower",
        "mouthLowerDownLeft", "mouthLowerDownRight",
    )
)  # fmt: skip
MARGIN_M = 0.004  # the cut lies this far below the tracked jaw line
REACH_M = 0.25  # how far the cut goes on to both sides, at the level of the jaw's angles
EDGE_PX = 1.5  # half width of the soft edge at 512 px
NECK_M = 0.06  # from the chin's level down to the collar
NECK_HALF_M = (0.066, 0.075)  # half width of the neck at the top and at the collar
CHIN_Z, JAW_ANGLE_Z, JAW_ANGLE_X = 0.043, -0.014, 0.063  # metres; depth of an average jaw line

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Neckline:
    """The fitted curve."""

    points: Float64
    """[P, 3] metres in the head frame, from the image's left to its right, at neutral jaw."""
    shapes: Float64
    """[P, 3, S] metres per unit of each coefficient in `uses`."""
    neutral: Float64
    """[S] the coefficients at which the curve is `points`."""
    distance_m: float
    """Camera distance of the portraits."""
    scale: float
    """Portrait widths per metre."""
    uses: tuple[int, ...] = JAW_SHAPES
    """The S coefficients that move the curve."""

    def curve(self, rotation: ArrayLike, expression: ArrayLike) -> Float64:
        """[P + 2, 2] the cut in portrait widths (x right, y down), ends far outside."""
        e = np.asarray(expression, dtype=np.float64)[list(self.uses)] - self.neutral
        p = self.points + self.shapes @ e
        p = p - np.array([0.0, MARGIN_M, 0.0])
        left, right = p[0] - (REACH_M, 0, 0), p[-1] + (REACH_M, 0, 0)
        c = np.vstack([left, p, right]) @ rotation_matrix(*np.asarray(rotation, float)).T
        k = self.scale * self.distance_m / (self.distance_m - c[:, 2])
        return np.stack([0.5 + k * c[:, 0], 0.5 - k * c[:, 1]], axis=-1)

    def mask(self, rotation: ArrayLike, expression: ArrayLike, size: int) -> NDArray[np.float32]:
        """[size, size] 1 above the cut, 0 below, soft in between.

        "Above" is along the head's own vertical as seen, and above the lowest of the curve's
        branches, so that at large yaw the far side of the jaw never cuts the near one.
        """
        roll = float(np.asarray(rotation)[2])
        c, s = np.cos(roll), np.sin(roll)
        q = (self.curve(rotation, expression) - 0.5) * size
        a, b = q[:, 0] * c - q[:, 1] * s, q[:, 0] * s + q[:, 1] * c  # upright coordinates
        along = np.arange(-size, size + 1, dtype=np.float64)
        cut = np.full(along.shape, -np.inf)
        for i in range(len(a) - 1):  # lowest branch in every column
            if abs(a[i + 1] - a[i]) > 1e-9:
                inside = (along >= min(a[i], a[i + 1])) & (along <= max(a[i], a[i + 1]))
                u = (along[inside] - a[i]) / (a[i + 1] - a[i])
                cut[inside] = np.maximum(cut[inside], b[i] + u * (b[i + 1] - b[i]))
        known = np.isfinite(cut)
        cut = np.interp(along, along[known], cut[known])
        steep = np.sqrt(1.0 + np.gradient(cut) ** 2)
        grid = np.arange(size, dtype=np.float64) + 0.5 - size / 2
        ga = grid[None, :] * c - grid[:, None] * s
        gb = grid[None, :] * s + grid[:, None] * c
        height = (np.interp(ga, along, cut) - gb) / np.interp(ga, along, steep)
        soft = EDGE_PX * size / 512
        ramp = np.clip(0.5 + height / (2 * soft), 0.0, 1.0)
        return np.asarray(ramp * ramp * (3 - 2 * ramp), dtype=np.float32)

    def neck(self, rotation: ArrayLike, size: int) -> NDArray[np.bool_]:
        """[size, size] where what is below the cut is probably neck and not torso: all that is
        level with the jaw, and a trapezium that hangs upright under it. A guess for segmenters
        that don't tell the two apart."""
        chin = self.points[np.argmin(self.points[:, 1])]
        behind = np.array([0.0, chin[1], self.points[:, 2].min() - 0.02])
        p = rotation_matrix(*np.asarray(rotation, float)) @ behind
        k = self.scale * self.distance_m / (self.distance_m - p[2])
        x, y = (0.5 + k * p[0]) * size, (0.5 - k * p[1]) * size
        down = (np.arange(size) + 0.5 - y) / (k * size)  # metres below the chin's level
        half = np.interp(down, (0.0, NECK_M), NECK_HALF_M) * k * size
        half[down < 0.0] = size
        across = np.abs(np.arange(size) + 0.5 - x)
        return np.asarray((across[None, :] < half[:, None]) & (down < NECK_M)[:, None])


def fit_neckline(
    landmarks: NDArray[np.float32],
    rotation: Float64,
    expression: NDArray[np.float32],
    distance_m: float,
    scale: float,
    line: Sequence[int] = JAW_LINE,
    uses: tuple[int, ...] = JAW_SHAPES,
) -> Neckline:
    """Fit the curve to N frames: landmarks [N, M, 2] in portrait widths, of which `line` is the
    jaw, rotation [N, 3], expression [N, 46] of which those that it `uses` may move the jaw.

    Ridge regression per point. Depth is seen only as far as the head turns, so it is held to an
    average jaw's with a weight of a 3° turn; coefficients that hardly move stay without effect.
    """
    turns = np.stack([rotation_matrix(*r) for r in rotation])  # [N, 3, 3]
    e = expression[:, list(uses)].astype(np.float64)
    neutral = np.median(e, axis=0)
    e = e - neutral
    n, s = e.shape
    seen = (landmarks[:, list(line)].astype(np.float64) - 0.5) * (1, -1) / scale  # metres
    points = np.zeros((len(line), 3))
    shapes = np.zeros((len(line), 3, s))
    basis = np.concatenate([np.ones((n, 1)), e], axis=1)  # [N, 1 + S]
    rows = (turns[:, :2, :, None] * basis[:, None, None, :]).reshape(n * 2, 3 * (1 + s))
    weight = np.zeros((3, 1 + s))
    weight[:, 1:] = 0.0005 * n
    weight[2, 0] = 0.003 * n
    gram = rows.T @ rows + np.diag(weight.ravel())
    for k in range(len(line)):
        x_typical = float(np.median(seen[:, k, 0]))
        prior = np.zeros((3, 1 + s))
        fall = min(1.0, abs(x_typical) / JAW_ANGLE_X) ** 2
        prior[2, 0] = CHIN_Z + (JAW_ANGLE_Z - CHIN_Z) * fall
        theta = prior.copy()
        for _ in range(3):  # perspective: the depth of the last round
            depth = np.einsum("ni,is,ns->n", turns[:, 2], theta, basis)
            target = (seen[:, k] * ((distance_m - depth) / distance_m)[:, None]).reshape(-1)
            theta = np.linalg.solve(gram, rows.T @ target + (weight * prior).ravel()).reshape(
                3, 1 + s
            )
        points[k], shapes[k] = theta[:, 0], theta[:, 1:]
    return Neckline(points, shapes, neutral, distance_m, scale, uses)
