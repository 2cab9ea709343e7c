"""A call in simulated time: real cores and the real codec, a fake tracker and a fake link."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.codec import EncodedFrame, FaceDecoder, FaceEncoder, Reference
from quic_transport.params import FaceParams, ParamBounds
from quic_transport.timeline import Timeline
from receiver.cadence import Cadence, CadenceSettings
from receiver.playout import PlayoutBuffer, PlayoutSettings
from receiver.pose_control import PoseControl
from receiver.stream import DURATIONS as RECEIVE_DURATIONS
from receiver.stream import ReceiveStream
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.pipeline import DURATIONS as SEND_DURATIONS
from sender.pipeline import Fate, SendStream
from sender.portrait_crop import PortraitCrop

INTERVAL = 0.05
BOUNDS = ParamBounds(np.r_[np.zeros(46), -np.ones(3)], np.r_[np.ones(46), np.ones(3)])  # type: ignore[arg-type]
IMAGE = np.zeros((4, 4, 3), np.uint8)


def face_of(index: int) -> np.ndarray:
    """The 49 numbers that the fake person shows in frame `index`."""
    t = index * INTERVAL
    phases = np.arange(46)
    return np.r_[0.5 + 0.5 * np.sin(3 * t + phases), 0.3 * np.sin(t), 0.4 * np.cos(t), 0.0]


@dataclass
class World:
    """Virtual time, a lossy path and what is under way on it."""

    rng: np.random.Generator
    delay: float = 0.01
    jitter: float = 0.0
    loss: float = 0.0
    now: float = 0.0
    under_way: list[tuple[float, int, EncodedFrame]] = field(default_factory=list)
    keyframe: bool = False
    congested: bool = False
    news: list[tuple[float, float]] = field(default_factory=list)  # arrival, no face since

    # what the sender sees of a call
    def can_send_frame(self) -> bool:
        return not self.congested

    def reference(self) -> Reference:
        return None if self.keyframe else "last"

    def send_frame(self, frame: EncodedFrame) -> bool:
        self.keyframe = self.keyframe and not frame.key
        if self.rng.random() >= self.loss:
            at = self.now + self.delay + self.jitter * self.rng.random()
            heapq.heappush(self.under_way, (at, frame.sequence, frame))
        return True


@dataclass
class FakeExtractor:
    """Takes `cost` seconds of virtual time; sees nobody in the frames of `absent`."""

    world: World
    cost: float = 0.015
    absent: frozenset[int] = frozenset()
    name: str = "fake"
    schema: str = "arkit46"

    def extract(self, frame: Frame) -> list[TrackedFace]:
        self.world.now += self.cost
        if frame.index in self.absent:
            return []
        params = FaceParams.from_vector(face_of(frame.index), frame.capture_time)
        crop = PortraitCrop(0.0, 0.0, 1.0)
        return [TrackedFace(params, np.eye(4), 1.0, np.zeros((0, 2), np.float32), crop, 1.0)]

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class Outcome:
    """What a simulated call came to."""

    sent: Counter[Fate]
    receiver: ReceiveStream
    shown: list[tuple[float, FaceParams]]
    veils: list[tuple[float, float]]
    log: list[tuple[float, ...]]
    send_timeline: Timeline
    receive_timeline: Timeline


def call(
    frames: int, *, seed: int = 1, k: float = 1.0, loss: float = 0.0, jitter: float = 0.0,
    gop: int = 100, draw: float = 0.03, absent: frozenset[int] = frozenset(),
    congested: range = range(0), news_s: float = 0.02, interval: float = INTERVAL,
) -> Outcome:  # fmt: skip
    """Run `frames` captures through both cores, one every `interval` seconds of the call (the fake
    person moves by frames, not by time); drawing takes `draw` seconds."""
    world = World(np.random.default_rng(seed), loss=loss, jitter=jitter)
    sending, receiving = Timeline(SEND_DURATIONS), Timeline(RECEIVE_DURATIONS)

    def clock() -> float:
        return world.now

    sender = SendStream(
        FakeExtractor(world, absent=absent), FaceEncoder(BOUNDS, gop=gop), world, sending, clock,
        on_absent=lambda since: world.news.append((world.now + news_s, since)),
    )  # fmt: skip
    receiver = ReceiveStream(
        FaceDecoder(BOUNDS),
        PlayoutBuffer(PlayoutSettings(delay_frames=k, frame_interval=interval)),
        Cadence(CadenceSettings(frame_interval=interval)), PoseControl(0.6), receiving, clock=clock,
    )  # fmt: skip
    shown, log, veils = [], [], []
    busy_until, job, at = 0.0, None, 0.0
    end = frames * interval + 1.0
    captured = 0
    while at < end:  # a millisecond at a time; the sender's own costs move its frames' stamps only
        world.now = at
        if captured < frames and at >= captured * interval:
            world.congested = captured in congested
            sender.process(Frame(captured, at, IMAGE))
            captured += 1
        world.now = at
        while world.under_way and world.under_way[0][0] <= at:
            _, _, frame = heapq.heappop(world.under_way)
            if not receiver.on_frame(frame, at):
                world.keyframe = True
        while world.news and world.news[0][0] <= at:
            receiver.presence.note_absent(world.news.pop(0)[1])
        if job is not None and at >= busy_until:
            receiver.finish(job, at)
            shown.append((at, job.params))
            veils.append((at, job.veil))
            log.append((at, job.sample.media_time, *job.sample.used))
            job = None
        if job is None:
            start = receiver.next_start(at)
            if start is not None and start <= at:
                job = receiver.begin(start, at)
                busy_until = at + draw
        at += 0.001
    return Outcome(sender.fates, receiver, shown, veils, log, sending, receiving)


def test_simulated_call_clean_path_renders_every_frame_in_order_within_150_ms() -> None:
    out = call(100)
    balance = out.receiver.close()
    assert out.sent == {Fate.SENT: 100}
    assert balance.fates["rendered"] == 100
    assert balance.balanced
    media = [params.capture_time for _, params in out.shown]
    assert media == sorted(media)
    end_to_end = out.receive_timeline.summary()["end to end"]
    assert end_to_end.count == 100
    # 15 extract + 10 path + 50 buffer + 30 draw, of which 25 are done within the buffer's time
    assert 0.075 <= end_to_end.p50 <= 0.085
    assert end_to_end.p95 < 0.112  # at first nobody knows how long drawing takes


@pytest.mark.parametrize("fps", [15.0, 20.0, 30.0, 60.0])
def test_simulated_call_any_frame_rate_is_shown_in_time_and_told_of_an_absence(fps: float) -> None:
    gone = frozenset(range(round(2 * fps), round(3 * fps)))
    out = call(round(4.5 * fps), interval=1 / fps, draw=0.3 / fps, absent=gone)
    balance = out.receiver.close()
    assert balance.balanced
    assert out.sent[Fate.SENT] == round(4.5 * fps) - len(gone)
    assert balance.fates["rendered"] > 0.95 * out.sent[Fate.SENT]
    delays = [at - p.capture_time for at, p in out.shown if at < 2.0 or at > 3.5]
    assert np.median(delays) < 0.055 + 1 / fps
    assert max(v for at, v in out.veils if 2.4 < at < 3.0) == 1.0
    assert {v for at, v in out.veils if at > 3.4} == {0.0}
    assert out.receiver.presence.absent_seconds(9.0) == pytest.approx(1.0, abs=1.5 / fps)


def test_simulated_call_shows_what_was_captured_within_the_quantiser() -> None:
    out = call(40)
    for _, params in out.shown[3:]:
        index = params.capture_time / INTERVAL
        if abs(index - round(index)) < 0.01:
            error = np.abs(params.vector() - face_of(round(index)))
            assert error.max() < 0.5 / 255 + 0.02 * 3 * INTERVAL + 1e-3


def test_simulated_call_faceless_frames_are_counted_and_skipped() -> None:
    out = call(60, absent=frozenset(range(20, 30)))
    assert out.sent == {Fate.SENT: 50, Fate.NO_FACE: 10}
    assert out.receiver.close().fates["rendered"] == 50


def test_simulated_call_lost_face_is_veiled_and_recovers_without_stale_pictures() -> None:
    out = call(100, absent=frozenset(range(40, 60)))  # from 2.0 to 3.0 s
    veil_at = dict(out.veils)
    assert {v for at, v in out.veils if at < 2.4} == {0.0}  # a moment's patience
    assert max(v for at, v in out.veils if 2.4 < at < 3.0) == 1.0
    assert {v for at, v in out.veils if at > 3.4} == {0.0}
    falling = [v for at, v in out.veils if 2.4 < at < 3.0]
    assert max(np.diff(falling)) < 0.3  # gently
    assert out.receiver.presence.count == 1
    assert out.receiver.presence.absent_seconds(5.0) == pytest.approx(1.0)
    assert out.receiver.close().fates["rendered"] == 80
    for at, params in out.shown:  # whatever is not veiled is what was captured
        index = params.capture_time / INTERVAL
        if veil_at[at] == 0.0 and at > 3.4 and abs(index - round(index)) < 0.01:
            assert np.abs(params.vector() - face_of(round(index))).max() < 0.02


def test_simulated_call_face_away_draws_nothing_once_the_veil_lies_still() -> None:
    out = call(100, absent=frozenset(range(20, 100)))
    times = [at for at, _ in out.veils]
    assert out.veils[-1][1] == 1.0
    assert max(times) < 2.5  # the face left at 1.0 s, the news came at 1.4 s
    assert out.receiver.presence.told


def test_simulated_call_news_that_comes_after_the_face_is_back_veils_nothing() -> None:
    out = call(60, absent=frozenset(range(20, 30)), news_s=0.2)
    assert {v for _, v in out.veils} == {0.0}
    assert out.receiver.presence.count == 1


def test_simulated_call_receiver_that_ignores_the_news_renders_the_same_frames() -> None:
    deaf = call(60, absent=frozenset(range(20, 40)), news_s=1e6)
    keen = call(60, absent=frozenset(range(20, 40)))
    assert deaf.receiver.close().fates == keen.receiver.close().fates
    assert {v for _, v in deaf.veils} == {0.0}


def test_simulated_call_congested_transport_drops_raw_frames_only() -> None:
    out = call(60, congested=range(10, 20))
    assert out.sent == {Fate.SENT: 50, Fate.CONGESTED: 10}
    balance = out.receiver.close()
    assert balance.fates["undecodable"] == 0
    assert balance.fates["rendered"] == 50


def test_simulated_call_loss_recovers_by_keyframe_request() -> None:
    out = call(400, loss=0.1, seed=3)
    balance = out.receiver.close()
    assert balance.balanced
    assert balance.fates["lost"] > 10
    # A loss costs the frames under way until the keyframe that was asked for: about one each.
    assert balance.fates["undecodable"] <= 2 * balance.fates["lost"]
    assert balance.fates["rendered"] > 250
    gaps = np.diff([at for at, _ in out.shown])
    assert gaps.max() < 1.0


def test_simulated_call_same_seed_same_event_log() -> None:
    first, second = (call(120, loss=0.2, jitter=0.08, seed=9).log for _ in range(2))
    assert first == second


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6), k=st.floats(0, 4), loss=st.floats(0, 0.6),
    jitter=st.floats(0, 0.3), gop=st.integers(1, 40), draw=st.floats(0.005, 0.12),
    absent=st.frozensets(st.integers(0, 39), max_size=20),
)  # fmt: skip
def test_simulated_call_any_conditions_books_balance(
    seed: int, k: float, loss: float, jitter: float, gop: int, draw: float, absent: frozenset[int]
) -> None:
    out = call(40, seed=seed, k=k, loss=loss, jitter=jitter, gop=gop, draw=draw, absent=absent)
    sent = out.sent[Fate.SENT]
    assert sent + out.sent[Fate.NO_FACE] == 40
    out.receiver.ledger.expect(sent)
    balance = out.receiver.close()
    assert balance.balanced
    assert balance.sent == sent
    assert balance.open == 0


@pytest.mark.parametrize("k", [0.0, 1.0, 3.0])
def test_simulated_call_buffer_adds_k_intervals_to_end_to_end(k: float) -> None:
    out = call(100, k=k)
    median = out.receive_timeline.summary()["end to end"].p50
    drawn_ahead = min(0.030, 0.5 * k * INTERVAL)
    assert median == pytest.approx(0.055 + k * INTERVAL - drawn_ahead, abs=0.008)
