"""`facewire bench track`: how well a tracker follows people, judged by its teacher.

The rule: the tracker runs as in a call, frames in order and its own crops; the labels are of single
frames (conference.bench.teacher). A clip in less than half of which the teacher sees a face counts
as one without: there, every face is a false one.
Reference: docs/benchmarks.md, "track".
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conference.bench.agreement import Agreement, agreement, facts_of, middle
from conference.bench.teacher import FACE_SHARE
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable

    from conference.bench.teacher import Labels
    from conference.bench.track_run import Cost, Match, Sighting
    from sender.extractor import Extractor


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One clip."""

    name: str
    """The file's name without its ending."""
    with_face: bool
    """Whether the teacher sees a face in at least half of the frames."""
    agreement: Agreement | None
    """Where both saw the face; None where they never did or there is none."""
    facts: dict[str, float]
    """Every number by its row's name; NaN where it is not known."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire bench track", description="a tracker judged by its "
                                "teacher, MediaPipe FaceLandmarker on single frames")  # fmt: skip
    add = p.add_argument
    add("clips", type=Path, nargs="+", metavar="CLIP", help="videos of people, or without any")
    add("--extractor", default="facenet", metavar="NAME", help="who is judged; default facenet")
    add("--smooth", action="store_true", help="judge what smoothing leaves, not the raw numbers")
    add("--models", type=Path, metavar="DIR", help="folder of the trackers' model files")
    add("--cache", type=Path, metavar="DIR", help="where the teacher's labels are kept")
    add("--out", type=Path, action="append", default=[], metavar="FILE",
        help="write the numbers: .json or .md; may be repeated")  # fmt: skip
    add("--pictures", type=Path, metavar="DIR", help="draw the landmarks on frames, a sheet a clip")
    args = p.parse_args(argv)
    for clip in args.clips:
        if not clip.is_file():
            raise LocalError(f"there is no video at {clip}: check the name")
    for out in args.out:
        if out.suffix not in (".json", ".md"):
            raise LocalError(f"{out} must end in .json or .md")
    names = [clip.stem for clip in args.clips]
    if len(set(names)) < len(names):
        raise LocalError("two of the clips have the same name: rename one")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    import cv2

    from conference.bench.overlay import draw_sheet
    from conference.bench.results import document
    from conference.bench.teacher import teacher_labels
    from conference.bench.track_report import as_markdown, rows_of, show
    from conference.bench.track_run import costs, matched, watched
    from conference.statistics import write_json
    from sender.smoothing import SmoothedExtractor
    from sender.video import VideoError

    cv2.setNumThreads(1)
    results: list[Result] = []
    for clip in args.clips:

        def opened(clip: Path = clip) -> Extractor:
            return _opened(args, clip)

        def judged(opened: Callable[[], Extractor] = opened) -> Extractor:
            return SmoothedExtractor(opened()) if args.smooth else opened()

        try:
            labels = teacher_labels(clip, cache=args.cache, models=args.models, say=announce)
            sighting = watched(clip, judged, labels)
        except VideoError as error:
            announce(f"left out: {error}")
            continue
        match = matched(sighting.faces, labels)
        result = judge(clip.stem, labels, sighting, match, costs(sighting.moments, opened))
        results.append(result)
        announce(brief(result))
        if args.pictures is not None:
            draw_sheet(clip, sighting, labels, match, args.pictures / f"{clip.stem}.jpg")
    if not results:
        raise LocalError("none of the clips could be read")
    show(args.extractor, results)
    made = document(["track", *argv], rows_of(args.extractor, results))
    for out in args.out:
        if out.suffix == ".json":
            write_json(out, made)
        else:
            as_markdown(out, args.extractor, results, made)
    return 0


def _opened(args: argparse.Namespace, clip: Path) -> Extractor:
    from sender.extractor import open_extractor
    from sender.smoothing import SmoothedExtractor

    found = open_extractor(args.extractor, models=args.models, source=str(clip))
    return found.inner if isinstance(found, SmoothedExtractor) else found


def judge(name: str, labels: Labels, seen: Sighting, match: Match, cost: Cost) -> Result:
    """All numbers of a clip."""
    with_face = labels.share >= FACE_SHARE
    facts: dict[str, float] = {"labelled": float(len(labels.index)), "frames": math.nan}
    found = None
    if with_face and len(match.rows):
        found = compared(seen.schema, match)
        facts |= facts_of(found)
    if with_face:
        facts |= {"presence": match.presence, "losses": float(match.losses), "stray": match.stray}
        facts["acquired"] = float(np.isfinite(cost.delays).mean()) if len(cost.delays) else math.nan
        facts["delay_p50"] = middle(cost.delays)
        late = cost.delays[np.isfinite(cost.delays)]
        facts["delay_max"] = float(late.max()) if len(late) else math.nan
    else:
        facts["teacher_false"] = labels.share
        facts["false_presence"] = float(np.mean([bool(faces) for faces in seen.faces]))
    facts["empty_found"] = cost.empty_found
    for key in ("tracking_ms", "tracking_cpu_ms", "acquiring_ms", "searching_ms"):
        values = getattr(cost, key)
        for kind, share in (("p50", 50), ("p95", 95)):
            known = float(np.percentile(values, share)) if len(values) else math.nan
            facts[f"{key}_{kind}"] = known
    return Result(name, with_face, found, facts)


def compared(schema: str, match: Match) -> Agreement:
    """The tracker's numbers beside the teacher's, where both saw the person."""
    person, rows = match.person, match.rows
    said = np.array([face.params.expression for face in match.faces], dtype=np.float64)
    if schema != "arkit46":  # other numbers: only pose and presence can be judged
        said = np.full_like(said, np.nan)
    landmarks = np.array([face.landmarks for face in match.faces])
    comparable = landmarks.shape[1:] == person.landmarks.shape[1:]
    return agreement(
        (said, person.expression[rows]),
        (np.array([face.pose[:3, :3] for face in match.faces]), person.pose[rows, :3, :3]),
        (landmarks, person.landmarks[rows]) if comparable else None,
        absolute=bool(person.whole[rows].mean() > 0.5),
    )


def brief(result: Result) -> str:
    """One line about a clip while the bench runs."""
    f = result.facts
    if not result.with_face:
        return f"{result.name}: no face; {100 * f['false_presence']:.1f} % of frames show one"
    if result.agreement is None:
        return f"{result.name}: the face was never found"
    turned = "" if math.isnan(f["rotation_p50"]) else f"{f['rotation_p50']:.1f}°, "
    return (f"{result.name}: r {f['r']:.2f}, MAE {f['mae']:.3f}, "
            f"rotation {turned}{f['rotation_free_p50']:.1f}° without offset, "
            f"{100 * f['presence']:.1f} % found, {f['tracking_cpu_ms_p50']:.1f} ms")  # fmt: skip
