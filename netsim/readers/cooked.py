"""Pensieve's "cooked" traces: lines of time (s) and throughput (Mbit/s).

The rule: as Pensieve's own simulator takes them, a line's throughput is that of the interval which
ends at its time; the first line only says when the trace begins.
"""

from __future__ import annotations

import numpy as np

from netsim.errors import TraceError
from netsim.readers.number import decimal
from netsim.traces import MAX_DURATION_S, MAX_RATE_KBPS, Trace


def parse(text: str, direction: str) -> Trace:
    """The trace in `text`; it holds for both directions."""
    times: list[float] = []
    rates: list[float] = []
    for number, raw in enumerate(text.split("\n"), 1):
        fields = raw.split()
        if not fields or fields[0].startswith("#"):
            continue
        if len(fields) != 2:
            raise TraceError(f"a line is time and Mbit/s, not {len(fields)} values", number)
        time = decimal(fields[0], "the time", number)
        rates.append(decimal(fields[1], "Mbit/s", number, 0.0, MAX_RATE_KBPS / 1000) * 1000.0)
        if times and time <= times[-1]:
            raise TraceError(f"times must rise: {time:g} after {times[-1]:g}", number)
        times.append(time)
        if time - times[0] > MAX_DURATION_S:
            raise TraceError(f"a trace ends within {MAX_DURATION_S:g} s", number)
    if len(times) < 2:
        raise TraceError("a cooked trace has two lines or more")
    shifted = np.array(times) - times[0]
    return Trace(shifted[:-1], np.array(rates[1:]), float(shifted[-1]))
