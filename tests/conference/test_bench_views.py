"""What `facewire bench views` compares, and with whom it refuses to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conference.bench import cli, views
from nerf.camera import euler_angles, portrait_camera
from nerf.metrics import psnr
from portrait.performer.film import film_camera
from portrait.performer.performance import Score
from portrait.performer.person import Person
from portrait.performer.render import render
from quic_transport.avatar_file import AvatarFile, load_avatar, save_avatar
from quic_transport.errors import LocalError
from sender.portrait_crop import crop_of
from tests.conference.conftest import TinyPerson


def test_the_camera_sees_the_head_under_the_wanted_angles_and_lights_stay_on_the_head() -> None:
    for moment in views.moments(seed=3, seconds=8.0, script="talk", frames=2):
        seen = views.walked(moment, yaw=30, pitch=-10)
        assert np.degrees(euler_angles(seen.rotation)) == pytest.approx((-10, 30, 0), abs=1e-9)
        # lights and head turn as one before the camera
        before, after = moment.rotation.T @ moment.lights, seen.rotation.T @ seen.lights
        np.testing.assert_allclose(after, before, atol=1e-12)


def test_what_was_filmed_is_the_truth_where_the_camera_did_not_walk() -> None:
    person, camera = Person(3), film_camera(views.FILM_SIZE)
    for seed_time, moment in zip(
        np.linspace(8 * (1 - views.HELD_OUT) + 0.2, 7.8, 2),
        views.moments(seed=3, seconds=8.0, script="talk", frames=2),
        strict=True,
    ):
        _, pose = Score(3, 8.0).at(float(seed_time))
        crop, _, _ = crop_of(pose, camera.fx, camera.width, camera.height)
        filmed = render(person, moment.expression, pose, camera)  # the room's own lights
        over, matte = views.as_filmed(person, moment, 128)
        np.testing.assert_array_equal(matte, crop.apply(filmed.matte, 128, border=0))
        inside = matte == 255
        same = crop.apply(filmed.rgb, 128)
        np.testing.assert_allclose(over[inside].astype(int), same[inside].astype(int), atol=2)
        # the portrait's own camera shows nearly that, with outlines a little elsewhere
        exact, aside = views.by_portrait(person, moment, portrait_camera(128, 0.75, 2.6), 0.75)
        assert psnr(exact, over) > 25
        assert (aside != matte).any()


def test_bench_views_scores_every_side_and_draws_five(tiny: TinyPerson, tmp_path: Path) -> None:
    avatar = load_avatar(tiny.avatar)
    exact = replace(avatar.meta, extractor="truth")
    save_avatar(tmp_path / "a.fwa", AvatarFile(exact, avatar.sections))
    rows, sheet = tmp_path / "v.json", tmp_path / "v.png"
    command = ["views", str(tmp_path / "a.fwa"), "--frames", "1", "--size", "64",
               "--json", str(rows), "--pictures", str(sheet)]  # fmt: skip
    assert cli.main(command) == 0
    values = {row["name"]: row["value"] for row in json.loads(rows.read_text())["rows"]}
    assert len(values) == 4 * len(views.VIEWS)
    assert all(4 < v < 60 for k, v in values.items() if k.endswith(".psnr"))
    assert sheet.stat().st_size > 1000


def test_bench_views_refuses_a_tracked_avatar(tiny: TinyPerson, tmp_path: Path) -> None:
    avatar = load_avatar(tiny.avatar)
    tracked = replace(avatar.meta, extractor="facenet-00000000")
    save_avatar(tmp_path / "b.fwa", AvatarFile(tracked, avatar.sections))
    with pytest.raises(LocalError, match="--extractor truth"):
        cli.main(["views", str(tmp_path / "b.fwa")])
