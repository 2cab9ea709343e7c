"""How the body of held-out frames stands: guessed, as a sender measures and codes it, and fitted.

The rule: what is sent is measured causally at the rate of a call and crosses the codec's integers;
what is fitted is the same alignment carried on to its end, picture by picture, with nothing behind
it: what the four numbers could be worth at best.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conference.codec_tables import phases
from conference.full_frame import held_out
from nerf.trainset import TrainSet
from quic_transport.codec.body import REST, Body, body_of, settled, write_body
from quic_transport.codec.fraction_coder import FractionWriter
from quic_transport.codec.rc_tables import class_of
from quic_transport.params import BODY_DIM, FaceParams
from sender.frames import Frame
from sender.personal import body as tracking
from sender.personal.body_model import from_sections
from sender.personal.model import PersonalModel
from sender.video import read_video

FPS = 20.0  # of a call
CONFIRMED_LAG = 3  # frames: a round trip of 100 ms
FITTED_STEPS = 12

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Bodies:
    """The numbers of every held-out frame."""

    sent: Float32
    """[N, BODY_DIM] as they come out at a receiver, before it smooths them."""
    fitted: Float32
    """[N, BODY_DIM]"""
    kbps: tuple[float, float, float]
    """Of the body's symbols at FPS: as a chain, against confirmed frames, each frame alone."""
    measuring_ms: float
    """Of one core, for one frame: median."""


def bodies_of(clip: Path, trainset: TrainSet, sections: Mapping[str, Any],
              model: PersonalModel | None, last: int | None) -> Bodies | None:  # fmt: skip
    """Of the held-out frames up to `last`; None where the avatar's sender measures nothing."""
    known, source_frame = from_sections(sections), trainset.extra.get("source_frame")
    if known is None or source_frame is None:
        return None
    tracker, fit = tracking.BodyTracker(known), tracking.Body(known)
    frames = read_video(clip, warn=lambda _: None)
    first, count = trainset.train_count, len(trainset) if last is None else last + 1
    times = trainset.time[first:count]
    picked = set(next(iter(phases(times, FPS))).tolist())
    sent: list[FaceParams] = []
    fitted: list[NDArray[np.float64]] = []
    at: list[int] = []
    costs: list[float] = []
    for k, (i, face) in enumerate(held_out(trainset, model, last)):
        image = picture_of(frames, int(source_frame[i]))
        if image is None:
            break
        found = fit.measure(image, face, fitted[-1] if fitted else np.zeros(BODY_DIM),
                            FITTED_STEPS)  # fmt: skip
        fitted.append(found.deviation)
        if k in picked:
            began = time.process_time()
            face = tracker.follow(image, face)
            costs.append(time.process_time() - began)
            sent.append(face)
            at.append(k)
    coded = coded_bodies(sent)
    every = np.arange(len(fitted))
    shown = np.stack(
        [np.interp(every, at, [body[b] for body in coded]) for b in range(BODY_DIM)], 1
    )
    kbps = (chained(coded, 1), chained(coded, CONFIRMED_LAG), chained(coded, None))
    return Bodies(shown.astype(np.float32), np.array(fitted, np.float32), kbps,
                  1000 * float(np.median(costs)))  # fmt: skip


def picture_of(frames: Any, index: int) -> NDArray[np.uint8] | None:
    """The first picture of a film, read on, from this index on; None at its end."""
    found: Frame | None = next((f for f in frames if f.index >= index), None)
    return None if found is None else found.image


def coded_bodies(faces: list[FaceParams]) -> list[Body]:
    """The integers of one frame after the other."""
    out: list[Body] = []
    for face in faces:
        out.append(settled(body_of(face), out[-1] if out else REST))
    return out


def chained(bodies: list[Body], lag: int | None) -> float:
    """kbps of the body's symbols, predicted from the frame `lag` before; None: from nothing."""
    bits = 0
    for k, body in enumerate(bodies):
        writer = FractionWriter()
        near = lag is not None and k >= lag
        before = bodies[k - lag] if lag is not None and near else REST
        for _ in range(16):  # sixteen times the same: a sixteenth of a bit is what is seen
            write_body(writer, body, before, class_of(lag) if lag is not None and near else 0)
        bits += writer.cost
    return bits / 16 / len(bodies) * FPS / 1000


def standing(face: FaceParams, numbers: Float32) -> FaceParams:
    """The face on a body that stands so."""
    return replace(face, body=numbers)
