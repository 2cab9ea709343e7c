"""An avatar's own codec tables: from its head, its tracker and its training frames.

The rule: training frames only, in the form in which a live sender sends them (its own tracker, its
own filter), so that a call meets the statistics that the tables expect. Too few frames say nothing:
then there are no tables, and calls use eg0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conference.codec_metric import combined, landmark_metric, picture_metric, read_meshes
from conference.codec_tables import learn
from conference.personal.fit import spread_out
from conference.personal.sending import read_portrait, sent
from conference.seat import offset_in
from nerf.field import HeadField
from nerf.renderer import HeadRenderer
from nerf.trainset import TrainSet
from quic_transport.codec.rc_tables import Tables, to_sections
from quic_transport.params import EXPRESSION_DIM
from sender.personal.model import PersonalModel
from sender.smoothed_track import smoothed_track

Float64 = NDArray[np.float64]

LEAST_FRAMES = 100
BLOCKS, BLOCK_S = 6, 25.0  # of the training frames: parts that are looked at, seconds of each
VIEWS = 3  # frames that the metric's pictures are drawn around (thirty give the same rates)
SIZE_PX = 96


@dataclass(frozen=True, slots=True, eq=False)
class SentTrack:
    """What a live sender sends for some frames of a training set."""

    vectors: Float64
    """[N, 49]"""
    offsets: Float64
    """[N, 3] as `FaceParams.offset`."""
    places: Float64
    """[N, 3] u, v, side: where the receiver's portrait lies in the set's, in its widths."""
    times: Float64
    """[N] seconds."""


def sent_track(trainset: TrainSet, personal: PersonalModel | None,
               frames: NDArray[np.int64]) -> SentTrack:  # fmt: skip
    """Of `frames`, rising."""
    times, own = trainset.time[frames], trainset.offset[frames]
    if personal is None:
        raw = np.concatenate([trainset.expression[frames], trainset.rotation[frames]], axis=1)
        vectors = smoothed_track(times, raw, tracker=trainset.extractor, schema=trainset.schema)
        return SentTrack(vectors, own, np.tile([0.5, 0.5, 1.0], (len(frames), 1)), times)
    faces = list(sent(personal, trainset, frames.tolist(), lambda i: read_portrait(trainset, i)))
    places = [(f.place.u, f.place.v, f.place.side) for f in faces]
    offsets = [offset_in(place, offset) for place, offset in zip(places, own, strict=True)]
    return SentTrack(
        np.array([np.concatenate([f.expression, f.rotation]) for f in faces]), np.array(offsets),
        np.array(places), times,
    )  # fmt: skip


def looked_at(times: Float64) -> NDArray[np.int64]:
    """The frames in BLOCKS stretches of BLOCK_S, spread over the track."""
    starts = np.linspace(times[0], max(times[0], times[-1] - BLOCK_S), BLOCKS)
    inside = [(times >= start) & (times <= start + BLOCK_S) for start in starts]
    return np.flatnonzero(np.logical_or.reduce(inside))


def codec_sections(field: HeadField, personal: PersonalModel | None, trainset: TrainSet,
                   device: str = "cpu") -> dict[str, NDArray[np.generic]]:  # fmt: skip
    """The tables as sections of an avatar file; empty where the training frames are too few."""
    if trainset.train_count < LEAST_FRAMES:
        return {}
    head = HeadRenderer(field, trainset.distance_m, trainset.scale, device=device)
    try:
        return to_sections(_tables(head, personal, trainset))
    finally:
        head.close()


def _tables(head: HeadRenderer, personal: PersonalModel | None, trainset: TrainSet) -> Tables:
    frames = looked_at(trainset.time[: trainset.train_count])
    track = sent_track(trainset, personal, frames)

    def render(v: Float64) -> NDArray[np.uint8]:
        return head.render_portrait(v[:EXPRESSION_DIM], v[EXPRESSION_DIM:], SIZE_PX).rgb

    views = spread_out(track.vectors[:, EXPRESSION_DIM:], VIEWS)
    low, high = (side[:EXPRESSION_DIM] for side in (head.field.code.low, head.field.code.high))
    pictures = picture_metric(render, track.vectors[views], low, high)
    meshes = read_meshes(trainset.folder, trainset.img_id[frames], trainset.camera.width)
    landmarks = None
    if meshes is not None:
        placed = (meshes - track.places[:, None, :2]) / track.places[:, None, 2:] + 0.5
        landmarks = landmark_metric(track.vectors, placed, trainset.scale)
    metric = combined(pictures, landmarks)
    return learn(track.vectors, track.offsets, track.times, metric)
