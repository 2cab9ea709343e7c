"""`facewire export-cpem CHECKPOINT.ckpt [-o DIR]`: the published tracker, ready for ONNX Runtime.

The rule: arguments are parsed before anything heavy is imported.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sender.cpem.bundle import FOLDER
from sender.model_files import ModelFile, cache_folder, find_model

FACEBOXES = ModelFile(
    "FaceBoxesProd.pth",
    "https://raw.githubusercontent.com/cleardusk/3DDFA_V2/"
    "f3ec646695600230f60bb6d7de4a5dbe5aaa59f8/FaceBoxes/weights/FaceBoxesProd.pth",
    "c0cb2b1e40710c0aa5fc32a8759b1496a0fe0a126c907ca0ffe35b4bd0709d09",
    8_000_000,
)
"""The detector's weights as 3DDFA_V2 publishes them (MIT); CPEM's repository has the same file."""


def main(argv: list[str]) -> int:
    """Run the command."""
    args = _parser().parse_args(argv)
    faceboxes = args.faceboxes or find_model(FACEBOXES)

    from sender.cpem.export import TOLERANCE, export_cpem

    print(f"reading {args.checkpoint} and {faceboxes}", flush=True)
    folder: Path = args.out or cache_folder() / FOLDER
    made = export_cpem(args.checkpoint, faceboxes, folder)
    for path in made.files:
        size = f"{path.stat().st_size / 1e6:8.2f} MB"
        gap = made.differences.get(path.name)
        note = "" if gap is None else f"  largest difference to PyTorch {gap:.1e}"
        print(f"{size}  {path}{note}")
    print(f"both networks compute what PyTorch computes (at most {TOLERANCE:g} apart)")
    where = "" if args.out is None else f" --models {folder}"
    print(f"use it with: --extractor cpem{where}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facewire export-cpem",
        description="Convert CPEM's published checkpoint into the extractor 'cpem'. "
        "docs/cpem.md says where to get it and what its licence situation is.",
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.ckpt",
                        help="the authors' resnet50-id-exp-300000.ckpt")  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, metavar="DIR",
                        help="folder to make (default: cpem among the downloaded models, where "
                             "it is found without --models)")  # fmt: skip
    parser.add_argument("--faceboxes", type=Path, metavar="FILE.pth",
                        help="weights of the face detector (default: the published "
                             "FaceBoxesProd.pth, downloaded once)")  # fmt: skip
    return parser
