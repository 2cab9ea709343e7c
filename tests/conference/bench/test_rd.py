"""The rate-distortion bench: what is counted, what is compared, and what is said of it."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conference.bench import cli, rd_subject
from conference.bench.perceptual import open_lpips
from conference.bench.rd import shown_on_sheet, to_and_fro
from conference.bench.rd_call import SETTINGS, Crossed, cross, followed
from conference.bench.rd_report import crossing
from conference.bench.video_codecs import (
    PACKET_BYTES,
    VIDEO_CODECS,
    available,
    code,
    longest_wait,
    rate_for,
)
from conference.full_frame_lesson import stage_of
from nerf.trainset import read_trainset
from nerf.weights import to_sections
from portrait.build import build_dataset
from quic_transport.avatar_file import AvatarFile, AvatarMeta, save_avatar
from quic_transport.codec import Terms
from quic_transport.codec import rc_tables as tables
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.seat import Seat
from receiver.full_frame import FullFrame, background_of, plate_sections
from tests.conference.test_full_frame_body import filmed as body_filmed
from tests.conference.test_full_frame_body import learn, said, sway
from tests.conference.test_full_frame_body import room as behind
from tests.nerf.heads import random_head
from tests.nerf.swaying import FRAMING, swaying_torso
from tests.portrait.sets import TRUTH, film_disc
from tests.quic_transport.rc_golden import golden_tables, placed
from tests.quic_transport.strategies import synthetic_track
from tests.receiver.test_full_frame import DiscRenderer

FACES = [placed(p, i) for i, p in enumerate(synthetic_track(5, 60))]
TERMS = Terms(ParamBounds.of(np.stack([f.vector() for f in FACES])),
              tables.to_sections(golden_tables()))  # fmt: skip
ORDER = to_and_fro(60, 400)


@pytest.fixture(scope="module")
def calls() -> dict[str, Crossed]:
    """The same faces, sent in every way."""
    return {s.name: cross(s, TERMS, FACES, ORDER, 20.0) for s in SETTINGS}


@pytest.fixture(scope="module")
def disc(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(avatar of random weights with a room and codec tables, its set, its clip)."""
    folder = tmp_path_factory.mktemp("rd")
    clip = film_disc(folder)
    build_dataset(clip, folder / "set", TRUTH)
    data = read_trainset(folder / "set")
    stage = stage_of(data)
    assert stage is not None
    meta = AvatarMeta(name="disc", schema="arkit46", extractor="truth",
                      bounds=ParamBounds.of(data.vectors), distance_m=data.distance_m,
                      portrait_scale=2.6, size_px=64, frame_rate=4.0, created="2026-01-01",
                      provenance={})  # fmt: skip
    sections = to_sections(random_head()) | plate_sections(stage.framing, stage.plate())
    save_avatar(folder / "disc.fwa", AvatarFile(meta, {**sections, **TERMS.sections}))
    return folder / "disc.fwa", folder / "set", clip


def test_wire_is_payload_and_packets_both_ways_and_handshake(calls: dict[str, Crossed]) -> None:
    for call in calls.values():
        assert call.up_kbps > call.payload_kbps
        assert call.down_kbps > 0
        assert call.handshake_bytes > 2400  # a first datagram each way is padded to 1200
        assert call.seconds == pytest.approx(20.0)
        assert call.wire_kbps > call.up_kbps + call.down_kbps


def test_company_saves_wire_and_budgets_save_payload(calls: dict[str, Crossed]) -> None:
    wires = [calls[name].wire_kbps for name in ("eg0", "rc", "rc_50ms")]
    assert wires == sorted(wires, reverse=True)
    payloads = [calls[name].payload_kbps for name in ("eg0", "rc", "rc_50ms_0.8", "rc_50ms_0.4")]
    assert payloads == sorted(payloads, reverse=True)
    assert payloads[2] < 0.9


