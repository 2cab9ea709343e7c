"""Step 3, background: the room without the person, also where the person nearly always was.

    background.png    in the source's whole picture
    plate.jpg         the same through the clip's median crop, 512×512
    background.json   how much was seen, how often, and whether it moves

The rule: a pixel is the median over the pictures in which the person is far from it; where there
are too few of those it is the picture in which the person is furthest, and where the person never
left it is painted in from around. What was painted in is counted and said.
Reference: RAD-NeRF, data_utils/process.py, extract_background.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.footage import Material
from portrait.masks import classes_by
from portrait.parallel import PerThread, for_each
from portrait.pictures import (
    PORTRAIT_PX,
    opacity,
    read_grey,
    read_rgb,
    write_image,
)
from portrait.steps import BACKGROUND
from portrait.tracks import Progress, Tracks
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop

CLEAR = 12  # a pixel this far from the person is background for sure; 1/512 of the longer side
NEAR = 6  # and one nearer than this never is
ENOUGH = 5  # clear pictures that make a median
STRIP = 64  # rows at a time
PAINT_PX = 384  # longer side of the picture in which holes are painted in
MUCH = 0.5  # share of the picture
RESTLESS = 8.0  # mean absolute deviation in grey levels from which a background moves

Image = NDArray[np.uint8]


def make_plate(
    folder: Path, material: Material, tracks: Tracks, rows: NDArray[np.int64], progress: Progress
) -> dict[str, float]:
    """Write the step's three files; `rows` of `tracks` are the kept frames. Returns what
    background.json says."""
    names = sorted(int(path.stem) for path in (folder / "frames").glob("*.jpg"))
    picture_of = {int(row): n for n, row in enumerate(rows)}
    first = read_rgb(folder / "frames" / f"{names[0]}.jpg")
    stack = np.empty((len(names), *first.shape), dtype=np.uint8)
    away = np.empty((len(names), *first.shape[:2]), dtype=np.uint8)
    segmenters: PerThread[Any] = PerThread(material.open_segmenter)
    total = len(names) + -(-first.shape[0] // STRIP)
    done = [0]

    def finished() -> None:
        done[0] += 1
        progress(BACKGROUND.title + " plate", done[0], total)

    def load(k: int) -> None:
        row = names[k]
        stack[k] = read_rgb(folder / "frames" / f"{row}.jpg")
        n = picture_of.get(row)
        own = None if n is None else read_grey(folder / "person" / f"{n}.png")
        crop = None if n is None else tracks.portrait(row)
        frame = Frame(int(tracks.index[row]), float(tracks.time[row]), stack[k],
                      float(tracks.time[row]))  # fmt: skip
        away[k] = distance_from_person(frame, segmenters.get(), own, crop)

    try:
        for_each(range(len(names)), load, finished)
    finally:
        segmenters.close()
    plate = np.empty_like(first)
    state = np.empty(first.shape[:2], dtype=np.uint8)
    moved: list[tuple[float, int]] = []

    def strip(top: int) -> None:
        part = slice(top, top + STRIP)
        plate[part], state[part], restless = plate_of(stack[:, part], away[:, part])
        moved.append(restless)

    for_each(range(0, first.shape[0], STRIP), strip, finished)
    plate = painted_in(plate, state == 0)
    weight = max(1, sum(count for _, count in moved))
    facts = {
        "pictures": float(len(names)),
        "seen": float((state == 2).mean()),
        "rarely": float((state == 1).mean()),
        "inpainted": float((state == 0).mean()),
        "restless": sum(total for total, _ in moved) / weight,
    }
    write_image(folder / "background.png", plate)
    u, v, side = np.median(tracks.crop[rows], axis=0)
    write_image(folder / "plate.jpg", through(plate, PortraitCrop(float(u), float(v), float(side))))
    temporary = folder / "background.json.tmp"
    temporary.write_text(json.dumps({k: round(x, 4) for k, x in facts.items()}), encoding="utf-8")
    temporary.replace(folder / "background.json")
    return facts


def advice(facts: Mapping[str, float]) -> list[str]:
    """What background.json means for the user."""
    out = []
    if facts["inpainted"] > MUCH:
        out.append(
            f"{100 * facts['inpainted']:.0f} % of the background were never seen and are painted "
            "in: move from side to side while filming, or leave the picture for a second at the end"
        )
    if facts["restless"] > RESTLESS:
        out.append(
            "the background moves, so its plate is a blur: put the camera on something firm, "
            "before a wall"
        )
    return out


def distance_from_person(
    frame: Frame, segmenter: Any, portrait: Image | None, crop: PortraitCrop | None
) -> Image:
    """[H, W] how far each pixel is from the person, in 1/512 of the longer side, at most 255.

    The person is looked for in the whole picture, and taken from the portrait where there is one.
    """
    import cv2

    height, width = frame.image.shape[:2]
    whole = PortraitCrop(width / 2, height / 2, float(max(width, height)))
    square = whole.apply(frame.image, PORTRAIT_PX)
    person = np.asarray(segmenter.person(square, frame, whole)) > 0.5
    classes = classes_by(segmenter, square, frame, whole)
    if classes is not None:
        person |= classes > 0
    if portrait is not None and crop is not None:
        # portrait pixels → whole-square pixels
        k = crop.side / whole.side
        shift = ((crop.u - whole.u) / whole.side, (crop.v - whole.v) / whole.side)
        to_square = np.array(
            [[k, 0, PORTRAIT_PX * (0.5 - 0.5 * k + shift[0])],
             [0, k, PORTRAIT_PX * (0.5 - 0.5 * k + shift[1])]]
        )  # fmt: skip
        placed = cv2.warpAffine(portrait, to_square, (PORTRAIT_PX, PORTRAIT_PX))
        person |= opacity(np.asarray(placed, np.uint8)) > 0.2
    if not person.any():
        return np.full((height, width), 255, dtype=np.uint8)
    away = cv2.distanceTransform((~person).astype(np.uint8), cv2.DIST_L2, 5)
    a = whole.affine(PORTRAIT_PX)
    a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5
    full = cv2.warpAffine(np.minimum(away, 255), a, (width, height),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return full.astype(np.uint8)


def plate_of(stack: Image, away: Image) -> tuple[Image, Image, tuple[float, int]]:
    """The plate [h, W, 3] of K pictures [K, h, W, 3] and distances [K, h, W], its state [h, W]
    (2 seen, 1 rarely, 0 never), and the sum and number of the clear pixels' deviations."""
    clear = away >= CLEAR
    count = clear.sum(axis=0)
    values = np.where(clear[..., None], stack, np.uint16(999))
    values.sort(axis=0)
    middle = np.maximum(count - 1, 0) // 2
    plate = np.take_along_axis(values, middle[None, ..., None], axis=0)[0]
    furthest = away.argmax(axis=0)
    rarest = np.take_along_axis(stack, furthest[None, ..., None], axis=0)[0]
    reach = np.take_along_axis(away, furthest[None], axis=0)[0]
    seen = count >= ENOUGH
    if len(stack) < ENOUGH:
        seen = count >= 1
    state = np.where(seen, 2, np.where(reach >= NEAR, 1, 0)).astype(np.uint8)
    out = np.where(seen[..., None], plate, rarest).astype(np.uint8)
    some = clear & seen[None]
    apart = np.abs(stack[..., 1].astype(np.int16) - out[..., 1])
    return out, state, (float(apart[some].sum()), int(some.sum()))


