"""The benches on a head and a training set that the test makes itself."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import facewire
from conference.bench import cli
from conference.bench.latency import timed
from nerf.camera import portrait_camera
from nerf.trainset import TrainSet, portrait_poses, write_trainset
from nerf.weights import to_sections
from quic_transport.avatar_file import AvatarFile, AvatarMeta, save_avatar
from quic_transport.params import ParamBounds
from tests.nerf.heads import random_head

FRAMES, SIZE = 30, 64


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An avatar of random weights and a training set of discs on white."""
    folder = tmp_path_factory.mktemp("bench")
    rng = np.random.default_rng(0)
    expression = rng.random((FRAMES, 46)).astype(np.float32)
    rotation = rng.uniform(-0.2, 0.2, (FRAMES, 3))
    bounds = ParamBounds.of(np.concatenate([expression, rotation], axis=1))
    data = folder / "set"
    for name in ("head_imgs", "ori_imgs", "parsing", "matte"):
        (data / name).mkdir(parents=True)
    for i in range(FRAMES):
        matte = np.zeros((SIZE, SIZE), np.uint8)
        cv2.circle(matte, (32 + i % 5, 32), 20, 255, -1)
        image = np.where(matte[..., None] > 0, [90, 120, 200], 255).astype(np.uint8)
        cv2.imwrite(str(data / "head_imgs" / f"{i}.jpg"), image)
        cv2.imwrite(str(data / "ori_imgs" / f"{i}.jpg"), image)
        cv2.imwrite(str(data / "matte" / f"{i}.png"), matte)
        cv2.imwrite(str(data / "parsing" / f"{i}.png"), image)
    cv2.imwrite(str(data / "bc.jpg"), np.full((SIZE, SIZE, 3), 255, np.uint8))
    write_trainset(TrainSet(
        folder=data, camera=portrait_camera(SIZE, 0.5, 2.6), distance_m=0.5, scale=2.6,
        img_id=np.arange(FRAMES), expression=expression, rotation=rotation,
        pose=portrait_poses(rotation, 0.5), time=np.arange(FRAMES) / 20,
        offset=np.zeros((FRAMES, 3)), train_count=18, bounds=(bounds.low, bounds.high),
        frame_rate=20.0,
    ))  # fmt: skip
    meta = AvatarMeta(name="disc", schema="arkit46", extractor="truth", bounds=bounds,
                      distance_m=0.5, portrait_scale=2.6, size_px=SIZE, frame_rate=20.0,
                      created="2026-01-01", provenance={})  # fmt: skip
    save_avatar(folder / "disc.fwa", AvatarFile(meta, to_sections(random_head())))
    return folder / "disc.fwa", data


def test_timed_calls_each_index_once_and_leaves_the_warm_up_out() -> None:
    seen: list[int] = []
    p50, p95 = timed(seen.append, 12)
    assert seen == list(range(12))
    assert 0 <= p50 <= p95


def test_bad_use_is_one_sentence(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert facewire.main(["bench", "speed"]) == 2
    for argv in (
        ["rd", "--avatar", str(tmp_path / "no.fwa"), "--data", str(made[1])],
        ["rd", "--avatar", str(made[0]), "--data", str(tmp_path)],
        ["rd", "--avatar", str(made[0]), "--data", str(made[1]), "--size", "33"],
        ["latency", "--avatar", str(made[0]), "--clip", str(tmp_path / "no.mp4")],
    ):
        capsys.readouterr()
        assert facewire.main(["bench", *argv]) == 1
        error = capsys.readouterr().err.strip()
        assert error.startswith("facewire bench: ")
        assert "\n" not in error


def test_avatar_bench_judges_sizes_and_beginnings(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("conference.avatar_size.VIEWS", 4)
    monkeypatch.setattr("conference.bench.avatar.LIMITS_MB", (0.04,))
    monkeypatch.setattr("conference.bench.avatar.BEGINNINGS_KB", (3, 80))
    out = tmp_path / "avatar.json"
    argv = ["avatar", *map(str, made), "--size", str(SIZE), "--frames", "2", "--threads", "1"]
    assert cli.main([*argv, "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "not in full precision" in text
    assert "nothing yet" in text
    rows = {row["name"]: row["value"] for row in json.loads(out.read_text())["rows"]}
    assert rows["avatar.0.04_MB.bytes"] <= 40_000 < rows["avatar.default.bytes"]
    assert rows["avatar.0.04_MB.against_full"] < rows["avatar.default.against_full"]
    assert rows["avatar.80_kB.bytes"] == 80_000
    assert rows["avatar.default.lost"] == pytest.approx(
        rows["avatar.reference.psnr_whole"] - rows["avatar.default.psnr_whole"]
    )
