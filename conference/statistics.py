"""What a call came to: frames, rates, latencies and likeness, as one table and as JSON.

The rule: the same report is printed and written, and its books balance or it says so. Rates come
in two kinds that are never mixed: payload (the coded parameters alone) and wire (every UDP
datagram with its IP and UDP headers, QUIC's handshake, ACKs and pings included).
Reference: the paper, Table 1 (stages) and "Bit-rate".
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from quic_transport.errors import LocalError
from quic_transport.timeline import LatencySummary
from quic_transport.wire_count import WireCount

SAME_FRAME_S = 0.01  # two ends' capture times of one frame differ by less, of two frames by more


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReport:
    """One side's account of one call."""

    role: str
    """"sender" or "receiver"."""
    ended: str
    """A sentence: how the call came to its end."""
    clean: bool
    """Whether it ended as somebody wished."""
    seconds: float
    """Seconds of video, from the first frame's capture to one frame after the last one's."""
    frames: dict[str, int]
    """Stage or fate → number of frames, in the order of the pipeline."""
    balanced: bool
    """Whether every frame is rendered or has a named reason."""
    rates: dict[str, float]
    """Name with unit → value."""
    latency_ms: dict[str, dict[str, float]] = field(default_factory=dict)
    """Stage → p50, p95, mean, max (milliseconds) and count."""
    likeness: dict[str, float] = field(default_factory=dict)
    """Name with unit → value; empty without a reference."""
    recording_start_s: float | None = None
    """Receiver of a file: the second of the file that its first picture shows."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the numbers."""


def milliseconds(summary: LatencySummary) -> dict[str, float]:
    """A latency's numbers in ms; empty if nothing was measured."""
    if summary.count == 0:
        return {}
    return {
        "p50": round(1000 * summary.p50, 2),
        "p95": round(1000 * summary.p95, 2),
        "mean": round(1000 * summary.mean, 2),
        "max": round(1000 * summary.max, 2),
        "count": summary.count,
    }


def rates_of(
    payload_bytes: int, wire: WireCount, seconds: float, pictures: int | None
) -> dict[str, float]:
    """The rates of `seconds` of video; `wire` counts from the first frame to the last."""
    if seconds <= 0:
        return {}
    rates = {
        "payload kbps": 0.008 * payload_bytes / seconds,
        "wire kbps sent": 0.008 * wire.sent_bytes / seconds,
        "wire kbps received": 0.008 * wire.received_bytes / seconds,
    }
    if pictures is not None:
        rates["pictures per second"] = pictures / seconds
    return {name: round(value, 3) for name, value in rates.items()}


def absence_rates(count: int, seconds: float) -> dict[str, float]:
    """How often and how long there was no face; empty if there always was one."""
    if not count:
        return {}
    return {"times without a face": float(count), "seconds without a face": round(seconds, 3)}


# How the sender's latencies cross to the receiver at the end of a call (PeerStats).
def pack_latency(latency: Mapping[str, LatencySummary]) -> dict[str, float]:
    """{"extract p50": ms, ...} for every stage that was measured."""
    return {
        f"{stage} {name}": numbers[name]
        for stage, numbers in ((s, milliseconds(v)) for s, v in latency.items())
        for name in ("p50", "p95", "mean")
        if name in numbers
    }


def unpack_latency(values: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """The inverse of `pack_latency`; other names are left alone."""
    out: dict[str, dict[str, float]] = {}
    for key, value in values.items():
        stage, _, name = key.rpartition(" ")
        if name in ("p50", "p95", "mean") and stage:
            out.setdefault(stage, {})[name] = value
    return out


def join_traces(sender: Path, receiver: Path) -> LatencySummary:
    """The transport's latency, frame by frame, from the traces of two ends on one machine.

    Frames are matched by the nearest capture time: the receiver knows it as well as it knows the
    sender's clock, which on a busy machine is some milliseconds at first.
    """
    from quic_transport.timeline import Histogram

    def rows(path: Path, stage: str) -> list[tuple[float, float]]:
        with path.open(encoding="utf-8") as lines:
            stamps = [json.loads(line) for line in lines]
        return sorted((s["captured"], s[stage]) for s in stamps if stage in s)

    sent, histogram = rows(sender, "sent"), Histogram()
    for captured, at in rows(receiver, "arrived"):
        after = bisect_left(sent, (captured,))
        near = sent[max(0, after - 1) : after + 1]
        off, left = min(((abs(c - captured), s) for c, s in near), default=(math.inf, 0.0))
        if off < SAME_FRAME_S:
            histogram.add(at - left)
    return histogram.summary()


def print_report(report: CallReport, stream: IO[str] | None = None) -> None:
    """The final table, on standard output by default."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=stream, highlight=False, width=None if stream is None else 100)
    table = Table(title=f"the call, as the {report.role} saw it", title_justify="left", box=None,
                  pad_edge=False)  # fmt: skip
    for heading in ("", "p50", "p95", "mean"):
        table.add_column(heading, justify="left" if not heading else "right")

    def section(name: str) -> None:
        table.add_row(f"[bold]{name}[/bold]", "", "", "")

    section("frames")
    for name, count in report.frames.items():
        table.add_row(f"  {name}", str(count), "", "")
    if not report.balanced:
        table.add_row("  [red]the books do not balance[/red]", "", "", "")
    section("rates")
    for name, value in report.rates.items():
        table.add_row(f"  {name}", f"{value:.2f}", "", "")
    if report.latency_ms:
        section("latency, ms")
    for name, ms in report.latency_ms.items():
        cells = [f"{ms[key]:.1f}" if key in ms else "" for key in ("p50", "p95", "mean")]
        table.add_row(f"  {name}", *cells)
    if report.likeness:
        section("likeness to the source")
    for name, value in report.likeness.items():
        table.add_row(f"  {name}", f"{value:.3f}".rstrip("0").rstrip("."), "", "")
    console.print(table)
    for note in (report.ended, *report.notes):
        console.print(note, markup=False, soft_wrap=True)


def report_json(report: CallReport) -> dict[str, Any]:
    """The report as plain JSON values (NaN becomes null)."""
    document = asdict(report)
    document["notes"] = list(report.notes)

    def clean(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    return dict(clean(document))


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a document at once; a LocalError names the path."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(path.name + ".part")
        temporary.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise LocalError(
            f"cannot write {path}: {error.strerror}; name another place or free some space"
        ) from error


def open_trace(path: Path | None) -> IO[str] | None:
    """The file for one JSON line per frame, or None."""
    if path is None:
        return None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}; name another place") from error
