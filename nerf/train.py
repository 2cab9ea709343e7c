"""Training a head: the loop that reads top to bottom, whatever engine does the steps.

The rule: a step is one frame's rays; everything random comes from one generator, so a run repeats.
The last frames are never looked at. References: Gao et al. 2022; the paper, "Nerf Model Training".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.backends import (
    Choice,
    RenderBackend,
    TrainEngine,
    make_renderer,
    open_engine,
    open_resident,
)
from nerf.camera import Camera, head_pose
from nerf.config import PAPER_FIELD, FieldConfig
from nerf.cpu.engine import LossWeights, Rates, RayBatch, StepResult
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import Rendered
from nerf.expression import fit_expression_code
from nerf.field import cube_rays, new_field
from nerf.metrics import Likeness, likeness, mean_likeness
from nerf.occupancy import OPAQUE_FINAL, Occupancy, fit_cube, round_back, visual_hull
from nerf.pose_correction import fit_correction, pose_features


@dataclass(frozen=True, slots=True, eq=False)
class Footage:
    """Frames of one person in the stabilised portrait, in time order."""

    rgb: NDArray[np.uint8]
    """[N, S, S, 3], head on white."""
    alpha: NDArray[np.uint8]
    """[N, S, S], the head's matte."""
    rotation: NDArray[np.float64]
    """[N, 3], radians, as tracked."""
    expression: NDArray[np.float32]
    """[N, K], as tracked."""
    camera: Camera
    """The portrait camera, S × S pixels."""
    distance: float
    """Metres from the camera to the head's origin."""
    detail: NDArray[np.int64] | None = None
    """[N, B, 4] boxes (x0, y0, x1, y1) of the eyes and the mouth, pixels, inside the picture; None
    where they are not known."""

    def __len__(self) -> int:
        return len(self.rgb)

    def pose(self, index: int) -> NDArray[np.float64]:
        """The tracked head → camera pose [4, 4] of a frame."""
        return head_pose(self.rotation[index], self.distance)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How to train; the two named recipes are `PRESETS`."""

    config: FieldConfig = FieldConfig()  # noqa: RUF009 (frozen)
    steps: int = 12_000
    size: int = 512
    """Pixels of the training pictures."""
    table_rate: float = 2e-2
    expression_rate: float = 2e-2
    network_rate: float = 3e-3
    decay_to: float = 0.03
    """Rates fall by this factor, exponentially, over the run; unused with milestones."""
    milestones: tuple[int, ...] = ()
    """Steps at which all rates are multiplied by 0.33 instead (the paper's MultiStepLR)."""
    pose_rate: float = 5e-3
    """Adam rate of per-frame pose refinement (radians, cube edges); 0 switches it off."""
    pose_start: float = 0.1
    """Share of the run after which poses move."""
    samples: int = 16_000
    """Samples per step that the number of rays is steered to."""
    detail_share: float = 0.2
    """Share of the rays that go through eyes and mouth, where their places are known: small, and
    what people look at. Training that lives on a GPU (`nerf.gpu`) draws its rays without."""
    loss: LossWeights = LossWeights()  # noqa: RUF009 (frozen)
    betas: tuple[float, float] = (0.9, 0.99)
    holdout: float = 0.15
    """Share of the frames, the last ones, that training never sees."""
    hull_frames: int = 40
    seed: int = 0


PRESETS: dict[str, TrainSettings] = {
    "fast": TrainSettings(),
    # The paper: Adam 1e-3, betas (0.9, 0.99), MultiStepLR, 200 epochs; NeRFBlendShape's sizes and
    # milestones (40 and 100 epochs × 0.33). An epoch is one pass over the frames, two per step
    # there and one per step here. On a CPU this takes days: see docs/training.md.
    "paper": TrainSettings(
        config=PAPER_FIELD, steps=200, size=512, table_rate=1e-3, expression_rate=1e-3,
        network_rate=1e-3, detail_share=0.0, milestones=(40, 100),
        samples=40_000,
    ),
}  # fmt: skip


LOOK_EVERY = 64  # steps between two looks at the occupancy


def train_count(frames: int, holdout: float) -> int:
    """How many of `frames` frames are trained on; the rest, at the end, are held out."""
    return max(1, frames - round(frames * holdout))


class Trainer:
    """A training run in progress."""

    def __init__(self, footage: Footage, settings: TrainSettings, pool: WorkerPool,
                 device: str = "cpu", backend: str = "auto") -> None:  # fmt: skip
        """`device` and `backend` are wishes (`nerf.backends`)."""
        self.footage = footage
        self.pool = pool
        self.count = train_count(len(footage), settings.holdout)
        if settings.milestones:  # given in epochs; from here on in steps
            settings = replace(
                settings,
                steps=settings.steps * self.count,
                milestones=tuple(m * self.count for m in settings.milestones),
            )
        self.settings = settings
        self.rng = np.random.default_rng(settings.seed)
        sample = np.unique(np.linspace(0, self.count - 1, settings.hull_frames).astype(int))
        cube = fit_cube(footage.alpha[sample], footage.camera, footage.distance)
        code = fit_expression_code(footage.expression[: self.count], settings.config.rank)
        self.field = new_field(settings.config, code, cube, self.rng)
        hull = visual_hull(footage.alpha[sample], footage.rotation[sample], footage.camera,
                           footage.distance, cube)  # fmt: skip
        hull = round_back(hull, cube)
        self.occupancy = Occupancy(hull)
        self.field.occupancy = hull.astype(np.uint8)
        self.engine: TrainEngine
        self.choice: Choice
        self.engine, self.choice = open_engine(self.field, pool, device, backend, settings.betas)
        self.codes = code(footage.expression[: self.count])
        self.features = pose_features(self.field, footage.rotation[: self.count],
                                      footage.expression[: self.count])  # fmt: skip
        self.rigid = np.zeros((self.count, 6))
        self.poses_fixed = False
        self._rigid1, self._rigid2 = np.zeros((self.count, 6)), np.zeros((self.count, 6))
        self._rigid_n = np.zeros(self.count, int)
        self.step_index = 0
        self.rays = 1024
        self._order: list[int] = []
        self._boxes = [bounding_box(a) for a in footage.alpha[: self.count]]
        poses = [footage.pose(i) for i in range(self.count)]
        self.resident = open_resident(self.engine, footage.rgb[: self.count],
                                      footage.alpha[: self.count], self._boxes, poses,
                                      footage.camera)  # fmt: skip
        self._told = False  # whether the device knows what we believe of poses and expressions
        self._drawer: tuple[int, NDArray[np.uint8], RenderBackend] | None = None

    @property
    def done(self) -> bool:
        """Whether all steps have been taken."""
        return self.step_index >= self.settings.steps

    def state(self) -> dict[str, ArrayLike]:
        """Where the run is, as named arrays; weights and optimiser have their own."""
        return {
            "step": self.step_index, "rays": self.rays, "rigid": self.rigid,
            "rigid1": self._rigid1, "rigid2": self._rigid2, "rigid_n": self._rigid_n,
            "order": np.array(self._order, np.int64), "codes": self.codes,
            "poses_fixed": self.poses_fixed,
        }  # fmt: skip

    def load_state(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Take over what `state` gave."""
        self.step_index, self.rays = int(state["step"]), int(state["rays"])
        self.rigid[:], self._rigid_n[:] = state["rigid"], state["rigid_n"]
        self._rigid1[:], self._rigid2[:] = state["rigid1"], state["rigid2"]
        self._order = [int(i) for i in state["order"]]
        self.codes = np.asarray(state["codes"], dtype=np.float32)
        self.poses_fixed = bool(state["poses_fixed"])
        self._told, self._drawer = False, None

    def believe(self, rigid: ArrayLike, expression: ArrayLike, *, fixed: bool) -> None:
        """Go on with these poses (as `cube_rays` takes them, [count, 6]) and expressions
        [count, K] of the training frames; `fixed`: poses are refined no more."""
        self.rigid[:] = rigid
        self.codes = self.field.code(np.asarray(expression, dtype=np.float32))
        self._rigid1[:], self._rigid2[:], self._rigid_n[:] = 0.0, 0.0, 0
        self.poses_fixed = fixed
        self._told = False

    def step(self, progress: float | None = None) -> StepResult:
        """Take one step on the next frame of a shuffled pass.

        `progress` in [0, 1] places the step in the schedule; by default steps taken over steps in
        all. A caller with a time budget passes the share of it that is spent. Where the footage
        lies on the device, this takes all the steps up to the next look at the occupancy.
        """
        s = self.settings
        if not self._order:
            self._order = self.rng.permutation(self.count).tolist()
        if progress is None:
            progress = self.step_index / s.steps
        refine = s.pose_rate > 0 and progress >= s.pose_start and not self.poses_fixed
        if self.resident is not None:
            result = self._stretch(progress, refine)
        else:
            result = self._one_step(progress, refine)
        if self.step_index % LOOK_EVERY == 0 and self.step_index >= 3 * LOOK_EVERY:
            self.occupancy.refresh(self.engine.density_at, self.rng)
            self.engine.set_occupancy(self.occupancy.grid(float(self.engine.step_length)))
        return result

    def _scale(self, step: int, progress: float) -> float:
        """What the rates of a step are multiplied by."""
        s = self.settings
        if s.milestones:
            return float(0.33 ** sum(step >= m for m in s.milestones))
        return float(s.decay_to**progress)

    def _rates(self, scale: float) -> Rates:
        s = self.settings
        return Rates(table=s.table_rate * scale, expression=s.expression_rate * scale,
                     network=s.network_rate * scale)  # fmt: skip

    def _one_step(self, progress: float, refine: bool) -> StepResult:
        s = self.settings
        frame = self._order.pop()
        scale = self._scale(self.step_index, progress)
        result = self.engine.step(self._batch(frame), self._rates(scale), s.loss,
                                  float(self.rng.random()), rigid=refine)  # fmt: skip
        if refine:
            self._refine(frame, result.rigid_gradient, s.pose_rate * scale)
        self.step_index += 1
        wanted = self.rays * s.samples / max(result.samples, 1)
        self.rays = int(np.clip(0.9 * self.rays + 0.1 * wanted, 256, 4096))
        return result

    def _stretch(self, progress: float, refine: bool) -> StepResult:
        """All the steps up to the next look at the occupancy, the pass's or the run's end."""
        assert self.resident is not None
        s = self.settings
        if not self._told:
            self.resident.believe(self.codes, self.rigid, self._rigid1, self._rigid2, self._rigid_n)
            self._told = True
        n = min(LOOK_EVERY - self.step_index % LOOK_EVERY, len(self._order),
                max(s.steps - self.step_index, 1))  # fmt: skip
        frames = [self._order.pop() for _ in range(n)]
        scales = [self._scale(self.step_index + i, min(progress + i / s.steps, 1.0))
                  for i in range(n)]  # fmt: skip
        result, self.rays = self.resident.run(
            frames, self.rng.integers(0, 2**31, n), [self._rates(x) for x in scales], s.loss,
            self.rng.random(n), [s.pose_rate * x for x in scales], self.rays, s.samples,
            refine=refine,
        )  # fmt: skip
        self.step_index += n
        if refine:
            self.rigid, self._rigid1, self._rigid2, self._rigid_n = self.resident.poses()
            if not self._order:
                self.rigid -= self.rigid.mean(axis=0)
                self._told = False
        return result

    def finish(self, *, corrected: bool = True) -> None:
        """Make the field ready to leave: pose correction (none for a tracker that needs none),
        occupancy over many expressions."""
        self.engine.store()
        self.field.correction[:] = fit_correction(self.features, self.rigid) if corrected else 0.0
        self.occupancy.forget()
        many = np.unique(np.linspace(0, self.count - 1, 96).astype(int))
        for frame in many:
            self.engine.blend(self.codes[frame])
            self.occupancy.refresh(self.engine.density_at, self.rng, decay=1.0)
        step = float(self.engine.step_length)
        self.engine.set_occupancy(self.occupancy.grid(step, OPAQUE_FINAL))

    def render(self, index: int, *, rigid: ArrayLike | None = None) -> Rendered:
        """A frame as the current field shows it, by default with the tracker's own pose."""
        footage = self.footage
        return self.render_view(footage.expression[index], footage.pose(index), footage.camera,
                                rigid=rigid)  # fmt: skip

    def render_view(self, expression: ArrayLike, pose: ArrayLike, camera: Camera, *,
                    rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The current field with coefficients [K] under a head → camera pose [4, 4]."""
        renderer = self._renderer()
        renderer.set_expression(expression)
        return renderer.render(pose, camera, rigid=rigid)

    def _renderer(self) -> RenderBackend:
        """What draws the field as it is; kept between steps where weights have to be uploaded."""
        if self._drawer is not None:
            step, occupancy, renderer = self._drawer
            if step == self.step_index and occupancy is self.field.occupancy:
                return renderer
        self.engine.store()
        renderer = make_renderer(self.field, self.pool, self.choice)
        if self.choice.device != "cpu":
            self._drawer = (self.step_index, self.field.occupancy, renderer)
        return renderer

    def score(self, indices: ArrayLike, *, corrected: bool = True) -> Likeness:
        """Mean likeness over frames, with poses as a receiver would have them."""
        scores = []
        for i in np.asarray(indices):
            rigid = None
            if corrected:
                rigid = self.field.rigid_correction(
                    self.footage.rotation[i], self.footage.expression[i]
                )
            shown = self.render(int(i), rigid=rigid)
            scores.append(likeness(shown.rgb, self.footage.rgb[i], self.footage.alpha[i]))
        return mean_likeness(scores)

    def _batch(self, frame: int) -> RayBatch:
        x0, y0, x1, y1 = self._boxes[frame]
        x = self.rng.integers(x0, x1, self.rays)
        y = self.rng.integers(y0, y1, self.rays)
        if self.footage.detail is not None and self.settings.detail_share > 0:
            k = round(self.settings.detail_share * self.rays)
            boxes = self.footage.detail[frame]
            low, high = np.split(boxes[self.rng.integers(0, len(boxes), k)], 2, axis=1)
            x[:k], y[:k] = self.rng.integers(low, high).T
        xy = np.stack([x + 0.5, y + 0.5], axis=-1)
        rigid = self.rigid[frame]
        origin, directions = cube_rays(self.footage.pose(frame), self.footage.camera, xy,
                                       self.field.cube, rigid)  # fmt: skip
        rgb = self.footage.rgb[frame, y, x].astype(np.float32) / 255
        alpha = self.footage.alpha[frame, y, x].astype(np.float32) / 255
        return RayBatch(self.codes[frame], origin, directions, rgb, alpha, np.ones_like(rgb))

    def _refine(self, frame: int, gradient: NDArray[np.float64], rate: float) -> None:
        """Adam on one frame's rigid motion; the mean over frames stays zero."""
        self._rigid_n[frame] += 1
        n = self._rigid_n[frame]
        self._rigid1[frame] = 0.9 * self._rigid1[frame] + 0.1 * gradient
        self._rigid2[frame] = 0.95 * self._rigid2[frame] + 0.05 * gradient**2
        m = self._rigid1[frame] / (1 - 0.9**n)
        v = self._rigid2[frame] / (1 - 0.95**n)
        self.rigid[frame] -= rate * m / (np.sqrt(v) + 1e-12)
        if not self._order:
            self.rigid -= self.rigid.mean(axis=0)


def bounding_box(alpha: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """(x0, y0, x1, y1) of the matte, grown by a tenth of the picture; the whole one if empty."""
    h, w = alpha.shape
    ys, xs = np.flatnonzero((alpha > 8).any(axis=1)), np.flatnonzero((alpha > 8).any(axis=0))
    if len(xs) == 0:
        return 0, 0, w, h
    margin = w // 12
    return (max(xs[0] - margin, 0), max(ys[0] - margin, 0),
            min(xs[-1] + 1 + margin, w), min(ys[-1] + 1 + margin, h))  # fmt: skip
