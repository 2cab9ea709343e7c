"""What a sender knows of the body under its own head, and how it lies in an avatar file.

A small grey copy of the torso with how it bends (docs/full-frame.md), the room behind it, where the
head hides it, and what to expect of the four numbers that are measured.

The rule: arrays with a shape, checked when read; private, so a receiver never sees them. A body's
number is counted in steps of the same visibility: `FaceParams.body`.
References: Tang et al. 2022 (RAD-NeRF's 2-D torso); Cootes, Edwards, Taylor 2001.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quic_transport.avatar_file import PRIVATE
from quic_transport.errors import AvatarFileError
from quic_transport.params import BODY_DIM, EXPRESSION_DIM

Float32 = NDArray[np.float32]

SECTION = PRIVATE + "body."
HEAD_DRIVERS = 6  # rotation and offset; coefficients follow
MOST_PX, MOST_NODES, MOST_DRIVERS = 256, 96, 24
HIDDEN_PX = 32
"""Side of the map of where the head is."""


@dataclass(frozen=True, slots=True, eq=False)
class BodyModel:
    """One person's body. It is looked at on a canvas of H × W pixels, in the room of training."""

    texture: Float32
    """[h, w, 2] brightness times opacity, opacity, 0..255; its first column lies left of the
    canvas."""
    room: Float32
    """[H, W] brightness of what is behind, 0..255."""
    across: Float32
    """[W, gw] weights of the grid's nodes for each column."""
    down: Float32
    """[H, gh] and for each row."""
    bends: Float32
    """[1 + D + BODY_DIM, 3, gh, gw] how far what drives it moves the body along x and y, pixels of
    the texture, and how much brighter it makes it, of 255: always, drivers, own numbers."""
    drivers: Float32
    """[4, D] mean, scale, lowest and highest value of each driver in training: rotation, offset,
    coefficients."""
    uses: Float32
    """[D - 6] which coefficients drive."""
    guess: Float32
    """[BODY_DIM, 1 + D] what the drivers let expect of the own numbers."""
    hidden: Float32
    """[HIDDEN_PX, HIDDEN_PX] where in its portrait the head may be, 0..255."""
    information: Float32
    """[BODY_DIM, BODY_DIM] inverse covariance of the own numbers about the guess."""
    reach: Float32
    """[BODY_DIM] how far from the guess a measurement is believed."""
    misfit: Float32
    """[2] what the training frames differed by after alignment, 95th percentile: in the body, in
    the room behind it."""
    framing: Float32
    """[8] width and height of the camera's picture, x, y, width and height of the window that
    is shown of it, width and height at which it is shown."""
    canvas: Float32
    """[4] pixels of the shown picture per canvas pixel; the row of the shown picture where the
    canvas begins; the texture's column and row where the canvas begins."""


HALF = {"bends", "across", "down"}
BYTES = {"texture", "room", "hidden"}


def to_sections(model: BodyModel) -> dict[str, NDArray[np.generic]]:
    """The model as named arrays of an avatar file."""

    def stored(name: str, array: Float32) -> NDArray[np.generic]:
        if name in BYTES:
            return np.clip(np.rint(array), 0, 255).astype(np.uint8)
        return array.astype(np.float16 if name in HALF else np.float32)

    return {SECTION + f.name: stored(f.name, getattr(model, f.name)) for f in fields(model)}


def from_sections(sections: Mapping[str, NDArray[np.generic]]) -> BodyModel | None:
    """The model in an avatar's sections; None where there is none, AvatarFileError if damaged."""
    if not any(name.startswith(SECTION) for name in sections):
        return None
    try:
        arrays: dict[str, Any] = {
            f.name: np.ascontiguousarray(sections[SECTION + f.name], dtype=np.float32)
            for f in fields(BodyModel)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise AvatarFileError(f"its body's tracker is incomplete ({error})") from error
    model = BodyModel(**arrays)
    if any(a.ndim < 1 or not np.isfinite(a).all() for a in arrays.values()) or not _fits(model):
        raise AvatarFileError("its body's tracker is damaged: its parts do not fit together")
    return model


def _fits(m: BodyModel) -> bool:
    if m.drivers.ndim != 2 or m.room.ndim != 2 or m.bends.ndim != 4 or m.texture.ndim != 3:
        return False
    d, (h, w), (gh, gw), b = m.drivers.shape[1], m.room.shape, m.bends.shape[2:], BODY_DIM
    uses = m.uses.astype(int)
    return bool(
        HEAD_DRIVERS <= d <= MOST_DRIVERS and m.drivers.shape == (4, d)
        and 8 <= h <= MOST_PX and 8 <= w <= MOST_PX
        and max(m.texture.shape[:2]) <= 2 * MOST_PX and min(m.texture.shape[:2]) >= 8
        and m.texture.shape[2] == 2 and 0 < gh <= MOST_NODES and 0 < gw <= MOST_NODES
        and m.across.shape == (w, gw) and m.down.shape == (h, gh)
        and m.bends.shape[:2] == (1 + d + b, 3) and m.uses.shape == (d - HEAD_DRIVERS,)
        and (uses == m.uses).all() and ((uses >= 0) & (uses < EXPRESSION_DIM)).all()
        and m.guess.shape == (b, 1 + d) and m.hidden.shape == (HIDDEN_PX, HIDDEN_PX)
        and m.information.shape == (b, b) and m.reach.shape == (b,) and m.misfit.shape == (2,)
        and m.framing.shape == (8,) and m.canvas.shape == (4,)
        and (m.drivers[1] > 0).all() and (m.drivers[2] <= m.drivers[3]).all()
        and (m.reach >= 0).all() and (m.misfit > 0).all() and m.canvas[0] > 0
        and (m.framing[[0, 1, 4, 5, 6, 7]] >= 1).all()
        and (np.linalg.eigvalsh((m.information + m.information.T) / 2) > 0).all()
    )  # fmt: skip
