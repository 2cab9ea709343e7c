"""A tiny film with exact truth for the tests of the data-set steps: a disc on a neck on a body."""

from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np

from nerf.camera import Camera, head_pose, project
from portrait.build import BuildOptions
from tests.sender.films import write_film

FRAMES, RATE, W, H = 22, 4.0, 160, 120
TRAINED = 18  # 85 %
FOCAL, DISTANCE = 200.0, 0.5
HEAD_RGB, NECK_RGB, BODY_RGB = (220, 120, 40), (200, 170, 140), (40, 150, 60)
POINTS = np.array([
    (0.0, 0.0, 0.07), (0.03, 0.03, 0.05), (-0.03, 0.03, 0.05), (0.0, -0.05, 0.05),
    (0.05, 0.0, 0.0), (-0.05, 0.0, 0.0), (0.02, -0.03, 0.06), (-0.02, -0.03, 0.06),
])  # fmt: skip
TRUTH = BuildOptions(extractor="truth")


def room() -> np.ndarray:
    """[H, W, 3] what is behind the disc: blue, brighter to the right."""
    x = np.arange(W)[None, :, None] * np.ones((H, 1, 1))
    return np.asarray(np.clip((20, 50, 150) + x * (0.4, 0.4, 0.6), 0, 255), np.uint8)


def poses() -> np.ndarray:
    """[FRAMES, 4, 4] head → camera."""
    return np.stack([
        head_pose((0.05 * np.sin(i / 5), 0.3 * np.sin(i / 6), 0), DISTANCE,
                  (0.05 * np.sin(i / 5), 0, 0)) for i in range(FRAMES)
    ])  # fmt: skip


def pictures() -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """(RGB, class map, the head's opacity) of every frame."""
    out: tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]] = ([], [], [])
    for pose in poses():
        x = W / 2 + FOCAL * pose[0, 3] / DISTANCE
        matte = np.zeros((H, W), np.uint8)
        centre = (round(x * 16 - 8), round((H / 2) * 16 - 8))
        cv2.circle(matte, centre, 30 * 16, 255, -1, cv2.LINE_AA, 4)
        classes = np.zeros((H, W), np.uint8)
        classes[84:96, round(x) - 10 : round(x) + 10] = 2
        classes[96:, round(x) - 40 : round(x) + 40] = 3
        image = room()
        image[classes == 2], image[classes == 3] = NECK_RGB, BODY_RGB
        a = matte[..., None] / 255
        image = (a * HEAD_RGB + (1 - a) * image + 0.5).astype(np.uint8)
        classes[matte > 127] = 1
        for values, value in zip(out, (image, classes, matte), strict=True):
            values.append(value)
    return out


def film_disc(folder: Path) -> Path:
    """`folder`/me.mp4 with its truth and its masks."""
    images, classes, mattes = pictures()
    with zipfile.ZipFile(folder / "me.masks.zip", "w") as masks:
        for i in range(FRAMES):
            for kind, picture in (("matte", mattes[i]), ("classes", classes[i])):
                data = cv2.imencode(".png", picture)[1].tobytes()
                masks.writestr(f"{kind}/{i:06d}.png", data)
    camera = Camera(FOCAL, FOCAL, W / 2, H / 2, W, H)
    np.savez(
        folder / "me.truth.npz", time=np.arange(FRAMES) / RATE, pose=poses(),
        expression=np.random.default_rng(0).random((FRAMES, 46)), focal_px=FOCAL, width=W,
        height=H, landmarks=np.stack([project(POINTS, pose, camera) for pose in poses()]),
    )  # fmt: skip
    return write_film(folder / "me.mp4", images, [i / RATE for i in range(FRAMES)])
