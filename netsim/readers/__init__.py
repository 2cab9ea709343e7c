"""Reading trace files: the format is told by the content, never by the name.

    trace = read_trace(Path("Verizon-LTE-short.down"))
    trace = parse_trace(data, direction="up")     # formats that hold both ways

The rule: any bytes give a Trace or a TraceError that names the line and the cause, in bounded
time and memory.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from netsim.errors import NetsimError, TraceError
from netsim.readers import cooked, mahimahi, opennetlab, table, ucc
from netsim.traces import Trace

MAX_BYTES = 16 * 2**20

Direction = Literal["up", "down"]
"""up: from the caller to the one who is called."""

FORMATS: dict[str, Callable[[str, Direction], Trace]] = {
    "csv": table.parse,
    "ucc": ucc.parse,
    "opennetlab": opennetlab.parse,
    "mahimahi": mahimahi.parse,
    "cooked": cooked.parse,
}


def read_trace(path: Path, direction: Direction = "down", format: str | None = None) -> Trace:
    """The trace in a file, named after it; TraceError says file, line and cause."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise TraceError(f"{path} cannot be read ({error.strerror or error})") from None
    try:
        return parse_trace(data, direction, format).named(path.name)
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from None


def parse_trace(data: bytes, direction: Direction = "down", format: str | None = None) -> Trace:
    """The trace in `data`, in the named format or the one that it looks like."""
    if len(data) > MAX_BYTES:
        raise TraceError(f"a trace has at most {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise TraceError("this is not text (UTF-8)", line) from None
    name = format or detect_format(text)
    if name not in FORMATS:
        raise TraceError(f"{name!r} is no trace format; there are {', '.join(FORMATS)}")
    try:
        return FORMATS[name](text, direction)
    except TraceError:
        raise
    except NetsimError as error:  # a value that Trace refuses
        raise TraceError(str(error)) from None


def detect_format(text: str) -> str:
    """The format that `text` looks like; TraceError: none that is known."""
    line = next((s for s in map(str.strip, text.split("\n")) if s and not s.startswith("#")), None)
    if line is None:
        raise TraceError("the trace is empty")
    if line.startswith("{"):
        return "opennetlab"
    if line.startswith("time_s,"):
        return "csv"
    if line.startswith("Timestamp,"):
        return "ucc"
    fields = line.split()
    if len(fields) == 1 and "," not in line:
        return "mahimahi"
    if len(fields) == 2 and "," not in line:
        return "cooked"
    raise TraceError(
        "this is no trace that is known here: neither our CSV (time_s,rate_kbps,...), nor "
        "mahimahi, pensieve cooked, OpenNetLab JSON or UCC 5G CSV"
    )
