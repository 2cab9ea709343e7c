"""Training without looking: the whole footage on the device, many steps per host round trip.

The rule: the host sends a list of frames, seeds and rates, and comes back when all of those steps
are done; a step is one CUDA graph, replayed. What the trainer believes about poses and expressions
comes with `believe` and goes with `poses`. Without CUDA the same launches run one by one
(interpreter).
Reference: CUDA C++ Programming Guide, "CUDA Graphs". Twin: nerf.train.Trainer.step.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import triton
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nerf.camera import Camera
from nerf.error_map import CELLS
from nerf.field import cube_view
from nerf.gpu.engine import HYPER, TritonEngine, hyper_row
from nerf.gpu.frames import advance, draw, note
from nerf.gpu.gradients import settle
from nerf.gpu.packing import power_of_two
from nerf.step import LossWeights, Rates, StepResult

MOST_STEPS = 64  # per round trip
HALVINGS = (CELLS * CELLS).bit_length()  # until one cell is left

Float64 = NDArray[np.float64]

log = logging.getLogger(__name__)


class ResidentTraining:
    """A `TritonEngine` with the footage beside it."""

    def __init__(self, engine: TritonEngine, rgb: NDArray[np.uint8], alpha: NDArray[np.uint8],
                 boxes: ArrayLike, views: Sequence[tuple[ArrayLike, Camera]],
                 parts: ArrayLike | None = None) -> None:  # fmt: skip
        """`rgb` [F, H, W, 3] and `alpha` [F, H, W] of the training frames alone, `boxes` [F, 4]
        (x0, y0, x1, y1) where rays are drawn, `views` F poses [4, 4] head → camera as tracked with
        the cameras that took the frames; `parts` [F, P, 4] the boxes of eyes and mouth, where they
        are known."""
        self.engine = engine
        device, frames = engine.device, len(rgb)
        seen = [(*cube_view(pose, engine.field.cube), camera) for pose, camera in views]
        placed = np.stack([np.concatenate([o, r.ravel()]) for o, r, _ in seen])

        def on(array: ArrayLike, dtype: Any) -> Tensor:
            return torch.tensor(np.ascontiguousarray(array, dtype), device=device)

        self._rgb = torch.tensor(np.ascontiguousarray(rgb), device=device)
        self._alpha = torch.tensor(np.ascontiguousarray(alpha), device=device)
        self._boxes, self._poses = on(boxes, np.int32), on(placed, np.float32)
        found = np.zeros((frames, 0, 4)) if parts is None else np.asarray(parts)
        self._part_count = found.shape[1]
        self._parts = on(found if self._part_count else np.zeros((1, 1, 4)), np.int32)
        self._heights = torch.ones(CELLS * CELLS, device=device)
        self._mix = torch.zeros(2, device=device)
        self._cells = torch.zeros(engine.max_rays, dtype=torch.int32, device=device)
        self._sums = torch.zeros(2, CELLS * CELLS, device=device)
        self._lens = on([(c.fx, c.fy, c.cx, c.cy) for _, _, c in seen], np.float32)
        self._codes = torch.zeros(frames, engine.config.rank, device=device)
        self._rigid, self._moment1, self._moment2 = (
            torch.zeros(frames, 6, device=device) for _ in range(3)
        )
        self._count = torch.zeros(frames, dtype=torch.int32, device=device)
        self._order, self._seeds = (
            torch.zeros(MOST_STEPS, dtype=torch.int32, device=device) for _ in range(2)
        )
        self._hyper = torch.zeros(MOST_STEPS, HYPER, device=device)
        self._graphs: dict[tuple[bool, float], Any] = {}
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def believe(self, codes: ArrayLike, rigid: ArrayLike, moment1: ArrayLike, moment2: ArrayLike,
                count: ArrayLike) -> None:  # fmt: skip
        """Take over the frames' table weights [F, B], their rigid motions [F, 6] (as `cube_rays`
        takes them), Adam's two memories of those and how often each was moved [F]."""
        for place, value in ((self._codes, codes), (self._rigid, rigid), (self._moment1, moment1),
                             (self._moment2, moment2), (self._count, count)):  # fmt: skip
            place.copy_(torch.tensor(np.ascontiguousarray(value)))

    def aim(self, detail_share: float, hard_share: float,
            heights: NDArray[np.float64] | None) -> None:  # fmt: skip
        """Where the rays to come go: shares through eyes and mouth, and by `heights`
        (`ErrorMap.heights`); None: nobody knows yet, and none do."""
        share = 0.0 if heights is None else hard_share
        self._mix.copy_(torch.tensor([detail_share, share]))
        if heights is not None:
            self._heights.copy_(torch.tensor(heights.astype(np.float32)))

    def errors(self) -> tuple[Float64, Float64]:
        """How many rays fell into each cell of `ErrorMap` since this was asked last, [CELLS²], and
        the sum of their squared errors."""
        counts, sums = self._sums.double().cpu().numpy()
        self._sums.zero_()
        return counts, sums

    def poses(self) -> tuple[Float64, Float64, Float64, NDArray[np.int64]]:
        """Motions, Adam's memories and counts as they stand."""
        rigid, moment1, moment2 = (
            t.double().cpu().numpy() for t in (self._rigid, self._moment1, self._moment2)
        )
        return rigid, moment1, moment2, self._count.long().cpu().numpy()

    def run(self, order: Sequence[int], seeds: ArrayLike, rates: Sequence[Rates],
            loss: LossWeights, jitter: ArrayLike, pose_rates: Sequence[float], rays: int,
            samples: float, *, refine: bool) -> tuple[StepResult, int]:  # fmt: skip
        """Take a step for each frame in `order`, each with its seed, rates and jitter.

        The first step has `rays` rays, later ones as many as lead to `samples` samples. Returns
        what the steps did on average (samples: in all) and the rays of the step to come.
        """
        n, e = len(order), self.engine
        if not 0 < n <= MOST_STEPS:
            raise ValueError(f"a round trip takes 1..{MOST_STEPS} steps, not {n}")
        rows = [hyper_row(r, loss, e.betas, e.count + 1 + i, float(j), p)
                for i, (r, j, p) in enumerate(zip(rates, np.asarray(jitter), pose_rates,
                                                  strict=True))]  # fmt: skip
        self._order[:n].copy_(torch.tensor(np.asarray(order, np.int32)))
        self._seeds[:n].copy_(torch.tensor(np.asarray(seeds, np.int32)))
        self._hyper[:n].copy_(torch.tensor(np.stack(rows)))
        e.rays.fill_(min(rays, e.max_rays))
        for zeroed in (e.at_step, e.counters, e.totals):
            zeroed.zero_()
        step = self._step(samples, refine)
        e.count += n
        if self._stream is None:
            for _ in range(n):
                step()
        else:
            self._stream.wait_stream(torch.cuda.current_stream(e.device))
            with torch.cuda.stream(self._stream):
                for _ in range(n):
                    step()
            torch.cuda.current_stream(e.device).wait_stream(self._stream)
        (loss, error), counters = e.totals.tolist(), e.counters.tolist()
        drawn = max(counters[2], 1)
        done = StepResult(loss / drawn, error / (3 * drawn), counters[1], np.zeros(6))
        return done, int(e.rays[0])

    def memory(self) -> int:
        """Bytes of the footage and its poses on the device."""
        return sum(t.numel() * t.element_size() for t in vars(self).values()
                   if isinstance(t, Tensor))  # fmt: skip

    def _step(self, samples: float, refine: bool) -> Any:
        """What takes one step: a graph's replay, or the launches themselves."""
        if self._stream is None:
            return lambda: self._launch(samples, refine)
        key = (refine, samples)
        if key not in self._graphs:
            self._graphs[key] = self._capture(samples, refine)
        return self._graphs[key]

    def _capture(self, samples: float, refine: bool) -> Any:
        """A graph of one step. Its first run, which compiles, must leave no trace: no ray is
        drawn in it and its rates are zero."""
        e = self.engine
        own = [*e.memories(), e.rays, self._hyper, self._count, self._moment1, self._moment2,
               self._sums]  # fmt: skip
        kept = [t.clone() for t in own]
        e.rays.zero_()
        self._hyper.zero_()
        self._hyper[:, 3:7] = torch.tensor([0.1, 0.1, 0.0, 0.0], device=e.device)
        assert self._stream is not None
        self._stream.wait_stream(torch.cuda.current_stream(e.device))
        graph = torch.cuda.CUDAGraph()
        run: Any
        try:
            with torch.cuda.stream(self._stream):
                self._launch(samples, refine)
            self._stream.synchronize()
            with torch.cuda.graph(graph, stream=self._stream,
                                  capture_error_mode="thread_local"):  # fmt: skip
                self._launch(samples, refine)
            run = graph.replay
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            log.warning("no CUDA graph could be made (%s): launching kernel by kernel",
                        str(error).strip().splitlines()[0])  # fmt: skip

            def run() -> None:
                self._launch(samples, refine)

        finally:
            torch.cuda.synchronize(e.device)
            for place, value in zip(own, kept, strict=True):
                place.copy_(value)
            for zeroed in (e.at_step, e.counters, e.totals):
                zeroed.zero_()
        return run

    def _launch(self, samples: float, refine: bool) -> None:
        e = self.engine
        h, w = self._alpha.shape[1:]
        draw[(triton.cdiv(e.max_rays, 256),)](
            self._rgb, self._alpha, self._boxes, self._parts, self._heights, self._mix,
            self._poses, self._rigid, self._codes, self._lens, self._order, self._seeds, e.at_step,
            e.rays, e.origin, e.code, e.directions, e.target, e.target_alpha, e.background,
            self._cells, w, h, e.config.rank, PARTS=self._part_count, C=CELLS, HALVINGS=HALVINGS,
            B=power_of_two(e.config.rank), N=256,
        )  # fmt: skip
        e.launch(self._hyper, e.at_step, rigid=refine)
        note[(triton.cdiv(e.max_rays, 256),)](self._cells, e.errors, e.rays, self._sums, C=CELLS,
                                              N=256)  # fmt: skip
        advance[(1,)](
            e.rigid_slabs, self._rigid, self._moment1, self._moment2, self._count, self._order,
            self._hyper, e.at_step, e.loss_state, e.rays, e.counters, float(samples), e.programs,
            e.max_rays, P=power_of_two(e.programs), REFINE=refine,
        )  # fmt: skip
        settle[(1,)](e.loss_state, e.counters)
