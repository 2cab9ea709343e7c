"""Data sets from elsewhere: where their pictures, class maps and numbers are.

    NeRFBlendShape   transforms.json, frames[img_id, exp_ori, …]; ori_imgs/<n>.jpg, parsing/<n>.png
    RAD-NeRF         transforms_train.json (and _val), frames[img_id, …]; the same folders, or
                     gt_imgs; also NeRF's frames[file_path, …]
    pictures         any folder of pictures, in the order of the numbers in their names

The rule: only files are found and numbers checked here; nothing is converted.
Reference: NeRFBlendShape-code, nerf/provider.py; RAD-NeRF, data_utils/process.py; NeRF's Blender
sets.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.footage import PICTURES
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM

WHOLE = ("ori_imgs", "gt_imgs", "images", "imgs", "frames", "head_imgs")  # best first
TEST_FRAMES = 500  # NeRFBlendShape holds so many out


@dataclass(frozen=True, slots=True, eq=False)
class ForeignSet:
    """N frames of a set from elsewhere."""

    folder: Path
    """Where it lies."""
    kind: str
    """"NeRFBlendShape", "RAD-NeRF" or "pictures"."""
    pictures: list[Path]
    """[N] whole pictures, in order of time."""
    parsing: list[Path] | None
    """[N] class maps of the pictures; None where there are none."""
    expression: NDArray[np.float32] | None
    """[N, 46] its own coefficients; None where it has none, or not 46."""
    held_out: float | None
    """The share of the frames, the last ones, that the set itself holds out."""
    notes: tuple[str, ...]
    """Sentences about what is not taken over."""


def open_foreign(folder: Path) -> ForeignSet:
    """Find out what `folder` is; LocalError with a sentence where it is no set at all."""
    if folder.is_file() and folder.suffix == ".json":
        folder = folder.parent
    if not folder.is_dir():
        raise LocalError(
            f"{folder} is not a folder: name a NeRFBlendShape or RAD-NeRF set, or a folder of "
            "pictures (for a video there is `facewire dataset build`)"
        )
    if (folder / "transforms_train.json").is_file():
        return _rad_nerf(folder)
    if (folder / "transforms.json").is_file():
        return _nerf_blend_shape(folder)
    return _pictures(folder)


def _nerf_blend_shape(folder: Path) -> ForeignSet:
    path = folder / "transforms.json"
    document = _json(path)
    if "facewire" in document:
        raise LocalError(f"{folder} is a facewire set already: `facewire train {folder}`")
    frames = _frames(document, path)
    held_out = TEST_FRAMES / len(frames) if len(frames) >= 2 * TEST_FRAMES else None
    return _posed(folder, "NeRFBlendShape", path, frames, held_out)


def _rad_nerf(folder: Path) -> ForeignSet:
    path = folder / "transforms_train.json"
    frames = _frames(_json(path), path)
    held = 0
    for name in ("transforms_val.json", "transforms_test.json"):
        if (folder / name).is_file():
            known = {str(_name(f)) for f in frames}
            later = [f for f in _frames(_json(folder / name), folder / name)
                     if str(_name(f)) not in known]  # fmt: skip
            frames, held = frames + later, held + len(later)
    return _posed(folder, "RAD-NeRF", path, frames, held / len(frames) if held else None)


def _posed(
    folder: Path, kind: str, path: Path, frames: list[dict[str, Any]], held_out: float | None
) -> ForeignSet:
    pictures = _found(folder, path, frames)
    parsing = [folder / "parsing" / f"{picture.stem}.png" for picture in pictures]
    there = [p for p in parsing if p.is_file()]
    notes = []
    if there and len(there) < len(parsing):
        notes.append(f"{len(parsing) - len(there)} class maps are missing: none is used")
    expression, note = _expressions(frames)
    if note:
        notes.append(note)
    return ForeignSet(
        folder=folder,
        kind=kind,
        pictures=pictures,
        parsing=parsing if len(there) == len(parsing) else None,
        expression=expression,
        held_out=held_out,
        notes=tuple(notes),
    )


def _pictures(folder: Path) -> ForeignSet:
    for place in (folder, *(folder / name for name in WHOLE)):
        paths = [p for p in place.glob("*") if p.suffix.lower() in PICTURES]
        if paths:
            paths.sort(key=_natural)
            return ForeignSet(folder, "pictures", paths, None, None, None, ())
    raise LocalError(
        f"{folder} holds no transforms.json, no transforms_train.json and no pictures: name a "
        "data set or a folder of pictures"
    )


def _natural(path: Path) -> tuple[tuple[int, str], ...]:
    """Sorts 9.jpg before 10.jpg."""
    return tuple((int(part), "") if part.isdigit() else (-1, part)
                 for part in re.split(r"(\d+)", path.stem))  # fmt: skip


def _json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LocalError(f"{path} is not readable JSON ({error}): copy the set again") from error
    if not isinstance(document, dict):
        raise LocalError(f"{path} holds no object with frames: copy the set again")
    return document


def _frames(document: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    frames = document.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(f, dict) for f in frames):
        raise LocalError(f"{path} has no list of frames: it is not a data set of heads")
    if any(_name(f) is None for f in frames):
        raise LocalError(f"{path} has frames without img_id or file_path: it cannot be read")
    return frames


def _name(frame: dict[str, Any]) -> Any:
    return frame.get("img_id", frame.get("file_path"))


def _found(folder: Path, path: Path, frames: list[dict[str, Any]]) -> list[Path]:
    """The picture of every frame; LocalError naming the first that is missing."""
    best: list[Path] = []
    for place in (*WHOLE, "."):
        found = [_picture(folder, place, frame) for frame in frames]
        whole = [p for p in found if p is not None]
        if len(whole) == len(frames):
            return whole
        best = max(best, whole, key=len)
    missing = _name(frames[len(best)]) if len(best) < len(frames) else "?"
    where = f"{len(best)} of {len(frames)}" if best else "none"
    raise LocalError(
        f"{path} names {len(frames)} pictures, of which {where} are beside it (ori_imgs, gt_imgs; "
        f"missing for example {missing}): copy the pictures too"
    )


def _picture(folder: Path, place: str, frame: dict[str, Any]) -> Path | None:
    relative = Path(str(frame["file_path"])) if "file_path" in frame else (
        Path(place) / str(frame["img_id"])
    )  # fmt: skip
    if relative.is_absolute() or ".." in relative.parts:
        return None  # a set names its own pictures, nothing else on this machine
    base = folder / relative
    names = (base, *(base.with_name(base.name + suffix) for suffix in PICTURES))
    return next((p for p in names if p.suffix.lower() in PICTURES and p.is_file()), None)


def _expressions(frames: list[dict[str, Any]]) -> tuple[NDArray[np.float32] | None, str]:
    """[N, 46] where every frame has so many; otherwise None and why."""
    key = next((k for k in ("exp_ori", "exp") if k in frames[0]), None)
    if key is None:
        return None, ""
    try:
        values = np.array([f[key] for f in frames], dtype=np.float32)
    except (KeyError, TypeError, ValueError):
        return None, f"its {key} is not the same number of coefficients in all frames: not used"
    if values.ndim != 2 or values.shape[1] != EXPRESSION_DIM:
        return None, f"its {key} has {values.shape[-1]} coefficients, not 46: not used"
    if not np.isfinite(values).all():
        return None, f"its {key} is not finite everywhere: not used"
    return values, ""
