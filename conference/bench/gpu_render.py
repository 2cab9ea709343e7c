"""The drawing half of `facewire bench gpu`: pictures, floors, batches, likeness to the CPU's.

The rule: a picture is timed from its parameters on the host to its bytes on the host. Backends take
turns picture by picture, so what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from conference.bench.results import Row, print_table
from conference.terminal import announce
from nerf.backends import Choice, RenderBackend, make_renderer, why_not
from nerf.camera import Camera, head_pose, portrait_camera
from nerf.config import PAPER_FIELD, FieldConfig
from nerf.cpu.pool import WorkerPool
from nerf.cpu.render import STEPS, CpuRenderer
from nerf.expression import fit_expression_code
from nerf.field import Cube, HeadField, new_field
from nerf.gpu.floors import look_up_rate, matrix_rate, padding_of, work_of
from nerf.gpu.renderer import BatchRenderer, Launch, TritonRenderer, launch_for
from nerf.gpu.views import View
from nerf.metrics import psnr
from nerf.torch_backend import TorchRenderer

DISTANCE, SCALE = 0.6, 2.6  # of the made-up head's portrait
WARM = 3  # pictures that are not counted, on a GPU
TINY = FieldConfig(resolutions=(4, 8), log2_sizes=(9, 9), blended_levels=1, rank=2, hidden=8,
                   geometry=4)  # fmt: skip
LAUNCHES = [
    Launch(block=block, warps=warps, programs=programs * share, seeks=seeks, registers=registers)
    for block, warps, programs in ((16, 1, 8), (32, 1, 8), (32, 2, 4), (64, 4, 2), (128, 8, 1))
    for share, registers in ((1, None), (2, None), (2, 128))
    for seeks in (2, 4)
]


def made_up_head(config: FieldConfig) -> HeadField:
    """A head-sized ball of random texture: as many samples a ray as a head has."""
    rng = np.random.default_rng(0)
    code = fit_expression_code(rng.random((60, 46)), config.rank)
    field = new_field(config, code, Cube((0.0, 0.0, 0.0), 0.25), rng)
    field.mean[:] = rng.standard_normal(field.mean.shape)
    field.tables[:] = 0.1 * rng.standard_normal(field.tables.shape)
    field.networks[config.density_layers][:, 0] *= 4
    axis = (np.arange(64) + 0.5) / 64 - 0.5
    radius = np.sqrt((np.stack(np.meshgrid(axis, axis, axis)) ** 2).sum(axis=0))
    inner = 0.40 if config is TINY else 0.3
    field.occupancy = ((radius < 0.42) & (radius > inner)).astype(np.uint8)
    return field


def head_of(args: argparse.Namespace) -> tuple[HeadField, float, float]:
    """The head that is drawn, its portrait camera's distance and scale."""
    if args.avatar is None:
        config = TINY if args.interpret else PAPER_FIELD
        announce("the head: made up, " + ("tiny" if args.interpret else "of the paper's sizes"))
        return made_up_head(config), DISTANCE, SCALE
    from nerf.weights import WeightsError, from_sections
    from quic_transport.avatar_file import load_avatar
    from quic_transport.errors import LocalError

    avatar = load_avatar(args.avatar)
    try:
        field = from_sections(avatar.sections)
    except WeightsError as error:
        raise LocalError(f"{args.avatar} cannot be drawn: {error}") from error
    return field, avatar.meta.distance_m, avatar.meta.portrait_scale


