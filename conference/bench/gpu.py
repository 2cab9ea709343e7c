"""`facewire bench gpu`: pictures, batches and training on this machine's GPU, beside the floors.

The rule: every number of a table is from one run, backends drawn in turn; a floor is measured in
the same run. Where there is no GPU the bench says so; `--interpret` then runs all of its code,
tiny, in Triton's interpreter, and its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

BACKENDS = ("triton", "tcnn", "torch", "cpu")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire bench gpu", description="what the GPU does")
    add = p.add_argument
    add("--avatar", type=Path, metavar="FILE.fwa", help="whose head; default: a made-up one")
    add("--data", type=Path, metavar="DIR", help="training set: to compare with and to train on")
    add("--sizes", type=int, nargs="+", default=[256, 512, 1024], metavar="PX",
        help="of the pictures; default 256 512 1024")  # fmt: skip
    add("--batch", type=int, nargs="*", default=[1, 2, 5, 10, 20], metavar="N",
        help="pictures in one launch; default 1 2 5 10 20")  # fmt: skip
    add("--runs", type=int, default=200, metavar="N", help="pictures per number; default 200")
    add("--seconds", type=float, nargs="*", default=[], metavar="N",
        help="train so long, each from the start (needs --data), e.g. 30 60 120 1200")  # fmt: skip
    add("--presets", nargs="+", default=["fast"], choices=("fast", "paper"), help="to train")
    add("--tune", action="store_true", help="also try other cuts of the shading kernel")
    add("--interpret", action="store_true", help="no GPU: run it all, tiny, in the interpreter")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    if args.seconds and args.data is None:
        raise LocalError("--seconds trains: name a training set with --data")
    if args.runs < 2 or min([*args.sizes, *args.batch], default=1) < 1:
        raise LocalError("--runs must be at least 2, --sizes and --batch at least 1")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    device = device_of(args)
    from conference.bench import gpu_render, gpu_train

    head = gpu_render.head_of(args)
    rows: list[Row] = []
    rendering = gpu_render.Rendering(head, device, args)
    rows += rendering.pictures()
    rows += rendering.floors()
    rows += rendering.batches()
    rows += rendering.quality()
    if args.tune:
        rows += rendering.tune()
    if device.type == "cuda":
        announce("\nwhere the time goes, 512 px\n" + rendering.profile())
    rendering.close()
    for preset in args.presets:
        for seconds in args.seconds:
            for backend in gpu_train.backends_of(device):
                rows += gpu_train.train(args.data, preset, backend, seconds, device)
    if args.seconds:
        print_table("training", ["", "", ""],
                    [[r.name, f"{r.value:.2f}", r.unit] for r in rows
                     if r.name.startswith("gpu.train")])  # fmt: skip
    if args.json is not None:
        report: dict[str, Any] = document(["gpu", *argv], rows)
        report["hardware"] += f"; {name_of(device)}"
        write_json(args.json, report)
    return 0


def device_of(args: argparse.Namespace) -> Any:
    """The device to measure; LocalError in one sentence where there is none."""
    from importlib.util import find_spec

    if args.interpret:
        if find_spec("triton") is None:
            raise LocalError("--interpret needs Triton: pip install triton (Linux)")
        os.environ["TRITON_INTERPRET"] = "1"
        args.sizes, args.runs, args.batch = [4], 2, args.batch and [1, 2]
    import torch

    from nerf.backends import no_cuda, why_not

    if args.interpret:
        announce("in Triton's interpreter: whether it runs, not how fast")
        return torch.device("cpu")
    reason = no_cuda() or why_not("triton", "cuda")
    if reason is not None:
        raise LocalError(
            f"there is nothing to measure here: {reason}; "
            "`--interpret` runs a tiny version without a GPU"
        )
    return torch.device("cuda")


def name_of(device: Any) -> str:
    """The device with what its software is, for the record."""
    import torch
    import triton

    if device.type != "cuda":
        return f"Triton {triton.__version__}'s interpreter"
    p = torch.cuda.get_device_properties(device)
    return (f"{p.name}, {p.multi_processor_count} multiprocessors, "
            f"{p.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}, "
            f"torch {torch.__version__}, Triton {triton.__version__}")  # fmt: skip
