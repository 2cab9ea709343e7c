"""Step 1, frames: decode, look for the face in each, judge the clip, cut the portraits.

    tracks.npz            what the tracker saw, one row per looked-at frame (portrait.tracks)
    ori_imgs/<n>.jpg      the stabilised portrait of each kept frame      ori_imgs/<n>.lms
    frames/<row>.jpg      some whole pictures, from which the background plate is made

The rule: the file is read twice, once to look at everything and once to cut what the judgement
on the whole clip keeps. The tracker's rows are stored every PART frames; after a kill the tracker
is led up to the place through the WARM_UP frames before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portrait.checks import ClipError, Verdict, judge
from portrait.footage import Material
from portrait.parallel import for_each
from portrait.pictures import PORTRAIT_PX, unfinished, write_image, write_landmarks
from portrait.steps import FRAMES
from portrait.tracks import Prefetched, Progress, Selection, Tracks, track_frame, tracks_of
from quic_transport.errors import LocalError
from sender.frames import Frame
from sender.video import Warn

PART = 25  # rows in a stored part: about a second of work
WARM_UP = 10
PLATE_FRAMES = 96
PLATE_BYTES = 250e6  # of whole pictures that the next steps may hold at once


def look(
    folder: Path, material: Material, selection: Selection, progress: Progress, warn: Warn
) -> tuple[Tracks, str, str]:
    """Track every chosen frame, going on where an earlier run stopped; with the extractor's name
    and schema."""
    parts = _stored_parts(folder / "tracks")
    known = sum(len(part) for part in parts)
    total = selection.count_in(material.footage.info())
    extractor = material.open_extractor()
    frames = Prefetched(selection.choose(material.footage.read(warn)))
    rows = []
    try:
        for count, frame in enumerate(frames):
            if count < known - WARM_UP:
                continue
            faces = extractor.extract(frame)
            if count < known:
                continue
            rows.append(track_frame(frame, faces))
            if len(rows) == PART:
                parts.append(tracks_of(rows))
                parts[-1].save(folder / "tracks" / f"{len(parts) - 1:06d}.npz")
                rows = []
            progress(FRAMES.title, count + 1, total)
        if rows:
            parts.append(tracks_of(rows))
    finally:
        frames.close()
        extractor.close()
    if not parts:
        raise ClipError(
            f"{material.footage.name} has no frames in the chosen range: choose another --range"
        )
    return Tracks.join(parts), extractor.name, extractor.schema


def _stored_parts(folder: Path) -> list[Tracks]:
    """The parts 0, 1, … up to the first that is missing or short."""
    parts: list[Tracks] = []
    while (part := Tracks.load(folder / f"{len(parts):06d}.npz")) is not None:
        if len(part) != PART:
            break
        parts.append(part)
    return parts


def judged(tracks: Tracks, name: str, warnings: list[str]) -> Verdict:
    """The verdict on a clip; its error also says what the decoder complained about."""
    try:
        return judge(tracks, name)
    except ClipError as error:
        raise ClipError(" ".join([str(error), *(f"({w})" for w in warnings)])) from error


def cut(
    folder: Path,
    material: Material,
    selection: Selection,
    tracks: Tracks,
    verdict: Verdict,
    progress: Progress,
) -> None:
    """Write the portraits of the kept frames and the whole pictures for the plate, those that
    are not there yet."""
    picture_of = {int(row): n for n, row in enumerate(verdict.rows)}
    whole = set(plate_rows(tracks).tolist())
    left = unfinished(folder, len(verdict.rows), "ori_imgs/*.jpg", "ori_imgs/*.lms")
    portraits = {int(verdict.rows[n]) for n in left}
    wanted = portraits | {r for r in whole if not (folder / "frames" / f"{r}.jpg").exists()}
    if not wanted:
        return
    total = len(portraits)
    told = [0]

    def frames() -> Iterator[tuple[int, Frame]]:
        for row, frame in enumerate(source):
            if row in wanted:
                yield row, frame
            if row >= last:
                return

    def write(item: tuple[int, Frame]) -> None:
        row, frame = item
        if row in whole:
            write_image(folder / "frames" / f"{row}.jpg", frame.image)
        if row in portraits:
            n = picture_of[row]
            portrait = tracks.portrait(row).apply(frame.image, PORTRAIT_PX)
            write_landmarks(folder / "ori_imgs" / f"{n}.lms", tracks.landmarks[row] * PORTRAIT_PX)
            write_image(folder / "ori_imgs" / f"{n}.jpg", portrait)

    def finished() -> None:
        told[0] += 1
        progress(f"{FRAMES.title}, portraits", min(told[0], total), total)

    last = max(wanted)
    source = Prefetched(selection.choose(material.footage.read(lambda _: None)))
    try:
        for_each(frames(), write, finished)
    finally:
        source.close()
    if told[0] < len(wanted):
        raise LocalError(
            f"{material.footage.name} changed while it was read: copy it to a local disk and "
            "build again"
        )


def plate_rows(tracks: Tracks) -> NDArray[np.int64]:
    """The rows whose whole pictures are kept: spread over the clip, and those that show most
    behind the person, where the head is furthest left, right and down, smallest or absent."""
    width, height = (int(x) for x in tracks.size[0])
    count = int(np.clip(PLATE_BYTES / (4 * width * height), 12, PLATE_FRAMES))
    even = np.linspace(0, len(tracks) - 1, min(len(tracks), count * 2 // 3)).round().astype(int)
    each = max(1, count // 15)
    u, v, side = tracks.crop.T
    extreme = [np.argsort(np.where(np.isfinite(x), x, np.inf))[:each] for x in (u, -u, -v, side)]
    absent = np.flatnonzero(~tracks.seen)
    absent = absent[np.linspace(0, len(absent) - 1, min(len(absent), each)).astype(int)]
    return np.unique(np.concatenate([even, *extreme, absent])).astype(np.int64)
