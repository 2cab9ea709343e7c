"""`facewire bench rd`: rendered quality against what crosses the wire, beside video codecs.

The rule: everybody gets the same film of frames which training never saw, played to and fro for a
minute, and is scored on the same pictures of its end; facewire's rate is that of whole calls
(`rd_call`), a codec's that of its packets in RTP (`video_codecs`). A codec that is not there gives
no rows. Reference: the paper, figure 4.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.results import document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.bench.perceptual import Distance
    from conference.bench.rd_subject import Scene, Subject
    from nerf.metrics import Likeness

CALL_S = 60.0  # of each call: handshake and first picture are spread over it
SHEET = 3  # frames on a contact sheet


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """One side at one rate, in one scene."""

    name: str
    """In rows."""
    label: str
    """Whose curve it belongs to."""
    target: float | None
    """kbps that a codec was asked for; None: facewire."""
    payload: float
    """kbps."""
    wire: float
    """kbps, headers and all; facewire's: both directions and the handshake."""
    first_bytes: int
    """What must have crossed before the first picture: a codec's first frame, our handshake."""
    wait_s: float | None
    """How long a codec's worst picture waits on a link of just its payload's rate."""
    quality: Likeness
    """Mean over the scored frames."""
    lpips: float | None
    """Likewise, where it can be measured."""
    pictures: dict[int, Any]
    """Frame → picture, of those on the contact sheet."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench rd", description="quality against rate, beside video codecs"
    )
    add = p.add_argument
    add("--avatar", type=Path, required=True, metavar="FILE.fwa", help="who is seen")
    add("--data", type=Path, required=True, metavar="DIR", help="the training set it came from")
    add("--clip", type=Path, metavar="VIDEO", help="the clip of that set: whole pictures too")
    add("--size", type=int, default=512, metavar="PX", help="of the head's pictures; default 512")
    add("--fps", type=float, default=20.0, help="frames per second; default 20")
    add("--frames", type=int, metavar="N", help="at most so many frames; default: all held out")
    add("--pictures", type=int, default=60, metavar="N", help="scored of them; default 60")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    add("--plot", type=Path, metavar="FILE.png", help="draw quality against kbps on the wire")
    add("--sheet", type=Path, metavar="FILE.png", help="source, facewire and codecs side by side")
    args = p.parse_args(argv)
    if args.size < 64 or args.size % 2:
        raise LocalError(f"--size must be even and at least 64, not {args.size}")
    if not args.fps > 0:
        raise LocalError(f"--fps must be above 0, not {args.fps:g}")
    if args.pictures < 1 or (args.frames is not None and args.frames < 2):
        raise LocalError("--pictures must be at least 1 and --frames at least 2")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    from conference.bench import rd_report
    from conference.bench.perceptual import open_lpips
    from conference.bench.rd_subject import open_subject
    from conference.bench.video_codecs import VIDEO_CODECS, available

    lpips, about_lpips = open_lpips()
    subject = open_subject(args.avatar, args.data, args.clip, size=args.size, fps=args.fps,
                           most=args.frames)  # fmt: skip
    announce(f"{args.avatar.stem}: {len(subject.faces)} held-out frames at {args.fps:g} fps, "
             f"{min(args.pictures, len(subject.faces))} of them scored\n{about_lpips}")  # fmt: skip
    if not subject.tables:
        announce(f"{args.avatar} has no codec tables: rc is left out; train it again for them")
    for codec in VIDEO_CODECS:
        if (missing := available(codec)) is not None:
            announce(f"{codec.label} is left out: {missing}")
    found = []
    for scene in subject.scenes:
        points = judged(subject, scene, args.fps, args.pictures, lpips)
        print_table(f"{args.avatar.stem}, {scene.title}", *rd_report.table(points))
        found.append((scene, points))
        print("\n".join(rd_report.words(points)))
    print("\n".join(rd_report.remarks(subject.avatar_bytes, CALL_S)))
    if args.json is not None:
        rows = rd_report.as_rows(found, subject.avatar_bytes)
        write_json(args.json, document(["rd", *argv], rows))
    if args.plot is not None:
        rd_report.plot(args.plot, found)
    if args.sheet is not None:
        rd_report.write_sheet(args.sheet, found)
    return 0


def judged(subject: Subject, scene: Scene, fps: float, pictures: int,
           lpips: Distance | None) -> list[Point]:  # fmt: skip
    """Facewire's points, the uncoded parameters first, then the codecs'."""
    import numpy as np

    from conference.bench.rd_call import SETTINGS, cross, followed, profile_of
    from conference.bench.video_codecs import VIDEO_CODECS, available, code
    from quic_transport.params import BODY_DIM, PARAM_DIM

    count = len(subject.faces)
    scored = np.unique(np.linspace(0, count - 1, min(pictures, count)).astype(int)).tolist()
    kept = set(shown_on_sheet(scored))

    def score(shown: Any) -> tuple[Likeness, float | None, dict[int, Any]]:
        return scores(scene, scored, shown, lpips, kept)

    def drawn(faces: Sequence[Any]) -> tuple[Likeness, float | None, dict[int, Any]]:
        return score(lambda i: scene.draw(faces[i], i))

    order = to_and_fro(count, max(count, round(CALL_S * fps)))
    whole = profile_of("rc", subject.faces, placed=scene.placed)
    floats = PARAM_DIM + 3 * scene.placed + BODY_DIM * whole.endswith("+body")
    raw = floats * 32 * fps / 1000
    points = [Point("uncoded", "facewire, uncoded (floats)", None, raw, float("nan"), 0, None,
                    *drawn(followed(subject.faces)))]  # fmt: skip
    for setting in SETTINGS:
        if setting.profile == "rc" and not subject.tables:
            continue
        call = cross(setting, subject.terms, subject.faces, order, fps, placed=scene.placed)
        points.append(Point(setting.name, setting.label, None, call.payload_kbps, call.wire_kbps,
                            call.handshake_bytes, None, *drawn(call.faces)))  # fmt: skip
    for codec in VIDEO_CODECS:
        if available(codec) is not None:
            continue
        for target in codec.rates:
            got = code(codec, scene.frames, order, target, fps, scored)
            points.append(Point(
                f"{codec.name}_{target:g}", codec.label, target, got.kbps, got.wire_kbps,
                got.first_bytes, got.wait_s, *score(got.images.__getitem__),
            ))  # fmt: skip
        announce(f"  {scene.name}: {codec.label}")
    return points


def scores(scene: Scene, scored: list[int], shown: Any, lpips: Distance | None,
           kept: set[int]) -> tuple[Likeness, float | None, dict[int, Any]]:  # fmt: skip
    """Means over the scored frames of what `shown` gives for each, and the pictures to keep."""
    from nerf.metrics import likeness, mean_likeness

    likes, distances, pictures = [], [], {}
    for i in scored:
        image = shown(i)
        likes.append(likeness(image, scene.frames[i], scene.mattes[i]))
        if lpips is not None:
            distances.append(lpips(image, scene.frames[i]))
        if i in kept:
            pictures[i] = image
    mean = sum(distances) / len(distances) if distances else None
    return mean_likeness(likes), mean, pictures


def to_and_fro(count: int, length: int) -> list[int]:
    """The frames of a film of `count` in a call of `length`: 0, 1, …, then back, the ends once."""
    there_and_back = [*range(count), *range(count - 2, 0, -1)]
    return [there_and_back[k % len(there_and_back)] for k in range(length)]


def shown_on_sheet(scored: list[int]) -> list[int]:
    """SHEET of the scored frames, not the first ones: a codec starts with a keyframe."""
    if len(scored) <= SHEET:
        return scored
    step = len(scored) // SHEET
    return [scored[k * step + step // 2] for k in range(SHEET)]
