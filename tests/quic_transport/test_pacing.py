"""Frames at rest are left out, and a budget is kept by the step first and by frames last."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from quic_transport.codec import FaceEncoder, Pacer, RcEncoder
from quic_transport.codec.pacing import REST_S, SETTLED
from quic_transport.codec.profile import ParameterEncoder
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from tests.quic_transport.rc_golden import golden_tables
from tests.quic_transport.strategies import synthetic_track
from tests.quic_transport.test_face_codec import BOUNDS

T = golden_tables()
TRACK = synthetic_track(3, 600)


def paced(
    encoder: ParameterEncoder, track: list[FaceParams], kbps: float | None = None
) -> tuple[list[float], float]:
    """Capture times of the frames that were sent, and their mean kbps after two seconds."""
    pacer, sent, size = Pacer(encoder, kbps=kbps), [], 0
    for params in track:
        if pacer.wants(params):
            frame = encoder.encode(params)
            pacer.sent(frame)
            sent.append(frame.capture_time)
            size += len(frame.payload) if frame.capture_time >= 2 else 0
    return sent, size * 8 / (track[-1].capture_time - 2) / 1000


@pytest.mark.parametrize("encoder", [RcEncoder(T), FaceEncoder(BOUNDS)])
def test_face_at_rest_is_sent_until_it_has_settled_and_then_four_times_a_second(
    encoder: ParameterEncoder,
) -> None:
    still = [replace(TRACK[0], capture_time=i / 20) for i in range(60)]
    sent, _ = paced(encoder, still)
    settled = [i / 20 for i in range(SETTLED + 1)]
    assert sent[: SETTLED + 1] == settled
    gaps = [b - a for a, b in pairwise(sent[SETTLED:])]
    assert all(gap == pytest.approx(REST_S, abs=0.001) for gap in gaps)
    moved = [*still, replace(TRACK[20], capture_time=3.0), replace(TRACK[20], capture_time=3.05)]
    assert paced(RcEncoder(T), moved)[0][-2:] == [3.0, 3.05]


def test_moving_face_is_sent_whole_without_a_budget() -> None:
    encoder = RcEncoder(T)
    sent, _ = paced(encoder, TRACK)
    assert len(sent) > 0.95 * len(TRACK)
    assert encoder.step == 4


@pytest.mark.parametrize("kbps", [1.0, 2.0, 4.0])
def test_budget_is_kept_by_the_step_without_leaving_frames_out(kbps: float) -> None:
    encoder = RcEncoder(T)
    sent, rate = paced(encoder, TRACK, kbps)
    assert rate <= 1.1 * kbps
    assert rate > 0.6 * kbps
    assert len(sent) > 0.9 * len(TRACK) or kbps < 2  # at coarse steps more is at rest


@pytest.mark.parametrize(("encoder", "kbps"), [(RcEncoder(T), 0.3), (FaceEncoder(BOUNDS), 2.0)])
def test_budget_below_the_coarsest_step_leaves_frames_out(
    encoder: ParameterEncoder, kbps: float
) -> None:
    sent, rate = paced(encoder, TRACK, kbps)
    assert len(sent) < 0.8 * len(TRACK)
    assert rate <= max(1.2 * kbps, 4 * 60 * 8 / 1000)  # four frames a second always cross
    assert max(b - a for a, b in pairwise(sent)) <= REST_S + 0.051


def test_frame_that_the_peer_waits_for_is_never_left_out() -> None:
    encoder = RcEncoder(T)
    pacer = Pacer(encoder)
    for i in range(20):
        params = replace(TRACK[0], capture_time=i / 20)
        assert pacer.wants(params, must=True)
        pacer.sent(encoder.encode(params))


@pytest.mark.parametrize("kbps", [0.0, -1.0, float("nan")])
def test_budget_of_nothing_is_misuse(kbps: float) -> None:
    with pytest.raises(LocalError, match="kbps"):
        Pacer(RcEncoder(T), kbps=kbps)
