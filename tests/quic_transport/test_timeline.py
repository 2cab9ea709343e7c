"""Latency statistics: right within a per cent, and flat in memory."""

from __future__ import annotations

import io
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from quic_transport.timeline import BINS, Histogram, Timeline

SPANS = {"extract": ("captured", "extracted"), "end to end": ("captured", "shown")}


@given(st.lists(st.floats(1e-5, 500), min_size=1, max_size=200), st.floats(0, 1))
def test_quantile_is_within_two_per_cent_of_the_nearest_rank(values: list[float], q: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    exact = sorted(values)[max(1, math.ceil(q * len(values))) - 1]
    assert histogram.quantile(q) == pytest.approx(exact, rel=0.02)
    summary = histogram.summary()
    assert summary.max == max(values)
    assert summary.count == len(values)
    assert summary.mean == pytest.approx(sum(values) / len(values))
    assert summary.p50 <= summary.p95 <= summary.max


def test_histogram_edges() -> None:
    histogram = Histogram()
    assert math.isnan(histogram.summary().p50)
    for value in (-0.5, 0.0, 1e6):
        histogram.add(value)
    assert 0 <= histogram.quantile(0) <= 1e-5
    assert histogram.quantile(1) == pytest.approx(600, rel=0.05)  # the last bin's
    assert histogram.summary().max == 1e6
    with pytest.raises(LocalError):
        histogram.add(math.nan)


def test_stamps_give_durations_whatever_their_order() -> None:
    timeline = Timeline(SPANS)
    timeline.stamp(1, "shown", 0.3)
    timeline.stamp(1, "captured", 0.1)
    timeline.stamp(1, "extracted", 0.15)
    timeline.stamp(1, "shown", 9.0)  # shown again: the first time counts
    timeline.stamp(2, "captured", 0.2)
    timeline.add("render", 0.02)
    summary = timeline.summary()
    assert summary["extract"].max == pytest.approx(0.05)
    assert summary["end to end"].max == pytest.approx(0.2)
    assert summary["end to end"].count == 1
    assert summary["render"].count == 1


def test_hours_of_frames_take_no_memory() -> None:
    timeline, rng = Timeline(SPANS, in_flight=16), random.Random(2)
    for i in range(20_000):
        timeline.stamp(i, "captured", i / 20)
        if i % 3:  # some are never shown
            timeline.stamp(i, "shown", i / 20 + rng.random())
    assert len(timeline._frames) == 16
    assert len(timeline._histograms["end to end"]._bins) == BINS < 1000
    assert timeline.summary()["end to end"].p50 == pytest.approx(0.5, abs=0.02)


def test_log_has_one_line_per_frame() -> None:
    log = io.StringIO()
    timeline = Timeline(SPANS, in_flight=2, log=log)
    for i in range(5):
        timeline.stamp(i, "captured", float(i))
    timeline.stamp(4, "shown", 4.125)
    assert log.getvalue().count("\n") == 3
    timeline.finish()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["seq"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[4] == {"seq": 4, "captured": 4.0, "shown": 4.125}


def test_timeline_without_room_is_our_mistake() -> None:
    with pytest.raises(LocalError):
        Timeline(SPANS, in_flight=0)
