"""What a torso learns from: a training set's pictures, and the numbers that a sender would send.

The rule: a picture counts where the torso was seen; where the head covers it, it was painted in and
counts little, and where nothing is known it is only held to be empty. Held-out frames take no part.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nerf.framing import Framing, Place
from nerf.trainset import TrainSet
from quic_transport.errors import LocalError
from quic_transport.params import SCHEMAS

if TYPE_CHECKING:
    from nerf.torso_fit import Lesson, View

WHOLE, PORTRAITS, LARGE = 64, 96, 48  # pictures of each kind at most
LEAST = 4
SEEN, PAINTED, UNKNOWN = 255, 13, 3  # weights
HEAD = 0.05  # opacity of the head from which the torso is not seen
EDGE_PX = 12  # of a portrait of 512: its opacities are unsure there
DRIVES = ("jawOpen",)

Float64 = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """The whole pictures of a training set."""

    folder: Path
    """The training set's."""
    framing: Framing
    """What a call shows of the camera's picture."""
    frames: dict[int, int]
    """Picture number n of each body/<n>.png → its frames/<row>.jpg."""

    def raw(self, n: int) -> Image:
        """A whole picture as it was filmed, as a call would show it."""
        return self.framing.cut(self.source(n))

    def source(self, n: int) -> Image:
        """A whole picture as the camera saw it."""
        return _read(self.folder / "frames" / f"{self.frames[n]}.jpg", 1)[..., ::-1]

    def body(self, n: int) -> NDArray[np.bool_]:
        """[H, W] where neck and torso are in a whole picture, and the head does not cover them."""
        alpha = _read(self.folder / "body" / f"{n}.png", -1)[..., 3]
        return alpha > 127

    def plate(self) -> Image:
        """The room without the person."""
        return self.framing.cut(_read(self.folder / "background.png", 1)[..., ::-1])


