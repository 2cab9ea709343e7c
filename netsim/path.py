"""Both directions of a path, and what came of the packets on it.

The rule: "up" is from the caller to the one who is called, "down" is back.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from netsim.link import Arrival, Link
from netsim.settings import LinkSettings

Way = Literal["up", "down"]
WAYS: tuple[Way, Way] = ("up", "down")


@dataclass(frozen=True, slots=True)
class PathSettings:
    """What the two directions do."""

    up: LinkSettings
    """From the caller to the one who is called."""
    down: LinkSettings
    """Back."""

    def of(self, way: Way) -> LinkSettings:
        """One direction."""
        return self.up if way == "up" else self.down


class Path:
    """Two links with different random numbers from one seed."""

    def __init__(self, settings: PathSettings, seed: int = 0, origin: float = 0.0) -> None:
        """`origin`: the time at which traces and outages begin."""
        self.origin = origin
        self.links: Mapping[Way, Link] = {
            "up": Link(settings.up, 2 * seed, origin),
            "down": Link(settings.down, 2 * seed + 1, origin),
        }
        self._delays: Mapping[Way, array[float]] = {way: array("d") for way in WAYS}

    def send(self, way: Way, packet: bytes, now: float, tag: int = 0) -> bool:
        """Put a packet in; False if its queue had no room."""
        return self.links[way].send(packet, now, tag)

    def due(self) -> float | None:
        """When the next packet is there, of either direction."""
        dues = [at for link in self.links.values() if (at := link.due()) is not None]
        return min(dues, default=None)

    def deliver(self, way: Way, now: float) -> list[Arrival]:
        """What is there by `now` in this direction."""
        out = self.links[way].deliver(now)
        self._delays[way].extend(a.at - a.sent_at for a in out)
        return out

    def report(self, now: float) -> dict[str, dict[str, Any]]:
        """Numbers per direction, for tables and JSON."""
        return {way: self._report(way, now) for way in WAYS}

    def _report(self, way: Way, now: float) -> dict[str, Any]:
        counts = self.links[way].counts()
        delays = sorted(self._delays[way])
        seconds = max(now - self.origin, 1e-9)

        def percentile(p: float) -> float | None:
            if not delays:
                return None
            return round(1000 * delays[min(len(delays) - 1, int(p * len(delays)))], 2)

        return {
            "sent": counts.sent, "delivered": counts.delivered, "duplicated": counts.duplicated,
            "dropped": dict(counts.dropped), "queued": counts.queued,
            "under way": counts.under_way,
            "sent kbps": round(counts.sent_bytes * 8e-3 / seconds, 3),
            "delivered kbps": round(counts.delivered_bytes * 8e-3 / seconds, 3),
            "delay ms p50": percentile(0.5), "delay ms p95": percentile(0.95),
            "delay ms max": percentile(1.0),
        }  # fmt: skip


def report_lines(report: Mapping[str, Mapping[str, Any]], seconds: float) -> list[str]:
    """A report for people."""
    lines = [f"the path, {seconds:.1f} s:"]
    for way, row in report.items():
        dropped = ", ".join(f"{n} {cause}" for cause, n in row["dropped"].items() if n) or "none"
        delay = "nothing arrived"
        if row["delay ms p50"] is not None:
            delay = "delay p50 {} p95 {} max {} ms".format(
                *(f"{row[f'delay ms {k}']:.0f}" for k in ("p50", "p95", "max"))
            )
        lines.append(
            f"  {way:4}  {row['sent']} packets in, {row['delivered']} out, dropped: {dropped}; "
            f"{row['sent kbps']:.1f} kbps in, {row['delivered kbps']:.1f} out (without headers); "
            f"{delay}"
        )
    return lines
