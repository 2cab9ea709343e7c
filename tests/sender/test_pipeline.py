"""The sender's threads: every captured frame has one fate, failures come out, ends are clean."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quic_transport.codec import EncodedFrame, FaceEncoder, RcEncoder, Reference
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.timeline import Timeline
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.pipeline import DURATIONS, Fate, SendPipeline, SendStream
from sender.portrait_crop import PortraitCrop
from tests.quic_transport.rc_golden import golden_tables

BOUNDS = ParamBounds(np.zeros(49), np.ones(49))  # type: ignore[arg-type]
IMAGE = np.zeros((4, 4, 3), np.uint8)


class Link:
    """Keeps what is sent; refuses the frames numbered in `full`."""

    def __init__(self, full: frozenset[int] = frozenset()) -> None:
        self.sent: list[EncodedFrame] = []
        self.full = full
        self.keyframe = False

    def can_send_frame(self) -> bool:
        return True

    def reference(self) -> Reference:
        return None if self.keyframe else "last"

    def send_frame(self, frame: EncodedFrame) -> bool:
        if frame.sequence in self.full:
            self.keyframe = True
            return False
        self.keyframe = self.keyframe and not frame.key
        self.sent.append(frame)
        return True


class Tracker:
    """Sees a face everywhere; `gate`, if any, holds it up."""

    name = "fake"
    schema = "arkit46"

    def __init__(self, gate: threading.Event | None = None) -> None:
        self.gate = gate

    def extract(self, frame: Frame) -> list[TrackedFace]:
        if self.gate is not None:
            assert self.gate.wait(10)
        if frame.index == 666:
            raise RuntimeError("the tracker broke")
        params = FaceParams.from_vector(np.full(49, 0.5), frame.capture_time)
        crop = PortraitCrop(0.0, 0.0, 1.0)
        return [TrackedFace(params, np.eye(4), 1.0, np.zeros((0, 2), np.float32), crop, 1.0)]

    def close(self) -> None:
        """Nothing is held."""


class Source:
    """Frames `indices`, one every `pause` seconds; `broken`: fails after them."""

    name = "fake"
    frame_rate = 20.0
    dropped = 0

    def __init__(self, indices: range, pause: float = 0.002, broken: bool = False) -> None:
        self.indices, self.pause, self.broken = indices, pause, broken
        self.closed = False

    def frames(self) -> Iterator[Frame]:
        for index in self.indices:
            time.sleep(self.pause)
            if self.closed:
                return
            yield Frame(index, 100.0 + index * 0.05, IMAGE, index * 0.05)
        if self.broken:
            raise RuntimeError("the camera broke")

    def close(self) -> None:
        self.closed = True


def pipeline(
    source: Source, link: Link, tracker: Tracker, seconds: float | None = None
) -> SendPipeline:
    stream = SendStream(tracker, FaceEncoder(BOUNDS), link, Timeline(DURATIONS), time.monotonic)
    return SendPipeline(source, stream, seconds=seconds)


def finish(sending: SendPipeline) -> None:
    deadline = time.monotonic() + 10
    while sending.alive and time.monotonic() < deadline:
        time.sleep(0.005)
    sending.join()


def test_send_pipeline_source_ends_every_frame_sent_in_order() -> None:
    link = Link()
    sending = pipeline(Source(range(30)), link, Tracker())
    sending.start()
    finish(sending)
    balance = sending.balance()
    assert balance.balanced
    assert balance.open == 0
    assert balance.fates["sent"] == len(link.sent) == 30 - balance.fates["dropped late"]
    assert sending.media_origin == pytest.approx(100.0)


def test_send_pipeline_slow_tracker_newest_frame_wins() -> None:
    link, gate = Link(), threading.Event()
    sending = pipeline(Source(range(20)), link, Tracker(gate))
    sending.start()
    deadline = time.monotonic() + 10
    while sending.captured < 20 and time.monotonic() < deadline:
        time.sleep(0.005)
    gate.set()
    finish(sending)
    times = [frame.capture_time for frame in link.sent]
    assert times[-1] == pytest.approx(100.0 + 19 * 0.05)
    assert sending.balance().fates["dropped late"] == 20 - len(times)
    assert len(times) == 2  # the one it was busy with, and the newest


def test_send_pipeline_dropped_queue_is_followed_by_a_keyframe() -> None:
    link = Link(full=frozenset({3, 4}))
    sending = pipeline(Source(range(8), pause=0.02), link, Tracker())
    sending.start()
    finish(sending)
    balance = sending.balance()
    assert balance.fates["dropped after coding"] == 2
    assert [f.key for f in link.sent if f.sequence == 5] == [True]


def test_send_pipeline_seconds_limit_capture() -> None:
    link = Link()
    sending = pipeline(Source(range(1000)), link, Tracker(), seconds=0.5)
    sending.start()
    finish(sending)
    assert sending.captured == 10


def test_send_pipeline_failing_tracker_is_raised_by_join() -> None:
    sending = pipeline(Source(range(665, 700)), Link(), Tracker())
    sending.start()
    with pytest.raises(RuntimeError, match="tracker broke"):
        finish(sending)


def test_send_pipeline_failing_source_is_raised_by_join() -> None:
    sending = pipeline(Source(range(1), broken=True), Link(), Tracker())
    sending.start()
    with pytest.raises(RuntimeError, match="camera broke"):
        finish(sending)


def test_send_pipeline_frames_dropped_by_the_source_are_late() -> None:
    source = Source(range(10), pause=0.02)
    source.dropped = 3
    sending = pipeline(source, Link(), Tracker())
    sending.start()
    finish(sending)
    balance = sending.balance()
    assert balance.captured == 13
    assert balance.fates["dropped late"] >= 3
    assert balance.balanced


def test_send_pipeline_stopped_in_mid_stream_balances() -> None:
    sending = pipeline(Source(range(10**6)), Link(), Tracker())
    sending.start()
    time.sleep(0.1)
    sending.stop()
    finish(sending)
    balance = sending.balance()
    assert balance.captured < 10**5
    assert balance.balanced
    assert balance.open in (0, 1)


@pytest.mark.parametrize("mirror", [False, True])
def test_send_stream_body_is_measured_in_the_picture_that_the_tracker_saw(mirror: bool) -> None:
    """And what was measured is what is coded."""

    class Follower:
        def follow(self, image: np.ndarray, params: FaceParams) -> FaceParams:
            self.seen = image
            place = np.zeros(3, np.float32)
            return replace(params, offset=place, body=np.array([4, -3, 2, 1], np.float32))

    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    encoder = RcEncoder(golden_tables(), offset=True, body=True)
    body: Any = Follower()
    stream = SendStream(Tracker(), encoder, Link(), Timeline(DURATIONS), time.monotonic,
                        mirror=mirror, body=body)  # fmt: skip
    assert stream.process(Frame(0, 1.0, image, 0.0)) is Fate.SENT
    assert (body.seen == (image[:, ::-1] if mirror else image)).all()
    assert encoder.last_decoded is not None
    assert encoder.last_decoded.body is not None
    assert encoder.last_decoded.body.tolist() == [4, -3, 2, 1]
