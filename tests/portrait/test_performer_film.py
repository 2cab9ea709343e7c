"""The performance's timing, and the files of a film."""

from __future__ import annotations

import zipfile
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from nerf.camera import project
from portrait.performer import cli
from portrait.performer.film import film, film_camera, read_masks
from portrait.performer.performance import Score, performance
from portrait.performer.person import INDEX, Person
from portrait.performer.render import render
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46
from sender.portrait_crop import crop_of


def expressions(
    seed: int, seconds: float, script: str = "talk", fps: float = 25.0
) -> NDArray[np.float32]:
    return np.stack([p.expression for _, p, _ in performance(seed, seconds, fps, script)])


def test_performance_longer_one_begins_like_shorter_one() -> None:
    short = list(performance(3, 3.0, 25.0))
    long = list(performance(3, 9.0, 25.0))
    assert len(short) == 75
    for (t, a, p), (u, b, q) in zip(short[:60], long, strict=False):
        assert t == u
        assert np.array_equal(a.expression, b.expression)
        assert np.array_equal(p, q)


def test_performance_other_seed_moves_otherwise() -> None:
    assert np.abs(expressions(1, 4.0) - expressions(2, 4.0)).max() > 0.2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_performance_talk_has_natural_rates(seed: int) -> None:
    e = expressions(seed, 60.0)
    assert e.min() >= 0.0
    assert e.max() <= 1.0
    blink = e[:, INDEX["eyeBlinkLeft"]] > 0.6
    per_minute = (np.diff(blink.astype(int)) == 1).sum()
    assert 8 <= per_minute <= 30
    jaw = e[:, INDEX["jawOpen"]]
    peaks = (jaw[1:-1] > jaw[:-2]) & (jaw[1:-1] >= jaw[2:]) & (jaw[1:-1] > 0.08)
    assert 1.5 < peaks.sum() / 60 < 6  # syllables per second, pauses included
    assert 0.05 < (jaw < 0.05).mean() < 0.6  # it pauses
    assert jaw.max() > 0.4


def test_performance_head_keeps_its_limits_and_uses_them() -> None:
    angles = np.degrees([p.rotation for _, p, _ in performance(5, 60.0, 12.5)])
    assert (np.abs(angles).max(axis=0) < (16, 31, 11)).all()  # plus the line of sight's share
    assert (angles.std(axis=0) > (1.0, 4.0, 0.8)).all()
    steps = np.abs(np.diff(angles, axis=0)) * 12.5
    assert steps.max() < 150  # degrees per second


def test_performance_rotation_is_that_of_the_portrait() -> None:
    for _, params, pose in performance(4, 1.0, 10.0):
        _, rotation, _ = crop_of(pose, 900.0, 512, 512)
        assert params.rotation == pytest.approx(rotation, abs=1e-6)


def test_enrolment_exercises_every_coefficient_and_both_sides() -> None:
    e = expressions(2, 100.0, "enrolment", fps=10.0)
    weak = [n for n, top in zip(ARKIT46, e.max(axis=0), strict=True) if top < 0.3]
    assert weak == []
    yaw = np.array([p.rotation[1] for _, p, _ in performance(2, 100.0, 2.0, "enrolment")])
    assert yaw.max() > np.radians(25)
    assert yaw.min() < -np.radians(25)
    still = np.abs(np.diff(e[:50], axis=0))
    assert (
        np.delete(still, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]], axis=1)[:, 5:].mean()
        < 0.01
    )


def test_score_blinks_are_seconds_apart() -> None:
    gaps = np.diff(Score(9, 300.0).blinks)
    assert gaps.min() > 0.3
    assert 2.0 < np.median(gaps) < 6.0


@pytest.mark.parametrize(("seconds", "script", "match"), [
    (0.0, "talk", "more than 0 s"), (1e6, "talk", "a day"), (1.0, "opera", "no script"),
])  # fmt: skip
def test_score_bad_request_raises_local_error(seconds: float, script: str, match: str) -> None:
    with pytest.raises(LocalError, match=match):
        Score(1, seconds, script)


@pytest.fixture(scope="module")
def short_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("film") / "me.mp4"
    made = film(7, 0.8, path, size=160, fps=25.0)
    assert made.complete
    assert made.frames == 20
    return path


