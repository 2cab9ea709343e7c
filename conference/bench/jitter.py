"""`facewire bench jitter`: how much a tracker trembles on a still head, and how late it is.

The rule: one definition for every tracker and filter. Jitter of a number is the RMS of its second
difference over the quietest quarter of the clip, which the reference alone decides; it is given as
a share of the reference's. Lag is the delay at which two tracks correlate best, in ms: against the
reference it includes the tracker's own, "added" is the filter's alone. Numbers that hardly move in
the clip, or that two trackers see too differently, are left out of the medians.

The reference is MediaPipe from single pictures (its IMAGE mode): the `mediapipe` extractor without
smoothing. (It runs in VIDEO mode for two faces; with one face in the picture that gives the same
numbers bit for bit, because the detector then runs on every frame.)
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM

if TYPE_CHECKING:
    from sender.extractor import TrackedFace
    from sender.personal.model import PersonalModel

Float64 = NDArray[np.float64]

QUIET_SHARE = 0.25
QUIET_SPAN_S = 0.4
ACTIVE_STD = 0.02  # a coefficient that varies less does not count
ALIKE = 0.8  # correlation below which a lag means nothing
MOVES = math.radians(1.5)  # an angle that varies less has no lag to be measured
FEWEST = 5  # coefficients that a median takes
LAGS_MS = np.arange(-60.0, 160.1, 2.0)
PERSONAL = "personal"
ANGLES = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One face over a clip."""

    time: Float64
    """[N] seconds, rising."""
    values: Float64
    """[N, 52]: 46 coefficients, pitch, yaw, roll (radians, unwrapped), offset x, y, log size."""


def track_of(faces: Sequence[TrackedFace]) -> Track:
    """The track of tracked faces, in order of time."""
    rows = [
        np.r_[f.params.vector(), f.params.offset if f.params.offset is not None else np.zeros(3)]
        for f in faces
    ]
    values = np.asarray(rows, dtype=np.float64)
    values[:, ANGLES] = np.unwrap(values[:, ANGLES], axis=0)
    return Track(np.array([f.params.capture_time for f in faces]), values)


def moving_mean(values: Float64, count: int) -> Float64:
    """The mean over `count` (odd) rows around each row of [N, D]; edges repeat."""
    pad = count // 2
    wide = np.pad(values, ((pad, pad), (0, 0)), mode="edge")
    total = np.cumsum(np.concatenate([np.zeros((1, values.shape[1])), wide]), axis=0)
    return np.asarray((total[count:] - total[:-count]) / count)


def quiet(track: Track) -> NDArray[np.bool_]:
    """[N, D]: where each number stands still, by its low-passed speed."""
    interval = float(np.median(np.diff(track.time)))
    count = max(3, round(QUIET_SPAN_S / interval) | 1)
    slow = moving_mean(track.values, count)
    speed = moving_mean(np.abs(np.gradient(slow, track.time, axis=0)), count)
    return np.asarray(speed <= np.quantile(speed, QUIET_SHARE, axis=0))


def jitter(track: Track, where: NDArray[np.bool_]) -> Float64:
    """RMS second difference [D] over the rows of `where`."""
    second = np.diff(track.values, 2, axis=0)
    inside = where[1:-1]
    return np.asarray(np.sqrt((second**2 * inside).sum(axis=0) / np.maximum(1, inside.sum(axis=0))))


def lag_ms(early: Track, late: Track) -> Float64:
    """By how many ms each number of `late` comes behind `early` [D]; NaN where the two are too
    unlike to say.

    Both have the same times. The peak of the correlation is refined by a parabola.
    """
    time = early.time
    inside = (time >= time[0] + LAGS_MS[-1] / 1000) & (time <= time[-1] + LAGS_MS[0] / 1000)
    if inside.sum() < 8:
        raise LocalError("the clip is too short: lag needs at least a second")
    out = np.full(early.values.shape[1], np.nan)
    for d in range(len(out)):
        b = late.values[inside, d] - late.values[inside, d].mean()
        scores = np.empty(len(LAGS_MS))
        for k, lag in enumerate(LAGS_MS):
            a = np.interp(time[inside] - lag / 1000, time, early.values[:, d])
            a -= a.mean()
            norm = math.sqrt(float(a @ a) * float(b @ b))
            scores[k] = float(a @ b) / norm if norm > 1e-12 else np.nan
        if np.isfinite(scores).all() and scores.max() >= ALIKE:
            out[d] = _peak(scores)
    return out