def test_what_arrives_is_the_frame_itself_as_good_as_the_codec(calls: dict[str, Crossed]) -> None:
    def apart(name: str, shift: int) -> float:
        pairs = zip(calls[name].faces[shift:], FACES, strict=False)
        return float(np.mean([np.abs(a.vector() - b.vector()).mean() for a, b in pairs]))

    for name in calls:
        assert len(calls[name].faces) == len(FACES)
        assert apart(name, 0) < apart(name, 3)
    assert apart("eg0", 0) < apart("rc", 0) < apart("rc_50ms_0.4", 0)


def test_the_head_s_place_crosses_where_it_is_asked_for() -> None:
    setting = next(s for s in SETTINGS if s.name == "rc")
    call = cross(setting, TERMS, FACES, list(range(60)), 20.0, placed=True)
    sent, come = FACES[30].offset, call.faces[30].offset
    assert sent is not None
    assert come is not None
    assert np.abs(sent - come).max() < 0.01


def test_body_crosses_where_all_faces_know_it_and_the_codec_can_say_it() -> None:
    swayed = [replace(f, body=np.array(sway(3 * i), np.float32)) for i, f in enumerate(FACES)]
    settings = {s.name: s for s in SETTINGS}
    without = cross(settings["rc"], TERMS, FACES, ORDER, 20.0, placed=True)
    call = cross(settings["rc"], TERMS, swayed, ORDER, 20.0, placed=True)
    assert call.payload_kbps > without.payload_kbps + 0.02
    true = followed([replace(swayed[i], capture_time=k / 20) for k, i in enumerate(ORDER)])
    last = {i: k for k, i in enumerate(ORDER)}
    wanted = np.array([true[last[i]].body for i in range(len(FACES))])
    come = np.array([f.body for f in call.faces])
    assert np.abs(come - wanted).max() < 0.8  # the codec's grid
    assert np.ptp(wanted, axis=0).min() > 1.5
    still = [*swayed[:-1], FACES[-1]]  # one whose body nobody measured
    for setting, faces, whole in (("rc", FACES, True), ("rc", still, True), ("eg0", swayed, True),
                                  ("rc", swayed, False)):  # fmt: skip
        plain = cross(settings[setting], TERMS, faces, ORDER[:60], 20.0, placed=whole)
        assert all(f.body is None for f in plain.faces)


def test_body_is_measured_in_the_film_and_drawn_as_the_face_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = learn(tmp_path, swaying_torso())
    assert learned.model is not None
    faces = [said(k, k / 20) for k in range(24)]
    film = [body_filmed(learned.torso, f, sway(k), behind()) for k, f in enumerate(faces)]
    full = FullFrame(FRAMING, learned.torso, background_of("plate", behind()), DiscRenderer(),
                     Seat(0.6, 2.6))  # fmt: skip
    monkeypatch.setattr(rd_subject, "filmed", lambda *_: iter(film))
    monkeypatch.setattr(rd_subject, "matte", lambda *_: np.zeros(film[0].shape[:2], np.uint8))
    data: Any = SimpleNamespace(distance_m=0.6)
    args = (full, data, np.arange(24), tmp_path, faces)
    scene, standing = rd_subject._whole(*args, learned.model)
    found = np.array([f.body for f in standing])
    assert np.abs(found - [sway(k) for k in range(24)]).max() < 1.5
    rows = slice(film[0].shape[0] * 2 // 3, None)  # below the head

    def error(i: int, face: FaceParams) -> float:
        shown = scene.draw(face, i)[rows].astype(float)
        return float(np.mean((shown - scene.frames[i][rows]) ** 2))

    for i in (8, 20, 3):
        assert error(i, standing[i]) < 0.5 * error(i, faces[i])
    first = scene.draw(standing[8], 8)  # whatever was drawn before
    scene.draw(standing[7], 7)
    assert np.array_equal(scene.draw(standing[8], 8), first)
    assert rd_subject._whole(*args, None)[1] == faces


@pytest.mark.parametrize("codec", VIDEO_CODECS, ids=lambda c: c.name)
def test_codecs_give_the_last_pictures_back_and_more_bits_help(codec) -> None:  # type: ignore[no-untyped-def]
    if available(codec) is not None:
        pytest.skip(available(codec) or "")
    rng = np.random.default_rng(2)
    noise = cv2.GaussianBlur(rng.integers(0, 255, (64, 80, 3)).astype(np.uint8), (9, 9), 0)
    frames = [np.asarray(np.roll(noise, 2 * i, axis=1), dtype=np.uint8) for i in range(12)]
    order = to_and_fro(12, 40)
    low, high = (code(codec, frames, order, kbps, 20, range(12)) for kbps in (15.0, 400.0))
    assert low.kbps < high.kbps
    assert low.wire_kbps > low.kbps + 0.99 * PACKET_BYTES * 8 * 20 / 1000
    assert low.first_bytes > 0
    assert set(high.images) == set(range(12))

    def error(i: int, j: int) -> float:
        return float(np.mean((high.images[i].astype(float) - frames[j]) ** 2))

    for i in range(12):  # at 400 kbps each picture is itself rather than its neighbour
        assert min(range(12), key=lambda j: error(i, j)) == i


def test_codec_that_is_not_there_says_so() -> None:
    reason = available(replace(VIDEO_CODECS[0], encoder="libnothing"))
    assert reason is not None
    assert "libnothing" in reason


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=50))
def test_wait_is_at_least_each_picture_s_own_time_and_at_most_everything(sizes: list[int]) -> None:
    rate = sum(sizes) * 20 / len(sizes)
    wait = longest_wait(sizes, rate, 20)
    assert max(sizes) / rate <= wait * (1 + 1e-9)
    assert wait <= sum(sizes) / rate * (1 + 1e-9)


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


