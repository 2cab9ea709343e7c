"""`facewire repack me.fwa -o small.fwa`: the same person in fewer bytes.

The rule: the new file is written whole or not at all, says how far its pictures are from the old
one's, and keeps everything that is not the head's tables, the private sections among it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from conference.terminal import announce
from quic_transport.errors import LocalError

NOTICEABLE_DB = 48.0  # of a stored head's pictures against the trained one's: on macron, whose
# likeness is 34 dB, 0.1 dB of it


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    from conference.avatar_size import SIZES

    p = argparse.ArgumentParser(
        prog="facewire repack", description="write an avatar again, smaller",
        epilog="An avatar trained with --avatar-size full loses least: it has all its bits.",
    )  # fmt: skip
    p.add_argument("avatar", type=Path, metavar="ME.fwa")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="SMALL.fwa")
    p.add_argument("--avatar-size", choices=SIZES[:2], default="default", metavar="SIZE",
                   help="small: at most 1 MB travel; default: as good as the original")  # fmt: skip
    p.add_argument("--max-mb", type=float, metavar="MB", help="at most so much travels in a call")
    p.add_argument("--threads", type=int, metavar="N", help="CPU threads; default all")
    args = p.parse_args(argv)
    if args.max_mb is not None and not 0.02 <= args.max_mb <= 500:
        raise LocalError(f"--max-mb must lie in 0.02..500, not {args.max_mb:g}")
    if args.threads is not None and args.threads < 1:
        raise LocalError(f"--threads must be at least 1, not {args.threads}")
    if args.output.resolve() == args.avatar.resolve():
        raise LocalError(f"-o {args.output} is the avatar itself, which would lose its finer bits: "
                         "name another file")  # fmt: skip
    return args


def main(argv: list[str]) -> int:
    """Run the command."""
    args = parse(argv)
    from conference.avatar_size import STORED, Views, head_of, stored
    from quic_transport.avatar_file import load_avatar, public_bytes, save_avatar

    avatar = load_avatar(args.avatar)
    before = len(public_bytes(avatar))
    field = head_of(avatar)
    most = None if args.max_mb is None else int(args.max_mb * 1e6)
    made = stored(avatar.meta, field, avatar.sections, Views.to_expect(field, avatar.meta),
                  size=args.avatar_size, most_bytes=most, threads=args.threads,
                  report=announce)  # fmt: skip
    save_avatar(args.output, made)
    after = len(public_bytes(made))
    announce(f"{args.output}: {after / 1e6:.2f} MB travel in a call instead of {before / 1e6:.2f}")
    near = float(made.meta.provenance[STORED])
    announce(f"its pictures: {near:.1f} dB PSNR against those of the head as trained")
    if near < NOTICEABLE_DB:
        announce("that is little: 0.1 dB of likeness and more are lost")
    return 0
