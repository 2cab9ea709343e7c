"""What colours say about the edge: a second opinion on a segmenter's answer, per picture.

The rule: only pixels near the person's outline are asked, and each is compared with colours that
are beyond doubt and near it: those of the person well inside, those of the room well outside. What
resembles neither, or both, is left to the segmenter. So an ear that a network half loses before a
pale wall comes back whole, because it has the colour of the cheek beside it and not of the wall.
References: Boykov and Jolly 2001 (seeds and colour likelihoods); Wang and Cohen 2007, "Optimized
Color Sampling for Robust Matting" (samples from nearby).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.matting import disc, guided_filter, mean

Array = NDArray[np.float32]

CHANNELS = np.array([0.7, 1.6, 1.6], np.float32)  # of L*a*b*: light changes on one thing, hue less
PALETTE = 6  # colours of the person, and as many of the room
OUTWARD_PX, INWARD_PX = (
    11,
    5,
)  # the pixels that are asked, from the outline; at 256 px, like all here
DOUBT, CLEAR_PX = 0.1, 7  # room is what is further than this from any share above
RING_PX, CORE_PX = 40, 30  # how far from the outline colours count at all
REACH_PX = 10  # how near a colour must occur to count fully
SPREAD, FAR = 0.05, 0.15  # usual and largest colour distance
AGAINST, FOR = -1.5, 3.0  # what colours add to the segmenter's log odds, at most
SMOOTH_PX, SMOOTH_EPSILON = 3, 1e-3


def with_colours(share: Array, picture: NDArray[np.uint8]) -> Array:
    """The person's share [H, W] in 0..1 near the outline, corrected by the colours of `picture`
    uint8 [H, W, 3]; unchanged elsewhere, and where nothing is sure."""
    import cv2

    height, width = share.shape
    half = (max(1, width // 2), max(1, height // 2))
    scale = height / 512
    s = np.asarray(cv2.resize(share, half, interpolation=cv2.INTER_AREA), np.float32)
    small = cv2.resize(picture, half, interpolation=cv2.INTER_AREA)
    solid = (s > 0.5).astype(np.uint8)
    doubtful = (s > DOUBT).astype(np.uint8)
    inside = cv2.erode((s > 1 - DOUBT).astype(np.uint8), disc(INWARD_PX * scale))
    near = cv2.dilate(solid, disc(OUTWARD_PX * scale))
    asked = np.maximum(near, doubtful) > inside
    person = inside > cv2.erode(solid, _square(CORE_PX * scale))
    room = cv2.dilate(solid, _square(RING_PX * scale)) > cv2.dilate(
        doubtful, disc(CLEAR_PX * scale)
    )
    if min(person.sum(), room.sum()) < 40 * PALETTE or not asked.any():
        return share
    colour = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float32)
    colour *= CHANNELS / np.float32(255)
    at = np.nonzero(asked)
    for_person = distance_to(colour, person, at, scale)
    for_room = distance_to(colour, room, at, scale)
    p = np.clip(s, 0.02, 0.98)
    odds = np.log(p / (1 - p))
    odds[at] += np.clip((for_room - for_person) / np.float32(2 * SPREAD**2), AGAINST, FOR)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    told = guided_filter(grey, 1 / (1 + np.exp(-odds)), max(1, round(SMOOTH_PX * scale)),
                         SMOOTH_EPSILON)  # fmt: skip
    s[at] = np.clip(told[at], 0.0, 1.0)
    whole = (width, height)
    full = cv2.resize(s, whole, interpolation=cv2.INTER_LINEAR)
    changed = cv2.resize(asked.astype(np.uint8), whole, interpolation=cv2.INTER_NEAREST) > 0
    return np.where(changed, full, share).astype(np.float32)


def palette(colours: Array, count: int = PALETTE) -> Array:
    """`count` colours [count, 3] that stand for `colours` [N, 3]: k-means from a start that is
    spread evenly over the order of brightness."""
    some = colours[:: max(1, len(colours) // 2000)]
    order = np.argsort(some.sum(axis=1), kind="stable")
    centre = some[order[np.linspace(0, len(some) - 1, 2 * count + 1).astype(int)[1::2]]].copy()
    for _ in range(5):
        nearest = _nearest(some, centre)
        for i in range(count):
            if (mine := nearest == i).any():
                centre[i] = some[mine].mean(axis=0)
    return centre


def distance_to(
    colour: Array, where: NDArray[np.bool_], at: tuple[Any, ...], scale: float
) -> Array:
    """Squared distance [M] of the colours at the pixels `at` to the most alike of those that the
    pixels `where` [H, W] have nearby; at most FAR²."""
    import cv2

    h, w = where.shape[0] // 2 * 2, where.shape[1] // 2 * 2
    known = np.ascontiguousarray(where[:h:2, :w:2] & where[1:h:2, 1:w:2])
    smaller = cv2.resize(colour[:h, :w], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
    coarse = np.asarray(smaller, np.float32)
    rows, columns = np.minimum(at[0] // 2, h // 2 - 1), np.minimum(at[1] // 2, w // 2 - 1)
    here = colour[at]
    best = np.full(len(here), FAR**2, np.float32)
    colours = coarse[known]
    if not len(colours):
        return best
    kind = np.full(known.shape, -1)
    kind[known] = _nearest(colours, palette(colours))
    radius = max(1, round(REACH_PX * scale / 2))
    both = cv2.merge([coarse, np.ones_like(coarse[..., 0])])
    for i in range(PALETTE):
        around = cv2.bitwise_and(both, both, mask=(kind == i).astype(np.uint8))
        got = mean(mean(around, radius), radius)[rows, columns]
        off = here - got[:, :3] / (got[:, 3:] + np.float32(1e-6))
        rare = np.clip(1 - got[:, 3] / np.float32(0.02), 0.0, 1.0)  # hardly any of it nearby
        best = np.minimum(best, np.einsum("mc,mc->m", off, off) + np.float32(FAR**2) * rare)
    return best


def _square(radius: float) -> Any:
    side = 2 * max(1, round(radius)) + 1
    return np.ones((side, side), np.uint8)


def _nearest(colours: Array, centre: Array) -> NDArray[np.int64]:
    """Index [N] of the centre [K, 3] that is nearest to each of `colours` [N, 3]."""
    scores = colours @ centre.T
    scores *= -2
    scores += (centre * centre).sum(axis=1)
    return scores.argmin(axis=1)
