"""Crops of performers: thousands of drawn people whose expression is exactly known.

The rule: expression labels are the performer's own; where the face's points lie is what the
teacher sees in the picture, and pictures in which it sees no face are left out. Every seed draws
another person, room, light, pose and place in the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera, rotation_matrix
from portrait.facenet.label import add_face
from portrait.facenet.pack import POINTS, PackWriter
from portrait.performer.performance import Score
from portrait.performer.person import Person
from portrait.performer.render import render
from quic_transport.params import ARKIT46, EXPRESSION_DIM
from sender.frames import Frame
from sender.mediapipe_extractor import focal_of

PICTURE_PX = 288
SHOTS = 6  # pictures per person
MAX_TURN = np.radians([28.0, 48.0, 25.0])  # pitch, yaw, roll at the ends of the range


Shot = tuple[NDArray[np.uint8], NDArray[np.float32]]


def shots_of(seed: int, rng: np.random.Generator) -> list[Shot]:
    """(picture [288, 288, 3], expression [46]) of one person."""
    person, score = Person(seed), Score(seed, 120.0, "enrolment")
    focal = focal_of(PICTURE_PX)
    camera = Camera(focal, focal, PICTURE_PX / 2, PICTURE_PX / 2, PICTURE_PX, PICTURE_PX)
    out = []
    for _ in range(SHOTS):
        params, _ = score.at(float(rng.uniform(0, 120)))
        expression = params.expression.astype(np.float64)
        for k in rng.choice(EXPRESSION_DIM, rng.integers(0, 4), replace=False):
            expression[k] = max(expression[k], rng.beta(1.2, 2.0))
        pose = np.eye(4)
        turn = np.clip(rng.normal(0, 0.5, 3), -1, 1) * MAX_TURN
        pose[:3, :3] = rotation_matrix(*turn)
        depth = float(np.exp(rng.uniform(np.log(0.28), np.log(0.6))))
        reach = 0.6 - 0.11 / depth
        right = rng.uniform(-reach, reach) * depth
        pose[:3, 3] = [right, rng.uniform(-reach, reach) * depth, -depth]
        value = np.clip(expression, 0, 1).astype(np.float32)
        out.append((render(person, value, pose, camera).rgb, value))
    return out


def make(seeds: range, folder: Path, report: Callable[[str], None] = print) -> int:
    """Write the pack `folder` of these performers; the number of crops."""
    from sender.mediapipe_extractor import MediaPipeExtractor

    teacher = MediaPipeExtractor()
    writer = PackWriter(ARKIT46, [f"performer_{s}" for s in seeds])
    for index, seed in enumerate(seeds):
        rng = np.random.default_rng([0xFACE, seed])
        for picture, expression in shots_of(seed, rng):
            whole = (0, 0, PICTURE_PX, PICTURE_PX)
            faces = teacher._detect(Frame(0, 0.0, picture), whole, video=False)
            if len(faces) != 1 or len(faces[0].landmarks) != POINTS:
                continue
            add_face(writer, index, Frame(0, 0.0, picture), faces[0], expression)
        if index % 50 == 49:
            report(f"{index + 1} of {len(seeds)} performers, {len(writer)} crops")
    teacher.close()
    writer.write(folder)
    return len(writer)
