"""A lost connection: the face comes to rest, veiled with words, and comes back without a jump."""

from __future__ import annotations

import itertools

import numpy as np

from quic_transport.codec import FaceDecoder, FaceEncoder
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.timeline import Timeline
from receiver.arrivals import Arrivals
from receiver.cadence import Cadence
from receiver.playout import PlayoutBuffer, PlayoutSettings
from receiver.pose_control import PoseControl
from receiver.presence import LOST_CAPTION
from receiver.rest import LOST_S, Rest
from receiver.stream import DURATIONS, ReceiveStream

INTERVAL = 0.05


def face(time: float, jaw: float) -> FaceParams:
    expression = np.zeros(46, np.float32)
    expression[21] = jaw
    return FaceParams(expression, np.zeros(3, np.float32), time)


def vector(jaw: float) -> np.ndarray:
    return face(0.0, jaw).vector()


def test_rest_face_eases_to_its_mean_and_back() -> None:
    rest, now = Rest(), 0.0
    for i in range(400):  # the mouth is open in a quarter of the time
        now = i * INTERVAL
        rest.apply(vector(1.0 if i % 4 == 0 else 0.0), now)
    rest.note_quiet(LOST_S + 0.1, now)
    jaws = [float(rest.apply(vector(0.9), now + dt)[21]) for dt in np.linspace(0, 2, 41)]
    assert abs(jaws[0] - 0.0) < 1e-6  # from what was shown, without a jump
    assert 0.1 < jaws[-1] < 0.4
    assert not rest.moving(now + 2)
    rest.note_quiet(0.0, now + 2)
    back = [float(rest.apply(vector(0.9), now + 2 + dt)[21]) for dt in np.linspace(0, 0.3, 31)]
    assert abs(back[0] - jaws[-1]) < 1e-6
    assert max(np.diff(back)) < 0.15
    assert back[-1] == np.float32(0.9)


def test_rest_sender_that_only_has_nothing_to_say_stands_still() -> None:
    rest = Rest()
    for i in range(100):
        rest.apply(vector(0.7), i * INTERVAL)
    rest.note_quiet(LOST_S - 0.1, 5.0)
    assert rest.apply(vector(0.7), 30.0)[21] == np.float32(0.7)
    assert not rest.moving(30.0)


def test_stream_lost_connection_is_veiled_with_its_own_words_until_frames_come() -> None:
    bounds = ParamBounds(np.full(49, -1, np.float32), np.ones(49, np.float32))
    encoder, clock = FaceEncoder(bounds), [0.0]
    stream = ReceiveStream(
        FaceDecoder(bounds), PlayoutBuffer(), Cadence(), PoseControl(0.6), Timeline(DURATIONS),
        clock=lambda: clock[0],
    )  # fmt: skip

    def pictures(seconds: float) -> list[tuple[float, str]]:
        out, end = [], clock[0] + seconds
        while clock[0] < end:
            clock[0] += INTERVAL
            start = stream.next_start(clock[0])
            if start is not None and start <= clock[0] + INTERVAL:
                job = stream.begin(start, clock[0])
                if job is not None:
                    stream.finish(job, clock[0])
                    out.append((job.veil, job.caption))
        return out

    for i in range(40):
        clock[0] = i * INTERVAL
        stream.on_frame(encoder.encode(face(clock[0], 0.5)), clock[0])
        pictures(INTERVAL)
    assert not stream.note_quiet(0.5, clock[0])
    assert stream.note_quiet(2.0, clock[0])
    lost = pictures(2.0)
    assert lost[-1] == (1.0, LOST_CAPTION)
    assert len(lost) > 10  # it moves to rest, and then nothing is drawn any more
    assert pictures(1.0) == []
    assert stream.note_quiet(0.0, clock[0])
    stream.on_frame(encoder.encode(face(clock[0], 0.5)), clock[0])
    assert pictures(1.0)[-1] == (0.0, "")


def test_arrivals_need_follows_jitter_and_is_given_back() -> None:
    arrivals, now = Arrivals(INTERVAL), 0.0
    for i in range(200):
        now = i * INTERVAL + (0.1 if i % 7 == 0 else 0.0)
        arrivals.note(i, i * INTERVAL, 0.0, now)
    assert 0.1 < arrivals.need(0.0) < 0.2
    for i in range(200, 500):
        arrivals.note(i, i * INTERVAL, 0.0, i * INTERVAL)
    assert abs(arrivals.need(0.0) - INTERVAL) < 1e-9


def test_arrivals_pause_of_the_sender_and_outage_say_nothing() -> None:
    arrivals = Arrivals(INTERVAL)
    for i in range(100):
        time = i * INTERVAL + (3.0 if i >= 50 else 0.0)  # nobody in the picture for 3 s
        arrivals.note(i, time, 0.0, time)
    for i in range(200, 300):  # a hundred frames never came
        arrivals.note(i, i * INTERVAL + 3.0, 0.0, i * INTERVAL + 3.0)
    assert abs(arrivals.need(0.0) - INTERVAL) < 1e-9


def test_playout_delay_grows_with_jitter_and_shrinks_again() -> None:
    buffer = PlayoutBuffer(PlayoutSettings(delay_frames=1))
    media = []
    for i in range(1600):
        late = 0.15 if i % 5 == 0 and i < 600 else 0.0
        now = i * INTERVAL + late
        buffer.push(i, face(i * INTERVAL, 0.0), now)
        sample = buffer.sample(i * INTERVAL + 0.049)
        assert sample is not None
        media.append(sample.media_time)
        if i == 599:
            assert buffer.delay > 0.15
    assert buffer.delay < 0.06
    assert all(b >= a for a, b in itertools.pairwise(media))
