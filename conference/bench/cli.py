"""`facewire bench WHAT`: the table of benches.

The rule: each bench is a module with a `main`, loaded only when it is chosen.
"""

from __future__ import annotations

import sys
from importlib import import_module

BENCHES = {
    "avatar": ("conference.bench.avatar", "bytes and likeness of every avatar size"),
    "codec": ("conference.bench.codec", "the parameters' rate and error, eg0 beside rc"),
    "gpu": ("conference.bench.gpu", "pictures, batches and training on a GPU, beside the floors"),
    "fullframe": ("conference.bench.fullframe", "whole pictures: head, body and room, tremble"),
    "jitter": ("conference.bench.jitter", "how a tracker trembles on a still head, and its lag"),
    "latency": ("conference.bench.latency", "the paper's table 1: each stage alone and in a call"),
    "likeness": ("conference.bench.likeness", "general tracker, personal tracker, best pose"),
    "loss": ("conference.bench.loss", "calls over bad networks in virtual time, mode by mode"),
    "rd": ("conference.bench.rd", "quality against kbps on the wire, beside video codecs"),
    "render": ("conference.bench.render", "what a picture costs on this processor"),
    "train": (
        "conference.bench.train",
        "likeness against seconds, presets and what they are made of",
    ),
    "views": (
        "conference.bench.views",
        "a performer's head from the side, against its true pictures",
    ),
    "track": ("conference.bench.track", "a tracker judged by its teacher, clip by clip"),
}


def usage() -> str:
    """The help text."""
    lines = [f"  {name:<9}  {what}" for name, (_, what) in BENCHES.items()]
    return "\n".join(
        ["usage: facewire bench WHAT [options]   (--help for its options)", "", *lines]
    )


def main(argv: list[str]) -> int:
    """Run one bench; 2 for wrong usage."""
    if not argv or argv[0] in ("-h", "--help"):
        print(usage())
        return 0
    if argv[0] not in BENCHES:
        print(f"facewire bench: there is no bench {argv[0]!r}\n\n{usage()}", file=sys.stderr)
        return 2
    return int(import_module(BENCHES[argv[0]][0]).main(argv[1:]))
