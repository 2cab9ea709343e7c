"""Step 2, segmentation: background, head (with hair), neck and torso of every portrait.

    person/<n>.png     the whole person's opacity, 8 bit
    matte/<n>.png      the head's opacity, 8 bit
    parsing/<n>.png    head (0,0,255), neck (0,255,0), torso (255,0,0), rest white
    head_imgs/<n>.jpg  the head over white

The rule: what decides how the head looks is steady by construction. Between head and neck lies
the neckline, a curve fixed in the head's frame (portrait.neckline), wherever the landmarks' jaw
is known; a segmenter's class map separates neck from torso, and is the head's border only where
there is no neckline. Segmenters see the stored portrait alone; the frame that they are handed has
the source's number and size but no picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.footage import Material
from portrait.matting import without_background
from portrait.neckline import JAW_LINE, JAW_LINE_68, JAW_SHAPES, Neckline, fit_neckline
from portrait.parallel import PerThread, for_each
from portrait.pictures import (
    BACKGROUND,
    HEAD,
    NECK,
    TORSO,
    coloured,
    eight_bit,
    read_rgb,
    unfinished,
    write_image,
)
from portrait.segmentation import part_with_face
from portrait.steps import SEGMENTATION
from portrait.tracks import Progress, Tracks
from sender.frames import Frame
from sender.portrait_crop import PORTRAIT_SCALE, PortraitCrop

FEATHER_PX = 1.5  # softness of a border that only a class map gives

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]


def neckline_of(kept: Tracks, distance: float, schema: str, exact: bool) -> Neckline | None:
    """The clip's neck cut; None where masks are exact or the landmarks have no known jaw."""
    line = {478: JAW_LINE, 468: JAW_LINE, 68: JAW_LINE_68}.get(kept.landmarks.shape[1])
    if exact or line is None:
        return None
    uses = JAW_SHAPES if schema == "arkit46" else tuple(range(kept.expression.shape[1]))
    return fit_neckline(
        kept.landmarks, kept.rotation, kept.expression, distance, PORTRAIT_SCALE, line, uses
    )


def segment(
    folder: Path, material: Material, kept: Tracks, neckline: Neckline | None, progress: Progress
) -> None:
    """Make the pictures of the frames that have none yet."""
    left = unfinished(
        folder, len(kept), "person/*.png", "matte/*.png", "parsing/*.png", "head_imgs/*.jpg"
    )
    done = [len(kept) - len(left)]
    segmenters: PerThread[Any] = PerThread(material.open_segmenter)

    def work(n: int) -> None:
        portrait = read_rgb(folder / "ori_imgs" / f"{n}.jpg")
        person, head, classes = cut_out(portrait, kept, n, segmenters.get(), neckline,
                                        material.exact)  # fmt: skip
        write_image(folder / "person" / f"{n}.png", eight_bit(person))
        write_image(folder / "matte" / f"{n}.png", eight_bit(head))
        write_image(folder / "parsing" / f"{n}.png", coloured(classes))
        write_image(folder / "head_imgs" / f"{n}.jpg", head_on_white(portrait, person, head))

    def finished() -> None:
        done[0] += 1
        progress(SEGMENTATION.title, done[0], len(kept))

    try:
        for_each(left, work, finished)
    finally:
        segmenters.close()


def cut_out(
    portrait: Image,
    kept: Tracks,
    n: int,
    segmenter: Any,
    neckline: Neckline | None,
    exact: bool,
) -> tuple[Float32, Float32, Image]:
    """Opacity of the person and of the head, float32 [H, W], and the class map, uint8 [H, W]."""
    size = portrait.shape[0]
    crop, frame = kept.portrait(n), hollow_frame(kept, n)
    inside = inside_picture(crop, kept.size[n], size)
    person = np.minimum(segmenter.person(portrait, frame, crop), inside / np.float32(255))
    if not exact:  # a thing on a shelf that was taken for a person
        person = part_with_face(person, inside)
    classes = classes_by(segmenter, portrait, frame, crop)
    head = person
    if neckline is not None:
        head = person * neckline.mask(kept.rotation[n], kept.expression[n], size)
    elif classes is not None and not exact:
        head = person * _soft(classes == HEAD)
    head = part_with_face(head, inside)
    if exact and classes is not None:  # the segmenter's person is the head
        person = np.maximum(person, _soft(classes >= NECK))
    out = np.full(portrait.shape[:2], BACKGROUND, dtype=np.uint8)
    body = person > 0.5
    neck = np.zeros(body.shape, dtype=bool)
    if neckline is not None:
        neck = neckline.neck(kept.rotation[n], size)
    if classes is not None:  # its head that the cut leaves is neck, or hair on the shoulders
        neck = (classes == NECK) | (neck & (classes == HEAD))
    out[body] = np.where(neck, NECK, TORSO)[body]
    out[head > 0.5] = HEAD
    return person.astype(np.float32), head, out


def classes_by(segmenter: Any, portrait: Image, frame: Frame, crop: PortraitCrop) -> Image | None:
    """The segmenter's own class map, uint8 [H, W], where it has one."""
    if not hasattr(segmenter, "classes"):
        return None
    classes: Image | None = segmenter.classes(portrait, frame, crop)
    return classes


def head_on_white(portrait: Image, person: Float32, head: Float32) -> Image:
    """[H, W, 3] the head over white, the old background's colour taken out of its rim."""
    colour = without_background(portrait, person)
    kept = head / np.maximum(person, np.float32(1e-3))  # what the neck cut leaves
    return eight_bit(colour * kept[..., None] + (np.float32(1.0) - head[..., None]))


def hollow_frame(tracks: Tracks, n: int) -> Frame:
    """A frame with the number, time and size of row `n`, but nothing to see."""
    width, height = (int(x) for x in tracks.size[n])
    time = float(tracks.time[n])
    blank = np.broadcast_to(np.uint8(0), (height, width, 3))
    return Frame(int(tracks.index[n]), time, blank, time)


def inside_picture(crop: PortraitCrop, size: NDArray[np.int64], portrait_px: int) -> Image:
    """[P, P] 255 where the portrait is picture, 0 beyond the picture's edges."""
    width, height = (int(x) for x in size)
    (x0, y0), (x1, y1) = crop.map_points([(0.0, 0.0), (width, height)], portrait_px)
    centre = np.arange(portrait_px) + 0.5
    columns, rows = (centre > x0) & (centre < x1), (centre > y0) & (centre < y1)
    return (rows[:, None] & columns[None, :]).astype(np.uint8) * np.uint8(255)


def _soft(mask: NDArray[np.bool_]) -> Float32:
    import cv2

    sigma = FEATHER_PX * mask.shape[0] / 512
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), sigma), dtype=np.float32)
