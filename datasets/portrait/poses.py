"""Step 5, poses: the clip's one camera, a 4×4 matrix per frame, and how well the landmarks fit.

    poses.json          camera (fx, fy, cx, cy, w, h of the whole picture), frames[img_id, time,
                        transform_matrix camera → head, euler, translation head → camera]
    reprojection.json   median and p95 over the frames, each frame's error, the worst frames

The rule: these are the poses in the source's whole picture, metres and radians; the stabilised
portraits' own (rotation only) stand in transforms.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.camera import euler_angles, invert_pose
from portrait.reprojection import fit_rigid_shape
from portrait.tracks import Tracks

WORST = 12


def make_poses(folder: Path, kept: Tracks, distance: float) -> dict[str, float | None]:
    """Write the step's two files, for portraits from `distance` metres; median and 95th percentile
    of the error in pixels of the source (None where it cannot be measured)."""
    width, height = (int(x) for x in kept.size[0])
    focal = float(np.median(kept.focal))
    frames = [
        {
            "img_id": n,
            "time": float(kept.time[n]),
            "transform_matrix": invert_pose(kept.pose[n]).tolist(),
            "euler": [float(x) for x in euler_angles(kept.pose[n][:3, :3])],
            "translation": [float(x) for x in kept.pose[n][:3, 3]],
        }
        for n in range(len(kept))
    ]
    camera = {"fx": focal, "fy": focal, "cx": width / 2, "cy": height / 2, "w": width, "h": height}
    _write(folder / "poses.json", {"camera": camera, "frames": frames})
    fit = fit_rigid_shape(kept.landmarks, kept.rotation, np.full(len(kept), distance))
    if fit is None:
        _write(folder / "reprojection.json", {"landmarks": int(kept.landmarks.shape[1]),
                                              "why": "too few landmarks or frames"})  # fmt: skip
        return {"median_px": None, "p95_px": None}
    error = fit.error * kept.crop[:, 2]
    median, p95 = (float(x) for x in np.percentile(error, [50, 95]))
    worst = np.argsort(-error)[:WORST]
    _write(folder / "reprojection.json", {
        "landmarks": int(kept.landmarks.shape[1]),
        "rigid_landmarks": len(fit.rigid),
        "median_px": median,
        "p95_px": p95,
        "median_portrait_px": float(np.median(fit.error)) * 512,
        "worst": [{"img_id": int(n), "time": float(kept.time[n]), "error_px": float(error[n])}
                  for n in worst],
        "error_px": [round(float(x), 3) for x in error],
        "shape_m": [[round(float(x), 5) for x in point] for point in fit.shape],
    })  # fmt: skip
    return {"median_px": median, "p95_px": p95}


def stored_errors(folder: Path, count: int) -> NDArray[np.float64]:
    """[count] what reprojection.json says of each kept frame; NaN where it says nothing."""
    try:
        document = json.loads((folder / "reprojection.json").read_text(encoding="utf-8"))
        values = np.array(document["error_px"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError):
        return np.full(count, np.nan)
    return values if values.shape == (count,) else np.full(count, np.nan)


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    temporary.replace(path)
