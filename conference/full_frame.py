"""The whole picture of one training run: learned after the head, judged on held-out pictures.

The rule: what a receiver does is what is judged. The torso learns from the places and rotations
that this sender's tracker will send, and every picture of the score is drawn by the receiver's own
code from numbers that a live sender would have sent. Without whole pictures in the training set the
avatar stays a head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conference.full_frame_body import learn_body
from conference.full_frame_lesson import Stage, lesson_of, stage_of
from conference.personal.fit import motion_of_rigid
from conference.personal.fitting import PersonalFitting
from conference.personal.sending import read_portrait, sent
from conference.seat import offset_in, seat_of_set
from nerf.camera import head_pose
from nerf.metrics import psnr, ssim
from nerf.renderer import HeadRenderer
from nerf.torso import torso_from
from nerf.torso_fit import fit_torso
from nerf.train import Trainer
from nerf.trainset import TrainSet
from quic_transport.params import FaceParams
from quic_transport.seat import Seat
from receiver.full_frame import FullFrame, background_of, plate_from, plate_sections
from sender.personal import body_model
from sender.personal.body import BodyTracker
from sender.personal.extractor import placed
from sender.personal.model import PersonalModel
from sender.personal.motion import Motion

Float64 = NDArray[np.float64]
Image = NDArray[np.uint8]
Sections = dict[str, NDArray[Any]]
SENT = "as sent"  # how the score is called in an avatar's facts


@dataclass(frozen=True, slots=True)
class PictureScore:
    """Held-out whole pictures beside what was filmed."""

    psnr: float
    """dB, the whole picture, room and all."""
    ssim: float
    """0..1, the whole picture."""
    psnr_body: float
    """dB, where neck and torso are."""
    psnr_plate: float
    """dB, the background plate alone beside what was filmed: how still the rest would have been."""
    pictures: int
    """How many."""

    def facts(self) -> dict[str, float]:
        """As an avatar keeps it."""
        return {
            f"full frame psnr {SENT}": round(self.psnr, 4),
            f"full frame ssim {SENT}": round(self.ssim, 4),
            f"full frame psnr body {SENT}": round(self.psnr_body, 4),
            "full frame pictures": float(self.pictures),
        }

    def sentence(self) -> str:
        """The line that `facewire train` ends with."""
        return (
            f"whole pictures, as sent: PSNR {self.psnr:.2f} dB (neck and torso "
            f"{self.psnr_body:.2f}), SSIM {self.ssim:.4f}; {self.pictures} held-out pictures"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What a sender says of frames of a set, in the order of the frames."""

    rotation: Float64
    """[n, 3]"""
    offset: Float64
    """[n, 3]"""
    expression: Float64
    """[n, 46]"""


def learn_full_frame(trainset: TrainSet, trainer: Trainer, fitting: PersonalFitting | None,
                     progress: Callable[[float], None]) -> Sections:  # fmt: skip
    """The sections `plate.*` and `torso.*` of an avatar, and `personal.body.*` of its owner's; none
    where the set has no whole pictures."""
    stage = stage_of(trainset)
    if stage is None:
        return {}
    said = trained(trainset, trainer, fitting)
    lesson = lesson_of(trainset, stage, said.rotation, said.offset, said.expression)
    learned = learn_body(fit_torso(lesson, progress), trainset, stage,
                         whole_faces(trainset, stage, said))  # fmt: skip
    sections: Sections = plate_sections(stage.framing, stage.plate())
    sections |= learned.torso.to_sections()
    return sections if learned.model is None else sections | body_model.to_sections(learned.model)


def whole_faces(trainset: TrainSet, stage: Stage, said: Tracked) -> dict[int, FaceParams]:
    """What a sender says of the training frames that are stored whole, by picture number."""
    at = {int(n): i for i, n in enumerate(trainset.img_id[: len(said.rotation)])}
    return {
        n: face_of(said.expression[at[n]], said.rotation[at[n]], said.offset[at[n]],
                   trainset.time[at[n]])
        for n in stage.frames if n in at
    }  # fmt: skip


