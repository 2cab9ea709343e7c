"""Step 4, torso images and ground truth, as AD-NeRF and RAD-NeRF want them.

    torso_imgs/<n>.png   neck and torso, RGBA, continued upwards under the head
    gt_imgs/<n>.jpg      the whole person over plate.jpg

The rule: both come from the stored portrait and the stored opacities; torso ∪ head is the person.
The neck goes on for UNDER_PX behind the head, in the colour that it has at the border, a little
darker further in, so that no gap opens when a head from another moment is laid over it.
Reference: RAD-NeRF, data_utils/process.py, extract_torso_and_gt.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.matting import without_background
from portrait.parallel import for_each
from portrait.pictures import eight_bit, opacity, read_grey, read_rgb, unfinished, write_image
from portrait.steps import TORSO
from portrait.tracks import Progress

UNDER_PX = 40  # at 512
DARKER = 0.99  # per pixel further under the head
FAINT = 0.02  # opacity below which a pixel is nothing
SURE = 0.9  # opacity from which a pixel's colour is the torso's own

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]


def make_torsos(folder: Path, count: int, progress: Progress) -> None:
    """Make the pictures of the frames 0..count-1 that have none yet."""
    left = unfinished(folder, count, "torso_imgs/*.png", "gt_imgs/*.jpg")
    done = [count - len(left)]
    plate = read_rgb(folder / "plate.jpg")

    def work(n: int) -> None:
        portrait = read_rgb(folder / "ori_imgs" / f"{n}.jpg")
        person = opacity(read_grey(folder / "person" / f"{n}.png"))
        head = opacity(read_grey(folder / "matte" / f"{n}.png"))
        colour = without_background(portrait, person)
        write_image(folder / "torso_imgs" / f"{n}.png", torso_of(colour, person, head))
        write_image(folder / "gt_imgs" / f"{n}.jpg", over(colour, person, plate))

    def finished() -> None:
        done[0] += 1
        progress(TORSO.title, done[0], count)

    for_each(left, work, finished)


def over(colour: Float32, person: Float32, plate: Image) -> Image:
    """[H, W, 3] what `colour` (times its opacity) looks like over `plate`."""
    return eight_bit(colour + (np.float32(1) - person[..., None]) * opacity(plate))


def torso_of(colour: Float32, person: Float32, head: Float32, px: float | None = None) -> Image:
    """uint8 [H, W, 4]: neck and torso, straight (not multiplied) colour. A pixel is `px` of a
    portrait's 512; None: the picture is a portrait."""
    size = head.shape[0]
    px = 512 / size if px is None else px
    out = np.zeros((*head.shape, 4), dtype=np.uint8)
    rows = np.flatnonzero((person - head > FAINT).any(axis=1))
    if not len(rows):
        return out
    part = slice(max(0, int(rows[0]) - round(UNDER_PX / px)), size)  # nothing is above it
    out[part] = _torso_of(colour[part], person[part], head[part], px)
    return out


def _torso_of(colour: Float32, person: Float32, head: Float32, px: float) -> Image:
    """The same for some rows, in which a pixel is `px` of a portrait's 512."""
    import cv2

    alpha = np.clip(person - head, 0.0, 1.0)
    straight = colour / np.maximum(person, np.float32(1e-3))[..., None]
    rows = np.flatnonzero((head > FAINT).any(axis=1))
    reach = round(UNDER_PX / px)
    near = slice(0, int(rows[-1]) + reach if len(rows) else 0)  # further down nothing changes
    sure = alpha[near] > SURE
    if sure.any():
        away, label = cv2.distanceTransformWithLabels(
            (~sure).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        under = (head[near] > FAINT) & (away < reach) & ~sure
        colours = np.zeros((int(label.max()) + 1, 3), dtype=np.float32)
        colours[label[sure]] = straight[near][sure]
        nearest = cv2.GaussianBlur(colours[label], (0, 0), 2)
        straight[near][under] = nearest[under] * (DARKER ** (away[under] * px))[:, None]
        alpha[near][under] = np.maximum(alpha[near][under], person[near][under])
    alpha = np.where(alpha < FAINT, np.float32(0.0), alpha)
    return eight_bit(np.dstack([straight * (alpha[..., None] > 0), alpha]))
