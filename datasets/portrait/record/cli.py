"""`facewire record -o me.mp4`: films the recommended 100 seconds, prompting on the screen.

The rule: camera, window, keys and the clock live here and nothing else does; the file gets every
picture of the camera as it came, while the preview shows what it can keep up with.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from quic_transport.errors import LocalError


def main(argv: list[str]) -> int:
    """Run the command: 0 for a recording (a key may end it early), 130 after Ctrl-C."""
    args = _parser().parse_args(argv)
    if not 5.0 <= args.seconds <= 900.0:
        raise LocalError(f"--seconds must lie between 5 and 900, not {args.seconds:g}")
    if not 5.0 <= args.fps <= 120.0:
        raise LocalError(f"--fps must lie between 5 and 120, not {args.fps:g}")
    from portrait.record.studio import Filmed, Setup, film

    made: Filmed = film(
        Setup(
            target=args.out,
            camera=args.camera,
            seconds=args.seconds,
            size=args.size,
            fps=args.fps,
            preview=not args.no_preview,
            models=args.models,
            replace=args.force,
        )
    )
    if not made.frames:
        print("nothing was filmed: it was ended before the countdown was over")
        return 130 if made.interrupted else 0
    how = " (ended early)" if not made.complete else ""
    print(
        f"{made.target}: {made.seconds:.1f} s{how}, {made.frames} frames, "
        f"{made.size[0]}x{made.size[1]}, {made.megabytes:.1f} MB"
    )
    if made.dropped > 0.05 * made.frames:
        print(
            f"note: {made.dropped} pictures were lost, this machine was too slow for them: "
            "try a smaller --size or --fps"
        )
    for advice in made.missed:
        print(f"note: asked for but not seen; next time: {advice}")
    print(f"next: facewire dataset build {made.target} -o {made.target.with_suffix('')}/")
    return 130 if made.interrupted else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire record",
        description="Film yourself for an avatar: prompts say what to do. Space begins at once, "
        "q ends early; the file is safe at any moment.",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="the .mp4 or .mkv to make")
    parser.add_argument("--seconds", type=float, default=100.0, help="length (default 100)")
    parser.add_argument("--camera", default="0", metavar="N|CLIP",
                        help="camera (default 0), or a video that stands in for one")  # fmt: skip
    parser.add_argument("--size", type=_size, default=(1280, 720), metavar="WxH",
                        help="asked of the camera (default 1280x720)")  # fmt: skip
    parser.add_argument("--fps", type=float, default=30.0, help="pictures per second (default 30)")
    parser.add_argument("--no-preview", action="store_true",
                        help="no window: the prompts are printed")  # fmt: skip
    parser.add_argument("--models", type=Path, help="folder with the tracker's model files")
    parser.add_argument("--force", action="store_true", help="replace the file")
    return parser


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{2,4})[xX×](\d{2,4})", text)
    if not found or min(int(found[1]), int(found[2])) < 64:
        raise argparse.ArgumentTypeError(f"{text!r} is not WIDTHxHEIGHT in pixels, e.g. 1280x720")
    return int(found[1]), int(found[2])
