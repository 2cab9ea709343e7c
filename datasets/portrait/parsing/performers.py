"""Pictures of performers with exact part labels, before a white wall.

    DIR/performers_<first seed>.npz
        `images` uint8 [N, 256, 256, 3] RGB; `alpha` uint8 [N, 256, 256] the person's opacity;
        `parts` uint8 [N, 128, 128, 3] how much of each cell head, neck and torso cover, 0..255;
        `seed` [N]

The rule: what covers a pixel is known, not estimated; every seed draws another person, pose,
body, lens and place in the picture, close portraits as well as whole frames. Rooms are put behind
them while training (portrait.parsing.data), so that no silhouette is tied to one.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera, rotation_matrix
from portrait.performer.performance import Score
from portrait.performer.person import Person
from portrait.performer.render import HEAD, NECK, NECK_PIVOT, TORSO, default_body, render
from portrait.performer.traits import draw_traits
from quic_transport.params import EXPRESSION_DIM
from sender.portrait_crop import PORTRAIT_SCALE

PICTURE_PX, PART_PX = 256, 128
SHOTS = 14  # pictures per person
MAX_TURN = np.radians([26.0, 52.0, 22.0])  # pitch, yaw, roll at the ends of the range
BODY_M = 0.42  # below the head's origin there is torso this far down

Image = NDArray[np.uint8]


def person_of(seed: int, rng: np.random.Generator) -> Person:
    """The performer `seed` in clothes of any colour."""
    traits = draw_traits(seed)
    if rng.random() < 0.6:
        shade = rng.beta(0.8, 1.2)
        cloth = np.clip(shade + rng.normal(0, 0.12, 3), 0.01, 0.9)
        traits = replace(traits, cloth=(float(cloth[0]), float(cloth[1]), float(cloth[2])))
    return Person(seed, traits=traits)


def shots_of(seed: int, shots: int = SHOTS) -> Iterator[tuple[Image, Image, Image]]:
    """(picture [256, 256, 3], opacity [256, 256], parts [128, 128, 3]) of one person."""
    rng = np.random.default_rng([0x9A25, seed])
    person, score = person_of(seed, rng), Score(seed, 60.0, "talk")
    for _ in range(shots):
        params, _ = score.at(float(rng.uniform(0, 60)))
        expression = params.expression.astype(np.float64)
        for k in rng.choice(EXPRESSION_DIM, rng.integers(0, 3), replace=False):
            expression[k] = max(expression[k], rng.beta(1.2, 2.0))
        camera, pose = framing(rng)
        body = default_body(pose)
        turn = rotation_matrix(rng.normal(0, 0.06), np.clip(rng.normal(0, 0.3), -0.7, 0.7), 0.0)
        pivot = body[:3, :3] @ NECK_PIVOT + body[:3, 3]
        body[:3, :3] = body[:3, :3] @ turn
        body[:3, 3] = pivot - body[:3, :3] @ NECK_PIVOT
        value = np.clip(expression, 0, 1).astype(np.float32)
        picture = render(person, value, pose, camera, body=body, white=True)
        yield picture_and_parts(picture.rgb, picture.classes)


def framing(rng: np.random.Generator) -> tuple[Camera, NDArray[np.float64]]:
    """A camera of twice PICTURE_PX and the head's pose: a portrait, or a wider picture."""
    size = 2 * PICTURE_PX
    close = rng.random() < 0.6
    zoom = float(np.exp(rng.normal(0, 0.13) if close else rng.uniform(np.log(0.3), np.log(0.95))))
    width_m = 1 / (PORTRAIT_SCALE * zoom)
    spread = 0.05 if close else 0.22
    u = float(np.clip(rng.normal(0.5, spread), 0.12, 0.88))
    lowest = max(0.2, 1 - BODY_M / width_m)
    v = float(np.clip(rng.normal(0.5 if close else 0.4, spread), lowest, 0.8))
    distance = float(rng.uniform(0.45, 1.3))
    focal = size * distance / width_m
    pose = np.eye(4)
    pose[:3, :3] = rotation_matrix(*(np.clip(rng.normal(0, 0.45, 3), -1, 1) * MAX_TURN))
    pose[:3, 3] = [0, 0, -distance]
    return Camera(focal, focal, u * size, v * size, size, size), pose


def picture_and_parts(rgb: Image, classes: Image) -> tuple[Image, Image, Image]:
    """A rendered picture at half size, the person's opacity there, and how much of each 4×4 cell
    each part covers."""
    import cv2

    half, quarter = (PICTURE_PX, PICTURE_PX), (PART_PX, PART_PX)
    small = cv2.resize(rgb, half, interpolation=cv2.INTER_AREA)
    person = (classes > 0).astype(np.uint8) * np.uint8(255)
    alpha = cv2.resize(person, half, interpolation=cv2.INTER_AREA)
    planes = [(classes == k).astype(np.uint8) * np.uint8(255) for k in (HEAD, NECK, TORSO)]
    parts = cv2.resize(np.stack(planes, -1), quarter, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.asarray(alpha, np.uint8), np.asarray(parts, np.uint8)


def make(seeds: range, folder: Path) -> int:
    """Write the performers `seeds` into `folder`; the number of pictures."""
    rows: list[tuple[Image, Image, Image]] = []
    whose: list[int] = []
    for index, seed in enumerate(seeds):
        for row in shots_of(seed):
            rows.append(row)
            whose.append(seed)
        if index % 20 == 19:
            print(f"{index + 1} of {len(seeds)} performers", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    images, alpha, parts = (np.stack(x) for x in zip(*rows, strict=True))
    np.savez(folder / f"performers_{seeds.start}.npz", images=images, alpha=alpha, parts=parts,
             seed=np.array(whose))  # fmt: skip
    return len(rows)


def main() -> None:
    """`python -m portrait.parsing.performers FIRST LAST DIR`."""
    p = argparse.ArgumentParser(description="pictures of performers with exact part labels")
    p.add_argument("first", type=int)
    p.add_argument("last", type=int)
    p.add_argument("folder", type=Path)
    a = p.parse_args()
    print(make(range(a.first, a.last), a.folder), "pictures")


if __name__ == "__main__":
    main()