def stage_of(trainset: TrainSet) -> Stage | None:
    """A set's whole pictures; None where it has none (made elsewhere, or by an older facewire)."""
    try:
        document = json.loads((trainset.folder / "framing.json").read_text(encoding="utf-8"))
        framing = Framing.of_numbers(np.array(document["framing"], np.uint32))
        frames = {int(n): int(row) for n, row in document["frames"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None
    known = {int(n) for n in trainset.img_id}
    frames = {n: row for n, row in frames.items() if n in known}
    if len(frames) < 2 or not (trainset.folder / "background.png").is_file():
        return None
    return Stage(trainset.folder, framing, frames)


def uses_of(schema: str) -> tuple[int, ...]:
    """The coefficients that move the neck."""
    names = SCHEMAS.get(schema, ())
    return tuple(names.index(name) for name in DRIVES if name in names)


def lesson_of(trainset: TrainSet, stage: Stage, rotation: Float64, offset: Float64,
              expression: Float64) -> Lesson:  # fmt: skip
    """The lesson of the training frames, under what a sender would send for them: rotation [n, 3],
    offset [n, 3], expression [n, 46]."""
    from nerf.torso_fit import Lesson

    count = len(rotation)
    uses = uses_of(trainset.schema)
    spread = np.concatenate([rotation, offset, expression[:, list(uses)]], axis=1)
    places = [stage.framing.place(o) for o in offset]
    rest = Place(*(float(np.median([getattr(p, name) for p in places]))
                   for name in ("u", "v", "side")))  # fmt: skip
    at = {int(n): i for i, n in enumerate(trainset.img_id[:count])}
    whole = _some([at[n] for n in stage.frames if n in at], WHOLE)
    torsos = trainset.folder / "torso_imgs"
    portraits = _some(range(count), PORTRAITS) if torsos.is_dir() else []
    chosen = [*whole, *portraits]
    if len(chosen) < LEAST:
        raise LocalError(f"{len(chosen)} pictures are too few to learn a body from")

    def view(k: int) -> View:
        i = chosen[k]
        n = int(trainset.img_id[i])
        # the stored pictures lie where the tracker said, not where the personal tracker says
        place = stage.framing.place(trainset.offset[i])
        if k < len(whole):
            return whole_view(stage, n, place)
        return portrait_view(stage, n, place, trainset.offset[i])

    return Lesson(stage.framing, rest, spread[chosen], spread, uses, view,
                  _some(range(len(chosen)), LARGE))  # fmt: skip


def whole_view(stage: Stage, n: int, place: Place) -> View:
    """The torso in a whole picture."""
    from nerf.torso_fit import View

    width, height = stage.framing.size
    body = _multiplied(_read(stage.folder / "body" / f"{n}.png", -1))
    if body.shape != (height, width, 4):
        raise LocalError(f"{stage.folder / 'body'} does not fit framing.json: build the set again")
    body[: max(0, int(place.v))] = 0  # hair above the portrait: no torso is higher than the ears
    head = warped(_read(stage.folder / "matte" / f"{n}.png", 0), place, stage.framing.size)
    return View(body, weight_of(body, head))


def portrait_view(stage: Stage, n: int, place: Place, offset: Float64) -> View:
    """The torso in a portrait, laid into the picture; nothing counts around it."""
    from nerf.torso_fit import View

    torso = _multiplied(_read(stage.folder / "torso_imgs" / f"{n}.png", -1))
    matte = _read(stage.folder / "matte" / f"{n}.png", 0)
    weight = weight_of(torso, matte)
    size = len(weight)
    torso[: size // 2] = 0  # no torso is higher than the ears
    p = stage.framing.in_source(offset)
    centre = (np.arange(size) + 0.5) / size - 0.5
    known = np.abs(centre) < 0.5 - EDGE_PX / 512
    x, y = p.u + centre * p.side, p.v + centre * p.side  # in the camera's picture
    slack = 5 / 512 * p.side
    width, height = stage.framing.source
    across = known & (x > slack) & (x < width - slack)
    down = known & (y > slack) & (y < height - slack)
    weight[~(down[:, None] & across[None])] = 0
    picture = warped(torso, place, stage.framing.size)
    return View(picture, warped(weight, place, stage.framing.size, exact=True))


def weight_of(torso: Image, head: Image) -> Image:
    """[H, W] how much each pixel of a torso under a head's matte counts."""
    hidden = np.where(torso[..., 3] > 5, np.uint8(PAINTED), np.uint8(UNKNOWN))
    return np.where(head < 255 * HEAD, np.uint8(SEEN), hidden)


def warped(image: Image, place: Place, size: tuple[int, int], *, exact: bool = False) -> Image:
    """A portrait's picture or mask [P, P(, C)] laid into a picture of `size`, nothing around it."""
    import cv2

    if place.side < 0.75 * len(image) and not exact:
        small = max(1, round(place.side))
        image = np.asarray(cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA))
    a = place.affine(len(image))
    a[:, 2] += 0.5 * a[:, :2].sum(axis=1) - 0.5  # to OpenCV's integer pixel centres
    how = cv2.INTER_NEAREST if exact else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(image, a, size, flags=how), np.uint8)


def _multiplied(bgra: Image) -> Image:
    """RGBA with the colour times the opacity."""
    alpha = bgra[..., 3:].astype(np.uint16)
    rgb = (bgra[..., 2::-1] * alpha + 127) // 255
    return np.concatenate([rgb, alpha], axis=-1).astype(np.uint8)


def _some(items: Sequence[int] | range, count: int) -> list[int]:
    """At most `count` of the items, evenly."""
    if not len(items):
        return []
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, count).round().astype(int))]


def _read(path: Path, flags: int) -> Image:
    import cv2

    image = cv2.imread(str(path), flags)
    if image is None:
        raise LocalError(f"{path} is missing or damaged: build the set again")
    return np.asarray(image, np.uint8)
