"""How much of the picture hangs on each table entry.

The rule: importance is the mean over seen pixels of the squared change of colour per squared
change of the weight, over views and expressions as a call will show them; an entry that no ray
reaches has none. Estimated with random signs: the square of a gradient of Σ ±colour is, on
average, the sum of the squares. Reference: Hutchinson 1990 (stochastic trace estimation).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import head_pose, portrait_camera
from nerf.cpu.engine import CpuEngine
from nerf.cpu.pool import WorkerPool
from nerf.field import HeadField, cube_rays
from nerf.step import LossWeights, Rates, RayBatch

Float32 = NDArray[np.float32]

RAYS = 2048  # per picture
MOST_SAMPLES = 8_000_000  # of the field: enough for 200 pictures of a trained head; a field that
# is still fog gets fewer pictures
MEMORY = 1e-6  # of the running mean of squares: so small that it is a sum
SIGNS = LossWeights(huber=1e-3, mask=0.0, spread=0.0)  # gradient ± 1/3 of every colour


def importance(field: HeadField, codes: ArrayLike, rotations: ArrayLike, distance_m: float,
               portrait_scale: float, pool: WorkerPool, seed: int = 0) -> Float32:  # fmt: skip
    """Float32 [E, 4] of table weights for the pictures with blend weights `codes` [N, B] under
    head `rotations` [N, 3], radians; the field is left as it is."""
    rng = np.random.default_rng(seed)
    engine = CpuEngine(field, pool, betas=(0.0, 1.0 - MEMORY))
    camera = portrait_camera(256, distance_m, portrait_scale)
    still = Rates(table=0.0, expression=0.0, network=0.0)
    codes, rotations = np.asarray(codes, np.float32), np.asarray(rotations)
    count = samples = 0
    for i in rng.permutation(len(codes)):
        code, rotation = codes[i], rotations[i]
        xy = rng.uniform(0, 256, (RAYS, 2))
        origin, directions = cube_rays(head_pose(rotation, distance_m), camera, xy, field.cube)
        far = rng.choice(np.array([-9.0, 9.0], np.float32), (RAYS, 3))
        behind = rng.random((RAYS, 3), dtype=np.float32)
        batch = RayBatch(np.ascontiguousarray(code), origin, directions, far,
                         np.zeros(RAYS, np.float32), behind)  # fmt: skip
        samples += engine.step(batch, still, SIGNS, float(rng.random()), rigid=False).samples
        count += 1
        if samples > MOST_SAMPLES:
            break
    scale = np.float32(9.0 / (float(np.float32(1.0) - np.float32(1.0 - MEMORY)) * count * RAYS))
    return engine.moment2 * scale


def usual_views(field: HeadField, low: ArrayLike, high: ArrayLike, count: int,
                seed: int = 0) -> tuple[Float32, NDArray[np.float64]]:  # fmt: skip
    """Blend weights [N, B] and rotations [N, 3] to expect of a person whose head turned between
    `low` and `high` [3]: blend weights are scaled to a spread of a quarter (`nerf.expression`)."""
    rng = np.random.default_rng(seed)
    codes = (0.25 * rng.standard_normal((count, field.config.rank))).astype(np.float32)
    a, b = np.asarray(low, np.float64), np.asarray(high, np.float64)
    return codes, a + (b - a) * rng.beta(2.0, 2.0, (count, 3))
