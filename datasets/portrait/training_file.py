"""Steps 6 and 7: the 46 expressions with their bounds, then the training file and the report.

    expressions.npz    expression [n, 46], low [49], high [49], names [46], train_frames
    transforms.json, max_46.txt, min_46.txt   NeRFBlendShape's format (nerf.trainset)
    bc.jpg                                    white: what lies behind the head in head_imgs
    facts.npz, report.html                    what the build saw, frame by frame

The rule: bounds span the training frames only, as the paper's quantiser does; a set with a
transforms.json is complete, so that file is written when all pictures lie beside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf.trainset import (
    TrainSet,
    bounds_of,
    portrait_camera,
    portrait_poses,
    train_count_of,
    write_trainset,
)
from portrait.checks import Verdict
from portrait.facts import face_px, facts_of, save_facts
from portrait.pictures import PORTRAIT_PX, write_image
from portrait.poses import stored_errors
from portrait.tracks import Tracks
from quic_transport.params import SCHEMAS
from sender.portrait_crop import PORTRAIT_SCALE

MOVES = 0.005  # standard deviation of a coefficient that is used at all


def make_expressions(folder: Path, kept: Tracks, schema: str, held_out: float) -> dict[str, int]:
    """Write expressions.npz; how many frames are for training and how many of the 46 move."""
    count = train_count_of(len(kept), 1.0 - held_out)
    low, high = bounds_of(kept.expression, kept.rotation, count)
    temporary = folder / "expressions.tmp"
    with temporary.open("wb") as file:
        np.savez_compressed(
            file, expression=kept.expression, low=low, high=high, train_frames=count,
            names=np.array(SCHEMAS[schema]),
        )  # fmt: skip
    temporary.replace(folder / "expressions.npz")
    moving = int((kept.expression[:count].std(axis=0) > MOVES).sum())
    return {"train_frames": count, "moving": moving}


def make_training_file(
    folder: Path,
    tracks: Tracks,
    verdict: Verdict,
    *,
    train_frames: int,
    schema: str,
    extractor: str,
    source: str,
    distance: float,
) -> TrainSet:
    """Write transforms.json, its bounds and facts.npz, for a camera `distance` metres away."""
    kept = tracks.take(verdict.rows)
    period = float(np.median(np.diff(kept.time)))
    trainset = TrainSet(
        folder=folder,
        camera=portrait_camera(PORTRAIT_PX, distance, PORTRAIT_SCALE),
        distance_m=distance,
        scale=PORTRAIT_SCALE,
        img_id=np.arange(len(kept)),
        expression=kept.expression,
        rotation=kept.rotation,
        pose=portrait_poses(kept.rotation, distance),
        time=kept.time,
        offset=kept.offset,
        train_count=train_frames,
        schema=schema,
        extractor=extractor,
        bounds=bounds_of(kept.expression, kept.rotation, train_frames),
        frame_rate=1.0 / period,
        source=source,
        extra={"source_frame": [int(i) for i in kept.index],
               "crop": [[round(float(x), 3) for x in c] for c in kept.crop]},
    )  # fmt: skip
    error = np.full(len(tracks), np.nan)
    error[verdict.rows] = stored_errors(folder, len(kept))
    facts = facts_of(tracks, verdict, error, schema=schema, extractor=extractor, source=source)
    save_facts(folder, facts)
    write_image(folder / "bc.jpg", np.full((PORTRAIT_PX, PORTRAIT_PX, 3), 255, dtype=np.uint8))
    write_trainset(trainset)
    return trainset


def advice(kept: Tracks) -> list[str]:
    """What would make a better clip, for the screen; the report says more."""
    out = []
    seconds = float(kept.time[-1] - kept.time[0])
    if seconds < 30:
        out.append(f"only {seconds:.0f} s of face: 60 to 120 s make a better avatar")
    if (px := float(np.median(face_px(kept)))) < 180:
        out.append(f"the face is only {px:.0f} px high: move closer, 250 px and more look sharp")
    yaw = np.degrees(np.percentile(kept.rotation[:, 1], [1, 99]))
    if yaw[1] - yaw[0] < 20:
        out.append(
            f"the head turns only {yaw[0]:+.0f}° to {yaw[1]:+.0f}°: views from further round will "
            "be guesses; turn the head left and right while filming"
        )
    top = kept.crop[:, 1] - 0.5 * kept.crop[:, 2]
    cut_off = float(np.mean(top < -0.12 * kept.crop[:, 2]))
    if cut_off > 0.05:
        out.append(f"the top of the head is out of the picture in {100 * cut_off:.0f} % of frames")
    return out
