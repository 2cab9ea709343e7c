"""The benches on a head and a training set that the test makes itself."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import facewire
from conference.bench import cli
from conference.bench.latency import timed
from conference.bench.rd import through_codec
from conference.bench.x265 import code, rate_for
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


def test_rd_prints_the_table_and_writes_rows_with_their_origin(
    made: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("conference.bench.rd.RATES_KBPS", (20.0, 60.0))
    out, plot = tmp_path / "rd.json", tmp_path / "rd.png"
    argv = ["--avatar", str(made[0]), "--data", str(made[1]), "--size", str(SIZE)]
    assert cli.main(["rd", *argv, "--json", str(out), "--plot", str(plot)]) == 0
    text = capsys.readouterr().out
    assert "facewire, eg0" in text
    assert text.count("x265 at") == 2
    document = json.loads(out.read_text())
    assert set(document) == {"commit", "version", "command", "hardware", "date", "rows"}
    rows = {row["name"]: row["value"] for row in document["rows"]}
    assert 0 < rows["rd.eg0.payload"] < rows["rd.eg0.wire_estimate"]
    assert rows["rd.x265_20.psnr_whole"] > rows["rd.eg0.psnr_whole"]  # random weights
    assert cv2.imread(str(plot)) is not None


def test_codec_share_counts_what_was_coded() -> None:
    rng = np.random.default_rng(1)
    e = np.repeat(rng.random((1, 46)), 20, 0).astype(np.float32)
    r = np.repeat(rng.random((1, 3)), 20, 0)
    low = (np.concatenate([e[0], r[0]]) - 0.5).astype(np.float32)
    decoded, share = through_codec(ParamBounds(low, low + 1), e, r, np.arange(20) / 20, 20.0)
    assert len(decoded) == 20
    assert share.zeros == 1.0
    assert share.rotation_bits == 3.0  # a zero costs one bit


def test_x265_gives_all_frames_back_and_more_bits_help() -> None:
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (64, 64, 3)).astype(np.uint8), (9, 9), 0)
    frames = [np.asarray(np.roll(noise, i, axis=1), dtype=np.uint8) for i in range(12)]
    low, coarse = code(frames, 15, 20)
    high, fine = code(frames, 400, 20)
    assert len(coarse) == len(fine) == 12
    assert 0 < low < high

    def error(shown: list[np.ndarray]) -> float:
        return float(np.mean([(a.astype(float) - b) ** 2 for a, b in zip(shown, frames)]))  # noqa: B905

    assert error(fine) < error(coarse)


@given(st.floats(0.05, 0.95))
def test_rate_for_lies_between_the_neighbours_and_inverts(share: float) -> None:
    rates, qualities = [10.0, 20.0, 40.0], [25.0, 30.0, 33.0]
    quality = 25 + share * 5
    rate = rate_for(quality, rates, qualities)
    assert rate is not None
    assert 10 < rate < 20
    assert np.interp(np.log(rate), np.log(rates), qualities) == pytest.approx(quality)
    assert rate_for(24.0, rates, qualities) is None
    assert rate_for(34.0, rates, qualities) is None


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