class Rendering:
    """The measurements; each method prints a table and returns its rows."""

    def __init__(self, head: tuple[HeadField, float, float], device: torch.device,
                 args: argparse.Namespace) -> None:  # fmt: skip
        self.field, self.distance, self.scale = head
        self.device, self.args = device, args
        self.warm = WARM if device.type == "cuda" else 0
        self.steps = STEPS if device.type == "cuda" else 16
        self.pool = WorkerPool(None)
        self.samples: dict[int, int] = {}
        self.p50: dict[int, float] = {}
        rng = np.random.default_rng(1)
        code = self.field.code
        self.expressions = rng.uniform(code.low, code.high, (16, len(code.low)))
        turns = rng.uniform(-0.25, 0.25, (16, 3))
        self.poses = [head_pose(turn, self.distance) for turn in turns]
        self.backends: dict[str, RenderBackend] = {}
        for name in ("triton", "tcnn", "torch", "cpu"):
            where = "cpu" if name == "cpu" else device.type
            if (reason := why_not(name, where)) is None:
                self.backends[name] = self._renderer(Choice(name, where))
            else:
                announce(f"without {name}: {reason}")

    def close(self) -> None:
        """Let the threads go."""
        self.pool.close()

    def camera(self, size: int) -> Camera:
        """The portrait's camera."""
        return portrait_camera(size, self.distance, self.scale)

    def pictures(self) -> list[Row]:
        """ms per picture and memory, by backend and size."""
        rows, lines = [], []
        for size in self.args.sizes:
            camera = self.camera(size)
            spent: dict[str, list[float]] = {name: [] for name in self.backends}
            for i in range(self.warm + self.args.runs):
                for name, backend in self.backends.items():
                    if name == "cpu" and i >= self.warm + self.args.runs // 10 + 2:
                        continue  # slow and well known: a tenth of the pictures
                    began = time.perf_counter()
                    backend.set_expression(self.expressions[i % 16])
                    picture = backend.render(self.poses[i % 16], camera)
                    if i >= self.warm:
                        spent[name].append(1000 * (time.perf_counter() - began))
                    if name == "triton":
                        self.samples[size] = picture.samples
            for name, times in spent.items():
                p50, p95 = (float(x) for x in np.percentile(times, [50, 95]))
                rows += [Row(f"gpu.render.{name}.{size}.p50", p50, "ms"),
                         Row(f"gpu.render.{name}.{size}.p95", p95, "ms")]  # fmt: skip
                lines.append([f"{name} {size}", f"{p50:.3f}", f"{p95:.3f}"])
            self.p50[size] = float(np.median(spent["triton"]))
            if "torch" in spent:
                ratio = float(np.median(spent["torch"])) / self.p50[size]
                rows.append(Row(f"gpu.render.{size}.torch_over_triton", ratio, ""))
                lines.append([f"torch / triton {size}", f"{ratio:.1f}", ""])
            rows.append(Row(f"gpu.render.{size}.samples", self.samples[size], ""))
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated() / 2**20
            rows.append(Row("gpu.memory.render_peak", peak, "MiB"))
        triton: Any = self.backends["triton"]
        rows.append(Row("gpu.memory.triton", triton.batch.memory() / 2**20, "MiB"))
        lines.append(["triton's memory, MiB", f"{rows[-1].value:.0f}", ""])
        print_table("a picture alone, ms", ["", "p50", "p95"], lines)
        return rows

    def floors(self) -> list[Row]:
        """The least time that products and look-ups need, and their share of a picture's."""
        small = self.device.type != "cuda"
        config = self.field.config
        products = matrix_rate(self.device, 64 if small else 8192)
        look_ups = look_up_rate(self.device, config.entries, 2 if small else 1 << 14)
        rows = [Row("gpu.rate.products", products / 1e12, "TFLOP/s"),
                Row("gpu.rate.look_ups", look_ups / 1e9, "G/s"),
                Row("gpu.padding", padding_of(config), "")]  # fmt: skip
        lines = [[r.name, f"{r.value:.3g}", r.unit, ""] for r in rows]
        for size, samples in self.samples.items():
            operations, reads = work_of(config, samples)
            for name, ms in (("products", 1000 * operations / products),
                             ("look_ups", 1000 * reads / look_ups)):  # fmt: skip
                share = ms / self.p50[size]
                rows += [Row(f"gpu.floor.{size}.{name}", ms, "ms"),
                         Row(f"gpu.floor.{size}.{name}_share", share, "")]  # fmt: skip
                lines.append([f"floor {size} {name}", f"{ms:.4f}", "ms", f"{100 * share:.1f} %"])
        print_table("floors", ["", "", "", "of a picture"], lines)
        return rows

    def batches(self) -> list[Row]:
        """Pictures per second with many in a launch, the next launch queued behind it."""
        rows, lines = [], []
        size = 512 if self.device.type == "cuda" else self.args.sizes[0]
        for count in self.args.batch:
            drawing = BatchRenderer([self.field] * min(count, 10), str(self.device),
                                    steps=self.steps)  # fmt: skip
            views = [View(self.expressions[i % 16], self.poses[i % 16], self.camera(size),
                          avatar=i % min(count, 10)) for i in range(count)]  # fmt: skip
            for _ in range(self.warm):
                drawing.render_batch(views)
            turns = max(2, self.args.runs // count)
            began = time.perf_counter()
            waiting = drawing.submit(views)
            for _ in range(turns - 1):
                following = drawing.submit(views)
                drawing.collect(waiting, copy=False)
                waiting = following
            drawing.collect(waiting, copy=False)
            rate = turns * count / (time.perf_counter() - began)
            rows += [Row(f"gpu.batch.{count}.rate", rate, "1/s"),
                     Row(f"gpu.batch.{count}.memory", drawing.memory() / 2**20, "MiB")]  # fmt: skip
            lines.append([f"{count} heads", f"{rate:.0f}", f"{rows[-1].value:.0f}"])
        print_table(f"pictures of {size} px in one launch", ["", "per second", "MiB"], lines)
        return rows

    def quality(self) -> list[Row]:
        """How far each backend's pictures are from the CPU's, and, with data, from the truth."""
        from conference.bench.gpu_train import held_out

        size = self.args.sizes[len(self.args.sizes) // 2]
        count = 4 if self.device.type == "cuda" else 1
        drawn = {name: [self._draw(b, i, size) for i in range(count)]
                 for name, b in self.backends.items()}  # fmt: skip
        rows = []
        for reference in ("torch", "cpu"):  # torch takes every sample, the CPU what shows
            for name in [n for n in drawn if n != reference and reference in drawn]:
                pairs = zip(drawn[name], drawn[reference], strict=True)
                value = float(np.mean([psnr(a, b) for a, b in pairs]))
                rows.append(Row(f"gpu.quality.{name}.psnr_to_{reference}", value, "dB"))
        if self.args.data is not None and self.args.avatar is not None:
            truth = held_out(self.args.data, size)
            score = {name: truth.score(b, self.field) for name, b in self.backends.items()}
            rows += [Row(f"gpu.quality.{name}.psnr_less_cpus", value - score["cpu"], "dB")
                     for name, value in score.items() if name != "cpu"]  # fmt: skip
        print_table(f"likeness, {size} px", ["", "dB"], [[r.name, f"{r.value:.3f}"] for r in rows])
        return rows

    def tune(self) -> list[Row]:
        """The shading kernel cut in other ways, best first."""
        size = 512 if self.device.type == "cuda" else self.args.sizes[0]
        view = View(self.expressions[0], self.poses[0], self.camera(size))
        found = []
        for launch in LAUNCHES if self.device.type == "cuda" else [launch_for(self.device)]:
            drawing = BatchRenderer([self.field], str(self.device), launch=launch,
                                    steps=self.steps)  # fmt: skip
            try:
                times = []
                for _ in range(self.warm + max(self.args.runs // 4, 1)):
                    began = time.perf_counter()
                    drawing.collect(drawing.submit([view]), copy=False)
                    times.append(1000 * (time.perf_counter() - began))
            except Exception as error:  # one that does not fit the device is a result as well
                announce(f"{launch}: {type(error).__name__}")
                continue
            found.append((float(np.median(times[self.warm :])), launch))
        found.sort(key=lambda pair: pair[0])
        lines = [[str(launch), f"{ms:.3f}"] for ms, launch in found[:8]]
        print_table(f"cuts of the shading kernel, {size} px, ms", ["", "p50"], lines)
        return [Row(f"gpu.tune.{at.block}.{at.warps}.{at.programs}.{at.seeks}.{at.registers}",
                    ms, "ms") for ms, at in found]  # fmt: skip

    def profile(self) -> str:
        """Where ten pictures spend the device's time, largest first."""
        from torch.profiler import ProfilerActivity, profile

        drawing = BatchRenderer([self.field], str(self.device))
        view = View(self.expressions[0], self.poses[0], self.camera(512))
        for _ in range(WARM):
            drawing.render_batch([view])
        with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
            for _ in range(10):
                drawing.render_batch([view])
        events = [(float(e.device_time_total), e.key) for e in seen.key_averages()
                  if e.device_type.name == "CUDA"]  # fmt: skip
        whole = sum(t for t, _ in events) or 1.0
        top = sorted(events, reverse=True)[:10]
        return "\n".join(f"  {100 * t / whole:5.1f} %  {t / 10:8.1f} µs  {name}" for t, name in top)

    def _renderer(self, choice: Choice) -> RenderBackend:
        if self.device.type == "cuda":
            return make_renderer(self.field, self.pool, choice)
        if choice.backend == "triton":  # interpreted: a sixth of the samples
            return TritonRenderer(self.field, "cpu", steps=self.steps)
        if choice.backend == "torch":
            return TorchRenderer(self.field, "cpu", steps=self.steps)
        return CpuRenderer(self.field, self.pool, steps=self.steps)

    def _draw(self, backend: RenderBackend, i: int, size: int) -> Any:
        backend.set_expression(self.expressions[i])
        return backend.render(self.poses[i], self.camera(size)).rgb
