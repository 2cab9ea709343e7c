"""Where the people of training sets and avatars sat before their cameras.

The rule: a set's usual offset is the median of its training frames; frames that are held out have
no say. Reference: quic_transport.seat.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera, portrait_at, seen_pose
from nerf.trainset import TrainSet
from quic_transport.avatar_meta import AvatarMeta
from quic_transport.seat import Seat

Float64 = NDArray[np.float64]
Square = tuple[float, float, float]
"""u, v, side: a square within a portrait, in its widths."""


def seat_of_set(trainset: TrainSet) -> Seat:
    """The seat in the film that a set was made of."""
    right, down, size = np.median(trainset.offset[: trainset.train_count], axis=0).tolist()
    return Seat(trainset.distance_m, trainset.scale, (right, down, size))


def positions_of(trainset: TrainSet) -> Float64:
    """[N, 3] metres, camera axes: where the film's camera saw each head."""
    seat = seat_of_set(trainset)
    return np.stack([seat.position(offset) for offset in trainset.offset])


def seat_of_avatar(meta: AvatarMeta) -> Seat:
    """The seat in which an avatar was learned."""
    return Seat(meta.distance_m, meta.portrait_scale, meta.rest)


def offset_in(place: Square, own: Float64) -> Float64:
    """The offset of a square that lies at `place` (u, v, side, in widths of a portrait) within the
    portrait with offset `own` [3]."""
    u, v, side = place
    return np.array([(own[0] + u - 0.5) / side, (own[1] + v - 0.5) / side,
                     own[2] + math.log(side)])  # fmt: skip


def view_in(place: Square, rotation: ArrayLike, offset: ArrayLike, seat: Seat,
            size: int) -> tuple[Float64, Camera]:  # fmt: skip
    """Pose and camera that draw a head which was sent with `rotation` [3] and `offset` [3] in the
    square `place` of a set's portrait of `size` pixels."""
    u, v, side = place
    position = seat.position(offset)
    own = portrait_at(position, size, seat.scale)
    camera = Camera(own.fx * side, own.fy * side, (u - side / 2) * size + own.cx * side,
                    (v - side / 2) * size + own.cy * side, size, size)  # fmt: skip
    return seen_pose(rotation, position), camera
