"""A personal tracker fitted to the painted ball, and what a general tracker says of it."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from conference.personal.fit import Tracked, align_all, fit_model, with_misfit
from nerf.surface import Surface
from quic_transport.seat import Seat
from sender.personal.align import sight
from sender.personal.model import PersonalModel
from sender.personal.motion import Motion, project
from tests.sender.ball import CENTRE, DISTANCE, RADIUS, SCALE, picture

FRAMES = 70
NOISE = np.array([0.02, 0.02, 0.01, 0.002, 0.002, 0.004])  # radians, metres


def measured(count: int, seed: int) -> tuple[Tracked, NDArray[np.float64]]:
    """What a general tracker says of `count` frames, with the truth as what is believed; and the
    true coefficients [count, 46]."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 9, count)
    rotation = np.stack([0.1 * np.sin(t), 0.2 * np.sin(1.7 * t), 0.04 * np.cos(t)], axis=1)
    truth = np.full((count, 46), 0.1)
    truth[:, 0], truth[:, 1] = 0.5 + 0.4 * np.sin(2.3 * t), 0.5 + 0.4 * np.cos(3.1 * t)
    said = np.clip(truth + rng.normal(0, 0.08, truth.shape) * (truth.std(axis=0) > 0), 0, 1)
    noise = rng.normal(0, 1, (count, 6)) * NOISE
    return Tracked(rotation, said, noise, truth, np.zeros((count, 3))), truth


def pictures(tracked: Tracked, truth: NDArray[np.float64]) -> list[NDArray[np.uint8]]:
    """The portraits that the general tracker cut."""
    return [picture(tracked.rotation[i], truth[i], tracked.motion[i])[0]
            for i in range(len(tracked))]  # fmt: skip


@cache
def model() -> PersonalModel:
    """Fitted to FRAMES pictures."""
    tracked, truth = measured(FRAMES, 1)
    shown = pictures(tracked, truth)
    still = np.zeros((3, 49, len(ball_surface())), np.float32)
    fitted = fit_model(
        ball_surface(), still, CENTRE, tracked, lambda i: shown[i], Seat(DISTANCE, SCALE)
    )
    every = np.arange(0, FRAMES, 5)
    misfits = [a.misfit for _, a in align_all(fitted, tracked, every, lambda i: shown[i])]
    return with_misfit(fitted, misfits)


def ball_surface() -> Surface:
    """Points of the ball's near half."""
    i = np.arange(1200) + 0.5
    z, turn = 1 - 1.1 * i / 1200, np.pi * (1 + 5**0.5) * i
    r = np.sqrt(1 - z * z)
    normals = np.stack([r * np.cos(turn), r * np.sin(turn), z], axis=1)
    return Surface((CENTRE + RADIUS * normals).astype(np.float32), normals.astype(np.float32))


def pixels_off(found: Motion, truth: NDArray[np.float64], rotation: NDArray[np.float64]) -> float:
    """Root mean square distance of the ball's seen points from where they are, pixels of 256."""
    at = [
        project(ball_surface().points, ball_surface().normals, CENTRE, m,
                *sight(Seat(DISTANCE, SCALE), rotation, None, 256))
        for m in (found, Motion.of(truth))
    ]  # fmt: skip
    seen = at[1].facing > 0.3
    return float(np.sqrt(((at[0].pixels - at[1].pixels)[seen] ** 2).sum(axis=1).mean()))
