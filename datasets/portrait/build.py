"""From a video to a training set, in two passes over the file.

    pass 1  decode → track every frame                            → Tracks, judged as a whole
    pass 2  decode → crop → person matte → neck cut → pictures    → DIR

The rule: everything is made in DIR.partial, which becomes DIR in one rename when it is complete;
a finished first pass is kept there, so that an interrupted build goes on after it. The crop is
the live sender's (sender.portrait_crop), unsmoothed: what is trained on is what is sent.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from nerf.trainset import (
    IMAGE_FOLDERS,
    TrainSet,
    bounds_of,
    portrait_camera,
    portrait_poses,
    train_count_of,
    write_trainset,
)
from portrait.checks import ClipError, Verdict, judge
from portrait.facts import facts_of, save_facts
from portrait.matting import without_background
from portrait.neckline import Neckline, fit_neckline
from portrait.pictures import PortraitPictures, write_pictures
from portrait.report import draw_report
from portrait.segmentation import Segmenter, open_segmenter, part_with_face
from portrait.tracks import Prefetched, Progress, Selection, Tracks, track
from quic_transport.errors import LocalError
from sender.extractor import Extractor, open_extractor
from sender.frames import Frame
from sender.portrait_crop import PORTRAIT_SCALE
from sender.video import VideoInfo, probe, read_video

PORTRAIT_PX = 512
WORKERS = 3  # threads that segment and write
IN_FLIGHT = 8  # frames between the decoder and the finished picture


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """How a training set is built."""

    extractor: str = "mediapipe"
    """"mediapipe" or "truth" (a performer's video with its sidecars)."""
    models: Path | None = None
    """Folder of MediaPipe's model files; None searches (sender.model_files)."""
    selection: Selection = field(default_factory=Selection)
    """Which frames are looked at."""
    force: bool = False
    """Replace what is at the target."""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """What was made."""

    folder: Path
    """The training set."""
    frames: int
    """Frames in it."""
    train_frames: int
    """The first so many are for training, the others are held out."""
    looked_at: int
    """Frames of the video that were looked at."""
    left_out: dict[str, int]
    """Reason → frames that were left out for it."""
    face_px: float
    """Median height of the face in the video, pixels."""
    seconds: float
    """Seconds of video that the kept frames span."""
    elapsed_s: float
    """Wall seconds that the build took."""
    warnings: tuple[str, ...]
    """Sentences about what could be better."""


def no_progress(stage: str, done: int, total: int | None) -> None:
    """The default progress: none."""


def build_dataset(
    video: Path, out: Path, options: BuildOptions | None = None, progress: Progress = no_progress
) -> BuildSummary:
    """Make the training set `out` of `video`; FacewireError with a sentence where that fails."""
    options = options or BuildOptions()
    started = time.monotonic()
    _refuse_occupied(out, options.force)
    info = probe(video)
    partial = out.with_name(out.name + ".partial")
    warnings: list[str] = []
    try:
        partial.mkdir(parents=True, exist_ok=True)
        for name in IMAGE_FOLDERS:
            (partial / name).mkdir(exist_ok=True)
        tracks, extractor_name, schema = _tracked(video, partial, options, progress, info, warnings)
        try:
            verdict = judge(tracks, video.name)
        except ClipError as error:
            raise ClipError(" ".join([str(error), *(f"({w})" for w in warnings)])) from error
        kept = tracks.take(verdict.rows)
        distance = float(np.median(kept.distance))
        neckline = _neckline(kept, distance, extractor_name)
        _make_pictures(video, partial, kept, neckline, options, progress)
        trainset = _describe(partial, video, kept, distance, extractor_name, schema)
        warnings += _advice(kept, verdict)
        draw_report(partial / "report.png", tracks, kept, trainset, neckline, verdict, warnings)
        write_trainset(trainset)
        error = np.full(len(tracks), np.nan)  # until the clip's reprojection is measured
        save_facts(
            partial,
            facts_of(tracks, verdict, error, schema=schema, extractor=extractor_name,
                     source=video.name),
        )  # fmt: skip
        (partial / "tracks.npz").unlink()
        _publish(partial, out)
    except OSError as error:
        raise LocalError(
            f"{partial} cannot be written ({error.strerror or error}): make room or choose "
            "another place with -o"
        ) from error
    return BuildSummary(
        folder=out,
        frames=len(kept),
        train_frames=trainset.train_count,
        looked_at=len(tracks),
        left_out=verdict.left_out,
        face_px=float(np.median(_face_px(kept))),
        seconds=float(kept.time[-1] - kept.time[0]),
        elapsed_s=time.monotonic() - started,
        warnings=tuple(warnings),
    )


def _refuse_occupied(out: Path, force: bool) -> None:
    if out.is_file():
        raise LocalError(f"{out} is a file: name a folder for the training set with -o")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise LocalError(f"{out} is not empty: choose another -o, or replace it with --force")


def _tracked(
    video: Path,
    partial: Path,
    options: BuildOptions,
    progress: Progress,
    info: VideoInfo,
    warnings: list[str],
) -> tuple[Tracks, str, str]:
    """Pass one, or what an interrupted build left of it; with the extractor's name and schema."""
    state = video.stat()
    extractor = open_extractor(options.extractor, models=options.models, source=str(video))
    try:
        key = json.dumps(
            [str(video.resolve()), state.st_size, state.st_mtime_ns, extractor.name,
             asdict(options.selection)]
        )  # fmt: skip
        tracks = Tracks.load(partial / "tracks.npz", key)
        if tracks is None:
            tracks = _track(video, extractor, options.selection, progress, info, warnings)
            tracks.save(partial / "tracks.npz", key)
        return tracks, extractor.name, extractor.schema
    finally:
        extractor.close()


def _track(
    video: Path,
    extractor: Extractor,
    selection: Selection,
    progress: Progress,
    info: VideoInfo,
    warnings: list[str],
) -> Tracks:
    frames = Prefetched(selection.choose(read_video(video, warn=warnings.append)))
    try:
        return track(frames, extractor, progress, selection.count_in(info))
    finally:
        frames.close()


def _neckline(kept: Tracks, distance: float, extractor: str) -> Neckline | None:
    """The neck cut; None for a performer, whose exact masks end where its head does."""
    if extractor == "truth":
        return None
    return fit_neckline(kept.landmarks, kept.rotation, kept.expression, distance, PORTRAIT_SCALE)


def _make_pictures(
    video: Path,
    partial: Path,
    kept: Tracks,
    neckline: Neckline | None,
    options: BuildOptions,
    progress: Progress,
) -> None:
    """Pass two: the pictures of every kept frame, by a few threads, in bounded memory."""
    row_of = {int(index): row for row, index in enumerate(kept.index)}
    local = threading.local()
    opened: list[Segmenter] = []
    lock = threading.Lock()
    room = threading.BoundedSemaphore(IN_FLIGHT)

    def make(frame: Frame, row: int) -> None:
        if not hasattr(local, "segmenter"):
            with lock:
                local.segmenter = open_segmenter(options.extractor, options.models, video)
                opened.append(local.segmenter)
        write_pictures(partial, row, _pictures(frame, row, kept, neckline, local.segmenter))

    first_error: list[BaseException] = []

    def finished(future: Future[None]) -> None:
        room.release()
        if not future.cancelled() and (error := future.exception()) is not None:
            first_error.append(error)

    import cv2

    cv2_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the pictures are made side by side; threads within each only spin
    frames = Prefetched(options.selection.choose(read_video(video, warn=lambda _: None)))
    pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="matte")
    done = 0
    try:
        for frame in frames:
            row = row_of.get(frame.index)
            if row is None:
                continue
            room.acquire()
            if first_error:
                room.release()
                raise first_error[0]
            pool.submit(make, frame, row).add_done_callback(finished)
            done += 1
            progress("cutting out", done, len(kept))
        pool.shutdown(wait=True)
    finally:
        frames.close()
        pool.shutdown(wait=True, cancel_futures=True)  # what an error or Ctrl-C left waiting
        for segmenter in opened:
            segmenter.close()
        cv2.setNumThreads(cv2_threads)
    if first_error:
        raise first_error[0]
    _write_background(partial)