def trained(trainset: TrainSet, trainer: Trainer, fitting: PersonalFitting | None) -> Tracked:
    """What is believed of the training frames."""
    n = trainer.count
    if fitting is None or fitting.model is None:
        return Tracked(trainset.rotation[:n], trainset.offset[:n],
                       trainset.expression[:n].astype(np.float64))  # fmt: skip
    edge, model = trainer.field.cube.edge, fitting.model
    expression, rotation = fitting.sent()
    offset = np.empty((n, 3))
    for i in range(n):
        motion = Motion.of(motion_of_rigid(trainer.rigid[i], edge))
        square, _ = placed(model, motion, trainset.rotation[i], trainset.offset[i])
        offset[i] = offset_in((square.u, square.v, square.side), trainset.offset[i])
    return Tracked(rotation, offset, np.asarray(expression, np.float64))


def held_out(trainset: TrainSet, model: PersonalModel | None,
             last: int | None = None) -> Iterator[tuple[int, FaceParams]]:  # fmt: skip
    """Every held-out frame up to `last`, and what a live sender sends for it."""
    every = range(trainset.train_count, len(trainset) if last is None else last + 1)
    if model is None:
        for i in every:
            yield i, face_of(trainset.expression[i], trainset.rotation[i],
                             trainset.offset[i], trainset.time[i])  # fmt: skip
        return
    faces = sent(model, trainset, every, lambda i: read_portrait(trainset, i))
    for i, face in zip(every, faces, strict=True):
        place = face.place
        offset = offset_in((place.u, place.v, place.side), trainset.offset[i])
        yield i, face_of(face.expression, face.rotation, offset, trainset.time[i])


def face_of(
    expression: NDArray[Any], rotation: Float64, offset: Float64, time: float
) -> FaceParams:
    """The parameters of a frame at `time`, seconds."""
    return FaceParams(np.asarray(expression, np.float32), rotation.astype(np.float32),
                      float(time), offset.astype(np.float32))  # fmt: skip


def open_pictures(sections: Sections, renderer: HeadRenderer, seat: Seat,
                  background: str = "plate") -> FullFrame | None:  # fmt: skip
    """What a receiver draws with, from sections that may not be in a file yet."""
    found = plate_from(sections)
    if found is None:
        return None
    framing, plate = found
    torso = torso_from(sections, framing)
    return FullFrame(framing, torso, background_of(background, plate), renderer,
                     seat, renderer.threads)  # fmt: skip


def score_full_frame(trainset: TrainSet, sections: Sections, renderer: HeadRenderer,
                     model: PersonalModel | None) -> PictureScore | None:  # fmt: skip
    """Over the held-out pictures that are stored whole; None where there are none."""
    stage = stage_of(trainset)
    full = open_pictures(sections, renderer, seat_of_set(trainset))
    at = {int(n): i for i, n in enumerate(trainset.img_id)}
    if stage is None or full is None:
        return None
    wanted = {at[n]: n for n in stage.frames if at[n] >= trainset.train_count}
    if not wanted:
        return None
    rows = []
    known = body_model.from_sections(sections)
    body = None if known is None else BodyTracker(known)
    for i, face in held_out(trainset, model, max(wanted)):
        if i in wanted:
            if body is not None:
                face = body.follow(stage.source(wanted[i]), face)
            shown = full.draw(face, head_pose(face.rotation, renderer.distance_m))[..., :3]
            rows.append(judged(stage, full, wanted[i], shown))
    whole, like, torso, plate = (float(x) for x in np.mean(rows, axis=0))
    return PictureScore(whole, like, torso, plate, len(rows))


def judged(
    stage: Stage, full: FullFrame, n: int, shown: Image
) -> tuple[float, float, float, float]:
    """PSNR, SSIM, PSNR of the body and of the plate alone, of one picture."""
    raw = stage.raw(n)
    body = stage.body(n)
    return (
        psnr(shown, raw), ssim(shown, raw), psnr(shown, raw, body),
        psnr(full.background[..., :3], raw),
    )  # fmt: skip


__all__ = [
    "PictureScore", "Tracked", "held_out", "judged", "learn_full_frame",
    "open_pictures", "score_full_frame", "trained",
]  # fmt: skip
