"""The link keeps its books, its order, its rate and its word."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsim.errors import NetsimError
from netsim.link import Arrival, Link, LinkCounts
from netsim.loss import BurstLoss, GilbertElliott, IndependentLoss, Loss, parse_loss
from netsim.settings import LinkSettings, Outage
from netsim.traces import Capacity, Trace
from tests.netsim.strategies import link_settings, sends, traces

Sends = list[tuple[float, int]]


def drive(link: Link, packets: Sends, origin: float = 0.0) -> list[Arrival]:
    """Send all, looking after each; then wait for everything that comes within an hour."""
    now, out = origin, []
    for number, (gap, size) in enumerate(packets):
        now += gap
        link.send(bytes(size), now, tag=number)
        assert link.counts().balanced()
        out += link.deliver(now)
        assert link.counts().balanced()
    while (at := link.due()) is not None and at < origin + 3600:
        now = max(now, at)
        out += link.deliver(now)
    return out


@given(link_settings(), sends(), st.integers(0, 5))
@settings(max_examples=150)
def test_link_every_packet_is_accounted_for(how: LinkSettings, packets: Sends, seed: int) -> None:
    link = Link(how, seed)
    out = drive(link, packets)
    link.deliver(1e9)
    counts = link.counts()
    assert counts.balanced()
    assert counts.sent == len(packets)
    assert len({a.tag for a in out}) + counts.duplicated == len(out)
    assert all(a.at >= a.sent_at + how.delay_ms / 1000 - 1e-9 for a in out)
    assert all(len(a.packet) == packets[a.tag][1] for a in out)
    assert [a.at for a in out] == sorted(a.at for a in out)
    forever = how.trace is not None and (
        how.trace.mean_kbps() == 0 or not (how.trace.repeats or how.trace.rate_kbps[-1] > 0)
    )
    assert forever or counts.queued + counts.under_way == 0


@given(link_settings(), sends(), st.integers(0, 5), st.floats(0, 1e5))
@settings(max_examples=80)
def test_link_same_seed_same_deliveries(
    how: LinkSettings, packets: Sends, seed: int, origin: float
) -> None:
    first, second = (drive(Link(how, seed, origin), packets, origin) for _ in range(2))
    assert first == second


@given(link_settings(), sends())
@settings(max_examples=80)
def test_link_looking_more_often_changes_nothing(how: LinkSettings, packets: Sends) -> None:
    often, seldom = Link(how, 3), Link(how, 3)
    seen = drive(often, packets)
    now = 0.0
    for number, (gap, size) in enumerate(packets):
        now += gap
        seldom.send(bytes(size), now, tag=number)
    assert [a for a in seldom.deliver(1e9) if a.at < 3600] == seen


@given(traces(), sends(), st.floats(0, 100))
@settings(max_examples=150)
def test_link_rate_is_never_exceeded(trace: Trace, packets: Sends, delay_ms: float) -> None:
    how = LinkSettings(trace=Trace(trace.starts_s, trace.rate_kbps, trace.duration_s,
                                   repeats=trace.repeats), delay_ms=delay_ms)  # fmt: skip
    out = drive(Link(how), packets)
    capacity = Capacity(trace)
    left = [a.at - delay_ms / 1000 for a in out]
    for i in range(len(out)):
        total = 0
        for j in range(i + 1, len(out)):
            total += len(out[j].packet) + how.overhead_bytes
            assert total <= capacity.between(max(0.0, left[i] - 1e-9), left[j] + 1e-9) + 0.01


@given(link_settings(), sends())
@settings(max_examples=80)
def test_link_without_reordering_keeps_the_order(how: LinkSettings, packets: Sends) -> None:
    out = drive(Link(replace(how, reorder=0.0), 1), packets)
    assert [a.tag for a in out] == sorted(a.tag for a in out)


def test_link_reordering_lets_later_packets_pass() -> None:
    link = Link(LinkSettings(delay_ms=10, reorder=0.2, reorder_ms=30), seed=2)
    tags = [a.tag for a in drive(link, [(0.01, 50)] * 500)]
    assert sorted(tags) == list(range(500))
    late = sum(tag < max(tags[:i], default=0) for i, tag in enumerate(tags))
    assert 60 < late < 140


def test_link_steady_rate_spaces_packets() -> None:
    link = Link(LinkSettings(trace=Trace.steady(8.0), delay_ms=5, overhead_bytes=0))  # 1000 B/s
    out = drive(link, [(0.0, 100)] * 3 + [(1.0, 50)])
    assert [round(a.at, 9) for a in out] == [0.105, 0.205, 0.305, 1.055]


def test_link_queue_drops_what_does_not_fit() -> None:
    how = LinkSettings(trace=Trace.steady(8.0), queue_bytes=250, overhead_bytes=0)
    link = Link(how)
    assert [link.send(bytes(100), 0.0) for _ in range(4)] == [True, True, False, False]
    assert link.send(bytes(100), 0.11)
    few = Link(LinkSettings(trace=Trace.steady(8.0), queue_packets=1))
    assert [few.send(b"", 0.0), few.send(b"", 0.0)] == [True, False]
    assert few.counts().dropped["queue full"] == 1


def test_link_outage_loses_what_would_leave_then() -> None:
    link = Link(LinkSettings(outages=(Outage(1.0, 0.5, every_s=2.0),)))
    out = drive(link, [(0.125, 10)] * 40)  # at 0.125, 0.25, ... 5.0
    lost = set(range(40)) - {a.tag for a in out}
    assert len(lost) == link.counts().dropped["outage"] == 9
    assert all(1.0 <= (0.125 * (tag + 1)) % 2 < 1.5 for tag in lost)


def test_link_trace_columns_delay_and_lose() -> None:
    base = Trace.of([(0.0, 1e6), (1.0, 1e6)], 2.0, repeats=False)
    trace = Trace(base.starts_s, base.rate_kbps, 2.0, delay_ms=[10, 40], loss=[1, 0])  # type: ignore[arg-type]
    link = Link(LinkSettings(trace=trace))
    link.send(b"x", 0.5)
    link.send(b"y", 1.5)
    (arrival,) = link.deliver(9.0)
    assert arrival.packet == b"y"
    assert arrival.at == pytest.approx(1.54, abs=1e-3)


def test_link_dead_trace_keeps_packets_for_ever() -> None:
    link = Link(LinkSettings(trace=Trace.steady(0.0)))
    link.send(b"x", 0.0)
    assert link.due() is None
    assert link.deliver(1e9) == []
    assert link.counts().queued == 1


@pytest.mark.parametrize(
    ("loss", "share"),
    [
        (IndependentLoss(0.1), 0.1),
        (BurstLoss(0.3, 3), 0.3),
        (GilbertElliott(0.02, 0.3), 0.0625),
        (GilbertElliott(0.05, 0.2, 0.5, 0.01), 0.2 * 0.5 + 0.8 * 0.01),
    ],
)
def test_loss_long_run_share(loss: Loss, share: float) -> None:
    assert loss.share == pytest.approx(share)
    link = Link(LinkSettings(loss=loss), seed=7)
    n = 40_000
    drive(link, [(0.0, 1)] * n)
    assert link.counts().dropped["loss"] / n == pytest.approx(share, rel=0.08)


def test_loss_bursts_have_their_length() -> None:
    link = Link(LinkSettings(loss=BurstLoss(0.1, 3)), seed=1)
    there = {a.tag for a in drive(link, [(0.0, 1)] * 3000)}
    runs, run = [], 0
    for tag in range(3000):
        if tag in there:
            runs += [run] if run else []
            run = 0
        else:
            run += 1
    assert runs
    assert all(r % 3 == 0 for r in runs)


def test_link_time_running_backwards_is_refused() -> None:
    link = Link(LinkSettings())
    link.send(b"", 1.0)
    with pytest.raises(NetsimError, match="backwards"):
        link.deliver(0.5)


def test_link_mechanisms_have_their_own_numbers() -> None:
    plain = Link(LinkSettings(loss=IndependentLoss(0.3)), seed=5)
    busy = Link(LinkSettings(loss=IndependentLoss(0.3), jitter_ms=5, duplicate=0.5), seed=5)
    packets = [(0.01, 20)] * 200
    assert {a.tag for a in drive(plain, packets)} == {a.tag for a in drive(busy, packets)}


def test_link_golden_deliveries() -> None:
    """A fixed seed means these deliveries, on every machine and in every later version."""
    how = LinkSettings(
        trace=Trace.of([(0.0, 64.0), (0.5, 0.0), (0.7, 16.0)], 1.0), delay_ms=20, jitter_ms=10,
        loss=GilbertElliott(0.1, 0.4), reorder=0.1, duplicate=0.1, queue_bytes=600,
    )  # fmt: skip
    link = Link(how, seed=11)
    out = drive(link, [(0.03, 40 + 10 * (i % 5)) for i in range(40)])
    assert [(a.tag, round(a.at * 1e4)) for a in out] == GOLDEN
    assert link.counts().dropped == {"queue full": 5, "loss": 11, "outage": 0}


GOLDEN = [
    (0, 674), (4, 1891), (5, 2172), (6, 2452), (8, 3319), (11, 3914), (12, 4237), (13, 4545),
    (14, 4854), (15, 5130), (17, 8126), (18, 8566), (18, 8566), (19, 9069), (20, 9441), (21,
    9808), (24, 10301), (26, 10403), (26, 10403), (27, 10661), (29, 10667), (29, 10667), (30,
    10698), (31, 10773), (31, 10773), (37, 11753), (38, 12076), (39, 12384), (39, 12384),
]  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        {"delay_ms": -1}, {"delay_ms": math.nan}, {"jitter_ms": math.inf}, {"reorder": 1.1},
        {"duplicate": -0.1}, {"queue_bytes": 0}, {"queue_packets": 0}, {"jitter": "pareto"},
        {"overhead_bytes": -1},
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(NetsimError):
        LinkSettings(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [(-1, 1, None), (0, 0, None), (0, 2, 1), (0, 1, math.inf)])
def test_outage_out_of_range_is_refused(bad: tuple[float, float, float | None]) -> None:
    with pytest.raises(NetsimError):
        Outage(*bad)


@pytest.mark.parametrize(
    ("text", "loss"),
    [
        ("0.05", IndependentLoss(0.05)),
        ("burst:0.3,3", BurstLoss(0.3, 3)),
        ("ge:0.01,0.2", GilbertElliott(0.01, 0.2)),
        ("ge:0.01,0.2,0.5,0.1", GilbertElliott(0.01, 0.2, 0.5, 0.1)),
    ],
)
def test_parse_loss_known_forms(text: str, loss: Loss) -> None:
    assert parse_loss(text) == loss


@given(
    st.text(max_size=20) | st.sampled_from(["burst:", "ge:1", "burst:nan,nan", "2", "ge:1e999,1"])
)
def test_parse_loss_anything_else_is_one_sentence(text: str) -> None:
    try:
        parse_loss(text)
    except NetsimError:
        pass


def test_counts_notice_a_missing_packet() -> None:
    books = Link(LinkSettings()).counts()
    assert books.balanced()
    wrong = LinkCounts(1, 0, 0, 0, 0, books.dropped, 0, 0, 0)
    assert not wrong.balanced()
