"""Batches for PE-Net: a few people, several frames of each, some performers, some nothing.

The rule: rows come in groups of one person, so that the loss can compare frames of one face; a
person is drawn with a chance that grows with the root of how many frames show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.drawn import drawn
from portrait.facenet.samples import LABEL_DIM, Faces, misplaced, nothing, sample
from sender.facenet.crop import INPUT_PX

GROUP = 8
"""Rows of one person that stand together."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step sees."""

    picture: NDArray[np.uint8]
    """[B, 112, 112, 3]."""
    place: NDArray[np.float32]
    """[B, 3]."""
    label: NDArray[np.float32]
    """[B, 1011]; zeros without a face."""
    face: NDArray[np.float32]
    """[B] 1 or 0."""
    performer: NDArray[np.float32]
    """[B] 1 for a performer."""


class Sampler:
    """Draws batches."""

    def __init__(self, real: Faces, performers: Faces | None, empty: NDArray[np.uint8],
                 mirror_order: NDArray[np.int64], drawings: int = 1500) -> None:  # fmt: skip
        """`empty` [N, 144, 144, 3] are pictures without a face; `drawings` more are drawn."""
        self.real, self.performers = real, performers
        self.mirror_order = mirror_order
        self.empty = np.concatenate([empty, np.stack([drawn(k) for k in range(drawings)])]) \
            if drawings else empty  # fmt: skip
        self._is_drawing = len(empty)
        self._rows = [_rows_by_person(real)]
        self._chance = [_chances(self._rows[0])]
        self._rarity = _rarities(real, self._rows[0])
        if performers is not None and len(performers):
            self._rows.append(_rows_by_person(performers))
            self._chance.append(_chances(self._rows[1]))

    def draw(self, rng: np.random.Generator, size: int = 64) -> Batch:
        """A batch of `size` rows, a multiple of GROUP."""
        out = Batch(
            np.zeros((size, INPUT_PX, INPUT_PX, 3), np.uint8), np.zeros((size, 3), np.float32),
            np.zeros((size, LABEL_DIM), np.float32), np.zeros(size, np.float32),
            np.zeros(size, np.float32),
        )  # fmt: skip
        groups = size // GROUP
        without = 1 if groups >= 4 else 0
        acted = min(1 if groups < 8 else 1 + int(rng.random() < 0.2), len(self._rows) - 1)
        for g in range(groups - without):
            kind = 1 if g < acted and len(self._rows) > 1 else 0
            faces = self.performers if kind else self.real
            assert faces is not None
            rows = self._rows[kind]
            who = rows[int(rng.choice(len(rows), p=self._chance[kind]))]
            if kind:  # few frames each: several people in one group
                picks = np.concatenate(
                    [rows[int(k)] for k in rng.integers(0, len(rows), 3)]
                )[:GROUP]  # fmt: skip
                picks = np.resize(picks, GROUP)
            else:
                chance = self._rarity[who] / self._rarity[who].sum()
                picks = rng.choice(who, GROUP, replace=len(who) < 2 * GROUP, p=chance)
            for k, i in enumerate(picks):
                row = g * GROUP + k
                out.picture[row], out.place[row], out.label[row] = sample(
                    faces, int(i), rng, self.mirror_order
                )
                out.face[row], out.performer[row] = 1, kind
        for row in range((groups - without) * GROUP, size):
            out.place[row] = (*rng.normal(0, 0.2, 2), rng.uniform(-1, 1))
            if rng.random() < 0.3:
                out.picture[row] = misplaced(self.real, int(rng.integers(len(self.real))), rng)
            else:
                low = 0 if rng.random() < 0.65 else self._is_drawing
                out.picture[row] = nothing(self.empty[int(rng.integers(low, len(self.empty)))], rng)
        return out


def _rows_by_person(faces: Faces) -> list[NDArray[np.int64]]:
    return [np.flatnonzero(faces.person == p) for p in np.unique(faces.person)]


def _rarities(faces: Faces, rows: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    """[N]: 1 for a face as the person mostly shows it, up to 5 for a blink, a laugh, a glance."""
    out = np.ones(len(faces))
    scale = faces.expression.astype(np.float64).std(axis=0) + 0.03
    for who in rows:
        e = faces.expression[who].astype(np.float64)
        away = np.abs(e - np.median(e, axis=0)) / scale
        out[who] = 1 + 4 * np.clip((np.sort(away, axis=1)[:, -6:].mean(axis=1) - 1) / 2, 0, 1)
    return out


def _chances(rows: list[NDArray[np.int64]]) -> NDArray[np.float64]:
    weight = np.sqrt([len(r) for r in rows])
    return np.asarray(weight / weight.sum(), dtype=np.float64)
