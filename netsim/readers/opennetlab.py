"""OpenNetLab (AlphaRTC) JSON traces: patterns of duration, capacity, loss and round trip.

    {"uplink": {"trace_pattern": [{"duration": 60000, "capacity": 300, "loss": 0, "rtt": 100}]},
     "downlink": {}}

The rule: as OpenNetLab's own player has it: durations in ms, capacity in kbit/s, what a pattern
leaves out carries over from the one before, the one-way delay is half of `rtt`, and capacity 0
means that everything is lost. A direction that is absent is that of the other. `jitter` is not
modelled here; set it on the link.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

import numpy as np

from netsim.errors import TraceError
from netsim.traces import MAX_DELAY_MS, MAX_DURATION_S, MAX_RATE_KBPS, Trace

LIMITS = {"capacity": MAX_RATE_KBPS, "loss": 1.0, "rtt": 2 * MAX_DELAY_MS}


def parse(text: str, direction: str) -> Trace:
    """The trace of one direction in `text`."""
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise TraceError(f"this is not JSON ({error.msg})", error.lineno) from None
    except RecursionError:
        raise TraceError("the JSON is nested too deeply") from None
    except TraceError:
        raise
    except ValueError as error:  # a whole number of thousands of digits
        raise TraceError(f"this is not JSON ({error})") from None
    patterns = _patterns(document, direction)
    starts, values = [], []
    time = 0.0
    current = {"capacity": 0.0, "loss": 0.0, "rtt": 0.0}
    for i, pattern in enumerate(patterns):
        where = f"trace_pattern[{i}]"
        if not isinstance(pattern, dict):
            raise TraceError(f"{where} should be an object")
        if i == 0 and "capacity" not in pattern:
            raise TraceError(f"{where} has no capacity")
        duration = _number(pattern, "duration", where, 1000 * MAX_DURATION_S)
        if duration is None or duration <= 0:
            raise TraceError(f"{where}.duration should be a positive number of ms")
        for name, top in LIMITS.items():
            value = _number(pattern, name, where, top)
            current[name] = current[name] if value is None else value
        lost = 1.0 if current["capacity"] == 0 else current["loss"]
        starts.append(time)
        values.append((current["capacity"], current["rtt"] / 2, lost))
        time += duration / 1000.0
    columns = np.array(values).T
    return Trace(np.array(starts), columns[0], time, delay_ms=columns[1], loss=columns[2])


def _patterns(document: Any, direction: str) -> list[Any]:
    names = ("uplink", "downlink") if direction == "up" else ("downlink", "uplink")
    for name in names:
        part = document.get(name) if isinstance(document, dict) else None
        patterns = part.get("trace_pattern") if isinstance(part, dict) else None
        if patterns:
            if not isinstance(patterns, list):
                raise TraceError(f"{name}.trace_pattern should be a list")
            return patterns
    raise TraceError("neither uplink nor downlink has a trace_pattern")


def _number(pattern: dict[str, Any], name: str, where: str, top: float) -> float | None:
    value = pattern.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
        raise TraceError(f"{where}.{name} should be a number in 0..{top:g}")
    return float(value)


def _no_constant(name: str) -> NoReturn:
    raise TraceError(f"{name} is no number that a trace may have")
