"""`facewire dataset build VIDEO -o DIR` and `facewire dataset inspect DIR`.

The rule: arguments are parsed before anything heavy is imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from quic_transport.errors import LocalError


def main(argv: list[str]) -> int:
    """Run one of the two commands."""
    args = _parser().parse_args(argv)
    if args.command == "inspect":
        return _inspect(args.folder)
    return _build(args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire dataset", description="Turn a video of one person into a training set."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="video → tracked, cut out, white-background heads")
    build.add_argument("video", type=Path, help="60 to 120 s of one person, one shot")
    build.add_argument("-o", "--out", type=Path, required=True, help="folder to make")
    build.add_argument("--models", type=Path, help="folder with MediaPipe's model files")
    build.add_argument("--extractor", choices=("mediapipe", "truth"), default="mediapipe",
                       help="truth: exact values, only for a performer's video")  # fmt: skip
    build.add_argument("--range", type=_range, default=(0.0, float("inf")), metavar="FROM:TO",
                       help="seconds of the video to use, e.g. 4.2:100")  # fmt: skip
    build.add_argument("--every", type=_positive, default=1, metavar="N", help="each N-th frame")
    build.add_argument("--fps", type=float, help="at most about so many frames per second")
    build.add_argument("--force", action="store_true", help="replace the folder")
    inspect = commands.add_parser("inspect", help="what is in a training set")
    inspect.add_argument("folder", type=Path)
    return parser


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


def _build(args: argparse.Namespace) -> int:
    if args.fps is not None and not args.fps > 0:
        raise LocalError(f"--fps must be above 0, not {args.fps}")
    from portrait.build import BuildOptions, Selection, build_dataset
    from portrait.progress import stage_progress

    options = BuildOptions(
        extractor=args.extractor,
        models=args.models,
        selection=Selection(args.range[0], args.range[1], args.every, args.fps),
        force=args.force,
    )
    try:
        with stage_progress() as progress:
            made = build_dataset(args.video, args.out, options, progress)
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
    for warning in made.warnings:
        print(f"note: {warning}")
    print(f"look at {made.folder / 'report.html'}, then: facewire train {made.folder} -o me.fwa")
    return 0


def _inspect(folder: Path) -> int:
    import numpy as np

    from nerf.trainset import TrainSetError, read_trainset
    from quic_transport.params import SCHEMAS

    try:
        trainset = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    camera: Any = trainset.camera
    print(f"{folder}: {len(trainset)} frames, {trainset.train_count} to train on")
    print(
        f"  source {trainset.source or 'unknown'}, {trainset.frame_rate:.2f} frames/s, "
        f"extractor {trainset.extractor}, schema {trainset.schema}"
    )
    print(
        f"  portrait {camera.width}×{camera.height}, focal {camera.fx:.1f} px, distance "
        f"{trainset.distance_m:.3f} m, {'soft mattes' if trainset.has_matte else 'parsing only'}"
    )
    low, high = np.degrees(np.percentile(trainset.rotation, [1, 99], axis=0))
    for name, a, b in zip(("pitch", "yaw", "roll"), low, high, strict=True):
        print(f"  {name:5} {a:+6.1f}° to {b:+6.1f}°")
    names = SCHEMAS.get(trainset.schema, tuple(f"{i}" for i in range(46)))
    spread = trainset.expression.std(axis=0)
    alive = [names[i] for i in np.argsort(-spread) if spread[i] > 0.005]
    print(f"  {len(alive)} of 46 coefficients move; most: {', '.join(alive[:8])}")
    return 0
