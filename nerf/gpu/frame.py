"""The memory of one frame under way: what goes up, what is worked with, what comes down.

The rule: all of it is allocated once per shape, uploads leave from pinned memory on a stream of
their own, so that they overlap the frame before, and pictures arrive in pinned memory. On a device
that is not CUDA there are no streams, no graphs and no pinned memory, and `run` simply runs.
Reference: CUDA C++ Programming Guide, "CUDA Graphs".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nerf.cpu.render import Rendered
from nerf.gpu.views import VIEW

SLOTS = 2  # frames of one shape under way
MOST_SHAPES = 4  # whose memory and graphs are kept

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Shape:
    """What a frame's memory and graph are made for."""

    views: int
    tables: int
    """Distinct blended tables."""
    width: int
    """Room for pictures of at most so many pixels, as `height`."""
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Inputs:
    """A frame's parameters on the host, written before `Frame.run`."""

    views: NDArray[np.float32]
    """[V, VIEW], see `pack_view`."""
    codes: NDArray[np.float32]
    """[T, B] table weights."""
    which: NDArray[np.int32]
    """[V, 4] avatar, table, width and height of each view."""
    owners: NDArray[np.int32]
    """[T] avatar of each table."""


def cuda_stream(device: torch.device) -> Any:
    """A stream of our own, or None on a device that has none."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None


class Frame:
    """One of the `SLOTS` frames of a shape."""

    def __init__(self, shape: Shape, entries: int, rank: int, precision: torch.dtype,
                 device: torch.device, stream: Any) -> None:  # fmt: skip
        self.shape = shape
        self._stream, self._device = stream, device
        v, t, pixels = shape.views, shape.tables, shape.width * shape.height
        cuda = device.type == "cuda"

        def pair(count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
            host = torch.zeros(count, dtype=dtype, pin_memory=cuda)
            return host, torch.zeros(count, dtype=dtype, device=device)

        self._host_up, up = pair(4 * (v * VIEW + t * rank + 4 * v + t), torch.uint8)
        self._device_up = up
        cuts = np.cumsum([0, v * VIEW, t * rank, 4 * v, t])

        def part(source: Tensor, i: int, dtype: torch.dtype, *size: int) -> Tensor:
            return source.view(dtype)[cuts[i] : cuts[i + 1]].view(*size)

        self.views = part(up, 0, torch.float32, v, VIEW)
        self.codes = part(up, 1, torch.float32, t, rank)
        self.which = part(up, 2, torch.int32, v, 4)
        self.owners = part(up, 3, torch.int32, t)
        self._inputs = Inputs(
            part(self._host_up, 0, torch.float32, v, VIEW).numpy(),
            part(self._host_up, 1, torch.float32, t, rank).numpy(),
            part(self._host_up, 2, torch.int32, v, 4).numpy(),
            part(self._host_up, 3, torch.int32, t).numpy(),
        )
        self.tables = torch.zeros(t, entries, 4, dtype=precision, device=device)
        self.queue = torch.zeros(v, pixels, dtype=torch.int32, device=device)
        self.queue_k = torch.zeros_like(self.queue)
        # depth, counters, colours, coverage: one block, so that one copy brings them down
        self._host_down, down = pair(v * (8 * pixels + 16), torch.uint8)
        self._device_down = down
        self.depth, self.counters, self.rgb, self.alpha = self._outputs(down)
        self._arrays = [t.numpy() for t in self._outputs(self._host_down)]
        self._graph: Any = None
        self._uploaded = torch.cuda.Event() if cuda else None
        self._done = torch.cuda.Event() if cuda else None
        self._up_stream = cuda_stream(device)

    def prepare(self, launch: Callable[[Frame], None]) -> None:
        """On CUDA: compile what `launch` launches, by drawing nothing, and make a graph of it."""
        if self._stream is None:
            return
        torch.cuda.synchronize(self._device)  # our memory was cleared on another stream
        with torch.cuda.stream(self._stream):
            launch(self)
            self._stream.synchronize()
            self._capture(launch)

    def begin(self) -> Inputs:
        """Where the parameters go; waits until the frame's last use of them is over."""
        if self._done is not None:
            self._done.synchronize()
        return self._inputs

    def run(self, launch: Callable[[Frame], None]) -> None:
        """Upload, `launch`, download; returns before any of it is done (CUDA)."""
        if self._stream is None:
            self._device_up.copy_(self._host_up)
            launch(self)
            self._host_down.copy_(self._device_down)
            return
        assert self._uploaded is not None
        assert self._done is not None
        with torch.cuda.stream(self._up_stream):
            self._device_up.copy_(self._host_up, non_blocking=True)
            self._uploaded.record()
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._uploaded)
            if self._graph is not None:
                self._graph.replay()
            else:
                launch(self)
            self._host_down.copy_(self._device_down, non_blocking=True)
            self._done.record()

    def finish(self) -> list[Rendered]:
        """Wait, then the pictures, in the frame's own memory."""
        if self._done is not None:
            self._done.synchronize()
        depth, counters, rgb, alpha = self._arrays
        sizes = self._inputs.which[:, 2:]
        return [Rendered(rgb[i, :h, :w], alpha[i, :h, :w], depth[i, :h, :w], int(counters[i, 2]))
                for i, (w, h) in enumerate(sizes)]  # fmt: skip

    def memory(self) -> int:
        """Bytes on the device."""
        own = [self._device_up, self._device_down, self.tables, self.queue, self.queue_k]
        return sum(t.numel() * t.element_size() for t in own)

    def _capture(self, launch: Callable[[Frame], None]) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                launch(self)
            self._graph = graph
        except RuntimeError as error:
            log.warning("no CUDA graph could be made (%s): launching kernel by kernel",
                        str(error).strip().splitlines()[0])  # fmt: skip

    def _outputs(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        s = self.shape
        pixels = s.views * s.width * s.height
        cuts = np.cumsum([0, 4 * pixels, 16 * s.views, 3 * pixels, pixels])
        parts = [block[a:b] for a, b in pairwise(cuts)]
        return (parts[0].view(torch.float32).view(s.views, s.height, s.width),
                parts[1].view(torch.int32).view(s.views, 4),
                parts[2].view(s.views, s.height, s.width, 3),
                parts[3].view(s.views, s.height, s.width))  # fmt: skip