def painted_in(plate: Image, hole: NDArray[np.bool_]) -> Image:
    """The plate with its holes filled from around; made small, because holes are large."""
    import cv2

    if not hole.any():
        return plate
    if hole.all():
        return np.full_like(plate, 255)
    height, width = hole.shape
    scale = min(1.0, PAINT_PX / max(height, width))
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    known = (~hole).astype(np.float32)
    weight = cv2.resize(known, small, interpolation=cv2.INTER_AREA)
    colour = cv2.resize(plate * known[..., None], small, interpolation=cv2.INTER_AREA)
    colour = colour / np.maximum(weight, 1e-3)[..., None]
    missing = (weight < 0.5).astype(np.uint8)
    filled = cv2.inpaint((colour + 0.5).clip(0, 255).astype(np.uint8), missing, 3,
                         cv2.INPAINT_TELEA)  # fmt: skip
    calm = cv2.GaussianBlur(filled, (0, 0), 3)  # streaks of the painting
    filled = np.where(missing[..., None] > 0, calm, filled)
    big = cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(hole.astype(np.float32), (0, 0), 2)
    soft = np.maximum(soft, hole)[..., None]
    return np.asarray(plate * (1 - soft) + big * soft + 0.5).clip(0, 255).astype(np.uint8)


def through(plate: Image, crop: PortraitCrop) -> Image:
    """The plate as a portrait; beyond its edges it goes on as it ends."""
    import cv2

    pad = int(np.ceil(crop.side))
    wide = cv2.copyMakeBorder(plate, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
    moved = PortraitCrop(crop.u + pad, crop.v + pad, crop.side)
    return moved.apply(np.asarray(wide, np.uint8), PORTRAIT_PX)
