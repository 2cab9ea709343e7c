"""`facewire dataset build VIDEO -o DIR`, `… import FOLDER -o DIR` and `… inspect DIR`.

The rule: arguments are parsed before anything heavy is imported.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from portrait.options import BuildSummary
    from portrait.tracks import Progress


def main(argv: list[str]) -> int:
    """Run one of the three commands."""
    args = _parser().parse_args(argv)
    if args.command == "inspect":
        return _inspect(args.folder)
    return _make(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire dataset", description="Turn a video of one person into a training set."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="WHAT")
    build = commands.add_parser("build", help="video → training set, in seven resumable steps")
    build.add_argument("source", metavar="VIDEO", type=Path,
                       help="60 to 120 s of one person, one shot")  # fmt: skip
    _add_common(build)
    build.add_argument("--range", type=_range, default=(0.0, float("inf")), metavar="FROM:TO",
                       help="seconds of the video to use, e.g. 4.2:100")  # fmt: skip
    build.add_argument("--every", type=_positive, default=1, metavar="N", help="each N-th frame")
    build.add_argument("--fps", type=float, help="at most about so many frames per second")
    foreign = commands.add_parser(
        "import", help="NeRFBlendShape or RAD-NeRF set, or a folder of pictures → training set"
    )
    foreign.add_argument("source", metavar="FOLDER", type=Path)
    _add_common(foreign)
    foreign.add_argument("--fps", type=float, default=25.0, help="pictures per second, default 25")
    foreign.add_argument("--coefficients", choices=("own", "tracker"), default="own",
                         help="own: keep the set's 46 where it has so many")  # fmt: skip
    inspect = commands.add_parser("inspect", help="what is in a training set, and how it was made")
    inspect.add_argument("folder", type=Path)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("-o", "--out", type=Path, required=True, help="folder to make")
    add("--extractor", metavar="NAME", help="the tracker; truth: exact, for a performer's video")
    add("--segmenter", default="auto", metavar="NAME",
        help="parsing (ours), mediapipe, or auto: a set's own masks, else ours")  # fmt: skip
    add("--models", type=Path, metavar="DIR", help="folder of downloaded model files")
    add("--held-out", type=_share, metavar="SHARE",
        help="share of the frames, the last ones, to test on; default 0.15")  # fmt: skip
    add("--force", action="store_true", help="replace the folder; steps still right are kept")


def _range(text: str) -> tuple[float, float]:
    start, colon, end = text.partition(":")
    try:
        low, high = float(start or 0.0), float(end or "inf")
    except ValueError:
        low, high = 0.0, 0.0
    if not colon or not 0.0 <= low < high:
        raise argparse.ArgumentTypeError(f"{text!r} is not FROM:TO in seconds, e.g. 4.2:100")
    return low, high


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share from 0 to 0.9, e.g. 0.15")
    return value


def _make(args: argparse.Namespace) -> int:
    if args.fps is not None and not 0 < args.fps < float("inf"):
        raise LocalError(f"--fps must be above 0, not {args.fps}")
    from portrait.progress import stage_progress

    try:
        with stage_progress() as progress:
            made = _run(args, progress)
    except KeyboardInterrupt:
        print(f"interrupted; nothing was made at {args.out}. The same command goes on from "
              f"{args.out}.partial (delete that folder to forget it)")  # fmt: skip
        return 130
    left = ", ".join(f"{n} {why}" for why, n in made.left_out.items()) or "none"
    print(
        f"{made.folder}: {made.frames} of {made.looked_at} frames ({made.train_frames} to train "
        f"on, {made.frames - made.train_frames} held out) over {made.seconds:.1f} s; left out: "
        f"{left}; face {made.face_px:.0f} px high; took {made.elapsed_s:.0f} s"
    )
    if made.kept_steps:
        print(f"kept from before: {', '.join(made.kept_steps)}")
    for warning in made.warnings:
        print(f"note: {warning}")
    print(f"look at {made.folder / 'report.html'}, then: facewire train {made.folder} -o me.fwa")
    return 0


def _run(args: argparse.Namespace, progress: Progress) -> BuildSummary:
    from portrait.options import BuildOptions
    from portrait.tracks import Selection

    given = {"extractor": args.extractor, "held_out": args.held_out}
    options = BuildOptions(
        models=args.models,
        segmenter=args.segmenter,
        force=args.force,
        **{name: value for name, value in given.items() if value is not None},
    )
    if args.command == "import":
        from portrait.foreign_build import import_dataset

        return import_dataset(
            args.source, args.out, options, rate=args.fps,
            keep_coefficients=args.coefficients == "own", progress=progress,
        )  # fmt: skip
    if args.source.is_dir():
        raise LocalError(
            f"{args.source} is a folder: `facewire dataset import` takes folders of pictures and "
            "sets from elsewhere, `build` takes a video"
        )
    from portrait.build import build_dataset

    selection = Selection(args.range[0], args.range[1], args.every, args.fps)
    return build_dataset(args.source, args.out, replace(options, selection=selection), progress)


def _inspect(folder: Path) -> int:
    from portrait.inspection import describe

    print("\n".join(describe(folder)))
    return 0