@given(st.integers(2, 30), st.integers(1, 200))
def test_to_and_fro_moves_one_frame_at_a_time_and_comes_everywhere(count: int, length: int) -> None:
    order = to_and_fro(count, length)
    assert len(order) == length
    assert all(abs(a - b) == 1 for a, b in pairwise(order))
    assert set(order) == set(range(min(count, length)))


@given(st.integers(1, 40))
def test_sheet_shows_scored_frames_but_not_the_keyframe(count: int) -> None:
    shown = shown_on_sheet(list(range(count)))
    assert len(shown) == len(set(shown)) == min(3, count)
    assert set(shown) <= set(range(count))
    if count >= 6:
        assert 0 not in shown


def test_curve_that_never_crosses_says_why() -> None:
    curve = [SimpleNamespace(q=q, rate=r) for r, q in ((10.0, 30.0), (20.0, 34.0))]
    args = (curve, lambda p: p.q, lambda p: p.rate)
    assert crossing(32.0, *args)[1] == pytest.approx(math.sqrt(200))  # type: ignore[arg-type]
    assert crossing(29.0, *args) == ("better already at its least, 10.0", None)  # type: ignore[arg-type]
    assert crossing(35.0, *args) == ("never", None)  # type: ignore[arg-type]


def test_lpips_without_package_or_weights_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lpips", None)
    monkeypatch.setattr("conference.bench.perceptual.find_spec", lambda _: None)
    assert "pip install lpips" in open_lpips()[1]
    monkeypatch.setattr("conference.bench.perceptual.find_spec", lambda _: object())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    distance, why = open_lpips()
    assert distance is None
    assert str(tmp_path) in why


