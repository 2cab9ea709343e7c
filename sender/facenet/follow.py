"""Following a face from crop to crop with PE-Net alone.

The rule: every reading says where to look next (its own landmarks); a crop that was far off is
read again in the same frame, so that a fast head is not read at the edge of what PE-Net knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sender.facenet.crop import FaceCrop, crop_around
from sender.facenet.reader import FaceReading

ACQUIRE, KEEP = 0.95, 0.5
"""Presence from which a face is believed to be one, and below which it is gone."""
SURE = 0.98
"""Presence below which FB-Net is asked about a face that is followed."""
ACQUIRE_VOTE, KEEP_VOTE = 0.6, 0.2
"""FB-Net's vote from which a face is believed, and below which a doubtful one is gone."""
PASSES = 4
"""Readings at most of a new candidate."""
OFF = 0.10
"""How far a crop may be off (`off`) before it is read again."""
FAST = 0.04
"""Sides of the crop per frame from which a face's motion is carried on into the next frame."""
REACH = 0.5
"""Sides of the crop by which that may move it at most."""
MIN_SIDE_PX = 24.0
"""A crop is not smaller than this."""

Image = NDArray[np.uint8]
Read = Callable[[Image, FaceCrop], FaceReading]
Vote = Callable[[Image, FaceCrop], float]


@dataclass(slots=True, eq=False)
class Track:
    """One face that is followed."""

    reading: FaceReading
    """Of the last frame."""
    place: FaceCrop
    """Where its landmarks were then."""
    at: float
    """Capture time of that frame, seconds."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Of the crop's centre, pixels per second."""

    def predicted(self, now: float) -> FaceCrop:
        """Where to look at `now`."""
        p, dt = self.place, min(max(now - self.at, 0.0), 0.1)
        dx, dy = self.velocity[0] * dt, self.velocity[1] * dt
        far = math.hypot(dx, dy) / p.side
        if far < FAST:
            return p
        k = min(1.0, REACH / far)
        return FaceCrop(p.x + k * dx, p.y + k * dy, p.side, p.angle)

    def moved(self, reading: FaceReading, now: float) -> None:
        """Take the next frame's reading."""
        place = crop_around(reading.landmarks)
        dt = now - self.at
        if 0.0 < dt < 0.2:
            self.velocity = ((place.x - self.place.x) / dt, (place.y - self.place.y) / dt)
        else:
            self.velocity = (0.0, 0.0)
        self.reading, self.place, self.at = reading, place, now


def off(one: FaceCrop, other: FaceCrop) -> float:
    """How unlike two crops are: sides between them, log of their sizes, half the angle."""
    turn = math.remainder(one.angle - other.angle, 2 * math.pi)
    return max(
        math.hypot(one.x - other.x, one.y - other.y) / other.side,
        abs(math.log(one.side / other.side)),
        0.5 * abs(turn),
    )


def sane(crop: FaceCrop, width: int, height: int) -> bool:
    """Whether a face can be there: in the picture, neither tiny nor gigantic."""
    numbers = (crop.x, crop.y, crop.side, crop.angle)
    return (
        all(map(math.isfinite, numbers))
        and MIN_SIDE_PX <= crop.side <= 3 * max(width, height)
        and 0 <= crop.x <= width
        and 0 <= crop.y <= height
    )


def followed(read: Read, vote: Vote, image: Image, crop: FaceCrop) -> FaceReading | None:
    """The face that was predicted to be in `crop`; None if it is gone."""
    height, width = image.shape[:2]
    reading = read(image, crop)
    if reading.presence < KEEP:
        return None
    place = crop_around(reading.landmarks)
    if not sane(place, width, height):
        return None
    far = off(crop, place)
    if far > OFF:
        reading = read(image, place)
        second = crop_around(reading.landmarks)
        if reading.presence < KEEP or not sane(second, width, height):
            return None
        if off(place, second) > max(0.5 * far, OFF):  # running away: no face holds it
            return None
        place = second
    if reading.presence < SURE and vote(image, place) < KEEP_VOTE:
        return None
    return reading


def acquired(read: Read, vote: Vote, image: Image, crop: FaceCrop) -> FaceReading | None:
    """The face of a candidate, after at least two refinements; None if there is none."""
    height, width = image.shape[:2]
    first = crop
    for k in range(PASSES):
        reading = read(image, crop)
        if reading.presence < (0.2 if k == 0 else KEEP):
            return None
        place = crop_around(reading.landmarks)
        if not sane(place, width, height) or off(first, place) > 0.9:
            return None
        if k >= 2 and off(crop, place) < OFF / 2:
            sure = reading.presence >= ACQUIRE and vote(image, place) >= ACQUIRE_VOTE
            return reading if sure else None
        crop = place
    return None
