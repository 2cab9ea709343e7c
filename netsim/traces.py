"""A trace: how much a path carries, as a piecewise-constant rate in time.

    trace = Trace.of([(0.0, 256.0), (10.0, 0.0), (12.0, 64.0)], duration_s=60.0)
    trace.scaled(0.05).rate_at(11.0)

The rule: a Trace that exists is valid (times rise from 0, rates are finite and not negative), so
links never check. `Capacity` answers the two questions of a link: how many bytes fit between two
times, and when the next n bytes are through.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from netsim.errors import NetsimError

MAX_SEGMENTS = 8_000_000
MAX_RATE_KBPS = 1e9
MAX_DURATION_S = 1e7
MAX_DELAY_MS = 60_000.0
BYTES_PER_KBIT = 125.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A path's rate, and where the recording has them its delay and loss."""

    starts_s: Floats
    """When each segment begins, seconds, float64 [N]; the first is 0, strictly rising."""
    rate_kbps: Floats
    """What passes in the segment, kbit/s, float64 [N], 0 or more."""
    duration_s: float
    """When the last segment ends, seconds."""
    delay_ms: Floats | None = None
    """One-way delay in the segment, ms, float64 [N]; None: not recorded."""
    loss: Floats | None = None
    """Share of packets lost in the segment, 0..1, float64 [N]; None: not recorded."""
    name: str = ""
    """For people: the file or generator."""
    repeats: bool = True
    """Whether it starts anew at its end; otherwise the last segment goes on for ever."""

    def __post_init__(self) -> None:
        starts = _column("times", self.starts_s, 0.0, MAX_DURATION_S)
        n = len(starts)
        if not 1 <= n <= MAX_SEGMENTS:
            raise NetsimError(f"a trace has 1 to {MAX_SEGMENTS} segments, not {n}")
        if starts[0] != 0 or not np.all(np.diff(starts) > 0):
            raise NetsimError("the times of a trace rise strictly from 0")
        if not starts[-1] < self.duration_s <= MAX_DURATION_S:
            raise NetsimError(
                f"a trace ends after its last segment began and within {MAX_DURATION_S:g} s, "
                f"not at {self.duration_s:g} s"
            )
        object.__setattr__(self, "starts_s", starts)
        for name, top in (("rate_kbps", MAX_RATE_KBPS), ("delay_ms", MAX_DELAY_MS), ("loss", 1.0)):
            values = getattr(self, name)
            if values is None and name != "rate_kbps":
                continue
            column = _column(name, values, 0.0, top)
            if len(column) != n:
                raise NetsimError(f"{name} of a trace has {len(column)} values for {n} segments")
            object.__setattr__(self, name, column)

    @staticmethod
    def of(
        segments: Iterable[tuple[float, float]], duration_s: float, name: str = "",
        repeats: bool = True,
    ) -> Trace:  # fmt: skip
        """From (start in s, rate in kbit/s) pairs."""
        pairs = np.array(list(segments), np.float64).reshape(-1, 2)
        return Trace(pairs[:, 0], pairs[:, 1], duration_s, name=name, repeats=repeats)

    @staticmethod
    def steady(rate_kbps: float) -> Trace:
        """The same rate for ever."""
        return Trace.of([(0.0, rate_kbps)], 1.0, name=f"{rate_kbps:g} kbps")

    def scaled(self, factor: float) -> Trace:
        """The same with `factor` times the rate; delay and loss stay."""
        if not (math.isfinite(factor) and factor > 0):
            raise NetsimError(f"a scale is a positive number, not {factor:g}")
        return replace(self, rate_kbps=self.rate_kbps * factor)

    def named(self, name: str) -> Trace:
        """The same under another name."""
        return replace(self, name=name)

    def index_at(self, time_s: float) -> int:
        """Which segment holds at `time_s` (0 or later)."""
        if self.repeats:
            time_s %= self.duration_s
        return int(np.searchsorted(self.starts_s, time_s, side="right")) - 1

    def rate_at(self, time_s: float) -> float:
        """kbit/s at `time_s`."""
        return float(self.rate_kbps[self.index_at(time_s)])

    def mean_kbps(self) -> float:
        """The rate over the whole trace, kbit/s."""
        return Capacity(self).total_bytes / BYTES_PER_KBIT / self.duration_s

    def binned_kbps(self, step_s: float) -> Floats:
        """Mean rate of each `step_s` seconds, kbit/s; the last bin may be shorter."""
        edges = np.append(np.arange(0.0, self.duration_s, step_s), self.duration_s)
        ends = np.append(self.starts_s[1:], self.duration_s)
        sums = np.concatenate([[0.0], np.cumsum(self.rate_kbps * (ends - self.starts_s))])
        times = np.append(self.starts_s, self.duration_s)
        widths = np.diff(edges)
        keep = widths > 1e-9
        means: Floats = np.diff(np.interp(edges, times, sums))[keep] / widths[keep]
        return means

    def longest_gap_s(self) -> float:
        """The longest time in which nothing passes, seconds (not across the seam)."""
        ends = np.append(self.starts_s[1:], self.duration_s)
        longest, begin = 0.0, None
        for start, end, rate in zip(self.starts_s, ends, self.rate_kbps, strict=True):
            if rate > 0:
                begin = None
                continue
            begin = start if begin is None else begin
            longest = max(longest, float(end - begin))
        return longest


