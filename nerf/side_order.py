"""Which frames a pass over the film takes how often: rare directions come more than once.

The rule: a frame comes the more often the fewer others see the head from its direction, at most
MOST times; nothing else about a frame counts. A talking head looks into the camera for nine tenths
of a film, and what it shows of its sides it shows in the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

DIRECTION = np.radians((6.0, 5.0))  # pitch and yaw of what counts as one direction
MOST = 4


def visits(rotations: ArrayLike) -> NDArray[np.int64]:
    """How often a pass takes each frame of `rotations` [N, 3], radians; at least 1.

    The root of how much rarer than usual the frame's direction is: halfway between every frame
    alike and every direction alike.
    """
    cells = np.floor(np.asarray(rotations, dtype=np.float64)[:, :2] / DIRECTION).astype(int)
    _, which, sizes = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    crowd = sizes[which.ravel()]
    return np.clip(np.rint(np.sqrt(np.median(crowd) / crowd)), 1, MOST).astype(np.int64)
