"""Where a head sits before its camera, in metres, as far as its place in the picture tells.

The rule: both ends compute it from the same numbers, the three of `FaceParams.offset` and what the
avatar says of its film, so that a receiver looks at the head from where the camera did. A head
beside the camera's axis shows more of one side than a turned head in the middle would, and a near
one has a larger nose: a crop alone takes out neither.
Reference: docs/conventions.md ("The stabilised portrait"); Hartley & Zisserman 2004, ch. 6.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEANING, ZOOMED = 1.3, 2.0
"""Up to so many times as large, or as small, as usual a head is nearer or farther; from the second
on another camera shows it, from the usual distance; in between something of both."""
ASIDE = 1.0  # of the distance: 45° from the axis


def nearer(larger: float) -> float:
    """By how much a head is nearer than usual that is seen so much larger, both as logarithms."""
    most, end = math.log(LEANING), math.log(ZOOMED)
    share = min(1.0, max(0.0, (end - abs(larger)) / (end - most)))
    return math.copysign(min(abs(larger), most * share), larger)


@dataclass(frozen=True, slots=True)
class Seat:
    """Where heads of one avatar sit."""

    distance_m: float
    """Metres from the camera to the head's origin where it usually was, along the axis, > 0."""
    scale: float
    """Portrait widths per metre there, > 0."""
    rest: tuple[float, float, float] | None = None
    """The usual offset (docs/conventions.md); None: not known, and every head sits in the middle,
    as avatars had it that were made without."""

    def position(self, offset: ArrayLike | None = None) -> NDArray[np.float64]:
        """[3] metres, camera axes (x right, y up, z < 0): the head's origin, of a head with this
        `offset` [3]; None: where it usually is."""
        if self.rest is None:
            return np.array([0.0, 0.0, -self.distance_m])
        known = self.rest if offset is None else np.asarray(offset, dtype=np.float64).tolist()
        right, down, log_size = (float(o) for o in known)
        depth = self.distance_m * math.exp(-nearer(log_size - self.rest[2]))
        most = ASIDE * depth
        x, y = (min(max(o / self.scale, -most), most) for o in (right, -down))
        return np.array([x, y, -depth])
