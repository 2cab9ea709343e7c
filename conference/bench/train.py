"""`facewire bench train SET -o DIR`: likeness against seconds, preset by preset, part by part.

The rule: each row is a whole run of `facewire train` with its schedule fitted to so many seconds
(personal tracker and all), scored as every run is: held-out frames under the general tracker's
parameters, the personal tracker's as a live sender sends them, and poses optimised one by one.
Runs that are finished in DIR are not made again; their curves lie beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.bench.perceptual import Distance
    from conference.train_report import Trained
    from nerf.train import TrainSettings

KINDS = (("generic tracker", "generic"), ("with a correction", "corrected"),
         ("personal tracker", "personal"), ("pose by pose", "ceiling"))  # fmt: skip
MEASURES = (("psnr", "dB"), ("psnr head", "dB"), ("psnr rimless", "dB"), ("ssim", ""),
            ("ssim head", ""), ("lpips", ""))  # fmt: skip
VARIANTS = ("no-detail", "no-hard", "no-average", "no-spread", "no-turn",
            "no-beyond", "no-warp", "rank12", "rank24", "size256")  # fmt: skip


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench train", description="likeness against seconds of training"
    )
    add = p.add_argument
    add("set", type=Path, help="a training set")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="avatars, and what is done")
    add("--seconds", type=float, nargs="+", default=[30.0, 60.0, 120.0, 240.0], metavar="N",
        help="budgets, wall clock; 30 60 120 240")  # fmt: skip
    add("--presets", nargs="+", choices=("fast", "paper"), default=["fast"], help="default fast")
    add("--without", nargs="*", choices=VARIANTS, default=[], metavar="PART",
        help=f"also the fast preset changed, longest budget: {', '.join(VARIANTS)}")  # fmt: skip
    add("--threads", type=int, metavar="N", help="of training; default 2")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    add("--plot", type=Path, metavar="FILE.png", help="draw PSNR against seconds and CPU-seconds")
    args = p.parse_args(argv)
    if not args.set.is_dir():
        raise LocalError(f"{args.set} is no training set: make one with facewire dataset build")
    if min(args.seconds) < 1:
        raise LocalError("--seconds must be at least 1")
    return args


def changed(variant: str) -> TrainSettings:
    """The fast preset with one thing changed."""
    from nerf.train import PRESETS

    fast = PRESETS["fast"]
    return {
        "no-detail": replace(fast, detail_share=0.0),
        "no-hard": replace(fast, hard_share=0.0),
        "no-average": replace(fast, average=0.0),
        "no-turn": replace(fast, turned=False),
        "no-beyond": replace(fast, beyond=0.0),
        "no-warp": replace(fast, config=replace(fast.config, warp=0)),
        "rank12": replace(fast, config=replace(fast.config, rank=12)),
        "rank24": replace(fast, config=replace(fast.config, rank=24)),
        "no-spread": replace(fast, loss=replace(fast.loss, spread=0.0)),
        "size256": replace(fast, size=256),
    }[variant]


def made(args: argparse.Namespace, preset: str, variant: str, seconds: float,
         distance: Distance | None) -> Path | None:  # fmt: skip
    """The avatar of one run, trained unless it is there; None if it was interrupted."""
    from conference.train import Run
    from conference.train_request import TrainRequest

    output: Path = args.output / f"{variant or preset}-{seconds:g}s.fwa"
    checkpoint = output.with_name(output.stem + ".checkpoint.npz")
    if output.is_file() and not checkpoint.exists():
        announce(f"{output.name} is there from before")
        return output
    request = TrainRequest(
        source=args.set, output=output, preset=preset, seconds=seconds, steps=1 << 40,
        threads=args.threads, resume=checkpoint.exists(),
    )  # fmt: skip
    run = Run(request, args.set, changed(variant) if variant else None)
    judge = None if distance is None else lambda trained: perceived(trained, distance)
    return output if run.train(judge) else None


def perceived(run: Trained, distance: Distance) -> dict[str, float]:
    """LPIPS of the scored frames as they are sent: by the personal tracker, or else corrected."""
    import numpy as np

    trainer, footage, sample = run.trainer, run.trainer.footage, run.sample
    if not len(sample):
        return {}
    if run.fitting is not None:
        kind, shown = "personal tracker", run.fitting.drawn(sample)
    else:
        kind = "with a correction"
        shown = (
            trainer.render(i, rigid=trainer.field.rigid_correction(footage.rotation[i],
                                                                   footage.expression[i]))
            for i in sample.tolist()
        )  # fmt: skip
    far = [distance(s.rgb, footage.rgb[i]) for s, i in zip(shown, sample.tolist(), strict=True)]
    return {f"lpips {kind}": round(float(np.mean(far)), 5)}


def rows_of(name: str, facts: Mapping[str, Any], size: int) -> list[Row]:
    """All numbers of one run, whose avatar has `size` bytes."""
    rows = [Row(f"{name}.steps", float(facts["steps"]), ""),
            Row(f"{name}.seconds", float(facts["seconds"]), "s"),
            Row(f"{name}.cpu", float(facts["cpu_seconds"]), "s"),
            Row(f"{name}.file", size / 1e6, "MB")]  # fmt: skip
    for kind, short in KINDS:
        rows += [
            Row(f"{name}.{short}.{measure.replace(' ', '_')}", float(facts[key]), unit)
            for measure, unit in MEASURES
            if (key := f"{measure} {kind}") in facts
        ]
    return rows


def cells_of(label: str, facts: Mapping[str, Any], size: int) -> list[str]:
    """The same as a line of the table."""
    cells = [label, f"{facts['steps']}", f"{facts['cpu_seconds']}", f"{size / 1e6:.2f}"]
    for kind, _ in KINDS:
        if f"psnr {kind}" not in facts:
            cells.append("–")
            continue
        psnr = " / ".join(f"{float(facts[f'{m} {kind}']):.2f}"
                          for m in ("psnr", "psnr head", "psnr rimless"))  # fmt: skip
        far = facts.get(f"lpips {kind}")
        cells.append(f"{psnr} / {float(facts[f'ssim {kind}']):.4f}"
                     + (f" / {float(far):.3f}" if far is not None else ""))  # fmt: skip
    return cells


def draw(path: Path, rows: Sequence[Row]) -> None:
    """PSNR as sent against seconds and against CPU-seconds, one line for each preset."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    value = {row.name: row.value for row in rows}
    runs = [name.removesuffix(".steps") for name in value if name.endswith(".steps")]
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, measure in zip(figure.subplots(1, 2, sharey=True), ("seconds", "cpu"), strict=True):
        lines: dict[str, list[tuple[float, float]]] = {}
        for run in runs:
            sent = [value[k] for k in (f"{run}.personal.psnr", f"{run}.corrected.psnr")
                    if k in value]  # fmt: skip
            if sent:
                who = run.split(".")[1]
                lines.setdefault(who, []).append((value[f"{run}.{measure}"], sent[0]))
        for who, points in lines.items():
            x, y = zip(*sorted(points), strict=True)
            axis.plot(x, y, "o-", markersize=4, label=who)
        axis.set_xlabel("seconds of training" if measure == "seconds" else "CPU-seconds")
        axis.grid(alpha=0.3)
        if lines:
            axis.legend(fontsize=8)
        axis.set_ylabel("held-out PSNR as sent, dB" if measure == "seconds" else "")
    try:
        figure.savefig(path, dpi=110, format="png")
    except OSError as error:
        raise LocalError(f"{path} cannot be written ({error.strerror or error})") from None


