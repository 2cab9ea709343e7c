"""What a sender has to know of a body that was learned, to measure how it stands.

The rule: the torso of the avatar itself, small and grey; training frames alone say what is to be
expected of its numbers and of the difference that remains. A torso whose numbers are not four, or
that was hardly ever seen, gives nothing: its numbers are then guessed from the head, as without
this.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conference.full_frame_lesson import Stage
from nerf.torso import TorsoLayer, spline
from nerf.torso_own import apart, evened, turned
from nerf.trainset import TrainSet
from quic_transport.params import BODY_DIM, FaceParams
from sender.personal.body import FIRST_STEPS, LEAST_SEEN, UNLIKE, Body, Measured
from sender.personal.body_model import HIDDEN_PX, BodyModel

PORTRAIT_PX = 64.0  # canvas pixels to a portrait's width: finer ones measure no better
CANVAS_PX = 8000.0  # of a canvas at most: what a frame costs
MATTES = 96
COVERED = 0.05  # opacity of a head that hides
LEAST_PICTURES = 8
LOOSE, SLACK = 2.0, 4.0
"""What is to be expected of later frames: LOOSE times the spread of the training frames, and a
spread of SLACK units that they do not show."""
REACH, LEAST_REACH, MOST_REACH = 4.0, 24.0, 80.0
"""A measurement is believed up to REACH times the largest that training saw, within limits."""

Float64 = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """A torso and what its sender measures it with."""

    torso: TorsoLayer
    """Its own numbers in units of equal visibility."""
    model: BodyModel | None
    """None: nothing can be measured."""


def learn_body(torso: TorsoLayer, trainset: TrainSet, stage: Stage,
               faces: dict[int, FaceParams]) -> Learned:  # fmt: skip
    """From a torso as it was fitted; `faces`: what a sender says of training frames that are stored
    whole, by picture number."""
    if len(torso.own) != BODY_DIM or len(faces) < LEAST_PICTURES:
        return Learned(torso, None)
    torso = evened(torso)
    first = model_of(torso, stage.plate(), hidden(trainset))
    found = measured(first, stage, faces)
    if len(found) < LEAST_PICTURES:
        return Learned(torso, None)
    deviations = np.array([m.deviation for m in found])
    turn = apart(deviations)
    deviations = deviations @ turn
    torso = turned(torso, turn)
    spread = LOOSE**2 * deviations.T @ deviations / len(found) + SLACK**2 * np.eye(BODY_DIM)
    reach = np.clip(REACH * np.abs(deviations).max(axis=0), LEAST_REACH, MOST_REACH)
    misfit = [max(np.percentile([getattr(m, name) for m in found], 95), 0.3)
              for name in ("misfit", "room")]  # fmt: skip
    model = replace(
        model_of(torso, stage.plate(), first.hidden),
        information=np.linalg.inv(spread).astype(np.float32), reach=reach.astype(np.float32),
        misfit=np.array(misfit, np.float32),
    )  # fmt: skip
    return Learned(torso, model)


def measured(model: BodyModel, stage: Stage, faces: dict[int, FaceParams]) -> list[Measured]:
    """What the alignment says of each whole picture, where it saw the body at all, and found it."""
    body = Body(model)
    found = [body.measure(stage.source(n), face, np.zeros(BODY_DIM), FIRST_STEPS)
             for n, face in faces.items()]  # fmt: skip
    return [m for m in found if m.seen > LEAST_SEEN and m.unlike < UNLIKE[0]]


def model_of(torso: TorsoLayer, plate: Image, cover: NDArray[np.float32]) -> BodyModel:
    """The torso small and grey, before `plate`; nothing is expected of its numbers yet."""
    import cv2

    region, (width, height) = torso.region, torso.framing.size
    tall = height - region.top
    pixel = max(region.rest.side / PORTRAIT_PX, math.sqrt(width * tall / CANVAS_PX), 1.0)
    w, h = max(8, math.floor(width / pixel)), max(8, math.floor(tall / pixel))
    th, tw = torso.texture.shape[:2]
    small = shrunken(torso.texture, pixel, (math.ceil(tw / pixel), math.ceil(th / pixel)))
    texture = np.stack([cv2.cvtColor(small[..., :3].copy(), cv2.COLOR_RGB2GRAY), small[..., 3]], -1)
    grey = cv2.cvtColor(np.ascontiguousarray(plate[region.top :]), cv2.COLOR_RGB2GRAY)
    columns, rows = (np.arange(w) + 0.5) * pixel, (np.arange(h) + 0.5) * pixel
    moves = torso.moves * np.float32(region.rest.side / pixel)
    framing = torso.framing
    return BodyModel(
        texture=texture, room=shrunken(np.asarray(grey), pixel, (w, h)),
        across=spline(columns / region.cell, torso.moves.shape[3]),
        down=spline(rows / region.cell, torso.moves.shape[2]),
        bends=np.concatenate([moves, torso.shades.mean(axis=1, keepdims=True)], axis=1),
        drivers=torso.drivers, uses=torso.uses.astype(np.float32), guess=torso.own, hidden=cover,
        information=(np.eye(BODY_DIM) / (4 * SLACK) ** 2).astype(np.float32),
        reach=np.full(BODY_DIM, MOST_REACH, np.float32), misfit=np.full(2, 1e3, np.float32),
        framing=np.array([*framing.source, *framing.window, *framing.size], np.float32),
        canvas=np.array([pixel, region.top, region.margin[0] / pixel, 0.0], np.float32),
    )  # fmt: skip


def shrunken(image: Image, pixel: float, size: tuple[int, int]) -> NDArray[np.float32]:
    """float32 of `size` whose pixels are `pixel` wide and begin at the image's corner."""
    import cv2

    reach = max(1, round(pixel))
    wide = cv2.blur(image.astype(np.float32), (reach, reach), borderType=cv2.BORDER_REPLICATE)
    shift = 0.5 / pixel - 0.5 - (reach % 2 == 0) * 0.5 / pixel  # an even box lies half a pixel off
    a = np.array([[1 / pixel, 0, shift], [0, 1 / pixel, shift]])
    return np.asarray(cv2.warpAffine(wide, a, size, flags=cv2.INTER_LINEAR,
                                     borderMode=cv2.BORDER_REPLICATE), np.float32)  # fmt: skip


def hidden(trainset: TrainSet) -> NDArray[np.float32]:
    """[HIDDEN_PX, HIDDEN_PX] 255 where the head was in any portrait of the training frames."""
    import cv2

    out = np.zeros((HIDDEN_PX, HIDDEN_PX), np.float32)
    count = trainset.train_count
    for i in np.unique(np.linspace(0, count - 1, min(count, MATTES)).astype(int)):
        path = trainset.folder / "matte" / f"{int(trainset.img_id[i])}.png"
        matte = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if matte is not None:
            size = (HIDDEN_PX, HIDDEN_PX)
            small = cv2.resize(matte, size, interpolation=cv2.INTER_AREA)
            out = np.maximum(out, small.astype(np.float32))
    covered = (out > 255 * COVERED).astype(np.float32)
    return np.asarray(255 * cv2.dilate(covered, np.ones((3, 3))), np.float32)