def test_lpips_gets_pictures_in_its_own_range(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Network:
        def __init__(self, net: str, verbose: bool) -> None:
            assert net == "alex"
            assert not verbose

        def eval(self) -> None:
            pass

        def __call__(self, a, b):  # type: ignore[no-untyped-def]
            assert a.shape == b.shape == (1, 3, 8, 6)
            assert a.min() == -1
            assert b.max() == 1
            return (a - b).abs().mean()

    fake = ModuleType("lpips")
    fake.LPIPS = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lpips", fake)
    monkeypatch.setattr("conference.bench.perceptual.find_spec", lambda _: object())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth").touch()
    distance, _ = open_lpips()
    assert distance is not None
    black, white = np.zeros((8, 6, 3), np.uint8), np.full((8, 6, 3), 255, np.uint8)
    assert distance(black, white) == pytest.approx(2.0)


def test_bench_compares_both_scenes_and_writes_everything(
    disc: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    x265 = replace(VIDEO_CODECS[0], rates=(20.0, 60.0))
    absent = replace(VIDEO_CODECS[2], encoder="libnothing", label="nothing")
    monkeypatch.setattr("conference.bench.video_codecs.VIDEO_CODECS", (x265, absent))
    monkeypatch.setattr("conference.bench.rd.CALL_S", 6.0)
    avatar, folder, clip = map(str, disc)
    argv = ["--avatar", avatar, "--data", folder, "--clip", clip, "--size", "64", "--fps", "4"]
    outputs = {name: tmp_path / f"rd{end}" for name, end in
               (("json", ".json"), ("plot", ".png"), ("sheet", "_sheet.png"))}  # fmt: skip
    for name, path in outputs.items():
        argv += [f"--{name}", str(path)]
    assert cli.main(["rd", *argv]) == 0
    said = capsys.readouterr()
    assert "the head on white, 64 x 64" in said.out
    assert "the whole picture, 160 x " in said.out
    assert "A codec is as good at" in said.out
    assert "nothing is left out" in said.out + said.err
    document = json.loads(outputs["json"].read_text())
    assert set(document) == {"commit", "version", "command", "hardware", "date", "rows"}
    rows = {row["name"]: row["value"] for row in document["rows"]}
    assert not any("av1" in name for name in rows)
    for scene in ("head", "picture"):
        assert rows[f"rd.{scene}.rc_50ms.payload"] < rows[f"rd.{scene}.rc_50ms.wire"]
        assert f"rd.{scene}.uncoded.psnr_whole" in rows
        assert f"rd.{scene}.uncoded.wire" not in rows
        assert rows[f"rd.{scene}.x265_60.psnr_whole"] > rows[f"rd.{scene}.eg0.psnr_whole"]
        assert rows[f"rd.{scene}.x265_60.wait"] > 0
    assert rows["rd.picture.rc.psnr_whole"] > rows["rd.head.rc.psnr_whole"]  # most is the room
    for name in ("plot", "sheet"):
        picture = cv2.imread(str(outputs[name]))
        assert picture is not None
        assert picture.std() > 5


def test_bench_without_tables_or_body_says_what_is_missing(
    disc: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from quic_transport.avatar_file import load_avatar

    whole = load_avatar(disc[0])
    head = {name: s for name, s in whole.sections.items()
            if not name.startswith(("plate.", "codec."))}  # fmt: skip
    save_avatar(tmp_path / "head.fwa", AvatarFile(whole.meta, head))
    monkeypatch.setattr("conference.bench.video_codecs.VIDEO_CODECS", ())
    monkeypatch.setattr("conference.bench.rd.CALL_S", 3.0)
    argv = ["rd", "--avatar", str(tmp_path / "head.fwa"), "--data", str(disc[1]), "--fps", "4",
            "--size", "64"]  # fmt: skip
    with pytest.raises(LocalError, match="is a head alone"):
        cli.main([*argv, "--clip", str(disc[2])])
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    assert "rc is left out" in said.out + said.err
    assert "eg0" in said.out
    assert "facewire, rc" not in said.out
    with pytest.raises(LocalError, match="is not the clip"):
        cli.main(["rd", "--avatar", str(disc[0]), "--data", str(disc[1]), "--size", "64",
                  "--fps", "4", "--clip", str(short(disc[2], tmp_path))])  # fmt: skip


def short(clip: Path, folder: Path) -> Path:
    """Another clip, which ends before the held-out frames."""
    from tests.sender.films import write_film

    return write_film(folder / "short.mp4", [np.zeros((120, 160, 3), np.uint8)] * 3, [0, 0.25, 0.5])
