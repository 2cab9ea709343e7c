"""A tracker that knows how skin moves reads expressions larger than any that it was fitted to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from conference.personal.fit import Tracked, fit_model
from quic_transport.seat import Seat
from sender.personal.align import Look, align
from tests.conference.personal.painted import ball_surface
from tests.sender.ball import CENTRE, DISTANCE, LIFT, RADIUS, SCALE, lifted, picture

SEEN, LARGER = 0.3, (0.8, 1.0)  # the greatest lift of the training frames; beyond


def skin() -> NDArray[np.float32]:
    """[3, 46 + 3, K]: how the painted ball's surface moves."""
    surface = ball_surface()
    x, y, _ = ((surface.points - CENTRE) / RADIUS).T
    up = np.zeros_like(surface.normals)
    up[:, 1] = LIFT * RADIUS * lifted(x, y)
    up -= (up * surface.normals).sum(axis=1, keepdims=True) * surface.normals
    shift = np.zeros((3, 49, len(surface)), np.float32)
    shift[:, 2] = up.T
    return shift


def training() -> tuple[Tracked, list[NDArray[np.uint8]]]:
    """Frames of small lifts under some turns, of which the general tracker knows nothing."""
    rng, n = np.random.default_rng(3), 60
    truth = np.full((n, 46), 0.1)
    truth[:, 2] = rng.uniform(0.1, SEEN, n)
    said = np.full((n, 46), 0.1)
    said[:, 2] = rng.uniform(0, 1, n)
    t = np.linspace(0, 9, n)
    rotation = np.stack([0.1 * np.sin(t), 0.2 * np.sin(1.7 * t), 0.04 * np.cos(t)], axis=1)
    shown = [picture(r, e)[0] for r, e in zip(rotation, truth, strict=True)]
    return Tracked(rotation, said, np.zeros((n, 6)), truth, np.zeros((n, 3))), shown


def test_what_moves_is_followed_beyond_what_was_seen() -> None:
    tracked, shown = training()
    model = fit_model(ball_surface(), skin(), CENTRE, tracked, lambda i: shown[i],
                      Seat(DISTANCE, SCALE))  # fmt: skip
    still = fit_model(ball_surface(), 0 * skin(), CENTRE, tracked, lambda i: shown[i],
                      Seat(DISTANCE, SCALE))  # fmt: skip
    truth, said = np.full(46, 0.1), np.full(46, 0.1)
    said[2] = 0.5
    off = []
    for truth[2] in LARGER:
        look = Look.at(picture(np.zeros(3), truth)[0], model.box)
        found = [align(m, look, np.zeros(3), said).expression[2] for m in (model, still)]
        off.append(np.abs(np.array(found) - truth[2]))
    ours, theirs = np.mean(off, axis=0)
    assert ours < 0.12
    assert ours < 0.6 * theirs


def test_points_lie_where_the_expression_has_them() -> None:
    tracked, shown = training()
    model = fit_model(ball_surface(), skin(), CENTRE, tracked, lambda i: shown[i],
                      Seat(DISTANCE, SCALE))  # fmt: skip
    mean, turn = model.expression_mean.astype(np.float64), model.rotation_mean
    assert np.allclose(model.points_at(turn, mean), model.points, atol=1e-7)
    more = model.points_at(turn, mean + 0.5 * np.eye(46)[2])
    assert np.allclose(more - model.points, 0.5 * model.shift[:, 2].T, atol=1e-6)
