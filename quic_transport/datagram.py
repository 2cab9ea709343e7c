"""One media datagram as bytes: frames, and the report on the frames of the other direction.

    flags 1 | counter 1 | sent 3 | report 6, if any | frames, newest first

The rule: a datagram never has more than MAX_DATAGRAM_BYTES (aioquic keeps a longer one for ever and
everything behind it), and any bytes give a datagram or raise WireError. Sequences and times cross
as their low bits; `expand` finds the rest, the shorter way around.
Reference: docs/wire-format.md, "Datagrams"; redundancy in the packet as in RED (RFC 2198).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from quic_transport.errors import WireError
from quic_transport.wire import Reader, Writer

MAX_DATAGRAM_BYTES = 1150
MAX_FRAMES = 7
MAX_PAYLOAD_BYTES = 1024
MAX_LAG = 255
MAX_AGE_MS = 60_000
SEQUENCE_BITS, TIME_BITS = 16, 24
QUEUE_UNIT_S = 0.004
HAS_REPORT, WANTS_KEY, BURSTS = 8, 16, 32
FRAME_HEADER_BYTES = 9  # at most, of a frame whose payload is below 128 bytes


@dataclass(frozen=True, slots=True)
class DatagramFrame:
    """One frame as it crosses."""

    sequence: int
    """Low 16 bits of its number."""
    lag: int
    """How many frames before it its reference stands, 1..255; 0: it stands alone."""
    age_ms: int
    """From its capture to the sending of this datagram, ms, >= 0."""
    payload: bytes
    """The codec's bytes, 1 to 1,024."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a receiver tells the sender of its frames."""

    newest: int
    """Low 16 bits of the newest frame that was decoded."""
    earlier: int
    """Bit i, 0..15: frame `newest` - 1 - i was decoded too."""
    loss: float
    """Share of the recent datagrams that never came, 0..1 in steps of 1/255."""
    queue_s: float
    """How much longer than the quickest the recent datagrams took, 0..1.02 s in steps of 4 ms."""
    bursts: bool = False
    """Whether what is lost is mostly lost in a row."""


@dataclass(frozen=True, slots=True)
class Datagram:
    """Everything that one carries."""

    counter: int
    """Counts the datagrams of its direction, modulo 256."""
    sent_ms: int
    """When it left, ms on the sending side's clock, modulo 2^24."""
    frames: tuple[DatagramFrame, ...] = ()
    """Newest first, at most 7; none: it says only that its sender lives."""
    report: Report | None = None
    """On the frames of the other direction."""
    wants_key: bool = False
    """Whether its sender's decoder needs a frame that stands alone."""


def frame_bytes(payload: bytes) -> int:
    """What a frame with this payload takes of a datagram, at most."""
    return FRAME_HEADER_BYTES + (len(payload) > 127) + len(payload)


def encode_datagram(datagram: Datagram) -> bytes:
    """The datagram's bytes; the caller has kept it within its limits."""
    w = Writer()
    flags = len(datagram.frames) | (WANTS_KEY if datagram.wants_key else 0)
    if datagram.report is not None:
        flags |= HAS_REPORT | (BURSTS if datagram.report.bursts else 0)
    w.u8(flags)
    w.u8(datagram.counter % 256)
    w.fixed((datagram.sent_ms % 2**TIME_BITS).to_bytes(3, "little"))
    if datagram.report is not None:
        r = datagram.report
        queue = min(255, round(r.queue_s / QUEUE_UNIT_S))
        w.fixed(struct.pack("<HHBB", r.newest, r.earlier, round(255 * r.loss), queue))
    sequence, age = 0, 0
    for index, frame in enumerate(datagram.frames):
        if index == 0:
            w.fixed(struct.pack("<H", frame.sequence))
        else:
            w.varint((sequence - frame.sequence - 1) % 2**SEQUENCE_BITS)
        w.u8(frame.lag)
        w.varint(frame.age_ms - age)
        w.blob(frame.payload)
        sequence, age = frame.sequence, frame.age_ms
    return w.data()


def decode_datagram(data: bytes) -> Datagram:
    """The inverse of `encode_datagram`; WireError on anything else."""
    if len(data) > MAX_DATAGRAM_BYTES:
        raise WireError(f"a datagram of {len(data)} bytes; the limit is {MAX_DATAGRAM_BYTES}")
    r = Reader(data, "a datagram")
    flags, counter = r.u8(), r.u8()
    if flags > 63 or (flags & BURSTS and not flags & HAS_REPORT):
        raise WireError(f"a datagram has unknown flags {flags:#x}")
    sent_ms = int.from_bytes(r.fixed(3), "little")
    report = None
    if flags & HAS_REPORT:
        newest, earlier, loss, queue = struct.unpack("<HHBB", r.fixed(6))
        report = Report(newest, earlier, loss / 255, queue * QUEUE_UNIT_S, bool(flags & BURSTS))
    frames: list[DatagramFrame] = []
    sequence = age = 0
    for index in range(flags & 7):
        if index == 0:
            sequence = struct.unpack("<H", r.fixed(2))[0]
        else:
            sequence = (sequence - r.varint() - 1) % 2**SEQUENCE_BITS
        lag = r.u8()
        age += r.varint()
        if age > MAX_AGE_MS:
            raise WireError("a frame in a datagram is older than a minute")
        payload = r.blob(MAX_PAYLOAD_BYTES)
        if not payload:
            raise WireError("a frame in a datagram is empty")
        frames.append(DatagramFrame(sequence, lag, age, payload))
    r.end()
    return Datagram(counter, sent_ms, tuple(frames), report, bool(flags & WANTS_KEY))


def expand(low: int, bits: int, near: int) -> int:
    """The number nearest to `near` whose low `bits` bits are `low`; may be negative."""
    half = 1 << (bits - 1)
    return near + (low - near + half) % (1 << bits) - half


def fits(payloads: Sequence[bytes]) -> bool:
    """Whether frames with these payloads go into one datagram, with a report."""
    room = MAX_DATAGRAM_BYTES - 11
    return len(payloads) <= MAX_FRAMES and sum(map(frame_bytes, payloads)) <= room
