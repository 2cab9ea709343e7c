"""Step 4's whole pictures: neck and torso where the camera saw them, beyond the portrait too.

    body/<n>.png    neck and torso, RGBA, in the picture that a call shows (nerf.framing)
    framing.json    which part of the camera's picture that is, and which of frames/ each n is

The rule: within the portrait the stored opacities hold, since the head's matte ends there; around
it the person is looked for once more, in a square that shows the whole bust.
Reference: RAD-NeRF, data_utils/process.py, extract_torso_and_gt.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.framing import Framing, Place
from portrait.footage import Material
from portrait.masks import classes_by
from portrait.matting import without_background
from portrait.parallel import PerThread, for_each
from portrait.pictures import NECK, PORTRAIT_PX, opacity, read_grey, read_rgb, write_image
from portrait.steps import TORSO
from portrait.torso import torso_of
from portrait.tracks import Progress, Tracks
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop

BUST = 2.1  # side of the square in which the body is looked for, portrait widths
LOWER = 0.25  # its middle lies so far below the head's origin, portrait widths
EDGE_PX = 4  # a portrait's opacity fades so far before the picture's edge, at 512
FADE = 0.06  # of the portrait's side: from the stored opacity to the whole picture's

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]


def make_bodies(
    folder: Path, material: Material, tracks: Tracks, rows: NDArray[np.int64], progress: Progress
) -> int:
    """Write body/ and framing.json; how many pictures there are. `rows` of `tracks` are kept."""
    width, height = (int(x) for x in tracks.size[rows[0]])
    framing = Framing.around(tracks.offset[rows], width, height)
    stored = {int(path.stem) for path in (folder / "frames").glob("*.jpg")}
    wanted = {n: int(row) for n, row in enumerate(rows) if int(row) in stored}
    temporary = folder / "framing.json.tmp"
    document = {"framing": framing.numbers().tolist(), "frames": wanted}
    temporary.write_text(json.dumps(document), encoding="utf-8")
    temporary.replace(folder / "framing.json")
    left = [n for n in wanted if not (folder / "body" / f"{n}.png").exists()]
    segmenters: PerThread[Any] = PerThread(material.open_segmenter)
    done = [len(wanted) - len(left)]

    def work(n: int) -> None:
        row = wanted[n]
        source = read_rgb(folder / "frames" / f"{row}.jpg")
        time = float(tracks.time[row])
        frame = Frame(int(tracks.index[row]), time, source, time)
        image, place = framing.cut(source), framing.place(tracks.offset[row])
        own = opacity(read_grey(folder / "person" / f"{n}.png"))
        person = whole_person(frame, framing, tracks.offset[row], own, segmenters.get(),
                              exact=material.exact)  # fmt: skip
        faded = math.ceil(EDGE_PX * place.side / PORTRAIT_PX)
        person = to_the_edge(person, faded)
        head = opacity(read_grey(folder / "matte" / f"{n}.png"))
        head = to_the_edge(placed(head, place, image.shape[:2]), faded)
        colour = without_background(image, person)
        body = torso_of(colour, person, head, PORTRAIT_PX / place.side)
        write_image(folder / "body" / f"{n}.png", body)

    def finished() -> None:
        done[0] += 1
        progress(TORSO.title + ", whole pictures", done[0], len(wanted))

    try:
        for_each(left, work, finished)
    finally:
        segmenters.close()
    return len(wanted)


def whole_person(
    frame: Frame, framing: Framing, offset: NDArray[np.float64], own: Float32, segmenter: Any, *,
    exact: bool = False,
) -> Float32:  # fmt: skip
    """[H, W] the person's opacity in the picture that `framing` cuts out of a whole frame; `own`
    is the portrait's [P, P]. `exact`: what the segmenter calls the person is the head alone."""
    import cv2

    there, place, shape = framing.in_source(offset), framing.place(offset), framing.size[::-1]
    bust = PortraitCrop(there.u, there.v + LOWER * there.side, BUST * there.side)
    bottom = framing.window[1] + framing.window[3]  # arms below it only confuse
    square = bust.apply(frame.image[:bottom], 2 * PORTRAIT_PX)
    seen = np.asarray(segmenter.person(square, frame, bust), dtype=np.float32)
    if exact and (classes := classes_by(segmenter, square, frame, bust)) is not None:
        seen = np.maximum(seen, (classes >= NECK).astype(np.float32))
    grown = BUST * place.side
    around = Place(place.u, place.v + LOWER * place.side, grown)
    seen = placed(seen, around, shape, border=True)
    if exact:
        return seen
    stored, fade = placed(own, place, shape), placed(edge_fade(own.shape[0]), place, shape)
    person = fade * stored + (1 - fade) * seen
    solid = (person > 0.5).astype(np.uint8)
    count, labels = cv2.connectedComponents(solid, connectivity=4)
    votes = np.bincount(labels[stored > 0.5].ravel(), minlength=count)
    votes[0] = 0
    if not votes.any():
        return np.asarray(person, np.float32)
    keep = cv2.dilate((labels == int(votes.argmax())).astype(np.uint8), np.ones((9, 9), np.uint8))
    return np.where(keep > 0, person, 0.0).astype(np.float32)


def placed(mask: Float32, place: Place, shape: tuple[int, ...], *, border: bool = False) -> Float32:
    """A square's mask [P, P] in a picture of `shape`; 0 around it, or its border goes on."""
    import cv2

    a = place.affine(mask.shape[0])
    a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5  # to OpenCV's integer pixel centres
    how = cv2.BORDER_REPLICATE if border else cv2.BORDER_CONSTANT
    if place.side < 0.75 * mask.shape[0]:  # shrink by averaging first
        small = max(1, round(place.side))
        mask = np.asarray(cv2.resize(mask, (small, small), interpolation=cv2.INTER_AREA))
        a = place.affine(small)
        a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5
    out = cv2.warpAffine(mask, a, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=how)
    return np.asarray(out, dtype=np.float32)


def edge_fade(size: int) -> Float32:
    """[size, size]: 1 inside, falling to 0 at the edge."""
    near = np.clip((np.minimum(np.arange(size) + 0.5, size - np.arange(size) - 0.5))
                   / (FADE * size), 0.0, 1.0)  # fmt: skip
    return np.minimum(near[:, None], near[None]).astype(np.float32)


def to_the_edge(mask: Float32, px: int) -> Float32:
    """The mask [H, W] with its outermost `px` pixels as those within: a person whom the picture
    cuts off goes on to its edge."""
    return np.pad(mask[px:-px, px:-px], px, mode="edge")
