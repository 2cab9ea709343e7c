"""The personal tracker of one training run: when it is fitted, and what it is worth.

The rule: field and tracker take turns. At MOMENTS of the run (where time is short, the first and
the last of them) the person's brightness is read off the pictures at the poses believed by then,
the tracker is laid onto every training frame, and the field goes on with what it found; after the
last moment poses stay as the tracker gives them, so that the field learns to look right under what
a live sender will send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conference.personal.ceiling import optimised_motion
from conference.personal.fit import (
    Tracked,
    align_all,
    fit_model,
    motion_of_rigid,
    rigid_of_motion,
    surface_of,
    with_misfit,
)
from conference.personal.sending import aligned, read_portrait, sent
from conference.seat import seat_of_set
from nerf.camera import seen_pose
from nerf.cpu.render import Rendered
from nerf.metrics import Likeness, likeness, mean_likeness
from nerf.train import Trainer
from nerf.trainset import TrainSet
from nerf.warp import skin_shift
from quic_transport.params import EXPRESSION_DIM
from sender.personal.extractor import placed
from sender.personal.model import PersonalModel, from_sections, to_sections
from sender.personal.motion import Motion
from sender.smoothed_track import smoothed_track

MOMENTS = (0.06, 0.15, 0.27, 0.42)
"""Shares of the run after which the tracker is fitted; after the last one poses stay. Early: what
the field learned under other poses and coefficients has to be learned again."""
DEAR = 0.08
"""Share of a run's time that a fit may cost; where it costs more, the moments between the first
and the last one pass without."""
LEAST_FRAMES = 100
"""Training frames below which there is too little to fit."""
LEAST_POINTS = 100
"""Points of a surface below which there is nothing to lay onto a picture."""
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Likenesses:
    """Held-out frames under three kinds of parameters."""

    generic: Likeness
    """As a live sender with the general tracker alone sends them."""
    personal: Likeness
    """As a live sender with the personal tracker sends them."""
    ceiling: Likeness
    """With the pose optimised for each frame against its own matted picture."""


class PersonalFitting:
    """Fits one run's personal tracker."""

    def __init__(self, trainer: Trainer, trainset: TrainSet, threads: int = 2) -> None:
        self._trainer, self._set, self._threads = trainer, trainset, threads
        self.model: PersonalModel | None = None
        self.done = 0
        """How many of MOMENTS are over."""
        n = trainer.count
        self._refined = np.asarray(trainset.expression[:n], dtype=np.float64).copy()

    @staticmethod
    def fits(trainset: TrainSet) -> bool:
        """Whether a set has what it takes: whole portraits, enough frames, a tracker that errs."""
        first = trainset.folder / "ori_imgs" / f"{int(trainset.img_id[0])}.jpg"
        return (
            trainset.train_count >= LEAST_FRAMES and first.is_file()
            and trainset.extractor not in ("truth", "unknown")
        )  # fmt: skip

    def due(self, progress: float) -> bool:
        """Whether a moment has come."""
        return self.done < len(MOMENTS) and progress >= MOMENTS[self.done]

    @property
    def left(self) -> int:
        """How many of MOMENTS are to come."""
        return len(MOMENTS) - self.done

    def leave_out(self) -> None:
        """Let a moment pass without a fit."""
        self.done += 1

    def pass_over(self, cost: float) -> None:
        """After a fit that cost this share of the run: leave out moments that are too dear."""
        if cost > DEAR:
            self.done = max(self.done, len(MOMENTS) - 1)

    def update(self, report: Report) -> None:
        """Fit the tracker to the trainer's present state, and the trainer to the tracker."""
        trainer = self._trainer
        n, edge = trainer.count, trainer.field.cube.edge
        report(f"fitting the personal tracker, {self.done + 1} of {len(MOMENTS)}")
        believed = np.stack([motion_of_rigid(r, edge) for r in trainer.rigid])
        tracked = Tracked(self._set.rotation[:n], self._set.expression[:n].astype(np.float64),
                          believed, self._refined, self._set.offset[:n])  # fmt: skip
        surface = surface_of(trainer)
        if len(surface) < LEAST_POINTS:
            report("the head has no surface yet: this fit is left out")
            self.done += 1
            return
        pivot = np.array(trainer.field.cube.center)
        trainer.engine.store()
        shift = skin_shift(trainer.field, surface.points)
        model = fit_model(surface, shift, pivot, tracked, self.portrait, seat_of_set(self._set),
                          self._threads)  # fmt: skip
        found = [a for _, a in align_all(model, tracked, np.arange(n), self.portrait,
                                         self._threads)]  # fmt: skip
        self.model = with_misfit(model, [a.misfit for a in found])
        self._refined = np.stack([a.expression for a in found])
        rigid = np.stack([rigid_of_motion(a.motion.vector(), edge) for a in found])
        self.done += 1
        angles = [placed(self.model, a.motion, self._set.rotation[i], self._set.offset[i])[1]
                  for i, a in enumerate(found)]  # fmt: skip
        trainer.believe(rigid, self._refined, np.array(angles), fixed=self.done == len(MOMENTS))

    def sent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Refined expressions [n, 46] and rotations [n, 3] of the training frames, as sent."""
        if self.model is None:
            raise ValueError("there is no personal tracker yet")
        n = self._trainer.count
        edge = self._trainer.field.cube.edge
        turns = [
            placed(self.model, Motion.of(motion_of_rigid(self._trainer.rigid[i], edge)),
                   self._set.rotation[i], self._set.offset[i])[1]
            for i in range(n)
        ]  # fmt: skip
        return self._refined, np.array(turns)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """What a checkpoint keeps."""
        out: dict[str, NDArray[np.generic]] = {
            "done": np.array(self.done),
            "refined": self._refined,
        }
        return out | (to_sections(self.model) if self.model is not None else {})

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        """Take over what `state` gave."""
        self.done = int(state["done"])
        self._refined = np.asarray(state["refined"], dtype=np.float64)
        self.model = from_sections(state)

    def portrait(self, index: int) -> NDArray[np.uint8]:
        """The whole portrait of a frame, as `read_portrait`."""
        return read_portrait(self._set, index)

    def drawn(self, frames: NDArray[np.int64]) -> Iterator[Rendered]:
        """Held-out `frames`, rising, as a receiver shows what a live sender sends."""
        trainer, model = self._trainer, self.model
        if model is None:
            raise ValueError("there is no personal tracker yet")
        wanted, seat = set(frames.tolist()), seat_of_set(self._set)
        size = trainer.footage.camera.width
        every = range(trainer.count, int(frames.max()) + 1)  # a sender sees all of them
        for i, face in zip(every, sent(model, self._set, every, self.portrait), strict=True):
            if i in wanted:
                pose, camera = face.view(self._set.offset[i], seat, size)
                yield trainer.render_view(face.expression, pose, camera)

    def score(self, frames: NDArray[np.int64], ceiling_frames: int) -> Likenesses:
        """The three likenesses over some held-out `frames`, rising; the ceiling over
        `ceiling_frames` of them."""
        trainer, footage, model = self._trainer, self._trainer.footage, self.model
        if model is None:
            raise ValueError("there is no personal tracker yet")

        def judged(shown: Rendered, i: int) -> Likeness:
            return likeness(shown.rgb, footage.rgb[i], footage.alpha[i])

        every = np.arange(trainer.count, int(frames.max()) + 1)  # a sender sees all of them
        track = smoothed_track(
            self._set.time[every],
            np.concatenate([self._set.expression[every], self._set.rotation[every]], axis=1),
            tracker=self._set.extractor, schema=self._set.schema,
        )[frames - trainer.count]  # fmt: skip
        seat = seat_of_set(self._set)
        generic = [
            judged(trainer.render_view(said[:EXPRESSION_DIM], seen_pose(said[EXPRESSION_DIM:],
                   seat.position(self._set.offset[i])), footage.lens(int(i))), int(i))
            for i, said in zip(frames, track, strict=True)
        ]  # fmt: skip
        personal = [
            judged(shown, int(i)) for i, shown in zip(frames, self.drawn(frames), strict=True)
        ]
        best = []
        for i in frames[:: max(1, len(frames) // max(ceiling_frames, 1))].tolist():
            found = aligned(model, self._set, i, self.portrait(i))
            motion = optimised_motion(trainer, i, found.motion, found.expression)
            pose = motion.apply(footage.pose(i), model.pivot)
            best.append(judged(trainer.render_view(found.expression, pose, footage.lens(i)), i))
        return Likenesses(mean_likeness(generic), mean_likeness(personal), mean_likeness(best))
