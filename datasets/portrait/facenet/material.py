"""All packs of a training run, split into people to learn from and people to be judged by.

The rule: nobody is on both sides; every tenth real person is held out, by a hash of the name, so
that adding clips does not move anybody across.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.labels import fitted_camera, mean_face, mirror_order
from portrait.facenet.pack import Pack, read_pack
from portrait.facenet.samples import Faces, faces_of
from quic_transport.errors import LocalError

HELD_OUT_OF = 10
PERFORMER = "performer_"


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What a training run reads."""

    real: Faces
    """Real people to learn from."""
    held_out: Faces
    """Real people who are never learnt from."""
    performers: Faces | None
    """Drawn people."""
    empty: NDArray[np.uint8]
    """[N, 144, 144, 3] pictures without a face."""
    mirror: NDArray[np.int64]
    """[478] the mirror image of each landmark."""
    people: dict[str, int]
    """Real persons, those held out, performers."""


def held_out(person: str) -> bool:
    """Whether a person is for judging only."""
    return hashlib.sha256(person.encode()).digest()[0] % HELD_OUT_OF == 0


def read_material(folders: list[Path]) -> Material:
    """Read packs; LocalError where there are no labelled faces or no known camera."""
    packs = [read_pack(folder) for folder in folders]
    known = [p for p in packs if np.isfinite(p.camera).any()]
    if not known:
        raise LocalError(
            "no pack knows its camera: add one of performers "
            "(facewire facenet performers 0 1000 -o DIR)"
        )
    rows = [np.flatnonzero(np.isfinite(p.camera[:, 0]))[:2000] for p in known]
    face = mean_face(
        np.concatenate([p.landmarks[r] for p, r in zip(known, rows, strict=True)]).astype(float),
        np.concatenate([p.matrix[r] for p, r in zip(known, rows, strict=True)]).astype(float),
        np.concatenate([p.camera[r] for p, r in zip(known, rows, strict=True)]).astype(float),
    )
    real, judged, drawn, empty = [], [], [], []
    offset = 0
    people: set[str] = set()
    for pack in packs:
        camera = np.full((len(pack), 3), np.nan)
        with_face = np.flatnonzero(~pack.no_face)
        camera[with_face], residual = fitted_camera(
            face, pack.landmarks[with_face].astype(float), pack.matrix[with_face].astype(float)
        )
        good = np.zeros(len(pack), bool)
        good[with_face] = residual < 8.0
        names = np.array(pack.people)[pack.person]
        acted = np.char.startswith(names, PERFORMER)
        out = np.array([held_out(n) for n in pack.people])[pack.person]
        real.append(_shifted(faces_of(pack, camera, good & ~acted & ~out), offset))
        judged.append(_shifted(faces_of(pack, camera, good & ~acted & out), offset))
        drawn.append(_shifted(faces_of(pack, camera, good & acted), offset))
        empty.append(pack.images[pack.no_face])
        people |= set(names[good].tolist())
        offset += len(pack.people)
    learnt, heldout, performers = _joined(real), _joined(judged), _joined(drawn)
    if learnt is None or heldout is None:
        raise LocalError("the packs hold too few people: ten and more are needed")
    counts = {
        "people": len(np.unique(learnt.person)), "held_out_people": len(np.unique(heldout.person)),
        "performers": 0 if performers is None else len(np.unique(performers.person)),
        "crops": len(learnt), "held_out_crops": len(heldout),
        "performer_crops": 0 if performers is None else len(performers),
        "empty_crops": sum(len(e) for e in empty),
    }  # fmt: skip
    return Material(learnt, heldout, performers, np.concatenate(empty), mirror_order(face), counts)


def _shifted(faces: Faces, offset: int) -> Faces:
    return Faces(faces.images, faces.landmarks, faces.expression, faces.matrix, faces.camera,
                 faces.person + offset)  # fmt: skip


def _joined(parts: list[Faces]) -> Faces | None:
    parts = [p for p in parts if len(p)]
    if not parts:
        return None
    if len(parts) == 1:
        return parts[0]
    names = ("images", "landmarks", "expression", "matrix", "camera", "person")
    return Faces(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


__all__ = ["Material", "Pack", "held_out", "read_material"]
