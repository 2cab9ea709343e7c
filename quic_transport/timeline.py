"""When each frame passed each stage, and what that says about latency.

The rule: memory is flat however long the call: a fixed number of frames in flight and a fixed
histogram per duration. The histogram's bins grow by 2 % from 10 µs to 10 minutes, so a quantile
is within 1 % of the truth; the extremes, mean and count are exact.
"""

from __future__ import annotations

import json
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from quic_transport.errors import LocalError

LOWEST_S = 1e-5
GROWTH = 1.02
BINS = math.ceil(math.log(600 / LOWEST_S) / math.log(GROWTH)) + 1  # about 900


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """One duration's distribution; all in seconds."""

    count: int
    """Samples."""
    mean: float
    """Arithmetic mean, exact; NaN without samples, as all below."""
    p50: float
    """Median."""
    p95: float
    """95th percentile."""
    max: float
    """The largest, exact."""


class Histogram:
    """Durations in logarithmic bins; negative ones (clock error) count as zero in the bins."""

    def __init__(self) -> None:
        self._bins = [0] * BINS
        self._count = 0
        self._sum = 0.0
        self._min = math.inf
        self._max = -math.inf

    def add(self, seconds: float) -> None:
        """Count one duration."""
        if not math.isfinite(seconds):
            raise LocalError(f"a duration must be finite, not {seconds}")
        bin_ = 0
        if seconds > LOWEST_S:
            bin_ = min(BINS - 1, math.ceil(math.log(seconds / LOWEST_S) / math.log(GROWTH)))
        self._bins[bin_] += 1
        self._count += 1
        self._sum += seconds
        self._min = min(self._min, seconds)
        self._max = max(self._max, seconds)

    def quantile(self, q: float) -> float:
        """The duration that a share `q` in [0, 1] of the samples does not exceed (nearest rank)."""
        if self._count == 0:
            return math.nan
        rank = max(1, math.ceil(q * self._count))
        seen = 0
        for bin_, n in enumerate(self._bins):
            seen += n
            if seen >= rank:
                middle: float = LOWEST_S * GROWTH ** (bin_ - 0.5)
                return min(max(middle, self._min), self._max)
        raise AssertionError("the bins add up to the count")

    def summary(self) -> LatencySummary:
        """The distribution so far."""
        if self._count == 0:
            return LatencySummary(0, math.nan, math.nan, math.nan, math.nan)
        return LatencySummary(
            self._count, self._sum / self._count, self.quantile(0.5), self.quantile(0.95),
            self._max,
        )  # fmt: skip


class Timeline:
    """Stamps of the frames in flight and histograms of the durations that are asked for.

    `durations` maps a name to the pair of stages that it spans, e.g.
    {"extract": ("captured", "extracted"), "end to end": ("captured", "shown")}.
    """

    def __init__(
        self, durations: Mapping[str, tuple[str, str]], *, in_flight: int = 256,
        log: IO[str] | None = None,
    ) -> None:  # fmt: skip
        """At most `in_flight` frames are remembered; `log` gets one JSON line per frame when it
        is forgotten or `finish`ed."""
        if in_flight < 1:
            raise LocalError(f"a timeline remembers at least one frame, not {in_flight}")
        self._durations = dict(durations)
        self._histograms = {name: Histogram() for name in durations}
        self._frames: OrderedDict[int, dict[str, float]] = OrderedDict()
        self._in_flight = in_flight
        self._log = log
        self._lock = threading.Lock()

    def stamp(self, seq: int, stage: str, now: float) -> None:
        """Frame `seq` passed `stage` at `now` (seconds). The first stamp of a stage counts."""
        with self._lock:
            stamps = self._frames.get(seq)
            if stamps is None:
                stamps = self._frames[seq] = {}
                if len(self._frames) > self._in_flight:
                    self._write(*self._frames.popitem(last=False))
            if stage in stamps:
                return
            stamps[stage] = now
            for name, (start, end) in self._durations.items():
                if stage in (start, end) and start in stamps and end in stamps:
                    self._histograms[name].add(stamps[end] - stamps[start])

    def add(self, name: str, seconds: float) -> None:
        """Count a duration that was measured elsewhere, under any name."""
        with self._lock:
            self._histograms.setdefault(name, Histogram()).add(seconds)

    def summary(self) -> dict[str, LatencySummary]:
        """Every duration's distribution so far, in the order in which they were named."""
        with self._lock:
            return {name: h.summary() for name, h in self._histograms.items()}

    def finish(self) -> None:
        """Write the frames still in flight to the log."""
        with self._lock:
            while self._frames:
                self._write(*self._frames.popitem(last=False))
            if self._log is not None:
                self._log.flush()

    def _write(self, seq: int, stamps: dict[str, float]) -> None:
        if self._log is not None:
            stages = {stage: round(t, 6) for stage, t in stamps.items()}
            self._log.write(json.dumps({"seq": seq, **stages}) + "\n")
