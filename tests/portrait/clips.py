"""Facts of made-up clips, for the report's tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nerf.camera import head_pose, portrait_camera
from nerf.trainset import TrainSet, write_trainset
from portrait.facts import Facts, save_facts
from portrait.report_facts import ClipFacts, clip_facts
from quic_transport.params import ARKIT46

RATE = 25.0


def good_facts(seconds: float = 60.0) -> Facts:
    """A clip with nothing to complain about: every turn and every shape, steady and sharp."""
    count = round(seconds * RATE)
    time = np.arange(count) / RATE
    swing = [np.sin(2 * np.pi * time / period) for period in (7.0, 11.0, 13.0)]
    rotation = np.radians(np.stack([15 * swing[0], 30 * swing[1], 9 * swing[2]], axis=1))
    face = np.zeros((count, 46), np.float32)
    for start in range(0, count, 50):  # each shape for half a second every two seconds, in turn
        face[start : start + 12, :] = 0.9
    return Facts(
        index=np.arange(count), time=time, reason=np.full(count, "", dtype="<U32"),
        picture=np.arange(count), rotation=rotation, expression=face,
        distance_m=np.full(count, 0.6), crop=np.tile([320.0, 240.0, 400.0], (count, 1)),
        size=np.tile([640, 480], (count, 1)), error_px=np.full(count, 1.0),
        sharpness=np.full(count, 80.0), brightness=np.full(count, 128.0),
        face_px=np.full(count, 240.0), top_cut=np.zeros(count, bool),
        mouth_open=np.zeros(count, bool), blink=np.zeros(count, bool),
        schema="arkit46", extractor="truth", source="me.mp4",
    )  # fmt: skip


def clip(facts: Facts | None = None, **changes: Any) -> ClipFacts:
    """The report's view of a clip; `changes` replace whole arrays of facts.npz."""
    return clip_facts(replace(good_facts() if facts is None else facts, **changes))


def without(*names: str) -> np.ndarray:
    """The good clip's expressions with some coefficients never used."""
    face = good_facts().expression.copy()
    face[:, [ARKIT46.index(name) for name in names]] = 0.0
    return face


def write_set(folder: Path, facts: Facts, size: int = 48, source: str = "me.mp4") -> Path:
    """A finished training set for the kept frames of `facts`, with little pictures."""
    kept = facts.reason == ""
    count = int(kept.sum())
    for name in ("head_imgs", "ori_imgs", "matte"):
        (folder / name).mkdir(parents=True)
    grey = np.zeros((size, size), np.uint8)
    cv2.circle(grey, (size // 2, size // 2), size // 3, 255, -1)
    head = np.where(grey[..., None] > 0, np.array([40, 120, 220], np.uint8), np.uint8(255))
    ok = True
    for n in range(count):
        ok &= cv2.imwrite(str(folder / "ori_imgs" / f"{n}.jpg"), np.minimum(head, 200))
        ok &= cv2.imwrite(str(folder / "head_imgs" / f"{n}.jpg"), head)
        ok &= cv2.imwrite(str(folder / "matte" / f"{n}.png"), grey)
    assert ok
    rotation = np.nan_to_num(facts.rotation[kept])
    write_trainset(TrainSet(
        folder=folder, camera=portrait_camera(size, 0.6, 2.6), distance_m=0.6, scale=2.6,
        img_id=np.arange(count), expression=np.nan_to_num(facts.expression[kept]),
        rotation=rotation, pose=np.stack([head_pose(r, 0.6) for r in rotation]),
        time=facts.time[kept], offset=np.zeros((count, 3)), train_count=max(1, int(0.85 * count)),
        schema=facts.schema, extractor=facts.extractor, frame_rate=RATE, source=source,
    ))  # fmt: skip
    save_facts(folder, facts)
    return folder
