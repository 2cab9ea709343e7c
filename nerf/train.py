"""Training a head: the loop that reads top to bottom, whatever engine does the steps.

The rule: a step is one frame's rays; everything random comes from one generator, so a run repeats.
The last frames are never looked at. References: Gao et al. 2022; the paper, "Nerf Model Training".
"""

from __future__ import annotations

from dataclasses import replace

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
from nerf.batch_size import BatchSize
from nerf.camera import Camera
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import Rendered
from nerf.crumbs import mark_surface, without_crumbs
from nerf.expression import fit_expression_code
from nerf.field import new_field
from nerf.footage import Footage, bounding_box, train_count
from nerf.metrics import Likeness, likeness, mean_likeness, psnr
from nerf.occupancy import FOG, MOST_LOST, Occupancy, fit_cube, round_back, visual_hull
from nerf.pose_correction import fit_correction, pose_features
from nerf.pose_refinement import PoseRefinement
from nerf.ray_draw import RayDraw
from nerf.side_order import visits
from nerf.step import Rates, StepResult
from nerf.train_settings import PRESETS, TrainSettings
from nerf.weight_average import EVERY, WeightAverage

__all__ = ["PRESETS", "Footage", "TrainSettings", "Trainer", "bounding_box", "train_count"]


SURFACES = 64  # training frames whose surfaces are safe from the cleaning at the end
LOOK_EVERY = 64  # steps between two looks at the occupancy


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
        expression, rotation = footage.expression[: self.count], footage.rotation[: self.count]
        code = fit_expression_code(expression, settings.config.rank,
                                   rotation if settings.turned else None,
                                   settings.beyond)  # fmt: skip
        self.field = new_field(settings.config, code, cube, self.rng)
        seen = [(footage.pose(i), footage.lens(i)) for i in sample]
        hull = visual_hull(footage.alpha[sample], seen, cube)
        hull = round_back(hull, cube)
        self.occupancy = Occupancy(hull)
        self.field.occupancy = hull.astype(np.uint8)
        self.engine: TrainEngine
        self.choice: Choice
        self.engine, self.choice = open_engine(self.field, pool, device, backend, settings.betas)
        self.codes = code(code.face(expression, rotation))
        self.features = pose_features(self.field, rotation, expression)
        self.refinement = PoseRefinement(self.count)
        self.poses_fixed = False
        self.step_index = 0
        self.batch = BatchSize(settings.samples)
        often = visits(rotation) if settings.even else 1
        self.in_a_pass = np.repeat(np.arange(self.count), often)
        self._order: list[int] = []
        self.rays_of = RayDraw(footage, self.count, cube, settings.detail_share,
                                settings.hard_share)  # fmt: skip
        views = [(footage.pose(i), footage.lens(i)) for i in range(self.count)]
        detail = footage.detail[: self.count] if footage.detail is not None else None
        self.resident = open_resident(self.engine, footage.rgb[: self.count],
                                      footage.alpha[: self.count], self.rays_of.boxes, views,
                                      detail)  # fmt: skip
        self.average: WeightAverage | None = None
        if settings.average > 0:
            self.average = WeightAverage(self.engine.weights, settings.average)
        self._told = False  # whether the device knows what we believe of poses and expressions
        self._drawer: tuple[int, NDArray[np.uint8], RenderBackend] | None = None

    @property
    def rigid(self) -> NDArray[np.float64]:
        """[count, 6]: the training frames' motions against the tracker, as `cube_rays` takes
        them."""
        return self.refinement.rigid

    @property
    def done(self) -> bool:
        """Whether all steps have been taken."""
        return self.step_index >= self.settings.steps

    def state(self) -> dict[str, ArrayLike]:
        """Where the run is, as named arrays; weights and optimiser have their own."""
        return {
            "step": self.step_index, "rays": self.batch.rays, "share": self.batch.share,
            "rigid": self.rigid,
            "rigid1": self.refinement.moment1, "rigid2": self.refinement.moment2,
            "rigid_n": self.refinement.count,
            "order": np.array(self._order, np.int64), "codes": self.codes,
            "poses_fixed": self.poses_fixed, "errors": self.rays_of.errors.state(),
            **(self.average.state() if self.average is not None else {}),
        }  # fmt: skip

    def load_state(self, state: dict[str, NDArray[np.float64]]) -> None:
        """Take over what `state` gave."""
        self.step_index = int(state["step"])
        self.batch.rays, self.batch.share = int(state["rays"]), float(state.get("share", 1.0))
        self.refinement.take(state["rigid"], state["rigid1"], state["rigid2"],
                             state["rigid_n"].astype(int))  # fmt: skip
        self._order = [int(i) for i in state["order"]]
        self.codes = np.asarray(state["codes"], dtype=np.float32)
        self.poses_fixed = bool(state["poses_fixed"])
        self.rays_of.errors.load_state(state["errors"])
        if self.average is not None:
            self.average.load_state(state)
        self._told, self._drawer = False, None

    def believe(self, rigid: ArrayLike, expression: ArrayLike, rotation: ArrayLike, *,
                fixed: bool) -> None:  # fmt: skip
        """Go on with these poses (as `cube_rays` takes them, [count, 6]), expressions [count, k]
        and angles [count, 3] of the training frames; `fixed`: poses are refined no more."""
        self.refinement.begin(rigid)
        self.codes = self.field.code(self.field.code.face(expression, rotation))
        self.poses_fixed = fixed
        self._told = False

    def step(self, progress: float | None = None) -> StepResult:
        """Take one step on the next frame of a shuffled pass.

        `progress` in [0, 1] places the step in the schedule; by default steps taken over steps in
        all. A caller with a time budget passes the share of it that is spent. Where the footage
        lies on the device, this takes all the steps up to the next look at the occupancy.
        A step that fails has not been: the same frame comes next, and nothing has moved.
        """
        s = self.settings
        if not self._order:
            self._order = self.rng.permutation(self.in_a_pass).tolist()
        if progress is None:
            progress = self.step_index / s.steps
        refine = s.pose_rate > 0 and progress >= s.pose_start and not self.poses_fixed
        order, taken = list(self._order), self.step_index
        try:
            if self.resident is not None:
                result = self._stretch(progress, refine)
            else:
                result = self._one_step(progress, refine)
        except Exception:
            if self.step_index == taken:
                self._order = order
            raise
        if self.step_index % LOOK_EVERY == 0 and self.step_index >= 3 * LOOK_EVERY:
            self.occupancy.refresh(self.engine.density_at, self.rng)
            self.engine.set_occupancy(self.occupancy.grid(float(self.engine.step_length)))
        return result

    def _scale(self, step: int, progress: float) -> float:
        """What the rates of a step are multiplied by."""
        s = self.settings
        if s.milestones:
            return float(0.33 ** sum(step >= m for m in s.milestones))
        return float((s.decay_alone if self.average is None else s.decay_to) ** progress)

    def _rates(self, scale: float) -> Rates:
        s = self.settings
        return Rates(table=s.table_rate * scale, expression=s.expression_rate * scale,
                     network=s.network_rate * scale)  # fmt: skip

    def _one_step(self, progress: float, refine: bool) -> StepResult:
        s = self.settings
        frame = self._order.pop()
        scale = self._scale(self.step_index, progress)
        batch = self.rays_of.draw(frame, self.batch.rays, self.rigid[frame], self.codes[frame],
                                  self.rng)  # fmt: skip
        result = self.engine.step(batch, self._rates(scale), s.loss, float(self.rng.random()),
                                  rigid=refine)  # fmt: skip
        if refine:
            self.refinement.move(frame, result.rigid_gradient, s.pose_rate * scale)
            if not self._order:
                self.refinement.centre()
        self.step_index += 1
        self.rays_of.learn(result.errors)
        if self.average is not None and self.step_index % EVERY == 0:
            self.average.look(progress)
        self.batch.follow(result.samples)
        return result

    def _stretch(self, progress: float, refine: bool) -> StepResult:
        """All the steps up to the next look at the occupancy, the pass's or the run's end."""
        assert self.resident is not None
        s = self.settings
        if not self._told:
            r = self.refinement
            self.resident.believe(self.codes, r.rigid, r.moment1, r.moment2, r.count)
            self._told = True
        n = min(LOOK_EVERY - self.step_index % LOOK_EVERY, len(self._order),
                max(s.steps - self.step_index, 1))  # fmt: skip
        frames = [self._order.pop() for _ in range(n)]
        errors = self.rays_of.errors
        self.resident.aim(s.detail_share, s.hard_share,
                          errors.heights() if errors.ready else None)  # fmt: skip
        scales = [self._scale(self.step_index + i, min(progress + i / s.steps, 1.0))
                  for i in range(n)]  # fmt: skip
        result, self.batch.rays = self.resident.run(
            frames, self.rng.integers(0, 2**31, n), [self._rates(x) for x in scales], s.loss,
            self.rng.random(n), [s.pose_rate * x for x in scales], self.batch.rays,
            self.batch.samples,
            refine=refine,
        )  # fmt: skip
        self.step_index += n
        errors.add(*self.resident.errors(), n)
        if self.average is not None:
            self.average.look(min(progress + n / s.steps, 1.0))
        if refine:
            self.refinement.take(*self.resident.poses())
            if not self._order:
                self.refinement.centre()
                self._told = False
        return result

    def finish(self, *, corrected: bool = True) -> None:
        """Make the field ready to leave: averaged weights, pose correction (none for a tracker
        that needs none), occupancy over many expressions."""
        if self.average is not None:
            self.average.leave()
            self._drawer = None
        self.engine.store()
        self.field.correction[:] = fit_correction(self.features, self.rigid) if corrected else 0.0
        self.occupancy.forget()
        many = np.unique(np.linspace(0, self.count - 1, 96).astype(int))
        for code in (*self.codes[many], *self._farthest_turns()):
            self.engine.blend(code)
            self.occupancy.refresh(self.engine.density_at, self.rng, decay=1.0)
        grids = [self.occupancy.grid(float(self.engine.step_length), x) for x in FOG]
        whole = self._agreement(grids[-1])
        for grid in grids:
            if grid is grids[-1] or self._agreement(grid) >= whole - MOST_LOST:
                self.engine.set_occupancy(grid)
                break
        self.engine.set_occupancy(without_crumbs(self.field.occupancy, self._seen()))

    def _seen(self) -> NDArray[np.bool_]:
        """Which voxels [G, G, G] are the surface in some of the training frames."""
        footage = self.footage
        thin = max(1, footage.camera.width // 128)
        seen = np.zeros(self.field.occupancy.shape, bool)
        for i in np.unique(np.linspace(0, self.count - 1, SURFACES).astype(int)).tolist():
            pose, rigid, camera = footage.pose(i), self.rigid[i], footage.lens(i).every(thin)
            depth = self.render_view(footage.expression[i], pose, camera, rigid=rigid).depth
            mark_surface(seen, depth, pose, camera, self.field.cube, rigid)
        return seen

    def _farthest_turns(self) -> list[NDArray[np.float32]]:
        """Blend weights [B] of the mean face seen from as far above, below, left and right as
        training saw it, which is as far as any view goes; none where angles do not count."""
        code = self.field.code
        faces = []
        for angle in range(code.coefficients, code.coefficients + min(code.angles, 2)):
            for bound in (code.low, code.high):
                face = code.mean.copy()
                face[angle] = bound[angle]
                faces.append(code(face))
        return faces

    def _agreement(self, grid: NDArray[np.uint8]) -> float:
        """PSNR in dB of a few training frames, thinned out, with this occupancy."""
        self.engine.set_occupancy(grid)
        footage = self.footage
        n = max(1, footage.camera.width // 128)
        frames = np.unique(np.linspace(0, self.count - 1, 3).astype(int))
        shown = [self.render_view(footage.expression[i], footage.pose(i), footage.lens(i).every(n),
                                  rigid=self.rigid[i]).rgb for i in frames]  # fmt: skip
        filmed = np.concatenate(footage.rgb[frames, ::n, ::n])
        return psnr(np.concatenate(shown), filmed)

    def render(self, index: int, *, rigid: ArrayLike | None = None) -> Rendered:
        """A frame as the current field shows it, by default with the tracker's own pose."""
        footage = self.footage
        return self.render_view(footage.expression[index], footage.pose(index), footage.lens(index),
                                rigid=rigid)  # fmt: skip

    def render_view(self, expression: ArrayLike, pose: ArrayLike, camera: Camera, *,
                    rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The current field with coefficients [k] under a head → camera pose [4, 4]."""
        renderer = self._renderer()
        renderer.set_expression(self.field.code.seen(expression, pose))
        return renderer.render(pose, camera, rigid=rigid)

    def _renderer(self) -> RenderBackend:
        """What draws the field as it is; kept until the next step."""
        if self._drawer is not None:
            step, occupancy, renderer = self._drawer
            if step == self.step_index and occupancy is self.field.occupancy:
                return renderer
        self.engine.store()
        renderer = make_renderer(self.field, self.pool, self.choice)
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
