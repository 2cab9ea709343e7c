"""How well PE-Net reads people it never saw, crop by crop.

The rule: the teacher's labels are the truth; crops are placed by them. The live numbers, with the
tracker placing its own crops on whole videos, come from `facewire bench track`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.samples import Faces, sample
from quic_transport.params import ARKIT46
from sender.facenet.crop import rotation_of_six

GROUPS = {"blink": "eyeBlink", "jaw": "jawOpen", "smile": "mouthSmile", "gaze": "eyeLook",
          "brow": "brow", "mouth": "mouth"}  # fmt: skip


def predicted(net: Any, faces: Faces, rows: NDArray[np.int64], mirror: NDArray[np.int64]) -> Any:
    """(outputs of the network as arrays, labels [N, 1011]) for faces `rows`."""
    import torch

    net.eval()
    outputs: list[list[Any]] = []
    labels = []
    with torch.no_grad():
        for at in range(0, len(rows), 64):
            made = [sample(faces, int(i), None, mirror) for i in rows[at : at + 64]]
            picture = torch.from_numpy(np.stack([m[0] for m in made])).permute(0, 3, 1, 2) / 255.0
            place = torch.from_numpy(np.stack([m[1] for m in made]).astype(np.float32))
            outputs.append([o.float().numpy() for o in net(picture, place)])
            labels.append(np.stack([m[2] for m in made]))
    return [np.concatenate(o) for o in zip(*outputs, strict=True)], np.concatenate(labels)


def judge(net: Any, faces: Faces, mirror: NDArray[np.int64], most: int = 2000) -> dict[str, float]:
    """Correlations within a person, errors with a person's offset removed, degrees, pixels."""
    rows = np.arange(len(faces))[:: max(1, len(faces) // most)]
    out, label = predicted(net, faces, rows, mirror)
    said, wanted, person = np.clip(out[1], 0, 1), label[:, 956:1002], faces.person[rows]
    r = np.full((len(ARKIT46), int(person.max()) + 1), np.nan)
    errors = []
    for p in np.unique(person):
        a, b = said[person == p], wanted[person == p]
        errors.append(np.abs((a - b) - (a - b).mean(axis=0)).mean(axis=0))
        for k in range(len(ARKIT46)):
            if b[:, k].std() > 0.03 and len(b) > 10 and a[:, k].std() > 0:
                r[k, p] = np.corrcoef(a[:, k], b[:, k])[0, 1]
    with np.errstate(all="ignore"):
        each = np.array([np.nanmedian(x) if np.isfinite(x).any() else np.nan for x in r])
    degrees = [
        np.degrees(np.arccos(np.clip((np.trace(
            rotation_of_six(o).T @ rotation_of_six(w)) - 1) / 2, -1, 1)))
        for o, w in zip(out[2], label[:, 1002:1008], strict=True)
    ]  # fmt: skip
    facts = {
        "r_median": float(np.nanmedian(each)), "r_mean": float(np.nanmean(each)),
        "mae_offset_removed": float(np.mean(errors)),
        "rotation_median_deg": float(np.median(degrees)),
        "rotation_p95_deg": float(np.percentile(degrees, 95)),
        "landmarks_px": float(112 * np.abs(out[0].reshape(len(rows), -1) - label[:, :956]).mean()),
        "scale": float(np.abs(out[4] - label[:, 1010]).mean()),
        "presence_low": float(np.percentile(1 / (1 + np.exp(-out[5])), 1)),
    }  # fmt: skip
    for name, prefix in GROUPS.items():
        facts[f"r_{name}"] = float(np.nanmedian(each[[n.startswith(prefix) for n in ARKIT46]]))
    return facts
