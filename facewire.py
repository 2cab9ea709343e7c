"""The command table of facewire: one line per command, each loaded only when it is chosen.

The rule: `facewire --help` imports nothing heavy and answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("conference.demo", "performer or video → avatar → call over loopback, with pictures"),
    "performer": ("portrait.performer.cli", "film a synthetic person with exact ground truth"),
    "record": ("portrait.record.cli", "film yourself for a training set, with prompts"),
    "dataset": ("portrait.cli", "turn a video of one person into a training set"),
    "train": ("conference.train", "learn a personal 3D head from a video or a training set"),
    "call": ("conference.call", "call each other, both ways, with or without camera and avatar"),
    "receive": ("conference.receive", "wait for a call, render the caller's head"),
    "send": ("conference.send", "call a receiver and send a face from a camera or a video"),
    "netsim": (
        "conference.netsim_command",
        "run a call over a recorded or made-up network; traces",
    ),
    "bench": (
        "conference.bench.cli",
        "measure speed, likeness, rate and resilience on this machine",
    ),
    "facenet": ("portrait.facenet.cli", "train our own face tracker on labelled clips"),
    "export-cpem": ("sender.cpem.cli", "convert CPEM's published checkpoint for --extractor cpem"),
    "inspect": ("conference.inspect", "show what is inside an avatar file"),
    "repack": ("conference.repack", "write an avatar again, smaller"),
}


def usage() -> str:
    """The help text: the map of the system."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "facewire: your face over the wire in under 5 kbps",
            "",
            "usage: facewire COMMAND [options]      (facewire COMMAND --help for its options)",
            "",
            *lines,
            "",
            "a first call:  facewire train me.mp4 -o me.fwa",
            "               facewire receive --listen 0.0.0.0:4433       (prints an invite)",
            "               facewire send --source camera:0 --avatar me.fwa \\",
            "                   --share-avatar --to INVITE",
            "both ways:     facewire call --listen ADDR:PORT --source camera:0 --avatar me.fwa \\",
            "                   --share-avatar",
            "               facewire call --to INVITE --source camera:0 --avatar you.fwa \\",
            "                   --share-avatar",
        ]
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 for success, 1 for a failure, 2 for wrong usage."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"facewire {version('facewire')}")
        return 0
    if args[0] not in COMMANDS:
        print(f"facewire: unknown command {args[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    from quic_transport.errors import FacewireError

    run: Callable[[list[str]], int] = import_module(COMMANDS[args[0]][0]).main
    try:
        return run(args[1:])
    except FacewireError as error:
        print(f"facewire {args[0]}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


if __name__ == "__main__":
    sys.exit(main())
