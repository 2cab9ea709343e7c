"""The demo's pictures: source | received | free viewpoint, as a video and a contact sheet.

The rule: nothing is drawn again; the two received columns are what the receiving processes
recorded, matched to the source by the instant that each picture shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nerf.framing import Framing

Image = NDArray[np.uint8]

HEADINGS = ("source", "received", "free viewpoint")
BAR_PX = 28  # height of the captions
SHEET_ROWS = 6


@dataclass(frozen=True, slots=True)
class Column:
    """Pictures with the times that they show."""

    time: NDArray[np.float64]
    """[N] seconds since the source's first frame, rising."""
    images: list[Image]
    """N pictures uint8 [S, S, 3], RGB."""

    def at(self, time: float) -> Image:
        """The picture that is on at `time`: the last one not later (the first one before)."""
        index = int(np.searchsorted(self.time, time + 1e-3, side="right")) - 1
        return self.images[max(0, index)]


def recorded(video: Path, first_media: float) -> Column:
    """A recording of the receiver, whose first picture shows `first_media`."""
    from sender.video import read_video

    frames = list(read_video(video, warn=lambda _: None))
    times = np.array([first_media + frame.capture_time for frame in frames])
    return Column(times, [frame.image for frame in frames])


def source_portraits(folder: Path, size: int) -> Column:
    """The head-on-white portraits of a training set."""
    from nerf.trainset import load_images, read_trainset

    trainset = read_trainset(folder)
    rgb, _ = load_images(trainset, size, range(len(trainset)))
    return Column(trainset.time, list(rgb))


def row(images: list[Image]) -> Image:
    """Pictures of one height side by side."""
    return np.ascontiguousarray(np.concatenate(images, axis=1))


def caption(width: int, texts: tuple[str, ...]) -> Image:
    """A bar with one text over each column."""
    import cv2

    bar = np.full((BAR_PX, width, 3), 255, np.uint8)
    for i, text in enumerate(texts):
        place = (8 + i * width // len(texts), BAR_PX - 9)
        cv2.putText(bar, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
    return bar


def side_by_side(columns: list[Column], fps: float) -> Iterator[Image]:
    """The columns together, `fps` times per second over the time that all of them cover."""
    start = max(column.time[0] for column in columns)
    end = min(column.time[-1] for column in columns)
    width = sum(column.images[0].shape[1] for column in columns)
    bar = caption(width, HEADINGS[: len(columns)])
    for time in np.arange(start, end, 1.0 / fps):
        yield np.concatenate([bar, row([column.at(time) for column in columns])], axis=0)


def write_video(frames: Iterator[Image], path: Path, fps: float) -> int:
    """An mp4 of the frames; how many there were."""
    import av

    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "fast"}
        for image in frames:
            if count == 0:
                stream.height, stream.width = image.shape[0] & ~1, image.shape[1] & ~1
            image = np.ascontiguousarray(image[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            count += 1
        if count:
            container.mux(stream.encode(None))
    return count


def source_whole(clip: Path, framing: Framing) -> Column:
    """A clip's pictures as a call frames them."""
    from sender.video import read_video

    times, images = [], []
    for frame in read_video(clip, warn=lambda _: None):
        height, width = framing.source[1], framing.source[0]
        image = frame.image
        if image.shape[:2] != (height, width):  # a film has even sides
            more = (height - image.shape[0], width - image.shape[1])
            image = np.pad(image, ((0, more[0]), (0, more[1]), (0, 0)), mode="edge")
        times.append(frame.capture_time)
        images.append(framing.cut(image))
    return Column(np.array(times), images)


def write_whole(folder: Path, clip: Path, avatar: Path, fps: float) -> None:
    """whole_picture.mp4: the source and what was received of it, room and all."""
    from quic_transport.avatar_file import load_avatar
    from receiver.full_frame import plate_from

    found = plate_from(load_avatar(avatar).sections)
    if found is None:
        return
    report = json.loads((folder / "whole.json").read_text(encoding="utf-8"))
    columns = [source_whole(clip, found[0]),
               recorded(folder / "whole.mp4", report["recording_start_s"])]  # fmt: skip
    height, width = (n & ~1 for n in columns[0].images[0].shape[:2])  # as it was recorded
    even = [Column(c.time, [image[:height, :width] for image in c.images]) for c in columns]
    write_video(side_by_side(even, fps), folder / "whole_picture.mp4", fps)


def write_contact_sheet(columns: list[Column], path: Path) -> None:
    """A PNG with rows spread over the call."""
    import cv2

    start = max(column.time[0] for column in columns)
    end = min(column.time[-1] for column in columns)
    times = np.linspace(start, end, SHEET_ROWS + 2)[1:-1]
    rows = [row([column.at(time) for column in columns]) for time in times]
    sheet = np.concatenate([caption(rows[0].shape[1], HEADINGS[: len(columns)]), *rows], axis=0)
    cv2.imwrite(str(path), sheet[..., ::-1])
