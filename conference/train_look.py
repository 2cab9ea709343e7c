"""A look at a run that goes on: a few held-out frames drawn, scored, and beside what was filmed.

The rule: a look must cost next to nothing, so large pictures are drawn at every second pixel in
both directions (the rays of exactly those pixels: their mean square error is that of the whole
picture, up to chance), and parameters are those that the head would be sent with at that moment:
the general tracker's (with the correction learned so far where no personal tracker will come), or
the personal tracker's once there is one, frame by frame, without the filter of a live sender.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.train_curve import Point
from conference.train_report import CORRECTED, GENERIC, PERSONAL
from nerf.camera import Camera
from nerf.metrics import psnr, rimless
from nerf.pose_correction import fit_correction
from nerf.train import Trainer

if TYPE_CHECKING:
    from conference.personal.fitting import PersonalFitting
    from nerf.cpu.render import Rendered
    from nerf.trainset import TrainSet

FRAMES = 6
SIZE = 256  # pixels from which every pixel is too many

Float64 = NDArray[np.float64]


class Looks:
    """Looks at some held-out frames of a run, or at a training frame where none are held out."""

    def __init__(self, trainer: Trainer, trainset: TrainSet,
                 fitting: PersonalFitting | None) -> None:  # fmt: skip
        self._trainer, self._set, self._fitting = trainer, trainset, fitting
        held = np.arange(trainer.count, len(trainer.footage))
        self.scored = len(held) > 0
        """Whether what is looked at was never trained on."""
        some = np.linspace(0, len(held) - 1, FRAMES).round().astype(int)
        self._frames = held[np.unique(some)] if self.scored else np.array([0])
        self._placed: list[tuple[NDArray[np.float32], Float64]] = []
        self._fits = -1

    def take(self, seconds: float, *, fine: bool = False) -> tuple[Point | None, NDArray[np.uint8]]:
        """How like they are after so many seconds, None where that is not known; and RGB, above as
        filmed, below as the head is. `fine`: every pixel."""
        footage = self._trainer.footage
        step = 1 if fine else max(1, footage.camera.width // SIZE)
        scores, columns = [], []
        kind = self._kind()
        for k, i in enumerate(self._frames.tolist()):
            shown = self._shown(kind, k, i, footage.lens(i).every(step)).rgb
            filmed = footage.rgb[i, ::step, ::step]
            head = footage.alpha[i, ::step, ::step] > 127
            scores.append([psnr(shown, filmed, m) for m in (None, head, rimless(head))])
            columns.append(np.concatenate([filmed, shown]))
        picture = np.concatenate(columns, axis=1)
        if not self.scored:
            return None, picture
        whole, head_only, rimless_only = np.mean(scores, axis=0).tolist()
        return Point(seconds, self._trainer.step_index, len(scores), kind, whole, head_only,
                     rimless_only), picture  # fmt: skip

    def _kind(self) -> str:
        if self._fitting is None:
            return CORRECTED
        return GENERIC if self._fitting.model is None else PERSONAL

    def _shown(self, kind: str, k: int, frame: int, camera: Camera) -> Rendered:
        trainer, footage = self._trainer, self._trainer.footage
        expression, pose, rigid = footage.expression[frame], footage.pose(frame), None
        if kind == PERSONAL:
            expression, pose = self._personal()[k]
        elif kind == CORRECTED:
            learned = fit_correction(trainer.features, trainer.rigid).astype(np.float64)
            said = trainer.field.pose_features(footage.rotation[frame], expression)
            rigid = learned @ said
        return trainer.render_view(expression, pose, camera, rigid=rigid)

    def _personal(self) -> list[tuple[NDArray[np.float32], Float64]]:
        """Expression and pose of each frame as the personal tracker finds them, from fit to fit."""
        from conference.personal.sending import aligned

        assert self._fitting is not None
        model = self._fitting.model
        assert model is not None
        if self._fits != self._fitting.done:
            self._placed = []
            for i in self._frames.tolist():
                found = aligned(model, self._set, i, self._fitting.portrait(i))
                pose = found.motion.apply(self._trainer.footage.pose(i), model.pivot)
                self._placed.append((np.asarray(found.expression, np.float32), pose))
            self._fits = self._fitting.done
        return self._placed