def main(argv: list[str]) -> int:
    """Run the bench; 130 if it was interrupted (the same command goes on)."""
    args = parse(argv)
    from conference.bench.perceptual import open_lpips
    from quic_transport.avatar_file import load_meta

    args.output.mkdir(parents=True, exist_ok=True)
    distance, said = open_lpips()
    announce(said)
    runs = [(preset, "", s) for preset in args.presets for s in args.seconds]
    runs += [("fast", variant, max(args.seconds)) for variant in args.without]
    rows: list[Row] = []
    lines = []
    for preset, variant, seconds in runs:
        try:
            avatar = made(args, preset, variant, seconds, distance)
        except KeyboardInterrupt:
            avatar = None
        if avatar is None:
            announce("interrupted: the same command goes on there")
            return 130
        facts, size = load_meta(avatar).provenance, avatar.stat().st_size
        rows += rows_of(f"train.{variant or preset}.{seconds:g}s", facts, size)
        lines.append(cells_of(f"{variant or preset}, {seconds:g} s", facts, size))
    print_table("held-out frames, head on white: PSNR whole / head / rimless (dB) / SSIM / LPIPS",
                ["run", "steps", "CPU-s", "MB", *(kind for kind, _ in KINDS)], lines)  # fmt: skip
    if args.json is not None:
        write_json(args.json, document(["train", *argv], rows))
    if args.plot is not None:
        draw(args.plot, rows)
    return 0
