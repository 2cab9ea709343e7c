"""Datagrams as bytes, and both halves of the mode that uses them."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.profile import EncodedFrame
from quic_transport.datagram import (
    MAX_DATAGRAM_BYTES,
    Datagram,
    DatagramFrame,
    Report,
    decode_datagram,
    encode_datagram,
    expand,
)
from quic_transport.datagram_media import DatagramMedia
from quic_transport.datagram_receiver import DatagramReceiver
from quic_transport.datagram_sender import DatagramSender
from quic_transport.errors import LocalError, WireError
from quic_transport.limits import RateLimit
from quic_transport.packet_watch import PacketWatch
from quic_transport.rate_control import RateControl, redundancy_for
from tests.quic_transport.strategies import arrival_orders

GOLDEN = {
    "a keyframe": (
        Datagram(7, 0x0A0B0C, (DatagramFrame(5, 0, 20, b"\xaa\xaa"),)),
        "01 07 0c0b0a 0500 00 14 02 aaaa",
    ),
    "two frames and a report": (
        Datagram(
            8, 1000, (DatagramFrame(300, 3, 4, b"\xbb"), DatagramFrame(299, 4, 54, b"\xcc")),
            Report(290, 0b11, 0.2, 0.02),
        ),
        "0a 08 e80300 2201 0300 33 05 2c01 03 04 01 bb 00 04 32 01 cc",
    ),
    "a report of bursts": (
        Datagram(9, 1050, (), Report(290, 0b11, 0.4, 0.0, bursts=True)),
        "28 09 1a0400 2201 0300 66 00",
    ),
    "alive": (Datagram(0, 0), "00 00 000000"),
    "a frame that stands alone, please": (Datagram(255, 1, (), None, True), "10 ff 010000"),
}  # fmt: skip


@pytest.mark.parametrize("name", GOLDEN)
def test_datagram_golden_bytes(name: str) -> None:
    datagram, text = GOLDEN[name]
    data = bytes.fromhex(text)
    assert encode_datagram(datagram) == data
    assert decode_datagram(data) == datagram


@given(st.binary(max_size=MAX_DATAGRAM_BYTES + 10))
def test_any_bytes_give_a_datagram_or_a_wire_error(data: bytes) -> None:
    try:
        datagram = decode_datagram(data)
    except WireError:
        return
    assert len(datagram.frames) <= 7
    assert all(0 < len(f.payload) <= 1024 for f in datagram.frames)


def test_truncated_and_lengthened_datagrams_are_refused() -> None:
    data = encode_datagram(GOLDEN["two frames and a report"][0])
    for size in range(len(data)):
        with pytest.raises(WireError):
            decode_datagram(data[:size])
    with pytest.raises(WireError, match="too many"):
        decode_datagram(data + b"\0")
    with pytest.raises(WireError, match="limit"):
        decode_datagram(bytes(MAX_DATAGRAM_BYTES + 1))
    with pytest.raises(WireError, match="flags"):
        decode_datagram(b"\x40" + bytes(4))
    with pytest.raises(WireError, match="flags"):
        decode_datagram(b"\x20" + bytes(4))  # bursts, but no report


@given(st.integers(0, 2**40), st.integers(-(2**15), 2**15 - 1))
def test_low_bits_find_the_number_that_is_near(near: int, off: int) -> None:
    assert expand((near + off) % 2**16, 16, near) == near + off


def frame(sequence: int, time_s: float, reference: int | None = None) -> EncodedFrame:
    payload = bytes([sequence % 256]) * 20
    return EncodedFrame(sequence, reference is None, time_s, payload, reference)


class Pair:
    """A sender and a receiver with a way between them that the test controls."""

    def __init__(self, budget_s: float = 0.0) -> None:
        sender = DatagramSender(20, budget_s)
        receiver = DatagramReceiver(RateLimit(200, 1024), 1_000_000)
        self.sender, self.receiver = sender, receiver
        self.out = DatagramMedia(sender, None, 1000.0)
        self.back = DatagramMedia(None, receiver, 1000.0)
        self.now = 1000.0
        self.next = 0
        self.got: list[EncodedFrame] = []

    def tick(self, arrives: bool = True, report_arrives: bool = True) -> bytes | None:
        """50 ms: a frame is captured, coded against what may be one, and sent."""
        self.now += 0.05
        if self.sender.can_send(self.now):
            coded = frame(self.next, self.now, self.sender.reference())
            self.sender.send(coded, self.now)
            self.next += 1
        data = self.out.to_send(self.now)
        if data is not None and arrives:
            self.arrive(data)
        report = self.back.to_send(self.now + 0.01)
        if report is not None and report_arrives:
            self.out.receive(report, self.now + 0.02)
        return data

    def arrive(self, data: bytes) -> None:
        frames, _ = self.back.receive(data, self.now + 0.01)
        for one in frames:
            self.got.append(one)
            self.receiver.decoded(one.sequence, self.now + 0.01)


def test_frames_are_predicted_only_from_frames_that_were_decoded() -> None:
    pair, rng = Pair(), random.Random(3)
    for _ in range(400):
        known = {f.sequence for f in pair.got}
        before = len(pair.got)
        pair.tick(rng.random() > 0.3, rng.random() > 0.3)
        for one in pair.got[before:]:
            assert one.reference is None or one.reference in known
    assert sum(f.key for f in pair.got) < 10
    assert [f.capture_time for f in pair.got] == pytest.approx(
        [1000.05 + 0.05 * f.sequence for f in pair.got], abs=0.3
    )


def test_loss_is_measured_and_answered_with_repetition() -> None:
    pair, rng = Pair(), random.Random(5)
    for _ in range(100):
        pair.tick()
    assert pair.sender.loss == 0
    assert pair.sender.counts().repeated_bytes == 0
    for _ in range(600):
        pair.tick(rng.random() > 0.1)
    assert 0.03 < pair.sender.loss < 0.25
    lost = pair.next - len(pair.got)
    assert lost < 0.03 * 600  # of some 60 that were lost once
    assert pair.sender.counts().repeated_bytes > 0


def test_outage_leaves_frames_that_stand_alone() -> None:
    pair = Pair()
    for _ in range(50):
        pair.tick()
    for _ in range(60):
        pair.tick(arrives=False)
    before = len(pair.got)
    pair.tick()
    assert pair.got[before].key


def test_datagrams_doubled_reordered_and_replayed_bring_each_frame_once() -> None:
    pair = Pair()
    sent = [data for _ in range(60) if (data := pair.tick(arrives=False)) is not None]
    for order in ([3, 1, 2, 0, 5, 4], range(6, 60), range(60), [10, 50, 59]):
        for index in order:
            if index < len(sent):
                pair.arrive(sent[index])
    numbers = [f.sequence for f in pair.got]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == set(range(pair.next))


@given(arrival_orders(40))
def test_whatever_the_order_a_frame_comes_at_most_once(order: list[int]) -> None:
    receiver = DatagramReceiver(RateLimit(1e9, 1e9), 0)
    seen: set[int] = set()
    for position, index in enumerate(order):
        datagram = Datagram(index % 256, index * 50, (DatagramFrame(index, 0, 0, b"x"),))
        for one in receiver.receive(datagram, position * 0.05):
            assert one.sequence not in seen
            assert one.capture_time == pytest.approx(index * 0.05)
            seen.add(one.sequence)
    assert seen == set(order)


def test_lost_reference_is_asked_for_until_a_frame_stands_alone() -> None:
    pair = Pair()
    for _ in range(20):
        pair.tick()
    assert pair.receiver.request_key(pair.now)
    assert not pair.receiver.request_key(pair.now) or pair.receiver.wants_key
    data = pair.back.to_send(pair.now)
    assert data is not None
    assert decode_datagram(data).wants_key
    _, asked = pair.out.receive(data, pair.now)
    assert asked
    assert pair.sender.reference() is None
    before = len(pair.got)
    for _ in range(3):
        pair.tick()
    assert pair.got[before].key
    assert not pair.receiver.wants_key


def test_old_acknowledgements_do_not_bring_a_forgotten_reference_back() -> None:
    pair = Pair()
    for _ in range(20):
        pair.tick()
    assert pair.sender.keyframe_requested(pair.now)
    pair.sender.report(Report(10, 0, 0.0, 0.0), pair.now)
    assert pair.sender.reference() is None
    assert not pair.sender.keyframe_requested(pair.now)  # once is enough


def test_budget_joins_two_frames_in_a_packet() -> None:
    pair = Pair(budget_s=0.05)
    packets = [data for _ in range(200) if (data := pair.tick()) is not None]
    assert pair.sender.per_packet == 2
    assert len(packets) < 0.6 * pair.next
    assert [f.sequence for f in pair.got] == list(range(len(pair.got)))


def test_newest_frames_replace_the_oldest_before_the_wire() -> None:
    sender = DatagramSender(20)
    for i in range(5):  # the transport takes none
        sender.send(frame(i, i * 0.05), i * 0.05)
    assert [f.sequence for f in sender.take(0.25)] == [4]
    assert sender.counts().dropped == 4


def test_frames_that_cannot_cross_are_our_mistake() -> None:
    sender = DatagramSender(20)
    with pytest.raises(LocalError, match="bytes"):
        sender.send(EncodedFrame(0, True, 0.0, bytes(2000)), 0.0)
    sender.send(frame(5, 0.0), 0.0)
    with pytest.raises(LocalError, match="follow"):
        sender.send(frame(5, 0.0), 0.0)


def test_flood_of_frames_ends_in_a_wire_error() -> None:
    receiver = DatagramReceiver(RateLimit(10, 20), 0)
    for i in range(20):
        receiver.receive(Datagram(i, i, (DatagramFrame(i, 0, 0, b"x"),)), 0.0)
    with pytest.raises(WireError, match="faster"):
        receiver.receive(Datagram(20, 20, (DatagramFrame(20, 0, 0, b"x"),)), 0.0)


def test_watch_tells_queueing_from_loss() -> None:
    watch = PacketWatch(0)
    for i in range(400):
        late = 0.2 if i >= 200 else 0.0
        if i % 5:
            watch.note(i % 256, i * 50, i * 0.05 + 0.03 + late)
    assert watch.loss == pytest.approx(0.2, abs=0.05)
    assert watch.queue_s == pytest.approx(0.2, abs=0.01)


@given(st.integers(3, 6), st.integers(1, 4))
def test_watch_knows_bursts_while_they_last(length: int, between: int) -> None:
    watch, period = PacketWatch(0), length * (1 + between)
    for i in range(400):
        if i % period >= length:
            watch.note(i % 256, i * 50, i * 0.05)
            assert watch.bursts or i < 3 * period + 8
    for i in range(400, 900):
        watch.note(i % 256, i * 50, i * 0.05)
    assert not watch.bursts


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2])
def test_watch_takes_independent_losses_for_no_bursts(share: float) -> None:
    rng, told = random.Random(7), 0
    for _ in range(20):
        watch = PacketWatch(0)
        for i in range(400):
            if rng.random() > share:
                watch.note(i % 256, i * 50, i * 0.05)
                told += watch.bursts
    assert told < 0.01 * 20 * 400


def test_bursts_cost_the_budget_and_bring_echoes() -> None:
    pair = Pair(budget_s=0.05)
    calm = [data for _ in range(100) if (data := pair.tick()) is not None]
    pair.sender.report(Report(pair.next - 1, 0, 0.2, 0.0, bursts=True), pair.now)
    assert pair.sender.per_packet == 1
    number = pair.next
    pair.sender.send(frame(number, pair.now, pair.sender.reference()), pair.now)
    assert next(f.sequence for f in pair.sender.take(pair.now)) == number  # alone and at once
    echo_at = pair.sender.next_time()
    assert echo_at is not None
    assert echo_at == pytest.approx(pair.now + 0.025)
    assert number in [f.sequence for f in pair.sender.take(echo_at)]
    assert len(calm) < 60
    pair.sender.report(Report(number, 0, 0.2, 0.0), pair.now)
    assert pair.sender.per_packet == 2


def test_watch_takes_the_first_datagram_after_any_outage() -> None:
    for lost in (10, 100, 200, 256, 300, 5000):
        watch = PacketWatch(0)
        for i in range(20):
            assert watch.note(i % 256, i * 50, i * 0.05) is not None
        after = 20 + lost
        assert watch.note(after % 256, after * 50, after * 0.05) == after * 50
        assert watch.note(19, 19 * 50, after * 0.05) is None


def test_rate_follows_a_queue_down_and_grows_where_it_is_the_limit() -> None:
    rate, now = RateControl(), 0.0
    sent = 0

    def run(seconds: float, queue_s: float) -> None:
        nonlocal now, sent
        for _ in range(int(seconds * 20)):
            now += 0.05
            if rate.may_send(now):
                sent += 1
                rate.sent(sent, 150, now)
            if sent % 3 == 0:
                rate.report(sent, queue_s, now)

    run(5, 0.0)
    free = rate.bytes_per_s
    assert free > 2500
    run(3, 0.3)
    assert rate.bytes_per_s < 0.6 * free
    slow = rate.bytes_per_s
    run(10, 0.0)
    assert rate.bytes_per_s > 1.3 * slow


def test_redundancy_by_loss() -> None:
    assert [redundancy_for(p) for p in (0.0, 0.01, 0.05, 0.2, 0.3, 0.5)] == [0, 0, 0.5, 0.5, 1, 2]
