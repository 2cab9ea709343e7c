"""Traces: what they hold, how they are read, and that nothing else than TraceError comes out."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsim.errors import NetsimError, TraceError
from netsim.readers import FORMATS, detect_format, parse_trace, read_trace, table
from netsim.traces import Capacity, Trace
from tests.netsim.strategies import traces

UCC_HEADER = "Timestamp,Speed,DL_bitrate,UL_bitrate,State,PINGAVG,PINGLOSS"
SAMPLES = {
    "csv": "# a lift\ntime_s,rate_kbps,loss\n0,256,0\n1.5,0,1\n4,end,once\n",
    "mahimahi": "0\n5\n5\n10\n",
    "cooked": "0.0\t1.0\n2.0\t0.5\n3.0\t0.25\n",
    "opennetlab": json.dumps({"type": "video", "downlink": {}, "uplink": {"trace_pattern": [
        {"duration": 1000, "capacity": 300, "rtt": 80}, {"duration": 500, "loss": 0.5},
        {"duration": 250, "capacity": 0}]}}),
    "ucc": f"{UCC_HEADER}\n"
           "2020.02.14_13.21.26,0,100,9,D,-,-\n2020.02.14_13.21.26,0,200,9,D,-,-\n"
           "2020.02.14_13.21.27,0,5,9,I,60,10\n2020.02.14_13.21.29,0,50,9,D,-,-\n",
}  # fmt: skip


def equal(a: Trace, b: Trace) -> bool:
    pairs = [(a.starts_s, b.starts_s), (a.rate_kbps, b.rate_kbps)]
    for x, y in ((a.delay_ms, b.delay_ms), (a.loss, b.loss)):
        if (x is None) != (y is None):
            return False
        pairs += [(x, y)] if x is not None and y is not None else []
    same = all(np.array_equal(x, y) for x, y in pairs)
    return same and (a.duration_s, a.repeats) == (b.duration_s, b.repeats)


@given(traces(), st.floats(0, 30), st.floats(0.5, 20_000))
@settings(max_examples=200)
def test_capacity_time_after_is_the_inverse_of_between(
    trace: Trace, start: float, size: float
) -> None:
    capacity = Capacity(trace)
    end = capacity.time_after(start, size)
    if end == math.inf:
        assert trace.rate_kbps[-1] == 0 or capacity.total_bytes == 0
        return
    assert end >= start
    assert capacity.between(start, end) == pytest.approx(size, abs=1e-3, rel=1e-6)
    if end - start > 1e-6:  # and not a moment earlier
        assert capacity.between(start, end - 1e-7) <= size + 1e-6


@given(traces())
@settings(max_examples=100)
def test_capacity_agrees_with_adding_up(trace: Trace) -> None:
    steps = np.linspace(0, 2.5 * trace.duration_s, 7)
    capacity = Capacity(trace)
    for a, b in pairwise(steps):
        grid = np.linspace(a, b, 4001)
        middle = (grid[:-1] + grid[1:]) / 2
        rough = sum(trace.rate_at(t) for t in middle[::40]) / 100 * (b - a) * 125
        slack = (b - a) * 125 * trace.rate_kbps.max() * 0.25 + 1e-6
        assert capacity.between(a, b) == pytest.approx(rough, abs=slack)
    mean = trace.binned_kbps(trace.duration_s)[0]
    assert mean == pytest.approx(trace.mean_kbps(), rel=1e-9, abs=1e-9)


def test_capacity_lasts_over_hours() -> None:
    trace = Trace.of([(0.0, 100_000.0), (1.0, 0.0)], 2.0)
    capacity = Capacity(trace)
    assert capacity.time_after(36_000.0, 1250.0) == pytest.approx(36_000.0001, abs=1e-9)
    assert capacity.time_after(36_001.5, 1250.0) == pytest.approx(36_002.0001, abs=1e-9)
    assert capacity.time_after(0.0, 12.5e6 * 1800) == pytest.approx(3599.0, abs=1e-6)


def test_trace_scaled_and_described() -> None:
    trace = Trace.of([(0, 100), (1, 0), (3, 50)], 4.0)
    assert trace.mean_kbps() == pytest.approx(37.5)
    assert trace.scaled(0.1).mean_kbps() == pytest.approx(3.75)
    assert trace.longest_gap_s() == 2.0
    assert trace.rate_at(7.5) == 50
    assert list(trace.binned_kbps(2.0)) == [50, 25]
    with pytest.raises(NetsimError):
        trace.scaled(0)
    with pytest.raises(ValueError, match="read-only"):
        trace.rate_kbps[0] = 1


@pytest.mark.parametrize(
    ("starts", "rates", "end"),
    [
        ([], [], 1), ([1], [1], 2), ([0, 0], [1, 1], 2), ([0], [1], 0), ([0], [-1], 1),
        ([0], [math.nan], 1), ([0], [1, 2], 1), ([0], [1], math.inf), ([[0]], [1], 1),
    ],
)  # fmt: skip
def test_trace_that_is_none_is_refused(starts: object, rates: object, end: float) -> None:
    with pytest.raises(NetsimError):
        Trace(starts, rates, end)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SAMPLES)
def test_format_is_told_by_content(name: str) -> None:
    assert detect_format(SAMPLES[name]) == name


def parsed(name: str) -> Trace:
    return parse_trace(SAMPLES[name].encode())


def test_csv_reads() -> None:
    trace = parsed("csv")
    assert equal(trace, Trace(np.array([0, 1.5]), np.array([256, 0]), 4, loss=np.array([0, 1]),
                              repeats=False))  # fmt: skip


def test_mahimahi_reads() -> None:
    trace = parsed("mahimahi")
    assert trace.duration_s == 0.01
    assert list(trace.starts_s) == [0, 0.001, 0.005, 0.006]
    assert list(trace.rate_kbps) == [24_000, 0, 24_000, 0]  # 0 and 10 are the same millisecond
    assert Capacity(trace).total_bytes == pytest.approx(4 * 1500)


def test_cooked_reads() -> None:
    assert equal(parsed("cooked"), Trace.of([(0, 500), (2, 250)], 3.0))


def test_opennetlab_reads() -> None:
    trace = parsed("opennetlab")
    assert list(trace.starts_s) == [0, 1, 1.5]
    assert list(trace.rate_kbps) == [300, 300, 0]
    assert list(trace.delay_ms) == [40, 40, 40]  # type: ignore[arg-type]
    assert list(trace.loss) == [0, 0.5, 1]  # type: ignore[arg-type]


def test_opennetlab_has_two_directions() -> None:
    text = json.dumps({
        "uplink": {"trace_pattern": [{"duration": 9, "capacity": 1}]},
        "downlink": {"trace_pattern": [{"duration": 9, "capacity": 2}]},
    }).encode()  # fmt: skip
    assert parse_trace(text, "up").rate_kbps[0] == 1
    assert parse_trace(text, "down").rate_kbps[0] == 2


def test_ucc_reads() -> None:
    trace = parsed("ucc")
    assert list(trace.starts_s) == [0, 1, 3]
    assert list(trace.rate_kbps) == [150, 150, 50]
    assert list(trace.delay_ms) == [30, 30, 30]  # type: ignore[arg-type]
    assert list(trace.loss) == [0.1, 0.1, 0.1]  # type: ignore[arg-type]
    assert trace.duration_s == 4


@given(traces())
@settings(max_examples=100)
def test_csv_round_trip_is_exact(trace: Trace) -> None:
    assert equal(parse_trace(table.write(trace).encode()), trace)


def test_csv_golden() -> None:
    trace = Trace(np.array([0.0, 0.1]), np.array([12.0, 1e-7]), 2.5, np.array([1, 2]), name="a\nb")
    assert table.write(trace) == "# a b\ntime_s,rate_kbps,delay_ms\n0,12,1\n0.1,1e-07,2\n2.5,end\n"


@pytest.mark.parametrize(
    ("text", "line", "cause"),
    [
        ("", None, "empty"),
        ("hello, world\n", None, "known here"),
        ("time_s,rate\n", 1, "header"),
        ("time_s,rate_kbps\n", None, "no segments"),
        ("time_s,rate_kbps\n0,1\n", None, "cut off"),
        ("time_s,rate_kbps\n1,1\n2,end\n", 2, "begins at 0"),
        ("time_s,rate_kbps\n0,1\n0,2\n2,end\n", 3, "rise"),
        ("time_s,rate_kbps\n0,1\n2,end\n3,1\n", 4, "follow"),
        ("time_s,rate_kbps\n0,nan\n2,end\n", 2, "rate_kbps should be a number"),
        ("time_s,rate_kbps,loss\n0,1,1.5\n2,end\n", 2, "loss lies"),
        ("time_s,rate_kbps\n0,1,2\n2,end\n", 2, "3 values in 2 columns"),
        ("0\n", None, "cannot be 0"),
        ("5\n4\n", 2, "fall"),
        ("5\n1_0\n", 2, "whole number"),
        ("5\n-1\n", 2, "whole number"),
        ("1 2\n", None, "two lines"),
        ("1 2\n1 2\n", 2, "rise"),
        ("1 2\n2 2 3\n", 2, "3 values"),
        ("1 2\n2 inf\n", 2, "number"),
        ("{", 1, "JSON"),
        ("{}", None, "trace_pattern"),
        ('{"uplink": {"trace_pattern": {"a": 1}}}', None, "list"),
        ('{"uplink": {"trace_pattern": [1]}}', None, "object"),
        ('{"uplink": {"trace_pattern": [{"duration": 1}]}}', None, "no capacity"),
        ('{"uplink": {"trace_pattern": [{"capacity": 1, "duration": 0}]}}', None, "duration"),
        ('{"uplink": {"trace_pattern": [{"capacity": true}]}}', None, "capacity|duration"),
        ('{"uplink": {"trace_pattern": [{"capacity": NaN}]}}', None, "NaN"),
        ('{"a":' + "[" * 100_000, None, "nested|JSON"),
        ('{"a": ' + "9" * 5000 + "}", None, "JSON"),
        ("Timestamp,DL_bitrate\n", 1, "lacks State"),
        (UCC_HEADER + "\n", None, "no rows"),
        (UCC_HEADER + "\n1,2\n", 2, "2 values in 7"),
        (UCC_HEADER + "\nnoon,0,1,1,D,-,-\n", 2, "looks like"),
        (UCC_HEADER + "\n2020.13.14_13.21.26,0,1,1,D,-,-\n", 2, "no time"),
        (UCC_HEADER + "\n2020.02.14_13.21.26,0,1,1,I,-,-\n", None, "no row"),
    ],
)
def test_reader_says_line_and_cause(text: str, line: int | None, cause: str) -> None:
    with pytest.raises(TraceError, match=cause) as caught:
        parse_trace(text.encode())
    assert caught.value.line == line


@given(st.sampled_from(sorted(FORMATS)), st.data())
@settings(max_examples=400)
def test_reader_damaged_file_is_trace_or_trace_error(name: str, data: st.DataObject) -> None:
    good = SAMPLES[name].encode()
    at = data.draw(st.integers(0, len(good)))
    gone = data.draw(st.integers(0, 6))
    new = data.draw(st.binary(max_size=4) | st.sampled_from([b"\n", b"-", b"9e9", b"null", b","]))
    try:
        trace = parse_trace(good[:at] + new + good[at + gone :], format=name)
    except TraceError:
        pass
    else:
        assert trace.duration_s > 0


@given(st.binary(max_size=200))
@example(b"\xff\xfe")
@example(b"1\xc2\xb2\n")
@example("\u0661\n\u0662\n".encode())
@settings(max_examples=200)
def test_reader_any_bytes_are_trace_or_trace_error(data: bytes) -> None:
    for name in (None, *FORMATS):
        try:
            parse_trace(data, format=name)
        except TraceError:
            pass


def test_reader_of_files_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"absent.*cannot be read"):
        read_trace(tmp_path / "absent")
    path = tmp_path / "a.trace"
    path.write_text("5\nx\n")
    with pytest.raises(TraceError, match=r"a\.trace: line 2: "):
        read_trace(path)
    path.write_text("5\n10\n")
    assert read_trace(path).name == "a.trace"


def test_reader_unknown_format_is_refused() -> None:
    with pytest.raises(TraceError, match="no trace format"):
        parse_trace(b"1\n", format="pcap")


@pytest.mark.assets
def test_recorded_traces_have_their_known_rates(assets: Path) -> None:
    folder = assets / "traces"
    if not folder.is_dir():
        pytest.skip("no traces in the lab data")
    known = {
        "mahimahi/ATT-LTE-driving-2016.up": (120.0, 1910, 4.06),
        "mahimahi/Verizon-LTE-short.down": (140.0, 5028, 1.45),
        "fcc/fcc_0": (1490.0, 187, 0.0),
        "puffer/puffer_220218_slow_1": (112.2, 288, 0.0),
    }
    for name, (duration, kbps, gap) in known.items():
        trace = read_trace(folder / name)
        assert trace.duration_s == pytest.approx(duration, abs=0.1)
        assert trace.mean_kbps() == pytest.approx(kbps, rel=0.005)
        assert trace.longest_gap_s() == pytest.approx(gap, abs=0.01)
