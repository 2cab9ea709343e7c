"""A general face tracker follows the performer (needs the lab's model file)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nerf.camera import euler_angles
from portrait.performer.film import film_camera
from portrait.performer.performance import performance
from portrait.performer.person import INDEX, Person
from portrait.performer.render import render

pytestmark = pytest.mark.assets
FOLLOWED = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft")


@pytest.mark.parametrize("seed", [2, 7])
def test_tracker_finds_and_follows_the_performer(assets: Path, seed: int) -> None:
    mediapipe = pytest.importorskip("mediapipe", reason="the tracker is an optional extra")
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(
            model_asset_path=str(assets / "models" / "face_landmarker.task"),
            delegate=BaseOptions.Delegate.CPU,
        ),
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    person, camera = Person(seed), film_camera(384)
    measured, true, angles, true_angles = [], [], [], []
    moments = list(performance(seed, 12.0, 10.0))
    with vision.FaceLandmarker.create_from_options(options) as tracker:
        for _, params, pose in moments:
            picture = render(person, params, pose, camera).rgb
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=picture)
            result = tracker.detect(image)
            if not result.face_blendshapes:
                continue
            scores = {c.category_name: c.score for c in result.face_blendshapes[0]}
            measured.append([scores[name] for name in FOLLOWED])
            true.append([params.expression[INDEX[name]] for name in FOLLOWED])
            matrix = np.array(result.facial_transformation_matrixes[0])
            angles.append(euler_angles(matrix[:3, :3]))
            true_angles.append(euler_angles(pose[:3, :3]))
    assert len(measured) >= 0.98 * len(moments)

    def agreement(a: list[list[float]], b: list[list[float]], column: int) -> float:
        return float(np.corrcoef(np.array(a)[:, column], np.array(b)[:, column])[0, 1])

    for column in range(len(FOLLOWED) - 1):
        assert agreement(measured, true, column) > 0.7, FOLLOWED[column]
    assert agreement(measured, true, 3) > 0.5  # a smile, in the middle of speech
    for column, name in enumerate(("pitch", "yaw", "roll")):
        assert agreement(angles, true_angles, column) > 0.7, name  # type: ignore[arg-type]