def _pictures(
    frame: Frame, row: int, kept: Tracks, neckline: Neckline | None, segmenter: Segmenter
) -> PortraitPictures:
    crop = kept.portrait(row)
    portrait = crop.apply(frame.image, PORTRAIT_PX)
    inside = crop.apply(np.full(frame.image.shape[:2], 255, np.uint8), PORTRAIT_PX, border=0)
    person = segmenter.person(portrait, frame, crop)
    head = person
    if neckline is not None:
        head = person * neckline.mask(kept.rotation[row], kept.expression[row], PORTRAIT_PX)
    head = part_with_face(head, inside)
    colour = without_background(portrait, person)
    return PortraitPictures(portrait, person, head, colour, kept.landmarks[row] * PORTRAIT_PX)


def _write_background(partial: Path) -> None:
    import cv2

    ok, data = cv2.imencode(".jpg", np.full((PORTRAIT_PX, PORTRAIT_PX, 3), 255, np.uint8))
    assert ok
    (partial / "bc.jpg").write_bytes(data.tobytes())


def _describe(
    folder: Path, video: Path, kept: Tracks, distance: float, extractor: str, schema: str
) -> TrainSet:
    count = train_count_of(len(kept))
    period = float(np.median(np.diff(kept.time)))
    return TrainSet(
        folder=folder,
        camera=portrait_camera(PORTRAIT_PX, distance, PORTRAIT_SCALE),
        distance_m=distance,
        scale=PORTRAIT_SCALE,
        img_id=np.arange(len(kept)),
        expression=kept.expression,
        rotation=kept.rotation,
        pose=portrait_poses(kept.rotation, distance),
        time=kept.time,
        offset=kept.offset,
        train_count=count,
        schema=schema,
        extractor=extractor,
        bounds=bounds_of(kept.expression, kept.rotation, count),
        frame_rate=1.0 / period,
        source=video.name,
        extra={"source_frame": [int(i) for i in kept.index],
               "crop": [[round(float(x), 3) for x in c] for c in kept.crop]},
    )  # fmt: skip


