"""A tracker on a clip, as a live sender runs it, and then alone on a few moments of it.

The rule: frames in order, one thread, no look ahead; the first pass gives what was seen, the
second what it costs. In the second the decoder is at rest, every moment is preceded by empty
pictures, so that finding the face again is measured as well, and smoothing is included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.bench.teacher import FACE_SHARE, Labels, Person

if TYPE_CHECKING:
    from sender.extractor import Extractor, TrackedFace
    from sender.frames import Frame

Opener = Callable[[], "Extractor"]

MOMENTS = 6  # of the second pass
MOMENT = 30  # frames of each: more than a second
MOMENT_BYTES = 64_000_000  # held for each; where that is fewer frames, they go back and forth
EMPTY = 4  # pictures without a face before each
NEAR = 0.5  # face sizes: a sighting this close to the teacher's is the same face


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """The first pass over a clip."""

    schema: str
    """The tracker's, a key of quic_transport.params.SCHEMAS."""
    faces: list[list[TrackedFace]]
    """By frame of the clip."""
    moments: list[list[Frame]]
    """Consecutive frames for the second pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """The first pass beside the labels: who was compared with whom."""

    person: Person
    """The teacher's person whom the tracker saw most."""
    rows: NDArray[np.int64]
    """[N] rows of the labels in which both saw this person."""
    faces: list[TrackedFace]
    """[N] the tracker's face there."""
    presence: float
    """Share of the teacher's frames with a face in which the tracker saw one of them; or NaN."""
    losses: int
    """How often a face that both saw was gone for the tracker one frame later."""
    stray: float
    """Share of the labelled frames in which its largest face is at none of the teacher's."""


@dataclass(frozen=True, slots=True)
class Cost:
    """The second pass."""

    tracking_ms: NDArray[np.float64]
    """Frames whose predecessor had a face and that have one, wall clock."""
    tracking_cpu_ms: NDArray[np.float64]
    """The same frames, processor time of all threads."""
    acquiring_ms: NDArray[np.float64]
    """Frames with a face after one without."""
    searching_ms: NDArray[np.float64]
    """Frames in which none was found."""
    delays: NDArray[np.float64]
    """Frames until the face was found after empty pictures, 1: at once; inf: not in a moment."""
    empty_found: float
    """Share of the empty pictures in which a face was seen."""


def watched(clip: Path, open_tracker: Opener, labels: Labels) -> Sighting:
    """The first pass."""
    from sender.video import read_video

    kept = moments_of(labels)
    faces: list[list[TrackedFace]] = []
    moments: list[list[Frame]] = [[] for _ in kept]
    tracker = open_tracker()
    try:
        for frame in read_video(clip, warn=lambda _: None):
            faces.append(tracker.extract(frame))
            for frames, span in zip(moments, kept, strict=True):
                if frame.index in span:
                    frames.append(frame)
    finally:
        tracker.close()
    return Sighting(tracker.schema, faces, [m for m in moments if m])


