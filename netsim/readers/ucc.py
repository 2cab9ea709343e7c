"""UCC's 5G production data set: CSV of a phone that downloads, about one row per second.

The rule: DL_bitrate (kbit/s) is the rate, both ways: the phone only downloads, so UL_bitrate is
its acknowledgements and no capacity. PINGAVG / 2 (ms) is the delay and PINGLOSS (%) the loss; "-"
carries over the last value. Rows of one second are averaged; a row in state I (idle) says nothing
about what the path would have carried and keeps the last rate.
Reference: Raca et al., "Beyond throughput, the next generation: a 5G dataset", MMSys 2020.
"""

from __future__ import annotations

import re
from calendar import timegm

import numpy as np

from netsim.errors import TraceError
from netsim.readers.number import decimal
from netsim.traces import MAX_DELAY_MS, MAX_DURATION_S, MAX_RATE_KBPS, Trace

NEEDED = ("Timestamp", "DL_bitrate", "State", "PINGAVG", "PINGLOSS")
ROW_S = 1.0  # how long the last row lasts
_TIME = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})_([0-9]{2})\.([0-9]{2})\.([0-9]{2})")


def parse(text: str, direction: str) -> Trace:
    """The trace in `text`."""
    lines = text.split("\n")
    header = [f.strip() for f in lines[0].split(",")] if lines else []
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise TraceError(f"the header lacks {', '.join(missing)}", 1)
    at = {name: header.index(name) for name in NEEDED}
    seconds: list[int] = []
    rows: list[list[tuple[float | None, float | None, float | None]]] = []
    for number, raw in enumerate(lines[1:], 2):
        if not raw.strip():
            continue
        fields = [f.strip() for f in raw.split(",")]
        if len(fields) != len(header):
            raise TraceError(f"{len(fields)} values in {len(header)} columns", number)
        time = _seconds(fields[at["Timestamp"]], number)
        if seconds and time < seconds[-1]:
            raise TraceError("times must not fall", number)
        if seconds and time - seconds[0] > MAX_DURATION_S:
            raise TraceError(f"a trace ends within {MAX_DURATION_S:g} s", number)
        idle = fields[at["State"]] == "I"
        rate = _value(fields[at["DL_bitrate"]], "DL_bitrate", number, MAX_RATE_KBPS)
        ping = _value(fields[at["PINGAVG"]], "PINGAVG", number, 2 * MAX_DELAY_MS)
        loss = _value(fields[at["PINGLOSS"]], "PINGLOSS", number, 100.0)
        if not seconds or time > seconds[-1]:
            seconds.append(time)
            rows.append([])
        rows[-1].append((None if idle else rate, ping, loss))
    if not seconds:
        raise TraceError("the trace has no rows")
    starts = np.array(seconds, np.float64) - seconds[0]
    rate_kbps, ping_ms, loss_percent = (_filled([_mean(row, i) for row in rows]) for i in range(3))
    if rate_kbps is None:
        raise TraceError("no row has a DL_bitrate while the phone downloads (State D)")
    return Trace(
        starts, rate_kbps, float(starts[-1]) + ROW_S,
        delay_ms=None if ping_ms is None else ping_ms / 2,
        loss=None if loss_percent is None else loss_percent / 100,
    )  # fmt: skip


def _mean(row: list[tuple[float | None, float | None, float | None]], i: int) -> float | None:
    values = [v for entry in row if (v := entry[i]) is not None]
    return sum(values) / len(values) if values else None


def _filled(values: list[float | None]) -> np.ndarray[tuple[int], np.dtype[np.float64]] | None:
    """Gaps take the value before them, the first ones the first that is known."""
    last = next((v for v in values if v is not None), None)
    if last is None:
        return None
    filled = []
    for value in values:
        last = last if value is None else value
        filled.append(last)
    return np.array(filled, np.float64)


def _value(text: str, what: str, line: int, top: float) -> float | None:
    return None if text in ("-", "") else decimal(text, what, line, 0.0, top)


def _seconds(text: str, line: int) -> int:
    match = _TIME.fullmatch(text)
    if match is None:
        raise TraceError(f"a time looks like 2019.12.16_11.49.59, not {text[:20]!r}", line)
    year, month, day, hour, minute, second = map(int, match.groups())
    if not (year >= 1970 and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        raise TraceError(f"{text} is no time", line)
    return timegm((year, month, day, hour, minute, second))
