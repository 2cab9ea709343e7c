"""What is in a training set: `facewire dataset inspect`, as lines of text.

The rule: nothing is changed and nothing is guessed. A folder that a build has begun is described
as far as it got, with the command that goes on; a set from elsewhere by what its file says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nerf.trainset import TrainSet, TrainSetError, read_trainset
from portrait.steps import DONE, LEDGER, STEPS, Step, read_ledger
from quic_transport.errors import LocalError
from quic_transport.params import SCHEMAS

COLUMNS = 3  # of coefficients
ALIVE = 0.005  # standard deviation of a coefficient that moves
PICTURES_OF = {  # the folder by which a step's progress is counted, one picture per kept frame
    "frames": "ori_imgs", "segmentation": "head_imgs", "torso": "gt_imgs",
}  # fmt: skip
SUFFIX = ".jpg"


def describe(folder: Path) -> list[str]:
    """The lines about `folder`; LocalError where it is no training set, begun or finished."""
    begun = folder.with_name(folder.name + ".partial")
    if not (folder / "transforms.json").is_file() and (begun / LEDGER).is_file():
        folder = begun
    ledger = read_ledger(folder)
    if ledger and not (folder / "transforms.json").is_file():
        return [f"{folder}: not finished; the same `facewire dataset build` goes on with it",
                *_steps(folder, ledger)]  # fmt: skip
    try:
        trainset = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    return [
        *_head(folder, trainset),
        *(_steps(folder, ledger) if ledger else ()),
        *_bounds(trainset),
        *_notes(folder, trainset, ledger),
    ]


def _head(folder: Path, trainset: TrainSet) -> Iterator[str]:
    held = len(trainset) - trainset.train_count
    yield f"{folder}: {len(trainset)} frames, {trainset.train_count} to train on, {held} held out"
    yield (
        f"  source {trainset.source or 'unknown'}, {trainset.frame_rate:.2f} frames/s, "
        f"extractor {trainset.extractor}, schema {trainset.schema}"
    )
    camera = trainset.camera
    yield (
        f"  portrait {camera.width}×{camera.height}, focal {camera.fx:.1f} px, distance "
        f"{trainset.distance_m:.3f} m, {'soft mattes' if trainset.has_matte else 'parsing only'}"
    )


def _steps(folder: Path, ledger: dict[str, dict[str, Any]]) -> Iterator[str]:
    for step in STEPS:
        record = ledger.get(step.name, {})
        state = record.get("state", "to do")
        seconds = f"{record['seconds']:.1f} s" if "seconds" in record else ""
        note = record.get("note", {})
        words = _words(step, note) if state == DONE else _progress(folder, step, record, ledger)
        yield f"  {step.number} {step.name:14}{state:6}{seconds:>9}  {words}".rstrip()


def _words(step: Step, note: dict[str, Any]) -> str:
    """What a finished step found out."""
    match step.name:
        case "frames":
            return (f"{note.get('kept')} of {note.get('looked_at')} frames kept, tracked by "
                    f"{note.get('extractor')}")  # fmt: skip
        case "segmentation":
            return f"neck cut {'fitted to the jaw' if note.get('neckline') else 'by classes'}"
        case "background":
            shares = [f"{100 * float(note.get(key, 0)):.0f} % {word}"
                      for key, word in (("seen", "seen"), ("rarely", "rarely seen"),
                                        ("inpainted", "painted in"))]  # fmt: skip
            return ", ".join(shares)
        case "poses":
            median, p95 = note.get("median_px"), note.get("p95_px")
            if median is None or p95 is None:
                return "reprojection unknown: too few landmarks"
            return f"reprojection error median {median:.2f} px, 95 % below {p95:.2f} px"
        case "expressions":
            return f"{note.get('moving')} of 46 move, bounds over {note.get('train_frames')} frames"
        case _:
            return ""


def _progress(
    folder: Path, step: Step, record: dict[str, Any], ledger: dict[str, dict[str, Any]]
) -> str:
    """How far a step that was begun has got."""
    pictures = PICTURES_OF.get(step.name)
    if not record or pictures is None:
        return ""
    done = sum(path.suffix == SUFFIX for path in (folder / pictures).glob("*"))
    kept = ledger.get("frames", {}).get("note", {}).get("kept")
    return f"{done} of {kept} pictures" if kept else f"{done} pictures"


def _bounds(trainset: TrainSet) -> Iterator[str]:
    if trainset.bounds is None:
        return
    low, high = trainset.bounds
    yield "  bounds of the training frames:"
    for name, a, b in zip(("pitch", "yaw", "roll"), low[46:], high[46:], strict=True):
        yield f"    {name:5} {np.degrees(a):+6.1f}° to {np.degrees(b):+6.1f}°"
    names = SCHEMAS.get(trainset.schema, tuple(f"{i}" for i in range(46)))
    cells = [f"{n:20} {a:5.2f} to {b:4.2f}" for n, a, b in zip(names, low, high, strict=False)]
    for i in range(0, len(cells), COLUMNS):
        yield "    " + "   ".join(f"{cell:34}" for cell in cells[i : i + COLUMNS]).rstrip()
    spread = trainset.expression.std(axis=0)
    alive = [names[i] for i in np.argsort(-spread) if spread[i] > ALIVE]
    yield f"  {len(alive)} of 46 coefficients move; most: {', '.join(alive[:8])}"


def _notes(folder: Path, trainset: TrainSet, ledger: dict[str, dict[str, Any]]) -> Iterator[str]:
    note = ledger.get("training file", {}).get("note", {})
    left = {str(k): int(v) for k, v in note.get("left_out", {}).items()}
    if left:
        yield "  left out: " + ", ".join(f"{n} {why}" for why, n in left.items())
    worst = _worst(folder)
    if worst:
        yield "  worst reprojection: " + worst
    for name in trainset.img_id:
        path = folder / "head_imgs" / f"{name}{SUFFIX}"
        if not path.is_file():
            yield f"  warning: {path} is missing; build the set again"
            break
    for warning in note.get("warnings", []):
        yield f"  warning: {warning}"


def _worst(folder: Path) -> str:
    try:
        document = json.loads((folder / "reprojection.json").read_text(encoding="utf-8"))
        return ", ".join(f"frame {w['img_id']} ({w['time']:.2f} s) {w['error_px']:.1f} px"
                         for w in document["worst"][:3])  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return ""
