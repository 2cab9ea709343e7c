"""Traces and link settings of every kind, for Hypothesis."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from netsim.loss import BurstLoss, GilbertElliott, IndependentLoss, Loss
from netsim.settings import LinkSettings, Outage
from netsim.traces import Trace

SHARES = st.floats(0, 1)


@st.composite
def traces(draw: st.DrawFn, max_kbps: float = 5000.0) -> Trace:
    """Up to eight segments of 10 ms to 3 s, some of them without any rate."""
    widths = draw(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=8))
    n = len(widths)
    rates = draw(
        st.lists(st.one_of(st.just(0.0), st.floats(1.0, max_kbps)), min_size=n, max_size=n)
    )
    ends = np.cumsum(widths)
    delay_ms = loss = None
    if draw(st.booleans()):
        delay_ms = np.array(draw(st.lists(st.floats(0, 300), min_size=n, max_size=n)))
    if draw(st.booleans()):
        loss = np.array(draw(st.lists(SHARES, min_size=n, max_size=n)))
    return Trace(
        np.concatenate([[0.0], ends[:-1]]), np.array(rates), float(ends[-1]),
        delay_ms=delay_ms, loss=loss, repeats=draw(st.booleans()),
    )  # fmt: skip


def losses() -> st.SearchStrategy[Loss | None]:
    """Every model, and none."""
    return st.one_of(
        st.none(),
        st.builds(IndependentLoss, SHARES),
        st.builds(BurstLoss, SHARES, st.integers(1, 5)),
        st.builds(GilbertElliott, SHARES, SHARES, SHARES, SHARES),
    )


def outages() -> st.SearchStrategy[tuple[Outage, ...]]:
    """None, or up to two."""
    one = st.builds(
        Outage, st.floats(0, 5), st.floats(0.01, 1), st.one_of(st.none(), st.floats(1.1, 4))
    )
    return st.lists(one, max_size=2).map(tuple)


def link_settings() -> st.SearchStrategy[LinkSettings]:
    """Everything on and off in every combination."""
    return st.builds(
        LinkSettings, trace=st.one_of(st.none(), traces()), delay_ms=st.floats(0, 300),
        jitter_ms=st.one_of(st.just(0.0), st.floats(0, 100)),
        jitter=st.sampled_from(["uniform", "exponential"]), loss=losses(), reorder=SHARES,
        reorder_ms=st.floats(0, 100), duplicate=SHARES,
        queue_bytes=st.one_of(st.none(), st.floats(100, 20_000)),
        queue_packets=st.one_of(st.none(), st.integers(1, 20)), outages=outages(),
    )  # fmt: skip


def sends() -> st.SearchStrategy[list[tuple[float, int]]]:
    """(seconds since the one before, bytes) of packets."""
    gap = st.one_of(st.just(0.0), st.floats(0, 0.2))
    return st.lists(st.tuples(gap, st.integers(0, 1500)), max_size=60)
