"""`facewire bench train SET -o DIR`: likeness against seconds, preset by preset, part by part.

The rule: each row is a whole run of `facewire train` with its schedule fitted to so many seconds
(personal tracker and all), scored as every run is: held-out frames under the general tracker's
parameters, the personal tracker's as a live sender sends them, and poses optimised one by one.
Runs that are finished in DIR are not made again.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from nerf.train import TrainSettings

KINDS = (("generic tracker", "generic"), ("personal tracker", "personal"),
         ("pose by pose", "ceiling"))  # fmt: skip
MEASURES = (("psnr", "dB"), ("psnr head", "dB"), ("psnr rimless", "dB"), ("ssim", ""))
VARIANTS = (
    "no-detail", "no-refinement", "rank12", "rank46", "no-spread", "size256",
)  # fmt: skip


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
        "no-refinement": replace(fast, pose_rate=0.0),
        "rank12": replace(fast, config=replace(fast.config, rank=12)),
        "rank46": replace(fast, config=replace(fast.config, rank=46)),
        "no-spread": replace(fast, loss=replace(fast.loss, spread=0.0)),
        "size256": replace(fast, size=256),
    }[variant]


def made(args: argparse.Namespace, preset: str, variant: str, seconds: float) -> Path | None:
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
    return output if run.train() else None


def main(argv: list[str]) -> int:
    """Run the bench; 130 if it was interrupted (the same command goes on)."""
    args = parse(argv)
    from quic_transport.avatar_file import load_meta

    args.output.mkdir(parents=True, exist_ok=True)
    runs = [(preset, "", s) for preset in args.presets for s in args.seconds]
    runs += [("fast", variant, max(args.seconds)) for variant in args.without]
    rows: list[Row] = []
    lines = []
    for preset, variant, seconds in runs:
        if (avatar := made(args, preset, variant, seconds)) is None:
            announce("interrupted: the same command goes on there")
            return 130
        facts = load_meta(avatar).provenance
        name, label = (
            f"train.{variant or preset}.{seconds:g}s",
            f"{variant or preset}, {seconds:g} s",
        )
        size = avatar.stat().st_size
        rows += [Row(f"{name}.steps", float(facts["steps"]), ""),
                 Row(f"{name}.cpu", float(facts["cpu_seconds"]), "s"),
                 Row(f"{name}.file", size / 1e6, "MB")]  # fmt: skip
        cells = [label, f"{facts['steps']}", f"{facts['cpu_seconds']}", f"{size / 1e6:.2f}"]
        for kind, short in KINDS:
            values = [(m, unit, facts.get(f"{m} {kind}")) for m, unit in MEASURES]
            rows += [Row(f"{name}.{short}.{m.replace(' ', '_')}", float(v), unit)
                     for m, unit, v in values if v is not None]  # fmt: skip
            known = {m: float(v) for m, _, v in values if v is not None}
            cells.append(f"{known['psnr']:.2f} / {known['psnr rimless']:.2f} / {known['ssim']:.4f}"
                         if known else "–")  # fmt: skip
        lines.append(cells)
    print_table("held-out frames, head on white: PSNR whole / rimless (dB) / SSIM",
                ["run", "steps", "CPU-s", "MB", *(kind for kind, _ in KINDS)], lines)  # fmt: skip
    if args.json is not None:
        write_json(args.json, document(["train", *argv], rows))
    return 0
