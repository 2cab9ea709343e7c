"""`facewire bench render AVATAR`: what a picture costs on this machine's processor.

The rule: pictures as a call draws them, blending included, of a face that moves through the
avatar's own bounds; beside them what look-up and networks could do alone, measured between the
pictures of the same run. A machine that is busy with other things shows in the wall-clock times,
much less in processor time, so both are given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    import numpy as np

    from nerf.cpu.render import CpuRenderer
    from nerf.renderer import HeadRenderer
    from quic_transport.avatar_file import AvatarFile

SIZES = (128, 256, 512)
TURNS = (-30.0, 30.0)  # degrees of yaw at which 512 px are drawn besides
WARM = 3  # pictures of each kind that are not counted


@dataclass(frozen=True, slots=True)
class Drawn:
    """Pictures of one kind."""

    name: str
    """"512", "512.yaw+30"."""
    threads: int
    wall_ms: tuple[float, ...]
    """Of each picture."""
    cpu_ms: tuple[float, ...]
    """Of all threads together."""
    samples: float
    """Points of the field a picture, mean."""
    pixels: int
    head_pixels: float
    """Pixels that are mostly head, mean."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench render", description="what a picture costs on this processor"
    )
    add = p.add_argument
    add("avatar", type=Path, metavar="AVATAR", help="avatar file (.fwa)")
    add("--threads", type=int, metavar="N", help="beside one; default: all cores")
    add("--frames", type=int, default=60, metavar="N", help="pictures of each kind; default 60")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    if args.frames < 2 or (args.threads is not None and args.threads < 1):
        raise LocalError("--frames must be at least 2, --threads at least 1")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    from nerf.cpu.pool import available_threads
    from quic_transport.avatar_file import load_avatar

    avatar = load_avatar(args.avatar)
    many = args.threads or available_threads()
    drawn: list[Drawn] = []
    rows: list[Row] = []
    shares: list[list[str]] = []
    for threads in sorted({1, many}):
        pictures, ceiling = measure(avatar, threads, args.frames)
        drawn += pictures
        rows += [row for picture in pictures for row in as_rows(picture)]
        for picture in pictures:
            new, line = shared(picture, ceiling)
            rows += new
            shares.append(line)
        rows += [
            Row(f"render.ceiling.{what}.{threads}t", value, "1/s")
            for what, value in ceiling.items()
        ]
    print_table("one picture, ms",
                ["", "threads", "p50", "p95", "CPU p50", "samples/pixel", "/head pixel"],
                [line_of(d) for d in drawn])  # fmt: skip
    print_table("million samples/s: in pictures, and look-up then networks alone",
                ["", "threads", "wall", "of ceiling", "per CPU s", "of ceiling"],
                shares)  # fmt: skip
    if args.json is not None:
        write_json(args.json, document(["render", *argv], rows))
    return 0


def measure(avatar: AvatarFile, threads: int, frames: int) -> tuple[list[Drawn], dict[str, float]]:
    """Pictures of every kind, taken in turns, and samples per second of what they are made of."""
    import numpy as np

    from nerf.camera import head_pose
    from nerf.cpu.ceiling import ceilings, samples_of
    from nerf.cpu.pool import WorkerPool
    from nerf.cpu.render import CpuRenderer
    from nerf.renderer import load_head

    head = load_head(avatar.sections, avatar.meta.distance_m, avatar.meta.portrait_scale, threads,
                     device="cpu")  # fmt: skip
    alone: CpuRenderer = CpuRenderer(head.field, WorkerPool(threads))
    alone.set_expression(head.field.code.mean)
    camera = head.portrait(SIZES[-1])
    points = samples_of(alone, head_pose((0.0, 0.0, 0.0), head.distance_m), camera)
    kinds = [(str(size), size, 0.0) for size in SIZES]
    kinds += [(f"{SIZES[-1]}.yaw{yaw:+.0f}", SIZES[-1], yaw) for yaw in TURNS]
    taken: dict[str, list[tuple[float, float, int, int]]] = {name: [] for name, _, _ in kinds}
    found: list[tuple[float, float, float, float]] = []
    poses = moves(avatar, frames + WARM)
    for i in range(frames + WARM):
        for name, size, yaw in kinds:
            one = picture(head, poses[i], size, yaw)
            if i >= WARM:
                taken[name].append(one)
        if i >= WARM and (i - WARM) % 5 == 0:
            encode, multiply = ceilings(alone, points)
            found.append((encode.per_core, multiply.per_core, encode.together, multiply.together))
    head.close()
    alone.pool.close()
    core_encode, core_multiply, encode_all, multiply_all = np.median(found, axis=0).tolist()
    ceiling = {
        "encode.core": core_encode, "networks.core": core_multiply,
        "encode.wall": encode_all, "networks.wall": multiply_all,
    }  # fmt: skip
    pictures = []
    for name, size, _ in kinds:
        wall, cpu, samples, covered = zip(*taken[name], strict=True)
        pictures.append(Drawn(name, threads, wall, cpu, float(np.mean(samples)), size * size,
                              float(np.mean(covered))))  # fmt: skip
    return pictures, ceiling


