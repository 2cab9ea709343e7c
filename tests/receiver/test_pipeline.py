"""The drawing thread ends when it should and hands failures on."""

from __future__ import annotations

import time

import numpy as np
import pytest

from quic_transport.codec import FaceDecoder, FaceEncoder
from quic_transport.fifo import EndOfStream
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.timeline import Timeline
from receiver.cadence import Cadence
from receiver.display import Picture
from receiver.pipeline import Draw, ReceivePipeline
from receiver.playout import PlayoutBuffer
from receiver.pose_control import PoseControl
from receiver.stream import DURATIONS, ReceiveStream

BOUNDS = ParamBounds(np.zeros(49), np.ones(49))  # type: ignore[arg-type]


def white(params: FaceParams, pose: object) -> np.ndarray:
    return np.full((8, 8, 3), 255, np.uint8)


def started(draw: Draw = white) -> ReceivePipeline:
    stream = ReceiveStream(
        FaceDecoder(BOUNDS), PlayoutBuffer(), Cadence(), PoseControl(0.6), Timeline(DURATIONS),
        clock=time.monotonic,
    )  # fmt: skip
    pipeline = ReceivePipeline(stream, draw)
    pipeline.start()
    return pipeline


def feed(pipeline: ReceivePipeline, count: int) -> None:
    encoder = FaceEncoder(BOUNDS)
    start = time.monotonic()
    for i in range(count):
        params = FaceParams.from_vector(np.full(49, 0.5), start + i * 0.05)
        assert pipeline.feed(encoder.encode(params), time.monotonic())


def drawn(pipeline: ReceivePipeline) -> list[Picture]:
    pictures = []
    while True:
        try:
            pictures.append(pipeline.pictures.get(timeout=10))
        except EndOfStream:
            return pictures


def test_receive_pipeline_drained_draws_what_waits_then_ends() -> None:
    pipeline = started()
    feed(pipeline, 4)
    pipeline.drain()
    pictures = drawn(pipeline)
    pipeline.join(10)
    assert [p.media_time for p in pictures] == sorted(p.media_time for p in pictures)
    assert pipeline.stream.close().fates["rendered"] == 4


def test_receive_pipeline_stopped_while_idle_ends() -> None:
    pipeline = started()
    pipeline.stop()
    pipeline.join(10)


def test_receive_pipeline_stopped_while_display_is_stuck_ends() -> None:
    pipeline = started()
    feed(pipeline, 10)
    pipeline.pictures.get(timeout=10)  # one picture came; nobody takes the next ones
    pipeline.stop()
    pipeline.join(10)


def test_receive_pipeline_failing_renderer_is_raised_by_join() -> None:
    def broken(params: FaceParams, pose: object) -> np.ndarray:
        raise RuntimeError("the renderer broke")

    pipeline = started(broken)
    feed(pipeline, 1)
    assert drawn(pipeline) == []
    with pytest.raises(RuntimeError, match="renderer broke"):
        pipeline.join(10)


def test_receive_pipeline_idle_takes_no_processor_time() -> None:
    pipeline = started()
    feed(pipeline, 2)
    before = time.process_time()
    time.sleep(0.6)  # long after the last frame: the picture stands still
    used = time.process_time() - before
    pipeline.stop()
    drawn(pipeline)
    pipeline.join(10)
    assert pipeline.stream.pictures < 20
    assert used < 0.3
