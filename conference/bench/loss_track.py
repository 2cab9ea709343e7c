"""What `facewire bench loss` sends, and how far a picture is off, in pixels.

The rule: a track is a function of time, so that whatever instant a receiver shows can be compared
with what was there. The error is the root mean square over the performer's 70 landmarks in the
stabilised portrait at 512 x 512: exact in the head's rotation, linear in the 46 coefficients, and
measured on one head for all tracks, so that numbers compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, FaceParams, ParamBounds

PIXELS_PER_METRE = 512 * 2.6
HEAD_SEED = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """A face over time; it is played to and fro where a call is longer."""

    name: str
    """For the report."""
    times: Floats
    """[N] seconds, rising from 0."""
    vectors: Floats
    """[N, 49]: what the tracker said."""

    def at(self, time: float) -> Floats:
        """The 49 numbers at `time`, between two frames in a straight line."""
        span = float(self.times[-1])
        phase = time % (2 * span)
        phase = 2 * span - phase if phase > span else phase
        after = int(np.clip(np.searchsorted(self.times, phase), 1, len(self.times) - 1))
        before = after - 1
        share = (phase - self.times[before]) / (self.times[after] - self.times[before])
        return np.asarray(
            self.vectors[before] + share * (self.vectors[after] - self.vectors[before])
        )

    def params(self, time: float) -> FaceParams:
        """The same as what a tracker gives."""
        return FaceParams.from_vector(self.at(time), time)

    def bounds(self) -> ParamBounds:
        """The range of the track itself."""
        return ParamBounds.of(self.vectors)


def performed(seed: int = 1, seconds: float = 60.0, fps: float = 20.0) -> Track:
    """A synthetic person who talks (docs/dataset.md), without a tracker's tremble."""
    from portrait.performer.performance import performance

    frames = [(t, p.vector()) for t, p, _ in performance(seed, seconds, fps)]
    times = np.array([t for t, _ in frames])
    return Track("performer", times, np.array([v for _, v in frames], dtype=np.float64))


def tracked(folder: Path) -> Track:
    """The held-out part of a training set, as its tracker saw it."""
    from nerf.trainset import TrainSetError, read_trainset

    try:
        found = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(f"--track: {error}") from error
    held = slice(found.train_count, None)
    times = np.asarray(found.time[held], dtype=np.float64)
    if len(times) < 40:
        raise LocalError(f"--track: {folder} holds out {len(times)} frames; 40 are needed")
    vectors = np.concatenate([found.expression[held], found.rotation[held]], axis=1)
    return Track(folder.name.removesuffix(".dataset"), times - times[0], vectors.astype(np.float64))


class LandmarkMeter:
    """How far two faces are apart."""

    def __init__(self) -> None:
        from portrait.performer.person import Person

        person = Person(HEAD_SEED)
        rest = np.zeros(EXPRESSION_DIM, np.float32)
        self._rest = person.landmarks(person.deform(rest))
        moves = []
        for k in range(EXPRESSION_DIM):
            raised = rest.copy()
            raised[k] = 1.0
            moves.append(person.landmarks(person.deform(raised)) - self._rest)
        self._moves = np.asarray(moves).reshape(EXPRESSION_DIM, -1)

    def _points(self, vector: NDArray[np.floating]) -> Floats:
        from nerf.camera import rotation_matrix

        face = np.asarray(vector, dtype=np.float64)
        points = self._rest + (face[:EXPRESSION_DIM] @ self._moves).reshape(self._rest.shape)
        turned = points @ rotation_matrix(*face[EXPRESSION_DIM:]).T
        return np.asarray(turned[:, :2]) * PIXELS_PER_METRE

    def error_px(self, a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
        """Root mean square distance of the landmarks of two faces [49], pixels."""
        apart = self._points(a) - self._points(b)
        return float(np.sqrt((apart**2).sum(axis=1).mean()))
