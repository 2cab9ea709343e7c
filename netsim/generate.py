"""Networks that people meet, made up: train, lift, satellite, wifi, gprs.

    trace = generate("train", duration_s=300, seed=1)

The rule: the same name, duration and seed give the same trace on every machine. The shapes are
what such networks do (gaps, hand-overs, stalls), the numbers are orders of magnitude and no
measurement.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np

from netsim.errors import NetsimError
from netsim.traces import MAX_DURATION_S, Trace


class Rows:
    """Segments as they are made: each begins where the one before ends."""

    def __init__(self, duration_s: float) -> None:
        self.duration_s = duration_s
        self.time = 0.0
        self._rows: list[tuple[float, float, float, float]] = []

    @property
    def full(self) -> bool:
        """Whether the duration is reached."""
        return self.time >= self.duration_s

    def add(self, length_s: float, kbps: float, delay_ms: float, loss: float = 0.0) -> None:
        """One more segment."""
        if not self.full:
            row = (self.time, round(kbps, 2), round(delay_ms, 1), round(min(1.0, loss), 4))
            self._rows.append(row)
            self.time = round(self.time + length_s, 3)

    def trace(self, name: str) -> Trace:
        """What was added, up to the duration."""
        starts, kbps, delay, loss = np.array(self._rows).T
        return Trace(starts, kbps, self.duration_s, delay_ms=delay, loss=loss, name=name)


def _walk(rng: random.Random, at: float, home: float, swing: float) -> float:
    """A step of a walk in decades around `home`, drawn back to it."""
    log = math.log(at / home)
    return home * math.exp(max(-3.0, min(3.0, 0.9 * log + rng.gauss(0.0, swing))))


def train(rows: Rows, rng: random.Random) -> None:
    """Mobile network along a railway: a wandering rate, hand-overs every half minute, tunnels."""
    kbps, tunnel_at = 1500.0, rng.uniform(20, 90)
    handover_at = rng.uniform(10, 40)
    while not rows.full:
        if rows.time >= tunnel_at:
            for share in (0.3, 0.08):
                rows.add(1.0, kbps * share, 150, 0.05)
            rows.add(rng.uniform(3, 20), 0.0, 150, 0.0)
            rows.add(1.5, kbps * 0.2, 200, 0.03)
            tunnel_at = rows.time + rng.uniform(30, 180)
        elif rows.time >= handover_at:
            rows.add(rng.uniform(0.2, 1.2), 0.0, 80, 0.0)
            kbps = 1500.0 * math.exp(rng.gauss(0.0, 0.8))
            handover_at = rows.time + rng.uniform(15, 60)
        else:
            kbps = _walk(rng, kbps, 1500.0, 0.35)
            rows.add(0.5, kbps, 50 + 30 * rng.random(), 0.01 * rng.random())


def lift(rows: Rows, rng: random.Random) -> None:
    """A phone that is carried into a steel box now and then."""
    ride_at = rng.uniform(5, 15)
    while not rows.full:
        if rows.time >= ride_at:
            for step in range(8):  # the doors close
                rows.add(0.25, 6000 * 0.4 ** (step + 1), 40 + 10 * step, 0.04 * step)
            for _ in range(round(rng.uniform(30, 80))):
                rows.add(0.5, rng.choice((0.0, 0.0, 4.0, 12.0, 25.0)), 250, 0.3)
            rows.add(rng.uniform(0.5, 2.5), 0.0, 60, 0.0)  # finding the network again
            ride_at = rows.time + rng.uniform(20, 90)
        else:
            rows.add(0.5, 6000 * math.exp(rng.gauss(0.0, 0.2)), 35 + 10 * rng.random(), 0.002)


def satellite(rows: Rows, rng: random.Random) -> None:
    """Low orbit: every 15 s another satellite, with another delay and a short gap before."""
    while not rows.full:
        delay = rng.uniform(22, 60)
        kbps = rng.uniform(15_000, 90_000)
        gap = rng.uniform(0.03, 0.3) if rng.random() < 0.8 else rng.uniform(0.5, 2.0)
        for _ in range(14):
            rows.add(1.0, kbps * rng.uniform(0.7, 1.1), delay + 6 * rng.random(), 0.003)
        rows.add(1.0 - min(gap, 0.9), kbps * 0.5, delay, 0.02)
        rows.add(gap, 0.0, delay, 0.0)


def wifi(rows: Rows, rng: random.Random) -> None:
    """One channel for too many: a new rate every 100 ms, stalls of up to half a second."""
    kbps, busy = 3000.0, False
    while not rows.full:
        busy = rng.random() < (0.97 if busy else 0.02)
        kbps = _walk(rng, kbps, 250.0 if busy else 3000.0, 0.5)
        if rng.random() < (0.12 if busy else 0.01):
            rows.add(rng.uniform(0.05, 0.5), 0.0, 10, 0.0)
        rows.add(0.1, kbps, 4 + rng.expovariate(1 / (40 if busy else 4)), 0.04 if busy else 0.003)


def gprs(rows: Rows, rng: random.Random) -> None:
    """The slowest mobile network still on the air: 10-40 kbps, half a second away, with gaps."""
    reselect_at = rng.uniform(20, 80)
    while not rows.full:
        if rows.time >= reselect_at:
            rows.add(rng.uniform(0.8, 5.0), 0.0, 600, 0.0)
            reselect_at = rows.time + rng.uniform(30, 150)
        slots = rng.choices((1, 2, 3), (2, 5, 3))[0]  # time slots of 9-13 kbps
        rows.add(rng.uniform(1, 6), slots * rng.uniform(9, 13.4), rng.uniform(280, 700), 0.005)


NETWORKS: dict[str, Callable[[Rows, random.Random], None]] = {
    "train": train,
    "lift": lift,
    "satellite": satellite,
    "wifi": wifi,
    "gprs": gprs,
}


def generate(name: str, duration_s: float = 300.0, seed: int = 0) -> Trace:
    """A trace of the network `name`; NetsimError names those that there are."""
    if name not in NETWORKS:
        raise NetsimError(f"there is no network {name!r}; there are {', '.join(NETWORKS)}")
    if not 1 <= duration_s <= min(86_400.0, MAX_DURATION_S):
        raise NetsimError(f"a generated trace lasts 1..86400 s, not {duration_s:g}")
    rows = Rows(float(duration_s))
    NETWORKS[name](rows, random.Random(f"{name}/{seed}"))
    return rows.trace(f"{name}:{seed}")
