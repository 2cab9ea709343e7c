"""The part of a clip that training never saw, as a clip and a training set of its own.

The rule: nothing is tracked or cut out again; pictures are linked, times start at zero, so that
`facewire send` can play the clip and `facewire receive --reference` finds each picture's source.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from conference.personal.sending import read_portrait, sent
from conference.seat import offset_in
from nerf.trainset import IMAGE_FOLDERS, TrainSet, read_trainset, write_trainset
from quic_transport.errors import LocalError
from sender.personal.model import PersonalModel
from sender.portrait_crop import PortraitCrop

TRUTH_PER_FRAME = ("time", "expression", "pose", "landmarks")
RECUT = (("head_imgs", ".jpg", 255), ("ori_imgs", ".jpg", 255), ("matte", ".png", 0))
EARLY_S = 0.001  # a frame this little before the cut belongs to the held-out part


def cut_clip(video: Path, trainset: TrainSet, out: Path) -> float:
    """Write the frames of `video` from the first held-out one on to `out` (and the truth beside
    it, if there is one); the second at which the held-out part begins."""
    import av

    from sender.video import probe, read_video

    if trainset.train_count >= len(trainset):
        raise LocalError(f"{trainset.folder} holds nothing out: the clip is too short")
    start = float(trainset.time[trainset.train_count])
    info = probe(video)
    with av.open(str(out), "w") as container:
        rate = Fraction(info.frame_rate).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height = info.width & ~1, info.height & ~1
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "8", "preset": "veryfast"}
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for frame in read_video(video, warn=lambda _: None):
            if frame.capture_time < start - EARLY_S:
                continue
            image = np.ascontiguousarray(frame.image[: stream.height, : stream.width])
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            picture.pts = round(1000 * (frame.capture_time - start))
            picture.time_base = Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    truth = video.with_name(video.stem + ".truth.npz")
    if truth.is_file():
        cut_truth(truth, start, out.with_name(out.stem + ".truth.npz"))
    return start


def cut_truth(truth: Path, start: float, out: Path) -> None:
    """The entries from `start` on, at times from zero."""
    with np.load(truth, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    late = arrays["time"] >= start - EARLY_S
    for name in TRUTH_PER_FRAME:
        arrays[name] = arrays[name][late]
    arrays["time"] = arrays["time"] - start
    with out.open("wb") as file:
        np.savez(file, **arrays)


def cut_trainset(
    folder: Path, start: float, out: Path, personal: PersonalModel | None = None
) -> None:
    """A training set of the held-out frames alone, with the pictures of `folder` linked.

    `personal`: the portraits are those that a sender with this tracker cuts, so its own framing
    is not mistaken for an error of the picture.
    """
    whole = read_trainset(folder)
    rows = np.arange(whole.train_count, len(whole))
    out.mkdir(parents=True, exist_ok=True)
    for name in IMAGE_FOLDERS:
        if not (folder / name).is_dir():
            continue
        (out / name).mkdir(exist_ok=True)
        for row in rows:
            for source in (folder / name).glob(f"{whole.img_id[row]}.*"):
                _link(source, out / name / source.name)
    cut = replace(
        whole, folder=out, img_id=whole.img_id[rows], expression=whole.expression[rows],
        rotation=whole.rotation[rows], pose=whole.pose[rows], offset=whole.offset[rows],
        time=whole.time[rows] - start, train_count=1, extra={},
    )  # fmt: skip
    if personal is not None:
        rotation, offset = _recut(cut, personal)
        cut = replace(cut, rotation=rotation, offset=offset)
    write_trainset(cut)


def _recut(cut: TrainSet, personal: PersonalModel,
           ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """Cut the portraits of `cut` again where the personal tracker sees the head; the rotations and
    the offsets [N, 3] that it sees."""

    faces = list(sent(personal, cut, range(len(cut)), lambda row: read_portrait(cut, row)))
    size = cut.camera.width
    for name, face in zip(cut.img_id.tolist(), faces, strict=True):
        place = face.place
        crop = PortraitCrop(place.u * size, place.v * size, place.side * size)
        for folder, end, border in RECUT:
            path = cut.folder / folder / f"{name}{end}"
            picture = crop.apply(_read(path), size, border)
            path.unlink()  # may be a link to the set's own file
            cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 97])
    places = [(face.place.u, face.place.v, face.place.side) for face in faces]
    offsets = [offset_in(place, own) for place, own in zip(places, cut.offset, strict=True)]
    return np.array([face.rotation for face in faces]), np.array(offsets)


def _read(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise LocalError(f"{path} is missing or damaged: build the set again")
    return np.asarray(image, dtype=np.uint8)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
