"""What `facewire bench rd` compares: one person's held-out film, as a head on white and whole.

The rule: every side gets the same frames and is scored against them; facewire's faces are what a
live sender with the avatar's own tracker would send, the body's numbers too where it measures them,
its pictures what a receiver draws.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conference.codec_enrol import sent_track
from conference.full_frame import open_pictures
from conference.full_frame_lesson import warped
from conference.seat import seat_of_avatar, view_in
from nerf.camera import head_pose
from nerf.framing import Framing
from nerf.renderer import load_head
from nerf.trainset import TrainSet, TrainSetError, load_images, read_trainset
from quic_transport.avatar_file import load_avatar, public_bytes
from quic_transport.codec import Terms
from quic_transport.codec.rc_tables import SECTION
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, FaceParams
from receiver.full_frame import FullFrame, Stance
from sender.personal.body import BodyTracker
from sender.personal.body_model import BodyModel
from sender.personal.body_model import from_sections as body_from
from sender.personal.model import from_sections
from sender.video import read_video

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One way to look at the film."""

    name: str
    """head or picture."""
    title: str
    """For people."""
    frames: Image
    """[N, H, W, 3] what everybody is given and judged by; even in height and width."""
    mattes: Image
    """[N, H, W] where the head is."""
    draw: Callable[[FaceParams, int], Image]
    """What a receiver draws of a face, at frame i; the body as the face has it."""
    placed: bool
    """Whether the head's place crosses too."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """An avatar and its film."""

    faces: list[FaceParams]
    """What is sent at each of the N frames; with how the body stands if there is a clip and the
    avatar's sender measures it."""
    terms: Terms
    """What both ends know of the codec."""
    tables: bool
    """Whether the avatar can do rc."""
    avatar_bytes: int
    """What a new receiver has to get once."""
    scenes: list[Scene]
    """The head, and the whole picture where there is a clip and a body."""


def open_subject(avatar_file: Path, folder: Path, clip: Path | None, *, size: int, fps: float,
                 most: int | None) -> Subject:  # fmt: skip
    """At most `most` of the held-out frames, at `fps`; LocalError with a sentence."""
    avatar = load_avatar(avatar_file)
    try:
        data = read_trainset(folder)
        held = np.arange(data.train_count, len(data))
        if len(held) < 2:
            raise LocalError(f"{folder} holds no frames out: it is too short for this bench")
        picked = held[ticks(data.time[held], fps)][:most]
        rgb, alpha = load_images(data, size, picked)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    if data.schema != avatar.meta.schema:
        raise LocalError(f"{avatar_file} and {folder} have different expression schemas")
    track = sent_track(data, from_sections(avatar.sections), picked)
    faces = [
        FaceParams(v[:EXPRESSION_DIM], v[EXPRESSION_DIM:], float(t), offset)
        for v, t, offset in zip(track.vectors, track.times, track.offsets, strict=True)
    ]
    sections = dict(avatar.sections)
    head = load_head(sections, avatar.meta.distance_m, avatar.meta.portrait_scale)
    seat = seat_of_avatar(avatar.meta)

    def draw_head(face: FaceParams, i: int) -> Image:
        u, v, side = track.places[i]
        pose, view = view_in((u, v, side), face.rotation, track.offsets[i], seat, size)
        return head.render(face.expression, pose, view).rgb

    title = f"the head on white, {size} x {size}"
    scenes = [Scene("head", title, rgb, alpha, draw_head, placed=False)]
    if clip is not None:
        full = open_pictures(sections, head, seat)
        if full is None:
            raise LocalError(f"{avatar_file} is a head alone: leave --clip out, or train it again "
                             "from a set with whole pictures")  # fmt: skip
        scene, faces = _whole(full, data, picked, clip, faces, body_from(sections))
        scenes.append(scene)
    tables = any(name.startswith(SECTION) for name in sections)
    return Subject(faces, Terms(avatar.meta.bounds, sections), tables, len(public_bytes(avatar)),
                   scenes)  # fmt: skip


def _whole(full: FullFrame, data: TrainSet, picked: NDArray[np.int64], clip: Path,
           faces: list[FaceParams],
           body: BodyModel | None) -> tuple[Scene, list[FaceParams]]:  # fmt: skip
    """The scene, and the faces on their bodies: measured in frame after frame as a sender does."""
    height, width = (side & ~1 for side in full.size[::-1])
    tracker = None if body is None else BodyTracker(body)
    pictures, standing = [], []
    for face, picture in zip(faces, filmed(full.framing, data, picked, clip), strict=True):
        pictures.append(full.framing.cut(picture)[:height, :width])
        standing.append(face if tracker is None else tracker.follow(picture, face))
    mattes = np.stack([matte(full.framing, data, i) for i in picked])[:, :height, :width]

    def draw(face: FaceParams, _: int) -> Image:
        full.stance = Stance()  # it was followed over the whole call
        shown = full.draw(face, head_pose(face.rotation, data.distance_m))
        return np.ascontiguousarray(shown[:height, :width, :3])

    title = f"the whole picture, {width} x {height}"
    scene = Scene("picture", title, np.stack(pictures), mattes, draw, placed=True)
    return scene, standing


def filmed(framing: Framing, data: TrainSet, picked: NDArray[np.int64],
           clip: Path) -> Iterator[Image]:  # fmt: skip
    """The clip's own pictures [H, W, 3] of frames of its set, whole, as a camera gives them."""
    source = data.extra.get("source_frame")
    if source is None:
        raise LocalError(f"{data.folder} does not say which frames of the clip it has")
    frames = read_video(clip, warn=lambda _: None)
    for i in picked:
        found = next((f.image for f in frames if f.index >= int(source[i])), None)
        if found is None or found.shape[1::-1] != framing.source:
            raise LocalError(f"{clip} is not the clip that {data.folder} was made of")
        yield found


def matte(framing: Framing, data: TrainSet, i: int) -> Image:
    """[H, W] the opacity of a frame's head where it lies in the whole picture."""
    import cv2

    path = data.folder / "matte" / f"{int(data.img_id[i])}.png"
    portrait = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if portrait is None:
        raise LocalError(f"{path} is missing or damaged: build the set again")
    place = framing.place(data.offset[i])
    return warped(np.asarray(portrait, np.uint8), place, framing.size)


def ticks(times: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Indices of the frames nearest to the ticks of `fps`, each at most once."""
    wanted = np.arange(times[0], times[-1] + 1e-9, 1.0 / fps)
    return np.unique(np.abs(times[None, :] - wanted[:, None]).argmin(axis=1))