def moves(avatar: AvatarFile, count: int) -> np.ndarray:
    """Parameters [count, 49] of a face that talks and turns within the avatar's bounds."""
    import numpy as np

    low, high = avatar.meta.bounds.low, avatar.meta.bounds.high
    rng = np.random.default_rng(0)
    pace, phase = rng.uniform(0.1, 0.6, (2, len(low))) * [[1.0], [10.0]]
    swing = np.sin(np.arange(count)[:, None] * pace + phase)
    middle = (low + high) / 2
    middle[:46] = low[:46] + 0.2 * (high - low)[:46]  # faces rest near the lower end
    swing[:, :46] = np.maximum(swing[:, :46], 0.0) ** 3
    return np.asarray(middle + swing * np.where(np.arange(49) < 46, 0.8, 0.5) * (high - low))


def picture(head: HeadRenderer, params: np.ndarray, size: int,
            yaw: float) -> tuple[float, float, int, int]:  # fmt: skip
    """Milliseconds by the clock, of the processor, samples, and pixels that are mostly head."""
    import numpy as np

    rotation = params[46:]
    view = rotation + np.array([0.0, np.radians(yaw), 0.0])
    began, busy = time.perf_counter(), time.process_time()
    shown = head.render_portrait(params[:46], rotation, size, view=view)
    wall, cpu = time.perf_counter() - began, time.process_time() - busy
    return 1000 * wall, 1000 * cpu, shown.samples, int((shown.alpha > 127).sum())


def quantiles(values: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    import numpy as np

    p50, p95 = np.percentile(values, [50, 95])
    return float(p50), float(p95)


def as_rows(d: Drawn) -> list[Row]:
    """One kind of picture."""
    p50, p95 = quantiles(d.wall_ms)
    base = f"render.{d.name}.{d.threads}t"
    return [
        Row(f"{base}.p50", p50, "ms"),
        Row(f"{base}.p95", p95, "ms"),
        Row(f"{base}.cpu", quantiles(d.cpu_ms)[0], "ms"),
        Row(f"{base}.samples_per_pixel", d.samples / d.pixels, ""),
        Row(f"{base}.samples_per_head_pixel", d.samples / max(d.head_pixels, 1.0), ""),
    ]


def line_of(d: Drawn) -> list[str]:
    """One kind of picture in the table."""
    p50, p95 = quantiles(d.wall_ms)
    return [d.name, str(d.threads), f"{p50:.1f}", f"{p95:.1f}", f"{quantiles(d.cpu_ms)[0]:.1f}",
            f"{d.samples / d.pixels:.2f}",
            f"{d.samples / max(d.head_pixels, 1.0):.2f}"]  # fmt: skip


def shared(d: Drawn, ceiling: dict[str, float]) -> tuple[list[Row], list[str]]:
    """Samples per second of a kind, and their share of doing nothing but look-up and networks."""
    rows, cells = [], []
    for clock, spent, kind in (("wall", d.wall_ms, "wall"), ("core", d.cpu_ms, "core")):
        rate = d.samples / quantiles(spent)[0] * 1000
        both = 1 / (1 / ceiling[f"encode.{kind}"] + 1 / ceiling[f"networks.{kind}"])
        base = f"render.{d.name}.{d.threads}t"
        rows += [Row(f"{base}.samples_per_s.{clock}", rate, "1/s"),
                 Row(f"{base}.share.{clock}", rate / both, "")]  # fmt: skip
        cells += [f"{rate / 1e6:.2f}", f"{rate / both:.2f}"]
    return rows, [d.name, str(d.threads), *cells]
