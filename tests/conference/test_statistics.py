"""Reports say what was measured, in numbers that survive JSON and the wire."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path

import pytest

from conference.statistics import (
    CallReport,
    join_traces,
    milliseconds,
    pack_latency,
    print_report,
    rates_of,
    report_json,
    unpack_latency,
    write_json,
)
from quic_transport.errors import LocalError
from quic_transport.messages import MAX_STATS, Stats
from quic_transport.timeline import Timeline
from quic_transport.wire_count import WireCount
from sender.pipeline import DURATIONS, Fate

REPORT = CallReport(
    role="receiver", ended="the peer hung up", clean=True, seconds=2.0,
    frames={"captured": 40, "rendered": 39}, balanced=False, rates={"payload kbps": math.nan},
    latency_ms={"encode": {"p50": 0.1, "p95": 0.2, "mean": 0.1}, "round trip": {"p50": 1.0}},
    likeness={"PSNR head, dB": 27.4064}, notes=("K = 1",),
)  # fmt: skip


def test_rates_are_bits_per_second_of_video() -> None:
    rates = rates_of(1250, WireCount(10, 2500, 5, 500), 2.0, 50)
    assert rates == {
        "payload kbps": 5.0, "wire kbps sent": 10.0, "wire kbps received": 2.0,
        "pictures per second": 25.0,
    }  # fmt: skip
    assert rates_of(1, WireCount(0, 0, 0, 0), 0.0, None) == {}


def test_latency_crosses_the_wire_and_fits_one_message() -> None:
    timeline = Timeline(DURATIONS)
    for i in range(20):
        for place, stage in enumerate(("captured", "taken", "extracted", "encoded", "sent")):
            timeline.stamp(i, stage, i + 0.01 * place)
    packed = pack_latency(timeline.summary())
    unpacked = unpack_latency({**packed, "captured": 20.0, "media origin": 3.0})
    assert set(unpacked) == set(DURATIONS)
    assert unpacked["extract"]["mean"] == pytest.approx(10.0)
    assert len(packed) + len(Fate) + 3 <= MAX_STATS
    Stats(packed)  # its names and numbers are acceptable


def test_nothing_measured_is_empty_not_nan() -> None:
    assert milliseconds(Timeline(DURATIONS).summary()["encode"]) == {}


def test_report_as_json_has_no_nan_and_as_text_says_when_books_do_not_balance() -> None:
    document = json.loads(json.dumps(report_json(REPORT), allow_nan=False))
    assert document["rates"]["payload kbps"] is None
    assert document["notes"] == ["K = 1"]
    out = io.StringIO()
    print_report(REPORT, out)
    text = out.getvalue()
    for word in ("do not balance", "27.406", "round trip", "the peer hung up", "K = 1"):
        assert word in text


def test_write_json_failure_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot write"):
        write_json(tmp_path / "file" / "x.json", {})


def test_join_traces_matches_frames_by_capture_time(tmp_path: Path) -> None:
    sender, receiver = tmp_path / "s.jsonl", tmp_path / "r.jsonl"
    sender.write_text(
        "\n".join(json.dumps({"seq": i, "captured": i * 0.05 + 0.0004, "sent": i * 0.05 + 0.02})
                  for i in range(10) if i != 4) + '\n{"seq": 4, "captured": 0.2}\n'
    )  # fmt: skip
    receiver.write_text(
        "\n".join(json.dumps({"seq": i, "captured": i * 0.05, "arrived": i * 0.05 + 0.025})
                  for i in range(3, 8)) + "\n"
    )  # fmt: skip
    summary = join_traces(sender, receiver)
    assert summary.count == 4
    assert summary.mean == pytest.approx(0.005)


def test_join_traces_bears_a_clock_that_is_some_milliseconds_off(tmp_path: Path) -> None:
    sender, receiver = tmp_path / "s.jsonl", tmp_path / "r.jsonl"
    rows = [(i, i / 20, i / 20 + 0.004 - 0.001 * (i % 3)) for i in range(40)]
    with sender.open("w") as out:
        for i, there, _ in rows:
            out.write(json.dumps({"seq": i, "captured": there, "sent": there + 0.01}) + "\n")
    with receiver.open("w") as out:
        for i, there, here in rows[3:]:
            row = {"seq": i - 3, "captured": here, "arrived": there + 0.03}
            out.write(json.dumps(row) + "\n")
        out.write(json.dumps({"seq": 99, "captured": 7.02, "arrived": 7.1}) + "\n")  # of no frame
    summary = join_traces(sender, receiver)
    assert summary.count == 37
    assert summary.p50 == pytest.approx(0.02, rel=0.02)
