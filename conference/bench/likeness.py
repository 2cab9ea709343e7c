"""`facewire bench likeness CLIP...`: what the tracker costs, clip by clip.

The rule: every clip goes the user's own way (`dataset build`, `train`); held-out frames are scored
with what the general tracker says, with what a live sender with the personal tracker sends, and
with poses optimised frame by frame, on the same weights in the same run.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conference.bench.results import Row, document, print_table
from conference.terminal import announce
from quic_transport.errors import FacewireError, LocalError
from sender.extractor import DEFAULT_EXTRACTOR, EXTRACTORS

KINDS = (("generic tracker", "generic"), ("personal tracker", "personal"),
         ("pose by pose", "ceiling"))  # fmt: skip
MEASURES = (("psnr", "dB"), ("psnr head", "dB"), ("psnr rimless", "dB"), ("ssim", ""))


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench likeness",
        description="general tracker, personal tracker and best possible pose, on held-out frames",
    )
    add = p.add_argument
    add("clips", type=Path, nargs="+", metavar="CLIP", help="videos of one person each")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="data sets, avatars, table")
    add("--size", type=int, default=512, metavar="PX", help="of the training pictures; 512")
    add("--steps", type=int, metavar="N", help="of training, instead of the preset's")
    add("--seconds", type=float, metavar="N", help="of training, at most")
    add("--threads", type=int, metavar="N", help="of training")
    add("--extractor", choices=EXTRACTORS, default=DEFAULT_EXTRACTOR, help="default facenet")
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the bench; 1 if a clip could not be used."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, float]] = {}
    failed = []
    for clip in args.clips:
        try:
            if (scores := scores_of(args, clip)) is None:
                announce("interrupted: the same command goes on there")
                return 130
            found[clip.stem] = scores
        except FacewireError as error:
            announce(f"{clip.name}: {error}")
            failed.append(clip.name)
    if not found:
        raise LocalError("no clip could be used: see above")
    rows = [Row(f"likeness.{clip}.{name.replace(' ', '_')}", value, unit_of(name))
            for clip, scores in found.items() for name, value in scores.items()]  # fmt: skip
    (args.output / "likeness.json").write_text(
        json.dumps(document(["likeness", *argv], rows), indent=1), encoding="utf-8"
    )
    print_table("held-out frames, head on white: PSNR whole / without its rim (dB), SSIM",
                ["clip", *(kind for kind, _ in KINDS), "gain"], table(found))  # fmt: skip
    announce(f"{args.output / 'likeness.json'}")
    return 1 if failed else 0


def scores_of(args: argparse.Namespace, clip: Path) -> dict[str, float] | None:
    """The scores ("personal psnr", …) of one clip, None if interrupted; what an earlier run left
    is kept."""
    from conference import train
    from quic_transport.avatar_file import load_meta

    folder = args.output / f"{clip.stem}.dataset"
    if not (folder / "transforms.json").is_file():
        build(args, clip, folder)
    avatar = args.output / f"{clip.stem}.fwa"
    begun = (args.output / f"{clip.stem}.checkpoint.npz").is_file()
    if begun or not avatar.is_file():
        command = [str(folder), "-o", str(avatar), "--size", str(args.size), "--device", "cpu"]
        for name in ("steps", "seconds", "threads"):
            if (value := getattr(args, name)) is not None:
                command += [f"--{name}", str(value)]
        if train.main([*command, *(["--resume"] if begun else [])]) != 0:
            return None
    return scores_in(load_meta(avatar).provenance, clip.name)


def scores_in(provenance: Any, name: str) -> dict[str, float]:
    """The scores that an avatar says of itself; LocalError where it has no personal tracker."""
    out = {}
    for long, short in KINDS:
        for measure, _ in MEASURES:
            if (key := f"{measure} {long}") not in provenance:
                raise LocalError(f"{name} is too short for a personal tracker, or has no frames "
                                 "to hold out")  # fmt: skip
            out[f"{short} {measure}"] = float(provenance[key])
    return out


def build(args: argparse.Namespace, clip: Path, folder: Path) -> None:
    """`facewire dataset build`."""
    from portrait import cli

    command = ["build", str(clip), "-o", str(folder), "--extractor", args.extractor]
    if args.models is not None:
        command += ["--models", str(args.models)]
    if cli.main(command) != 0:
        raise LocalError(f"no training set could be made of {clip}")


def unit_of(name: str) -> str:
    """The unit of "personal psnr head"."""
    return "dB" if "psnr" in name else ""


def table(found: dict[str, dict[str, float]]) -> Sequence[Sequence[str]]:
    """A line for each clip, and their mean gain."""
    lines = []
    gains = []
    for clip, s in found.items():
        gain = s["personal psnr"] - s["generic psnr"]
        gains.append(gain)
        cells = [f"{s[f'{k} psnr']:.2f} / {s[f'{k} psnr rimless']:.2f}, {s[f'{k} ssim']:.4f}"
                 for _, k in KINDS]  # fmt: skip
        lines.append([clip, *cells, f"{gain:+.2f}"])
    lines.append(["mean", "", "", "", f"{sum(gains) / len(gains):+.2f}"])
    return lines
