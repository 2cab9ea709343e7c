"""The report's sections: facts and stored pictures → pieces of the page.

The rule: a section whose pictures are missing (a set from elsewhere, a step that did not run) is
empty and left out of the page; nothing here fails for want of a picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.trainset import TrainSet
from portrait.report_coverage import coverage_map, range_bars, used_share
from portrait.report_facts import ClipFacts
from portrait.report_page import figure, plot, sheet
from portrait.report_pictures import (
    SIDE_PX,
    Shown,
    data_uri,
    marked,
    over_checker,
    read_landmarks,
    read_picture,
    small,
)
from portrait.report_plots import curves, legend, reason_keys, timeline

STAGED = 4  # frames whose classes, torso and composite are shown
PLATE_PX = 320


def frames(folder: Path, facts: ClipFacts, shown: list[Shown], *, landmarks: bool = False) -> str:
    """Portraits with their captions, with the tracked landmarks if wanted."""
    out = []
    for frame in shown:
        path = folder / "ori_imgs" / f"{facts.picture[frame.row]}.jpg"
        if (image := read_picture(path)) is None:
            continue
        points = read_landmarks(path.with_suffix(".lms")) if landmarks else None
        if points is not None:
            image = marked(image, points)
        out.append(figure(data_uri(small(image)), frame.caption))
    return sheet(out) if out else ""


def heads(folder: Path, facts: ClipFacts, shown: list[Shown]) -> str:
    """Cut-out heads over checks."""
    out = []
    for frame in shown:
        name = facts.picture[frame.row]
        head = read_picture(folder / "head_imgs" / f"{name}.jpg")
        matte = read_picture(folder / "matte" / f"{name}.png", channels=1)
        if head is not None and matte is not None and head.shape[:2] == matte.shape:
            checked = over_checker(small(head, SIDE_PX), small(matte, SIDE_PX))
            out.append(figure(data_uri(checked), frame.caption))
    return sheet(out) if out else ""


def products(folder: Path, facts: ClipFacts, shown: list[Shown]) -> str:
    """What the set holds besides heads: the plate, the four classes, torsos, composites."""
    out = []
    for name, caption in (("background.png", _plate_words(folder)),
                          ("plate.jpg", "the same, where the portrait is")):  # fmt: skip
        image = read_picture(folder / name)
        if image is not None and (image != 255).any():
            out.append(figure(data_uri(_within(image)), caption))
    for frame in shown[:STAGED]:
        out += _stages(folder, int(facts.picture[frame.row]), frame.caption)
    return sheet(out) if out else ""


def _stages(folder: Path, name: int, caption: str) -> list[str]:
    portrait = read_picture(folder / "ori_imgs" / f"{name}.jpg")
    classes = read_picture(folder / "parsing" / f"{name}.png")
    torso = read_picture(folder / "torso_imgs" / f"{name}.png", channels=4)
    composite = read_picture(folder / "gt_imgs" / f"{name}.jpg")
    out = []
    if portrait is not None and classes is not None and portrait.shape == classes.shape:
        white = (classes == 255).all(axis=-1, keepdims=True)
        tinted = np.where(white, portrait // 2, portrait // 2 + classes // 2)
        out.append(figure(data_uri(small(tinted.astype(np.uint8))), f"classes, {caption}"))
    if torso is not None and torso.ndim == 3 and torso.shape[2] == 4:
        alpha = torso[..., 3:].astype(np.float32) / 255.0
        on_white = (torso[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
        checked = over_checker(small(on_white), small(torso[..., 3]))
        out.append(figure(data_uri(checked), f"neck and torso, {caption}"))
    if composite is not None:
        out.append(figure(data_uri(small(composite)), f"person over the plate, {caption}"))
    return out


def _plate_words(folder: Path) -> str:
    """The plate's caption: how much of it was never seen."""
    try:
        facts: Any = json.loads((folder / "background.json").read_text(encoding="utf-8"))
        share = float(facts["inpainted"])
    except (OSError, ValueError, KeyError, TypeError):
        return "background plate"
    return f"background plate; {100 * share:.0f} % were never seen and are painted in"


def _within(image: NDArray[np.uint8]) -> Any:
    """A picture of any shape, at most PLATE_PX a side."""
    import cv2

    scale = min(1.0, PLATE_PX / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def over_time(facts: ClipFacts, trainset: TrainSet) -> str:
    """Turns, brightness, sharpness and reprojection error as curves."""
    gone = facts.time[~facts.kept]
    held = trainset.time[min(trainset.train_count, len(trainset) - 1)]
    angles = [(name, facts.rotation_deg[:, i]) for i, name in enumerate(("pitch", "yaw", "roll"))]
    out = [plot("Turn of the head, degrees", curves(
        "pitch, yaw and roll over time", facts.time, angles, unit="°", gone=gone,
        held_out_from=float(held)), legend([name for name, _ in angles]))]  # fmt: skip
    for title, name in (
        ("Brightness of the face, mean grey 0 to 255", "brightness"),
        ("Sharpness of the face", "sharpness"),
        ("Reprojection error of the landmarks, pixels", "error_px"),
    ):
        drawing = curves(title, facts.time, [(name, getattr(facts, name))], gone=gone,
                         held_out_from=float(held), floor=0.0)  # fmt: skip
        out.append(plot(title, drawing))
    return "".join(out)


def turns(facts: ClipFacts) -> str:
    """The map of views."""
    rotation = facts.rotation_deg[facts.kept]
    return f'<div class="map">{coverage_map(rotation)}</div>'


def expressions(facts: ClipFacts, names: tuple[str, ...]) -> str:
    """Two columns of coefficients."""
    face = facts.expression[facts.kept]
    used = used_share(face, facts.schema)
    half = len(names) // 2
    columns = [range_bars(names[a:b], face[:, a:b], used[a:b])
               for a, b in ((0, half), (half, len(names)))]  # fmt: skip
    return '<div class="bars">' + "".join(f"<div>{c}</div>" for c in columns) + "</div>"


def left_out(facts: ClipFacts) -> str:
    """When and why frames were left out; nothing where none was."""
    counts = facts.left_out()
    if not counts:
        return ""
    keys = reason_keys(counts, len(facts))
    return plot("", timeline(facts.time, facts.reason, list(counts)), keys)


def key_numbers(facts: ClipFacts, trainset: TrainSet) -> list[tuple[str, str]]:
    """What the set holds, as tiles."""

    def measured(name: str, unit: str) -> str:
        value = facts.median(name)
        return f"{value:.0f} {unit}" if np.isfinite(value) else "unknown"

    pairs = [
        ("Frames in the set", f"{len(trainset)} of {len(facts)}"),
        ("To train on / held out",
         f"{trainset.train_count} / {len(trainset) - trainset.train_count}"),
        ("Frames per second", f"{trainset.frame_rate:.2f}"),
        ("Height of the face", measured("face_px", "px")),
        ("Distance of the head", f"{trainset.distance_m:.2f} m"),
        ("Tracked by", trainset.extractor),
    ]  # fmt: skip
    error = facts.median("error_px")
    if np.isfinite(error):
        pairs.append(("Reprojection error", f"{error:.2f} px (median)"))
    return pairs