def _peak(scores: Float64) -> float:
    k = int(np.argmax(scores))
    step = float(LAGS_MS[1] - LAGS_MS[0])
    if not 0 < k < len(scores) - 1:
        return float(LAGS_MS[k])
    left, top, right = scores[k - 1 : k + 2]
    bend = left - 2 * top + right
    return float(LAGS_MS[k] + (0.5 * step * (left - right) / bend if bend < 0 else 0.0))


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How one track compares with the reference."""

    coefficients: float
    """Jitter as a share of the reference's: median of the coefficients that move in the clip."""
    angles: float
    """The same for pitch, yaw and roll: the mean of the three."""
    worst_angle: float
    """The largest of the three."""
    lag_coefficients: float
    """ms behind the reference, median."""
    lag_late_coefficients: float
    """ms, the 90th percentile."""
    lag_angles: float
    """ms, the latest of the three."""
    added_coefficients: float
    """ms behind the tracker's own unsmoothed numbers, median."""
    added_angles: float
    """The same, the latest of the three."""


LAGS = [f.name for f in fields(Steadiness) if f.name.startswith(("lag", "added"))]


def compare(reference: Track, track: Track, raw: Track | None = None) -> Steadiness:
    """`track` beside `reference`, and `raw` before smoothing, at the same times."""
    if len(reference.time) < 30:
        raise LocalError("steadiness needs at least 30 frames with a face")
    where = quiet(reference)
    share = jitter(track, where) / np.maximum(jitter(reference, where), 1e-9)
    active = reference.values[:, :EXPRESSION_DIM].std(axis=0) > ACTIVE_STD
    lag = lag_ms(reference, track)
    late = lag[:EXPRESSION_DIM][active]
    added = lag_ms(reference if raw is None else raw, track)
    turning = reference.values[:, ANGLES].std(axis=0) > MOVES
    return Steadiness(
        float(np.median(share[:EXPRESSION_DIM][active])) if active.any() else math.nan,
        float(share[ANGLES].mean()),
        float(share[ANGLES].max()),
        _of(late, np.median),
        _of(late, lambda x: np.quantile(x, 0.9)),
        _of(lag[ANGLES][turning], np.max, 1),
        _of(added[:EXPRESSION_DIM][active], np.median),
        _of(added[ANGLES][turning], np.max, 1),
    )


def _of(values: Float64, summary: Callable[[Float64], np.floating], fewest: int = FEWEST) -> float:
    known = values[np.isfinite(values)]
    return float(summary(known)) if len(known) >= fewest else math.nan


def one_euro(track: Track, cutoff_hz: float, slope: float, speed_hz: float = 1.0) -> Track:
    """The filter of Casiez et al. 2012 on every number, for comparison."""
    out = track.values.copy()
    speed = np.zeros(out.shape[1])
    for k in range(1, len(out)):
        dt = track.time[k] - track.time[k - 1]
        raw = (track.values[k] - track.values[k - 1]) / dt
        speed += _share(speed_hz, dt) * (raw - speed)
        cutoff = cutoff_hz + slope * np.abs(speed)
        out[k] = out[k - 1] + _share(cutoff, dt) * (track.values[k] - out[k - 1])
    return Track(track.time, out)


def _share(cutoff: float | Float64, dt: float) -> Float64:
    reach = 2 * math.pi * dt * np.asarray(cutoff)
    return np.asarray(reach / (1.0 + reach))


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire bench jitter", description="tremble and lag")
    add = p.add_argument
    add("clips", type=Path, nargs="+", help="videos that show one face")
    add("--extractor", default="facenet", metavar="NAME", help="default facenet")
    add("--reference", default="mediapipe", metavar="NAME",
        help="tracker that 1.00 stands for; default mediapipe")  # fmt: skip
    add("--avatar", type=Path, metavar="FILE",
        help="with the personal tracker of this avatar, for a clip of its owner")  # fmt: skip
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    add("--seconds", type=float, default=20.0, metavar="N", help="of each clip; default 20")
    add("--fps", type=float, default=60.0, metavar="N", help="at most so many frames per second")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    if not args.seconds >= 2:
        raise LocalError(f"--seconds must be at least 2, not {args.seconds:g}")
    if not 1 <= args.fps <= 1000:
        raise LocalError(f"--fps must lie in 1..1000, not {args.fps:g}")
    return args


