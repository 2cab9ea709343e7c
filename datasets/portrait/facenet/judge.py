"""How well the networks read people they never saw.

The rule: the teacher's labels are the truth; crops are placed by them. What is judged is a reader,
the trained network or the exported file alike. The live numbers, with the tracker placing its own
crops on whole videos, come from `facewire bench track`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.samples import Faces, sample
from portrait.facenet.windows import CELL_PX, draw_windows
from quic_transport.params import ARKIT46
from sender.facenet.crop import rotation_of_six
from sender.facenet.detector import FaceDetector
from sender.facenet.reader import PE_FILE, open_network

GROUPS = {"blink": "eyeBlink", "jaw": "jawOpen", "smile": "mouthSmile", "gaze": "eyeLook",
          "brow": "brow", "squint": "eyeSquint", "mouth": "mouth"}  # fmt: skip
MOVES = 0.03
"""Standard deviation within a person from which a coefficient's correlation is counted."""

Read = Callable[[NDArray[np.uint8], NDArray[np.float32]], list[NDArray[Any]]]
"""Pictures [B, 112, 112, 3] and places [B, 3] → the outputs of PE-Net."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a judge found."""

    facts: dict[str, float]
    """Correlations within a person, errors, degrees, pixels; by name."""
    coefficients: dict[str, tuple[float, float]]
    """Name → (median correlation within a person, NaN where nobody moves it; mean error)."""
    people: list[dict[str, float]]
    """Each held-out person: crops, r, mae_offset_removed, rotation_median_deg."""


def torch_reader(net: Any) -> Read:
    """A torch PE-Net as a reader."""
    import torch

    net.eval()

    def read(picture: NDArray[np.uint8], place: NDArray[np.float32]) -> list[NDArray[Any]]:
        with torch.no_grad():
            x = torch.from_numpy(picture).permute(0, 3, 1, 2) / 255.0
            return [o.float().numpy() for o in net(x, torch.from_numpy(place))]

    return read


def onnx_reader(folder: Path) -> Read:
    """The exported PE-Net in `folder` as a reader."""
    session = open_network(folder / PE_FILE)

    def read(picture: NDArray[np.uint8], place: NDArray[np.float32]) -> list[NDArray[Any]]:
        rows = [
            session.run(None, {"picture": p[None], "place": q[None]})
            for p, q in zip(picture, place, strict=True)
        ]
        return [np.concatenate(o) for o in zip(*rows, strict=True)]

    return read


def predicted(
    read: Read, faces: Faces, rows: NDArray[np.int64], mirror: NDArray[np.int64]
) -> tuple[list[NDArray[Any]], NDArray[np.float64]]:
    """(outputs of the network, labels [N, 1011]) for faces `rows`."""
    outputs: list[list[NDArray[Any]]] = []
    labels = []
    for at in range(0, len(rows), 64):
        made = [sample(faces, int(i), None, mirror) for i in rows[at : at + 64]]
        place = np.stack([m[1] for m in made]).astype(np.float32)
        outputs.append(read(np.stack([m[0] for m in made]), place))
        labels.append(np.stack([m[2] for m in made]))
    return [np.concatenate(o) for o in zip(*outputs, strict=True)], np.concatenate(labels)


def judged(read: Read, faces: Faces, mirror: NDArray[np.int64], most: int = 2000) -> Judgement:
    """Judge PE-Net by about `most` of these faces."""
    rows = np.arange(len(faces))[:: max(1, len(faces) // most)]
    out, label = predicted(read, faces, rows, mirror)
    said, wanted, person = np.clip(out[1], 0, 1), label[:, 956:1002], faces.person[rows]
    degrees = np.array([
        np.degrees(np.arccos(np.clip((np.trace(
            rotation_of_six(o).T @ rotation_of_six(w)) - 1) / 2, -1, 1)))
        for o, w in zip(out[2], label[:, 1002:1008], strict=True)
    ])  # fmt: skip
    names = np.unique(person)
    r = np.full((len(ARKIT46), len(names)), np.nan)
    errors, people = [], []
    for j, p in enumerate(names):
        mine = person == p
        a, b = said[mine], wanted[mine]
        errors.append(np.abs((a - b) - (a - b).mean(axis=0)).mean(axis=0))
        for k in range(len(ARKIT46)):
            if b[:, k].std() > MOVES and len(b) > 10 and a[:, k].std() > 0:
                r[k, j] = np.corrcoef(a[:, k], b[:, k])[0, 1]
        people.append({
            "crops": float(mine.sum()), "r": _median(r[:, j]),
            "mae_offset_removed": float(errors[-1].mean()),
            "rotation_median_deg": float(np.median(degrees[mine])),
        })  # fmt: skip
    each = np.array([_median(x) for x in r])
    counted = each[np.isfinite(each)]
    facts = {
        "r_median": _median(each), "r_mean": float(counted.mean()) if len(counted) else np.nan,
        "mae": float(np.abs(said - wanted).mean()),
        "mae_offset_removed": float(np.mean(errors)),
        "rotation_median_deg": float(np.median(degrees)),
        "rotation_p95_deg": float(np.percentile(degrees, 95)),
        "landmarks_px": float(112 * np.abs(out[0].reshape(len(rows), -1) - label[:, :956]).mean()),
        "scale": float(np.abs(out[4] - label[:, 1010]).mean()),
        "presence_low": float(np.percentile(1 / (1 + np.exp(-out[5])), 1)),
    }  # fmt: skip
    for name, prefix in GROUPS.items():
        facts[f"r_{name}"] = _median(each[[n.startswith(prefix) for n in ARKIT46]])
    error = np.mean(errors, axis=0)
    table = {n: (float(each[k]), float(error[k])) for k, n in enumerate(ARKIT46)}
    return Judgement(facts, table, people)


def judge(net: Any, faces: Faces, mirror: NDArray[np.int64], most: int = 2000) -> dict[str, float]:
    """The facts alone, of a torch network."""
    return judged(torch_reader(net), faces, mirror, most).facts


def judge_detector(
    detector: FaceDetector, faces: Faces, empty: NDArray[np.uint8], seed: int = 1, count: int = 600
) -> dict[str, float]:
    """Shares of windows of 96 px: faces that were found, and empty ones in which one was."""
    w = draw_windows(faces, None, empty, np.random.default_rng(seed), count)
    found = missed = false = clean = 0
    for picture, target, counts in zip(w.picture, w.target, w.counts, strict=True):
        boxes = detector.boxes(picture)
        rows, columns = np.nonzero(target[0])
        if len(rows):
            x = CELL_PX * (columns[0] + 0.5 + target[1, rows[0], columns[0]])
            y = CELL_PX * (rows[0] + 0.5 + target[2, rows[0], columns[0]])
            hit = any(np.hypot(b.x - x, b.y - y) < 0.4 * b.size for b in boxes)
            found, missed = found + hit, missed + (not hit)
        elif counts.all():
            false, clean = false + bool(boxes), clean + (not boxes)
    return {
        "found": found / max(found + missed, 1), "false": false / max(false + clean, 1),
        "windows": float(found + missed + false + clean),
    }  # fmt: skip


def _median(values: NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if len(finite) else float("nan")
