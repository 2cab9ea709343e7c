"""`facewire facenet label|performers|train|export|judge`: facewire's own tracker, made from clips.

The rule: arguments are parsed before anything heavy is imported; Ctrl-C loses a minute at most.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from quic_transport.errors import LocalError


def main(argv: list[str]) -> int:
    """Run one of the commands."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = {
        "label": _label, "performers": _performers, "train": _train, "export": _export,
        "judge": _judge,
    }[args.command]  # fmt: skip
    try:
        return run(args)
    except KeyboardInterrupt:
        again = "; the same command goes on where it was stopped" * (args.command == "train")
        print(f"interrupted{again}", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire facenet",
        description="Train the face tracker that facewire ships: PE-Net and FB-Net.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="WHAT")

    label = commands.add_parser("label", help="clips → a pack of crops, labelled by MediaPipe")
    label.add_argument("clips", type=Path, nargs="+", metavar="CLIP", help="one person each")
    label.add_argument("-o", "--out", type=Path, required=True, metavar="PACK")
    label.add_argument("--every", type=_positive, default=0.2, metavar="S", help="seconds (0.2)")
    label.add_argument("--empty", action="store_true", help="the clips show no human faces at all")
    label.add_argument("--models", type=Path, help="folder with MediaPipe's model files")

    acted = commands.add_parser("performers", help="a pack of drawn people, exactly labelled")
    acted.add_argument("first", type=int, help="first seed")
    acted.add_argument("last", type=int, help="seed after the last")
    acted.add_argument("-o", "--out", type=Path, required=True, metavar="PACK")

    train = commands.add_parser("train", help="packs → networks, ONNX files and a report")
    train.add_argument("--faces", type=Path, nargs="+", required=True, metavar="PACK")
    train.add_argument("-o", "--out", type=Path, required=True, metavar="DIR")
    train.add_argument("--minutes", type=_positive, default=45.0, help="for PE-Net (45)")
    train.add_argument("--detector-minutes", type=_positive, default=24.0, help="FB-Net (24)")
    train.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    train.add_argument("--seed", type=int, default=0)

    export = commands.add_parser("export", help="a finished run's networks → ONNX files")
    export.add_argument("run", type=Path, metavar="DIR", help="a folder that train has made")
    export.add_argument("-o", "--out", type=Path, help="where to (the sender's own weights)")
    export.add_argument(
        "--faces", type=Path, nargs="+", metavar="PACK", help="to calibrate on: PE-Net in 8 bits"
    )

    judge = commands.add_parser("judge", help="how well the tracker reads a pack's people")
    judge.add_argument("--faces", type=Path, nargs="+", required=True, metavar="PACK")
    judge.add_argument("--networks", type=Path, help="folder of ONNX files (the shipped ones)")
    judge.add_argument("--everybody", action="store_true", help="not only those held out")
    return parser


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value


@contextmanager
def _told() -> Iterator[Callable[[str], None]]:
    """A function that says where a long run stands: a moving line on a terminal, else lines."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: print(text, file=sys.stderr, flush=True)
        return
    with console.status("starting") as status:
        yield lambda text: status.update(text)


def _label(args: argparse.Namespace) -> int:
    from portrait.facenet.label import label
    from portrait.progress import stage_progress

    missing = [str(clip) for clip in args.clips if not clip.is_file()]
    if missing:
        raise LocalError(f"there is no clip {', '.join(missing)}")
    with stage_progress() as progress:
        count = label(args.clips, args.out, progress, every_s=args.every, empty=args.empty,
                      models=args.models)  # fmt: skip
    print(f"{args.out}: {count} crops")
    return 0


def _performers(args: argparse.Namespace) -> int:
    if not 0 <= args.first < args.last:
        raise LocalError(f"seeds go from FIRST up to LAST, not from {args.first} to {args.last}")
    from portrait.facenet.performers import make

    with _told() as report:
        count = make(range(args.first, args.last), args.out, report)
    print(f"{args.out}: {count} crops of {args.last - args.first} performers")
    return 0


def _train(args: argparse.Namespace) -> int:
    if args.workers < 1:
        raise LocalError("--workers must be 1 or more")
    from portrait.facenet.run import RunPlan, run

    plan = RunPlan(
        packs=args.faces, folder=args.out, minutes=args.minutes,
        detector_minutes=args.detector_minutes, workers=args.workers, seed=args.seed,
    )  # fmt: skip
    with _told() as report:
        said = run(plan, report)
    held, people = said["held_out"], said["data"]["held_out_people"]
    print(f"{args.out}: r {held['r_median']}, rotation {held['rotation_median_deg']}° on {people} "
          f"people it never saw; see {args.out / 'report.md'}")  # fmt: skip
    return 0


def _export(args: argparse.Namespace) -> int:
    import json

    from portrait.facenet.export import FB_FILE, PE_FILE, export_fb, export_pe
    from portrait.facenet.material import read_material
    from portrait.facenet.run import calibration, load_fb, load_pe
    from sender.facenet.reader import WEIGHTS

    out = args.out or WEIGHTS
    try:
        data = json.loads((args.run / "report.json").read_text())["data"]
    except (OSError, ValueError, KeyError):
        data = {}
    facts = {"data_sha256": data.pop("sha256", ""), **data}
    crops = calibration(read_material(args.faces)) if args.faces else None
    worst = max(export_pe(load_pe(args.run / "pe_net.pt"), out / PE_FILE, facts, crops),
                export_fb(load_fb(args.run / "fb_net.pt"), out / FB_FILE, facts))  # fmt: skip
    size = sum((out / f).stat().st_size for f in (PE_FILE, FB_FILE)) / 1e6
    print(f"{out}: {size:.1f} MB, at most {worst:.2g} from the trained networks")
    return 0


def _judge(args: argparse.Namespace) -> int:
    from portrait.facenet.judge import judged, onnx_reader
    from portrait.facenet.material import read_material
    from sender.facenet.reader import WEIGHTS

    material = read_material(args.faces)
    faces = material.real if args.everybody else material.held_out
    judgement = judged(onnx_reader(args.networks or WEIGHTS), faces, material.mirror)
    for name, value in judgement.facts.items():
        print(f"{name:22} {value:.4g}")
    return 0