def moments_of(labels: Labels) -> list[range]:
    """Frames for the second pass, spread over the runs in which the face is seen throughout."""
    width, height = labels.size
    length = int(max(2, min(MOMENT, MOMENT_BYTES // max(1, 3 * width * height))))
    seen = np.logical_or.reduce([p.found for p in labels.people])
    if labels.share < FACE_SHARE:
        seen = np.ones_like(seen)
    starts = [
        int(labels.index[i])
        for i in range(len(seen) - length + 1)
        if seen[i : i + length].all() and labels.index[i + length - 1] - labels.index[i] < length
    ]
    chosen = [starts[k] for k in np.linspace(0, len(starts) - 1, MOMENTS).round().astype(int)
              ] if starts else []  # fmt: skip
    return [range(s, s + length) for s in sorted(set(chosen))]


def matched(faces: Sequence[list[TrackedFace]], labels: Labels) -> Match:
    """Which sightings are which of the teacher's people. `faces` by frame of the clip."""
    count = len(labels.index)
    owner: list[dict[int, TrackedFace]] = [{} for _ in range(count)]
    stray = np.zeros(count, dtype=bool)
    for i, frame in enumerate(labels.index):
        here = faces[frame] if frame < len(faces) else []
        for k, face in enumerate(here):
            who = nearest(face.landmarks, labels.people, i)
            if who is not None:
                owner[i].setdefault(who, face)
            elif k == 0:
                stray[i] = True
    wanted = np.logical_or.reduce([p.found for p in labels.people])
    hit = np.array([bool(o) for o in owner])
    after = np.diff(labels.index) == 1
    lost = hit[:-1] & ~hit[1:] & wanted[1:] & after
    subject = max(range(len(labels.people)), key=lambda p: sum(p in o for o in owner))
    rows = np.array([i for i in range(count) if subject in owner[i]], dtype=np.int64)
    return Match(
        labels.people[subject], rows, [owner[i][subject] for i in rows],
        float(hit[wanted].mean()) if wanted.any() else float("nan"),
        int(lost.sum()), float(stray.mean()),
    )  # fmt: skip


def nearest(landmarks: NDArray[np.float32], people: Sequence[Person], row: int) -> int | None:
    """Which of the teacher's people of a labelled frame these landmarks lie on."""
    middle = (landmarks.min(axis=0) + landmarks.max(axis=0)) / 2
    ways = {}
    for p, person in enumerate(people):
        if person.found[row]:
            low, high = person.landmarks[row].min(axis=0), person.landmarks[row].max(axis=0)
            ways[p] = float(np.linalg.norm(middle - (low + high) / 2) / (high - low).max())
    best = min(ways, key=lambda p: ways[p], default=None)
    return best if best is not None and ways[best] < NEAR else None


def costs(moments: Sequence[Sequence[Frame]], open_tracker: Opener) -> Cost:
    """The second pass: frames are in memory."""
    from sender.smoothing import SmoothedExtractor

    lists: dict[str, list[float]] = {"track": [], "cpu": [], "acquire": [], "search": []}
    delays, empty_found, empty_count = [], 0, 0
    opened = open_tracker()
    tracker = opened if isinstance(opened, SmoothedExtractor) else SmoothedExtractor(opened)
    clock = 0.0

    def step(frame: Frame) -> tuple[bool, float, float]:
        nonlocal clock
        clock += 0.04
        timed = replace(frame, capture_time=clock)
        wall, cpu = time.perf_counter(), time.process_time()
        found = bool(tracker.extract(timed))
        return (found, 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu))

    try:
        for frame in [m[0] for m in moments[:3]]:  # warm
            step(frame)
        for moment in moments:
            nothing = np.full_like(moment[0].image, 127)
            for k in range(EMPTY):
                found, wall, _ = step(replace(moment[0], image=nothing))
                empty_count, empty_found = empty_count + 1, empty_found + found
                if not found and k > 0:
                    lists["search"].append(wall)
            before, delay = False, np.inf
            for k, frame in enumerate(there_and_back(moment), start=1):
                found, wall, cpu = step(frame)
                delay = min(delay, k if found else np.inf)
                if found and before:
                    lists["track"].append(wall)
                    lists["cpu"].append(cpu)
                else:
                    lists["acquire" if found else "search"].append(wall)
                before = found
            delays.append(delay)
    finally:
        tracker.close()
    return Cost(
        np.array(lists["track"]), np.array(lists["cpu"]), np.array(lists["acquire"]),
        np.array(lists["search"]), np.array(delays), empty_found / max(empty_count, 1),
    )  # fmt: skip


def there_and_back(frames: Sequence[Frame]) -> list[Frame]:
    """At least MOMENT frames: the same ones forward, backward, forward…"""
    out = list(frames)
    while len(out) < MOMENT and len(frames) > 1:
        out += frames[-2::-1] if out[-1] is frames[-1] else frames[1:]
    return out
