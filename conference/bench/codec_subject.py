"""An avatar and its training set, opened for `facewire bench codec`.

The rule: everything that judges (the landmarks' map) is made from training frames, everything that
is judged from held-out ones; an avatar without codec tables gets them here, from its training
frames, as training would have made them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conference.bench.codec import Subject
from conference.codec_enrol import codec_sections, looked_at, sent_track
from conference.codec_metric import landmark_metric, read_meshes
from conference.codec_tables import phases
from conference.seat import seat_of_avatar, view_in
from conference.terminal import announce
from nerf.metrics import likeness, mean_likeness
from nerf.renderer import load_head
from nerf.trainset import TrainSetError, load_images, read_trainset
from nerf.weights import from_sections as field_of
from quic_transport.avatar_file import load_avatar
from quic_transport.codec import Terms
from quic_transport.codec.rc_tables import SECTION
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, FaceParams
from sender.personal.model import from_sections as personal_of

Float64 = NDArray[np.float64]


def open_subject(path: Path, fps: float, size: int, pictures: int) -> Subject:
    """The subject of an avatar whose training set lies beside it; LocalError with a sentence."""
    avatar = load_avatar(path)
    folder = path.with_suffix(".dataset")
    try:
        data = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(f"{error}: the bench needs {path.name}'s training set") from error
    if len(data) - data.train_count < 2 * fps:
        raise LocalError(f"{folder} holds too few frames out for this bench")
    personal = personal_of(avatar.sections)
    sections = dict(avatar.sections)
    if not any(name.startswith(SECTION) for name in sections):
        announce(f"{path.name} has no codec tables: making them from its training frames")
        made = codec_sections(field_of(avatar.sections), personal, data)
        if not made:
            raise LocalError(f"{folder} has too few training frames for codec tables")
        sections |= made
    trained = looked_at(data.time[: data.train_count])
    known = sent_track(data, personal, trained)
    meshes = read_meshes(data.folder, data.img_id[trained], data.camera.width)
    if meshes is None:
        raise LocalError(f"{folder} has no landmarks to judge by: build the set again")
    placed = (meshes - known.places[:, None, :2]) / known.places[:, None, 2:] + 0.5
    form = landmark_metric(known.vectors, placed, data.scale)

    track = sent_track(data, personal, np.arange(data.train_count, len(data)))
    picked = next(iter(phases(track.times, fps)))
    true = track.vectors[picked].astype(np.float32).astype(np.float64)
    faces = [
        FaceParams(v[:EXPRESSION_DIM], v[EXPRESSION_DIM:], float(t), offset)
        for v, t, offset in zip(true, track.times[picked], track.offsets[picked], strict=True)
    ]  # fmt: skip
    shown = np.unique(np.linspace(0, len(picked) - 1, pictures).astype(int))
    rgb, alpha = load_images(data, size, data.train_count + picked[shown])
    head = load_head(avatar.sections, avatar.meta.distance_m, avatar.meta.portrait_scale)
    seat = seat_of_avatar(avatar.meta)

    def psnr(vectors: Float64) -> float:
        scores = []
        for n, i in enumerate(shown.tolist()):
            e, r = vectors[i, :EXPRESSION_DIM], vectors[i, EXPRESSION_DIM:]
            u, v, side = track.places[picked[i]]
            pose, camera = view_in((u, v, side), r, track.offsets[picked[i]], seat, size)
            picture = head.render(e, pose, camera).rgb
            scores.append(likeness(picture, rgb[n], alpha[n]))
        return mean_likeness(scores).psnr_whole

    announce(f"{path.stem}: {len(faces)} held-out frames at {fps:g} fps, {len(shown)} pictures")
    return Subject(path.stem, Terms(avatar.meta.bounds, sections), faces, true, form, fps, psnr)
