"""Mahimahi traces: a line per 1500 bytes that may pass, with the millisecond when they may.

The rule: one line is 1500 bytes in the millisecond that it names, and the last line is the length
of the trace, after which it repeats (mahimahi's link-emulation manual, mm-link).
"""

from __future__ import annotations

import numpy as np

from netsim.errors import TraceError
from netsim.readers.number import whole
from netsim.traces import MAX_DURATION_S, Trace

KBPS_PER_LINE = 1500 * 8.0  # 1500 bytes in one millisecond


def parse(text: str, direction: str) -> Trace:
    """The trace in `text`; it holds for the direction in which it was recorded."""
    times: list[int] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        time = whole(line, "a millisecond", number)
        if times and time < times[-1]:
            raise TraceError(f"times must not fall: {time} after {times[-1]}", number)
        if time > 1000 * MAX_DURATION_S:
            raise TraceError(f"a trace ends within {MAX_DURATION_S:g} s", number)
        times.append(time)
    if not times:
        raise TraceError("the trace is empty")
    period = times[-1]
    if period == 0:
        raise TraceError("the last line is the trace's length: it cannot be 0")
    used, counts = np.unique(np.array(times, np.int64) % period, return_counts=True)
    edges = np.unique(np.concatenate([[0], used, used + 1]))
    edges = edges[edges < period]
    rates = np.zeros(len(edges))
    rates[np.searchsorted(edges, used)] = counts * KBPS_PER_LINE
    return Trace(edges / 1000.0, rates, period / 1000.0)