def tracked(clip: Path, names: Iterable[str], args: argparse.Namespace) -> dict[str, Track]:
    """Raw and smoothed tracks of a clip by tracker, at the times at which all see a face."""
    from sender.extractor import open_extractor
    from sender.personal.extractor import refined
    from sender.smoothing import ALIGNED, Smoother, settings_of, unsmoothed
    from sender.source import nearest_to_ticks
    from sender.video import read_video

    extractors = {
        name: unsmoothed(open_extractor(name, models=args.models, source=str(clip)))
        for name in dict.fromkeys(names)
    }
    smoothers = {name: Smoother(e.schema, settings_of(e.name)) for name, e in extractors.items()}
    personal = _personal(args.avatar)
    if personal is not None:
        smoothers[PERSONAL] = Smoother(extractors[args.extractor].schema, ALIGNED)
    rows: dict[str, list[TrackedFace]] = {n + kind: [] for n in smoothers for kind in ("", "+")}
    try:
        for frame in nearest_to_ticks(read_video(clip), args.fps):
            if frame.capture_time > args.seconds:
                break
            seen = {name: e.extract(frame) for name, e in extractors.items()}
            if not all(seen.values()):
                continue
            if personal is not None:
                seen[PERSONAL] = [refined(personal, frame.image, seen[args.extractor][0])]
            for name, faces in seen.items():
                rows[name].append(faces[0])
                rows[name + "+"].append(smoothers[name].step(faces[0], frame.capture_time))
    finally:
        for extractor in extractors.values():
            extractor.close()
    if len(rows[args.extractor]) < 30:
        raise LocalError(f"{clip} shows a face in fewer than 30 frames: choose another clip")
    return {name: track_of(faces) for name, faces in rows.items()}


def _personal(avatar: Path | None) -> PersonalModel | None:
    """The personal tracker in an avatar file; LocalError where it has none."""
    if avatar is None:
        return None
    from quic_transport.avatar_file import load_avatar
    from sender.personal.model import from_sections

    model = from_sections(load_avatar(avatar).sections)
    if model is None:
        raise LocalError(f"{avatar} has no personal tracker: name your own copy of an avatar")
    return model


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    from sender.video import probe

    for clip in args.clips:
        probe(clip)  # a bad file is refused before the others are measured
    rows: list[Row] = []
    lines = []
    for clip in args.clips:
        tracks = tracked(clip, (args.reference, args.extractor), args)
        raw = tracks[args.extractor]
        subjects = {
            "raw": raw,
            "smoothed": tracks[args.extractor + "+"],
            "one_euro": one_euro(raw, 1.0, 20.0),
        }
        if PERSONAL in tracks:
            subjects |= {PERSONAL: tracks[PERSONAL], PERSONAL + "_smoothed": tracks[PERSONAL + "+"]}
        for subject, track in subjects.items():
            before = tracks[PERSONAL] if subject.startswith(PERSONAL) else raw
            result = asdict(compare(tracks[args.reference], track, before))
            name = f"jitter.{clip.stem}.{args.extractor}.{subject}"
            rows += [
                Row(f"{name}.{field}", value, "ms" if field in LAGS else "")
                for field, value in result.items()
            ]
            cells = [f"{v:.1f}" if f in LAGS else f"{v:.2f}" for f, v in result.items()]
            lines.append([f"{clip.stem[:28]}  {subject}", *cells])
    header = ["clip", "coefficients", "angles", "worst angle", "lag ms", "90 %", "angles", "added",
              "angles"]  # fmt: skip
    print_table(f"jitter of {args.extractor} ({args.reference} = 1) and lag", header, lines)
    if args.json is not None:
        write_json(args.json, document(["jitter", *argv], rows))
    return 0