def _column(name: str, values: Floats | None, low: float, high: float) -> Floats:
    column = np.array(values, np.float64)
    if column.ndim != 1:
        raise NetsimError(f"{name} of a trace is one column, not {column.ndim} dimensions")
    if not np.all(np.isfinite(column) & (column >= low) & (column <= high)):
        raise NetsimError(f"{name} of a trace lie in {low:g}..{high:g}")
    column.setflags(write=False)
    return column


@dataclass(slots=True)
class Capacity:
    """A trace's bytes: how many by when, and when how many."""

    trace: Trace
    """Whose bytes these are."""
    total_bytes: float = 0.0
    """What one run of the trace carries."""
    _starts: list[float] = field(default_factory=list)
    _ends: list[float] = field(default_factory=list)
    _rates: list[float] = field(default_factory=list)  # bytes/s
    _sums: list[float] = field(default_factory=list)  # bytes by the start of each, and the end

    def __post_init__(self) -> None:
        trace = self.trace
        self._starts = trace.starts_s.tolist()
        self._ends = [*self._starts[1:], trace.duration_s]
        rates = trace.rate_kbps * BYTES_PER_KBIT
        widths = np.array(self._ends) - trace.starts_s
        self._rates = rates.tolist()
        self._sums = [0.0, *np.cumsum(rates * widths).tolist()]
        self.total_bytes = self._sums[-1]

    def between(self, start_s: float, end_s: float) -> float:
        """Bytes that fit between two times."""
        return self._by(end_s) - self._by(start_s)

    def time_after(self, start_s: float, size: float) -> float:
        """When `size` bytes that begin at `start_s` are through; infinity: never."""
        period, time = self._split(start_s)
        need = self._within(time) + size
        total = self.total_bytes
        if need > total and not self.trace.repeats:
            rate = self._rates[-1]
            return self.trace.duration_s + (need - total) / rate if rate > 0 else math.inf
        if need > total:
            if total <= 0:
                return math.inf
            laps = math.ceil(need / total) - 1
            period += laps
            need = min(max(need - laps * total, 0.0), total)
        i = max(1, bisect_left(self._sums, need))
        rate = self._rates[i - 1]
        if rate <= 0:  # nothing left to wait for
            return start_s
        passed = min((need - self._sums[i - 1]) / rate, self._ends[i - 1] - self._starts[i - 1])
        return max(start_s, period * self.trace.duration_s + self._starts[i - 1] + passed)

    def _by(self, time_s: float) -> float:
        period, time = self._split(time_s)
        return period * self.total_bytes + self._within(time)

    def _split(self, time_s: float) -> tuple[int, float]:
        if not self.trace.repeats:
            return 0, time_s
        period = int(time_s // self.trace.duration_s)
        return period, time_s - period * self.trace.duration_s

    def _within(self, time: float) -> float:
        i = bisect_right(self._starts, time) - 1
        return self._sums[i] + (time - self._starts[i]) * self._rates[i]