def _face_px(kept: Tracks) -> Any:
    heights = kept.landmarks[..., 1].max(axis=1) - kept.landmarks[..., 1].min(axis=1)
    return heights * kept.crop[:, 2]


def _advice(kept: Tracks, verdict: Verdict) -> list[str]:
    """What would make a better clip."""
    out = []
    seconds = float(kept.time[-1] - kept.time[0])
    if seconds < 30:
        out.append(f"only {seconds:.0f} s of face: 60 to 120 s make a better avatar")
    if (px := float(np.median(_face_px(kept)))) < 180:
        out.append(f"the face is only {px:.0f} px high: move closer, 250 px and more look sharp")
    yaw = np.degrees(np.percentile(kept.rotation[:, 1], [1, 99]))
    if yaw[1] - yaw[0] < 20:
        out.append(
            f"the head turns only {yaw[0]:+.0f}° to {yaw[1]:+.0f}°: views from further round will "
            "be guesses; turn the head left and right while filming"
        )
    top = kept.crop[:, 1] - 0.5 * kept.crop[:, 2]
    cut_off = float(np.mean(top < -0.12 * kept.crop[:, 2]))
    if cut_off > 0.05:
        out.append(f"the top of the head is out of the picture in {100 * cut_off:.0f} % of frames")
    return out


def _publish(partial: Path, out: Path) -> None:
    """Put the finished set in its place; what was there goes only after that."""
    old = None
    if out.exists():
        old = out.with_name(out.name + ".old")
        if old.exists():
            shutil.rmtree(old)
        out.rename(old)
    partial.rename(out)
    if old is not None:
        shutil.rmtree(old)


__all__ = ["BuildOptions", "BuildSummary", "Selection", "build_dataset", "no_progress"]
