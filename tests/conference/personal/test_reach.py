"""A coefficient below zero goes all the way: tracker, filter, codec, playout."""

from __future__ import annotations

import numpy as np
import pytest

from quic_transport.codec import RcDecoder, RcEncoder
from quic_transport.params import FaceParams
from receiver.playout import PlayoutBuffer, PlayoutSettings
from sender.frames import Frame
from sender.personal.extractor import PersonalExtractor
from sender.smoothing import SmoothedExtractor, smoothed
from tests.conference.personal.painted import model
from tests.quic_transport.rc_golden import golden_tables
from tests.sender.personal.test_personal_extractor import Scripted, scene

INTERVAL = 0.05
FRAMES = 10


def said(mouth: float) -> list[FaceParams]:
    """What a sender with the personal tracker says of a ball that stands still so."""
    expression = np.full(46, 0.1)
    expression[:2] = mouth, 0.5
    frame, face = scene(0, expression=expression)
    inner = Scripted()
    inner.faces = [face]
    assert face.params.expression.min() >= 0
    tracker = smoothed(PersonalExtractor(inner, model()))
    assert isinstance(tracker, SmoothedExtractor)
    times = [k * INTERVAL for k in range(FRAMES)]
    return [tracker.extract(Frame(k, t, frame.image))[0].params for k, t in enumerate(times)]


def test_a_correction_below_zero_reaches_the_picture() -> None:
    encoder, decoder = (
        RcEncoder(golden_tables(), offset=True),
        RcDecoder(golden_tables(), offset=True),
    )
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=1.0))
    faces = said(-0.3)
    for k, face in enumerate(faces):
        got = decoder.decode(encoder.encode(face))
        buffer.push(k, FaceParams(got.expression, got.rotation, k * INTERVAL), k * INTERVAL)
    due = buffer.due_time((FRAMES - 1.5) * INTERVAL)
    assert due is not None
    sample = buffer.sample(due)
    assert sample is not None
    shown = float(sample.params.expression[0])
    assert faces[-1].expression[0] < -0.15
    assert shown == pytest.approx(float(faces[-1].expression[0]), abs=0.03)
