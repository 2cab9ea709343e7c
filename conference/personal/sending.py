"""What a live sender with the personal tracker would have sent for frames of a training set.

The rule: the sender's own functions, run forward over the frames in the order of their times:
alignment, doubt, and the filter against tremble; frame n depends on frames up to n alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conference.seat import offset_in, view_in
from nerf.camera import Camera
from nerf.trainset import TrainSet
from quic_transport.errors import LocalError
from quic_transport.params import within_reach
from quic_transport.seat import Seat
from sender.personal.align import Alignment, Look, align
from sender.personal.extractor import placed, tempered
from sender.personal.model import SIZE_PX, PersonalModel
from sender.portrait_crop import PortraitCrop, crop_at, euler_angles, rotation_matrix
from sender.smoothing import ALIGNED, FaceState, Smoother

Float64 = NDArray[np.float64]
Pictures = Callable[[int], NDArray[np.uint8]]
"""Frame → its whole portrait, uint8 [SIZE_PX, SIZE_PX, 3] RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Sent:
    """One frame's parameters."""

    expression: Float64
    """[46]"""
    rotation: Float64
    """[3] (pitch, yaw, roll), radians."""
    place: PortraitCrop
    """The square that the head fills at the receiver, in widths of the set's own portrait."""

    def view(self, own: Float64, seat: Seat, size: int) -> tuple[Float64, Camera]:
        """Pose and camera under which a renderer draws it where the set's portrait of `size` pixels
        has it, which was cut out at offset `own` [3]."""
        place = (self.place.u, self.place.v, self.place.side)
        return view_in(place, self.rotation, offset_in(place, own), seat, size)


def read_portrait(trainset: TrainSet, frame: int) -> NDArray[np.uint8]:
    """The whole portrait of a frame as a sender cuts it, uint8 [SIZE_PX, SIZE_PX, 3] RGB."""
    import cv2

    path = trainset.folder / "ori_imgs" / f"{int(trainset.img_id[frame])}.jpg"
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise LocalError(f"{path} is missing or damaged: build the set again")
    image = cv2.resize(image, (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def aligned(model: PersonalModel, trainset: TrainSet, frame: int,
            portrait: NDArray[np.uint8]) -> Alignment:  # fmt: skip
    """The person laid onto one portrait, uint8 [SIZE_PX, SIZE_PX, 3], doubted where it fits
    badly."""
    rotation, expression = trainset.rotation[frame], trainset.expression[frame]
    found = align(model, Look.at(portrait, model.box), rotation, expression,
                  trainset.offset[frame])  # fmt: skip
    return tempered(model, found, rotation, expression)


def sent(model: PersonalModel, trainset: TrainSet, frames: Iterable[int],
         portraits: Pictures) -> Iterator[Sent]:  # fmt: skip
    """Of `frames`, in rising order."""
    smoother = Smoother(trainset.schema, ALIGNED)
    for frame in frames:
        found = aligned(model, trainset, frame, portraits(frame))
        place, angles = placed(model, found.motion, trainset.rotation[frame],
                               trainset.offset[frame])  # fmt: skip
        own = crop_at(trainset.offset[frame], 1, 1)  # in a picture that is one wide and high
        u, v = own.u + (place.u - 0.5) * own.side, own.v + (place.v - 0.5) * own.side
        where = np.array([u, v, math.log(place.side * own.side)])
        state = FaceState(np.asarray(found.expression, dtype=np.float64), rotation_matrix(angles),
                          where)  # fmt: skip
        belief = smoother.follow(state, float(trainset.time[frame]))
        u, v, side = belief.place[0], belief.place[1], math.exp(belief.place[2])
        yield Sent(
            within_reach(belief.expression), euler_angles(belief.rotation),
            PortraitCrop((u - own.u) / own.side + 0.5, (v - own.v) / own.side + 0.5,
                         side / own.side),
        )  # fmt: skip
