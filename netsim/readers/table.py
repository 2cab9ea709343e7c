"""Our own trace format: CSV with a header, one row per segment, the end last.

    # anything after a number sign, up to the header
    time_s,rate_kbps,delay_ms,loss        (delay_ms and loss may be absent)
    0,256,40,0
    10.5,0,40,0.02
    60,end

The rule: writing and reading give the same trace again, bit for bit.
"""

from __future__ import annotations

import numpy as np

from netsim.errors import TraceError
from netsim.readers.number import decimal
from netsim.traces import MAX_DELAY_MS, MAX_DURATION_S, MAX_RATE_KBPS, Trace

COLUMNS = {"rate_kbps": MAX_RATE_KBPS, "delay_ms": MAX_DELAY_MS, "loss": 1.0}
ONCE = "once"  # `60,end,once`: the trace does not repeat


def parse(text: str, direction: str) -> Trace:
    """The trace in `text`; it holds for both directions."""
    header: list[str] | None = None
    rows: list[list[float]] = []
    end: float | None = None
    repeats = True
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        fields = [f.strip() for f in line.split(",")]
        if header is None:
            header = _header(fields, number)
            continue
        if end is not None:
            raise TraceError("nothing may follow the row `end`", number)
        time = decimal(fields[0], "time_s", number, 0.0, MAX_DURATION_S)
        if rows and time <= rows[-1][0]:
            raise TraceError(f"times must rise: {time:g} after {rows[-1][0]:g}", number)
        if fields[1:2] == ["end"]:
            if fields[2:] not in ([], [ONCE]):
                raise TraceError("the last row is TIME,end or TIME,end,once", number)
            end, repeats = time, len(fields) == 2
            continue
        if len(fields) != len(header):
            raise TraceError(f"{len(fields)} values in {len(header)} columns", number)
        if not rows and time != 0:
            raise TraceError(f"the first segment begins at 0, not at {time:g}", number)
        values = zip(header[1:], fields[1:], strict=True)
        rows.append([time, *(decimal(v, n, number, 0.0, COLUMNS[n]) for n, v in values)])
    if header is None or not rows:
        raise TraceError("the trace has no segments")
    if end is None:
        raise TraceError("the last row `TIME,end` is missing: is the file cut off?")
    columns = dict(zip(header, np.array(rows, np.float64).T, strict=True))
    return Trace(
        columns["time_s"], columns["rate_kbps"], end,
        delay_ms=columns.get("delay_ms"), loss=columns.get("loss"), repeats=repeats,
    )  # fmt: skip


def _header(fields: list[str], line: int) -> list[str]:
    known = ["time_s", *COLUMNS]
    if fields[:2] != known[:2] or len(set(fields)) != len(fields) or set(fields) - set(known):
        raise TraceError("the header is time_s,rate_kbps and perhaps delay_ms and loss", line)
    return fields


def write(trace: Trace) -> str:
    """`trace` as text."""
    columns = {"time_s": trace.starts_s, "rate_kbps": trace.rate_kbps}
    if trace.delay_ms is not None:
        columns["delay_ms"] = trace.delay_ms
    if trace.loss is not None:
        columns["loss"] = trace.loss
    lines = [f"# {' '.join(trace.name.split())}"] if trace.name else []
    lines.append(",".join(columns))
    lines += [",".join(map(_short, row)) for row in zip(*columns.values(), strict=True)]
    lines.append(f"{_short(trace.duration_s)},end" + ("" if trace.repeats else f",{ONCE}"))
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    text = repr(float(value))
    return text.removesuffix(".0")
