"""Pictures of heads by Triton's kernels: one view, or many of many people in one launch.

The rule: a frame is uploads, four launches and one download, queued without waiting for the GPU; on
a CUDA device the launches are one graph per shape, and `SLOTS` frames may be under way. Where there
is no CUDA device the same kernels run in Triton's interpreter, synchronously (tests).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import triton
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from nerf.camera import Camera
from nerf.cpu.march import coarsen
from nerf.cpu.render import STEPS, Rendered
from nerf.field import HeadField
from nerf.gpu.frame import MOST_SHAPES, SLOTS, Frame, Shape, cuda_stream
from nerf.gpu.packing import innermost_entries, join, level_table, sizes_of
from nerf.gpu.shade import find, shade
from nerf.gpu.tables import blend
from nerf.gpu.views import View, pack_view


@dataclass(frozen=True, slots=True)
class Launch:
    """How the kernels are cut up; changes speed, no number."""

    block: int = 64
    """Rays that a program holds at once."""
    warps: int = 4
    programs: int = 2
    """Programs per multiprocessor that shade."""
    seeks: int = 3
    """Steps through the grid per sample, at most."""
    registers: int | None = None
    """Registers per thread, at most; None leaves it to the compiler."""
    tile: int = 16
    """Pixels per edge of the tiles in which rays are found."""
    grain: int = 64
    """Pixels to a multiple of which a frame's room is rounded up: a head that comes nearer does
    not need memory and a graph of its own for each width."""


class BatchRenderer:
    """Draws any number of views of the heads `fields`, which must have one shape."""

    def __init__(self, fields: Sequence[HeadField], device: str = "cuda", *, steps: int = STEPS,
                 cutoff: float = 0.01, precision: torch.dtype = torch.float16,
                 launch: Launch | None = None) -> None:  # fmt: skip
        """`steps` and `cutoff` as `CpuRenderer`; `precision` of tables and networks."""
        config, cells = fields[0].config, fields[0].occupancy.shape[0]
        if any(f.config != config or f.occupancy.shape[0] != cells for f in fields):
            raise ValueError("heads drawn in one launch must have the same configuration")
        self.fields = list(fields)
        self.config, self.sizes, self.cells = config, sizes_of(config), cells
        self.device = torch.device(device)
        self.launch = launch or launch_for(self.device)
        self.step, self.cutoff, self.precision = 1.0 / steps, cutoff, precision

        def stack(arrays: list[np.ndarray], dtype: torch.dtype) -> Tensor:
            return torch.stack([torch.tensor(a).to(dtype) for a in arrays]).to(self.device)

        self._mean = stack([f.mean.ravel() for f in fields], torch.float32)
        self._tables = stack([innermost_entries(f.tables) for f in fields], precision)
        self._fine = stack([(f.occupancy > 0).astype(np.uint8) for f in fields], torch.uint8)
        self._coarse = stack([coarsen((f.occupancy > 0).astype(np.uint8)) for f in fields],
                             torch.uint8)  # fmt: skip
        self._levels = torch.tensor(level_table(config), device=self.device)
        self._weights = torch.zeros(len(fields), self.sizes.weights, dtype=precision,
                                    device=self.device)  # fmt: skip
        for flat, f in zip(self._weights, fields, strict=True):
            join([torch.tensor(w).to(self.device) for w in f.networks], config, flat)
        self._stream = cuda_stream(self.device)
        self._frames: dict[Shape, list[Frame]] = {}
        self._turn = 0

    def submit(self, views: Sequence[View]) -> Frame:
        """Queue a picture of each view; `collect` waits for them.

        At most `SLOTS` frames may be submitted and not yet collected.
        """
        if not views:
            raise ValueError("there is no view to draw")
        grain = self.launch.grain
        width, height = (
            -(-max(sides) // grain) * grain
            for sides in zip(*[(v.camera.width, v.camera.height) for v in views], strict=True)
        )
        keys = [(v.avatar, np.asarray(v.expression, np.float32).tobytes()) for v in views]
        distinct = list(dict.fromkeys(keys))  # two views of one expression share a blended table
        shape = Shape(len(views), len(distinct), width, height)
        frame = self._frame(shape)
        place = frame.begin()
        for i, (view, key) in enumerate(zip(views, keys, strict=True)):
            pack_view(view, self.fields[view.avatar].cube, place.views[i])
            size = view.camera.width, view.camera.height
            place.which[i] = view.avatar, distinct.index(key), *size
        for t, (avatar, _) in enumerate(distinct):
            place.owners[t] = avatar
            place.codes[t] = self.fields[avatar].code(views[keys.index(distinct[t])].expression)
        frame.run(self._launch)
        return frame

    def collect(self, frame: Frame, *, copy: bool = True) -> list[Rendered]:
        """The pictures of a submitted frame. Without `copy` they lie in the frame's own (pinned)
        memory and last until `SLOTS` further frames are submitted."""
        pictures = frame.finish()
        if copy:
            pictures = [Rendered(p.rgb.copy(), p.alpha.copy(), p.depth.copy(), p.samples)
                        for p in pictures]  # fmt: skip
        return pictures

    def render_batch(self, views: Sequence[View]) -> list[Rendered]:
        """A picture of each view, drawn in one launch; room is that of the largest."""
        return self.collect(self.submit(views))

    def memory(self) -> int:
        """Bytes of weights, tables and frames on the device."""
        own = [self._mean, self._tables, self._fine, self._coarse, self._levels, self._weights]
        size = sum(t.numel() * t.element_size() for t in own)
        return size + sum(f.memory() for frames in self._frames.values() for f in frames)

    def _frame(self, shape: Shape) -> Frame:
        if shape not in self._frames:
            if len(self._frames) == MOST_SHAPES:
                oldest = next(iter(self._frames))
                for frame in self._frames.pop(oldest):
                    frame.begin()  # waits until it is drawn
            self._frames[shape] = [
                Frame(shape, self.config.entries, self.config.rank, self.precision, self.device,
                      self._stream) for _ in range(SLOTS)
            ]  # fmt: skip
            for frame in self._frames[shape]:
                frame.prepare(self._launch)
        self._turn = (self._turn + 1) % SLOTS
        return self._frames[shape][self._turn]

    def _launch(self, f: Frame) -> None:
        """The kernels of one frame, in order."""
        s, c, at, z = f.shape, self.config, self.launch, self.sizes
        f.counters.zero_()
        count, blended = 4 * c.entries, 4 * c.blended_entries
        blend[(triton.cdiv(count, 1024), s.tables)](
            self._mean, self._tables, f.codes, f.owners, f.tables, count, blended, c.rank, N=1024
        )
        tiles = triton.cdiv(s.width, at.tile) * triton.cdiv(s.height, at.tile)
        find[(tiles, s.views)](
            f.views, f.which, self._fine, self._coarse, f.queue, f.queue_k, f.counters, f.rgb,
            f.alpha, f.depth, s.width, s.height, self.step, G=self.cells, TILE=at.tile,
        )  # fmt: skip
        shade[(programs_per_view(self.device, at, s), s.views)](
            f.views, f.which, f.tables, self._weights, self._levels, self._fine, self._coarse,
            f.queue, f.queue_k, f.counters, f.rgb, f.alpha, f.depth, s.width, s.height, self.step,
            self.cutoff, c.entries, G=self.cells, L=z.levels, WARP=c.warp, H=z.hidden,
            LAYERS=z.layers, TAP=z.tap, WEIGHTS=z.weights, S=at.block, SEEKS=at.seeks,
            num_warps=at.warps, maxnreg=at.registers,
        )  # fmt: skip


def launch_for(device: torch.device) -> Launch:
    """The cut for a device; the interpreter is quickest with no tile for nothing."""
    return Launch() if device.type == "cuda" else Launch(tile=8, grain=1)


def programs_per_view(device: torch.device, launch: Launch, shape: Shape) -> int:
    """How many programs share a view's rays: all that fit the device, no more than rays fill."""
    if device.type != "cuda":
        return 2
    units = torch.cuda.get_device_properties(device).multi_processor_count
    share = -(-units * launch.programs // shape.views)
    return max(1, min(share, shape.width * shape.height // launch.block))


class TritonRenderer:
    """Renders one `HeadField`; the surface of `nerf.cpu.render.CpuRenderer`."""

    def __init__(self, field: HeadField, device: str = "cuda", *, steps: int = STEPS,
                 cutoff: float = 0.01, precision: torch.dtype = torch.float16,
                 launch: Launch | None = None) -> None:  # fmt: skip
        self.field = field
        self.batch = BatchRenderer([field], device, steps=steps, cutoff=cutoff,
                                   precision=precision, launch=launch)  # fmt: skip
        self._expression: NDArray[np.float32] = field.code.mean

    def set_expression(self, expression: ArrayLike) -> None:
        """The numbers [K] of a face (`nerf.expression`); blended on the device, with the next
        picture."""
        self._expression = np.asarray(expression, np.float32)

    def render(self, pose: ArrayLike, camera: Camera, background: ArrayLike = (1.0, 1.0, 1.0),
               rigid: ArrayLike | None = None) -> Rendered:  # fmt: skip
        """The picture under head → camera `pose` [4, 4] (metres)."""
        view = View(self._expression, pose, camera, background, rigid)
        return self.batch.render_batch([view])[0]
