"""`facewire bench loss`: the metric is what it says; what resilience promises holds in small."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conference.bench.loss import main, networks
from conference.bench.loss_call import CallPlan, CallResult, run_call
from conference.bench.loss_track import PIXELS_PER_METRE, LandmarkMeter, Track, performed
from quic_transport.errors import LocalError


@pytest.fixture(scope="module")
def meter() -> LandmarkMeter:
    return LandmarkMeter()


@pytest.fixture(scope="module")
def track() -> Track:
    return performed(seconds=20.0)


def test_meter_rotation_moves_landmarks_by_its_lever(meter: LandmarkMeter) -> None:
    face = np.zeros(49)
    turned = face.copy()
    turned[46] = 0.01  # pitch: points move by their depth and height
    error = meter.error_px(face, turned)
    assert 0.01 * 0.02 * PIXELS_PER_METRE < error < 0.01 * 0.1 * PIXELS_PER_METRE
    assert meter.error_px(face, face) == 0
    opened = face.copy()
    opened[21] = 0.5
    assert meter.error_px(face, opened) > 0.5


def test_track_plays_to_and_fro_without_a_jump(track: Track) -> None:
    end = float(track.times[-1])
    assert np.allclose(track.at(end - 0.3), track.at(end + 0.3))
    steps = [np.abs(track.at(t + 0.05) - track.at(t)).max() for t in np.arange(0, 3 * end, 0.05)]
    assert max(steps) < 1.0  # a blink


def result(name: str, track: Track, meter: LandmarkMeter, **changes: object) -> CallResult:
    plan = CallPlan(path=networks()[name], seconds=30.0, **changes)  # type: ignore[arg-type]
    return run_call(plan, track, meter)


def test_clean_network_shows_what_was_there(track: Track, meter: LandmarkMeter) -> None:
    got = result("clean", track, meter)
    assert got.wrong_percent == 0
    assert got.error_px < 0.2
    assert got.one_way_ms["p95"] < 51
    assert got.delay_ms == pytest.approx(150, abs=5)
    assert got.wire_kbps > got.up_kbps > got.payload_kbps


def test_datagrams_beat_the_stream_where_packets_are_lost(
    track: Track, meter: LandmarkMeter
) -> None:
    ours = result("10 %", track, meter)
    paper = result("10 %", track, meter, mode="stream")
    assert ours.wrong_percent < 1.5
    assert paper.wrong_percent > 5
    assert ours.longest_freeze_ms < 300


def test_bursts_freeze_nothing_for_long(track: Track, meter: LandmarkMeter) -> None:
    assert result("bursts of 3, 30 %", track, meter).longest_freeze_ms < 300


def test_budget_saves_wire(track: Track, meter: LandmarkMeter) -> None:
    alone = result("clean", track, meter)
    together = result("clean", track, meter, latency_budget_s=0.05)
    assert together.wire_kbps < 0.8 * alone.wire_kbps
    assert together.wrong_percent == 0


def test_same_seed_is_the_same_row(track: Track, meter: LandmarkMeter) -> None:
    assert result("20 %", track, meter) == result("20 %", track, meter)


def test_bench_loss_writes_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "loss.json"
    assert main(["--seconds", "12", "--seeds", "1", "--only", "outage", "-o", str(out)]) == 0
    names = {row["name"] for row in json.loads(out.read_text())["rows"]}
    assert "loss.outage of 5 s.datagram.wire_kbps" in names
    assert "performer, eg0" in capsys.readouterr().out
    with pytest.raises(LocalError, match="there are clean; 5 %"):
        main(["--only", "no such"])
    with pytest.raises(LocalError, match="--seconds"):
        main(["--seconds", "1"])
