"""`facewire performer`: film a synthetic person with exact ground truth.

The rule: arguments are read before anything heavy is imported.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire performer",
        description="Film a synthetic person: the video, its exact parameters and its masks.",
    )
    parser.add_argument("--seed", type=int, default=7, help="which person (default 7)")
    parser.add_argument("--seconds", type=float, default=100.0, help="length (default 100)")
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second (default 25)")
    parser.add_argument("--size", type=int, default=512, help="width and height, px (default 512)")
    parser.add_argument("--script", choices=("talk", "enrolment"), default="talk",
                        help="talk freely, or act out the recommended recording")  # fmt: skip
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1,
                        help="frames drawn side by side (default: all cores)")  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, help="the mp4 to write")
    return parser


def main(argv: list[str]) -> int:
    """Run the command; 0 when the film is complete, 130 when it was interrupted."""
    args = _parser().parse_args(argv)

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from portrait.performer.film import film

    console = Console(highlight=False, soft_wrap=True)
    count = TextColumn("{task.completed}/{task.total} frames")
    columns = (TextColumn("filming"), BarColumn(), count, TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task("filming", total=None)
            made = film(
                args.seed, args.seconds, args.output, args.size, args.fps,
                script=args.script, threads=args.threads,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )  # fmt: skip
    except KeyboardInterrupt:
        console.print("interrupted before the first frame: nothing was filmed")
        return 130
    how = "" if made.complete else " (interrupted: it ends early but plays)"
    console.print(f"{made.video}: person {args.seed}, {made.frames} frames, "
                  f"{made.frames / args.fps:.1f} s, {args.size}x{args.size}, "
                  f"{made.video.stat().st_size / 1e6:.1f} MB{how}")  # fmt: skip
    console.print(f"{made.truth}: expressions, poses, landmarks")
    console.print(f"{made.masks}: classes and head mattes")
    return 0 if made.complete else 130