def test_film_video_decodes_with_its_frames_and_times(short_film: Path) -> None:
    with av.open(str(short_film)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (160, 160, "yuv420p")
        frames = list(container.decode(stream))
    assert len(frames) == 20
    times = np.array([float(f.time) for f in frames])
    assert times == pytest.approx(np.arange(20) / 25, abs=1e-3)
    first = frames[0].to_ndarray(format="rgb24").astype(float)
    _, params, pose = next(performance(7, 0.8, 25.0))
    drawn = render(Person(7), params, pose, film_camera(160)).rgb
    assert np.abs(first - drawn).mean() < 4


def test_film_truth_round_trips(short_film: Path) -> None:
    with np.load(short_film.with_suffix(".truth.npz"), allow_pickle=False) as truth:
        names = [str(n) for n in truth["landmark_names"]]
        moments = list(performance(7, 0.8, 25.0))
        assert truth["time"] == pytest.approx([t for t, _, _ in moments])
        assert np.array_equal(truth["expression"], np.stack([p.expression for _, p, _ in moments]))
        assert np.array_equal(truth["rotation"], np.stack([p.rotation for _, p, _ in moments]))
        assert np.array_equal(truth["pose"], np.stack([q for _, _, q in moments]))
        camera = film_camera(160)
        assert float(truth["focal_px"]) == camera.fx
        assert (int(truth["width"]), int(truth["height"])) == (160, 160)
        assert truth["landmarks"].shape == (20, len(names), 2)
        assert len(set(names)) == len(names) >= 40
        person = Person(7)
        points = person.landmarks(person.deform(truth["expression"][3]))
        expected = project(points, truth["pose"][3], camera)
        assert truth["landmarks"][3] == pytest.approx(expected, abs=1e-3)


def test_film_masks_are_those_of_the_render(short_film: Path) -> None:
    path = short_film.with_suffix(".masks.zip")
    with zipfile.ZipFile(path) as archive:
        assert len(archive.namelist()) == 40
    classes, matte = read_masks(path, 19)
    _, params, pose = list(performance(7, 0.8, 25.0))[19]
    picture = render(Person(7), params, pose, film_camera(160))
    assert np.array_equal(classes, picture.classes)
    assert np.array_equal(matte, picture.matte)


def test_film_interrupted_leaves_three_usable_files(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KeyboardInterrupt

    made = film(7, 4.0, tmp_path / "a.mp4", size=64, progress=stop)
    assert not made.complete
    assert made.frames == 6
    with av.open(str(made.video)) as container:
        assert len(list(container.decode(video=0))) == 6
    with np.load(made.truth) as truth:
        assert len(truth["time"]) == 6
    assert read_masks(made.masks, 5)[0].shape == (64, 64)


@pytest.mark.parametrize(("name", "options", "match"), [
    ("missing/a.mp4", {}, "does not exist"), ("a.avi", {}, "a.mp4"),
    ("a.mp4", {"size": 63}, "even number"), ("a.mp4", {"fps": 0.0}, "frames per second"),
    ("a.mp4", {"threads": 0}, "threads"), ("a.mp4", {"script": "opera"}, "no script"),
])  # fmt: skip
def test_film_bad_request_raises_local_error(
    tmp_path: Path, name: str, options: dict[str, int], match: str
) -> None:
    with pytest.raises(LocalError, match=match):
        film(7, 1.0, tmp_path / name, **options)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_film_unwritable_target_raises_local_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    (tmp_path / "a.mp4").symlink_to(full)
    with pytest.raises(LocalError, match="cannot write the film"):
        film(7, 0.2, tmp_path / "a.mp4", size=64)


def test_cli_films_and_says_what_was_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "me.mp4"
    arguments = ["--seed", "3", "--seconds", "0.2", "--size", "64", "-o", str(path)]
    assert cli.main([*arguments, "--threads", "2"]) == 0
    said = capsys.readouterr().out
    assert "5 frames" in said
    for suffix in (".mp4", ".truth.npz", ".masks.zip"):
        assert path.with_suffix(suffix).stat().st_size > 0
        assert "me" + suffix in said
