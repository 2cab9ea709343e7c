"""From a trained head to the avatar's file: body and room, codec tables, weights as they are sent.

The rule: everything that a receiver needs is in the file, and a body that cannot be learned costs
a sentence, never the head.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from conference.progress_line import ProgressLine
from conference.terminal import announce
from conference.train_report import Trained

if TYPE_CHECKING:
    from conference.full_frame import PictureScore

Sections = dict[str, Any]


def learn_whole(run: Trained) -> tuple[Sections, PictureScore | None]:
    """Body and room, where the training set has whole pictures; and what they are worth."""
    from conference.full_frame import learn_full_frame, score_full_frame
    from nerf.renderer import HeadRenderer

    t, threads = run.trainset, run.trainer.pool.threads
    wall = time.perf_counter()
    with ProgressLine("body and room") as line:
        sections = learn_full_frame(
            t, run.trainer, run.fitting,
            lambda share: line.show(share, None, time.perf_counter() - wall),
        )  # fmt: skip
    if not sections:
        announce("no whole pictures in this training set: the avatar is a head alone (build "
                 "the set again for a body and a room)")  # fmt: skip
        return {}, None
    announce(f"body and room learned in {time.perf_counter() - wall:.0f} s")
    head = HeadRenderer(run.trainer.field, t.distance_m, t.scale, threads, run.device)
    try:
        model = run.fitting.model if run.fitting is not None else None
        return sections, score_full_frame(t, sections, head, model)
    finally:
        head.close()


def write_avatar(run: Trained, whole: Sections, facts: dict[str, str | int | float]) -> int:
    """Write the avatar with these sections of body and room; its bytes."""
    from conference.avatar_size import Views, stored
    from conference.codec_enrol import codec_sections
    from conference.seat import seat_of_set
    from quic_transport.avatar_file import AvatarMeta, save_avatar
    from quic_transport.params import ParamBounds
    from sender.personal import model as personal

    t, output = run.trainset, run.request.output
    expression = t.expression[: run.trainer.count].astype(np.float64)
    rotation = t.rotation[: run.trainer.count]
    sections: Sections = {}
    model = None
    if run.fitting is not None and run.fitting.model is not None:
        model = run.fitting.model
        expression, rotation = run.fitting.sent()
        sections |= personal.to_sections(model)
    sections |= codec_sections(run.trainer.field, model, t, run.device)
    sections |= whole
    meta = AvatarMeta(
        name=output.stem, schema=t.schema, extractor=t.extractor,
        bounds=ParamBounds.of(np.concatenate([expression, rotation], axis=1)),
        distance_m=float(t.distance_m), portrait_scale=float(t.scale),
        size_px=run.trainer.settings.size, frame_rate=float(t.frame_rate),
        created=datetime.now(UTC).isoformat(timespec="seconds"), provenance=facts,
        rest=seat_of_set(t).rest,
    )  # fmt: skip
    output.parent.mkdir(parents=True, exist_ok=True)
    views = Views.of_training(run.trainer.field.code, expression, rotation)
    avatar = stored(
        meta, run.trainer.field, sections, views, size=run.request.avatar_size,
        threads=run.trainer.pool.threads, report=announce,
    )  # fmt: skip
    save_avatar(output, avatar)
    return output.stat().st_size
