"""`facewire bench views AVATAR`: a performer's head from the side, against what is really there.

The rule: the camera walks round a head that looks where it looked, to where it sees the head under
the wanted angles, as a receiver's `--view` does, and the lights stay where they were. Every such
picture is known exactly, because the performer is made of code. Frames are those that training
never saw (the last 15 % of the performance), parameters are exact, so what is scored is the field
alone. By default the true pictures are made as the training pictures were, by the film's camera and
the sender's crop; `--lens portrait` puts the head in the middle of the portrait's own camera, where
outlines lie up to half a pixel elsewhere. Reference: datasets/portrait/performer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from nerf.camera import Camera
    from portrait.performer.person import Person
    from portrait.performer.render import Picture

VIEWS = (
    (0, 0), (-15, 0), (15, 0), (-30, 0), (30, 0), (-45, 0), (45, 0), (0, -20), (0, 20),
)  # fmt: skip
"""Yaw and pitch in degrees under which the camera sees the head."""
HELD_OUT = 0.15
FILM_SIZE = 512  # pixels of the film: what `facewire performer` makes unless told otherwise
SHOWN = ((-45, 0), (-30, 0), (0, 0), (30, 0), (45, 0))  # in the picture that --pictures writes

Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame of the performance, as the stabilised portrait shows it."""

    expression: NDArray[np.float32]
    """[46]"""
    rotation: Float64
    """[3, 3] head → portrait camera."""
    lights: Float64
    """[3, 3] what turns the room's lights into the portrait camera."""
    place: Float64
    """[3] metres, where the film's camera sees the head."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench views",
        description="a performer's avatar from the side, against the performer's true pictures",
    )
    add = p.add_argument
    add(
        "avatar", type=Path, help="trained on a film of `facewire performer` with --extractor truth"
    )
    add("--seed", type=int, default=7, help="the performer; 7")
    add("--seconds", type=float, default=100.0, metavar="N", help="of the film; 100")
    add("--script", choices=("talk", "enrolment"), default="talk", help="of the film; talk")
    lenses = "true pictures by the film's camera and crop, or by the portrait's camera; film"
    add("--lens", choices=("film", "portrait"), default="film", help=lenses)
    add("--frames", type=int, default=12, metavar="N", help="that are looked at; 12")
    add("--size", type=int, default=512, metavar="PX", help="of the pictures; 512")
    add("--pictures", type=Path, metavar="FILE.png", help="draw the middle frame from five sides")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    if not (args.frames >= 1 and args.size >= 32 and args.seconds >= 4):
        raise LocalError("--frames must be at least 1, --size 32 and --seconds 4")
    return args


def moments(seed: int, seconds: float, script: str, frames: int) -> Iterator[Moment]:
    """`frames` of the performance's last part, evenly spaced."""
    from portrait.performer.performance import Score
    from sender.portrait_crop import line_of_sight_turn

    score = Score(seed, seconds, script)
    for t in np.linspace(seconds * (1 - HELD_OUT) + 0.2, seconds - 0.2, frames):
        params, pose = score.at(float(t))
        turn = line_of_sight_turn(pose[:3, 3])
        yield Moment(params.expression, turn @ pose[:3, :3], turn, pose[:3, 3])


def walked(moment: Moment, yaw: float, pitch: float) -> Moment:
    """The same head from where a camera sees it under so many degrees."""
    from nerf.camera import rotation_matrix

    seen = rotation_matrix(np.radians(pitch), np.radians(yaw), 0.0)
    lights = seen @ moment.rotation.T @ moment.lights
    return Moment(moment.expression, seen, lights, moment.place)


def over_white(picture: Picture) -> NDArray[np.uint8]:
    """The head of a picture alone, [H, W, 3]."""
    alpha = picture.matte[..., None].astype(np.float32) / 255
    return np.asarray(np.rint(picture.rgb * alpha + 255 * (1 - alpha)), np.uint8)


def as_filmed(person: Person, seen: Moment, size: int) -> tuple[NDArray[np.uint8], ...]:
    """The head over white [S, S, 3] and its matte, as a training set would have them."""
    from portrait.performer.film import film_camera
    from portrait.performer.render import render
    from sender.portrait_crop import crop_of, line_of_sight_turn

    back = line_of_sight_turn(seen.place).T
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = back @ seen.rotation, seen.place
    camera = film_camera(FILM_SIZE)
    true = render(person, seen.expression, pose, camera, world=back @ seen.lights, white=True)
    crop, _, _ = crop_of(pose, camera.fx, camera.width, camera.height)
    return crop.apply(over_white(true), size), crop.apply(true.matte, size, border=0)


def by_portrait(person: Person, seen: Moment, camera: Camera,
                distance: float) -> tuple[NDArray[np.uint8], ...]:  # fmt: skip
    """The same from the portrait's own camera, with the head in the middle."""
    from nerf.camera import head_pose
    from portrait.performer.render import render

    true = render(person, seen.expression, head_pose(seen.rotation, distance), camera,
                  world=seen.lights, white=True)  # fmt: skip
    return over_white(true), true.matte


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    import cv2

    from nerf.camera import euler_angles
    from nerf.metrics import likeness, mean_likeness
    from nerf.renderer import load_head
    from portrait.performer.person import Person
    from quic_transport.avatar_file import load_avatar

    avatar = load_avatar(args.avatar)
    if avatar.meta.extractor != "truth":
        raise LocalError(
            f"{args.avatar} was trained with the tracker {avatar.meta.extractor}: build the "
            "film's training set with --extractor truth, so that the field alone is scored"
        )
    distance, scale = avatar.meta.distance_m, avatar.meta.portrait_scale
    head = load_head(avatar.sections, distance, scale)
    person, camera = Person(args.seed), head.portrait(args.size)

    def both(seen: Moment, tracked: Moment) -> tuple[NDArray[np.uint8], ...]:
        """What is there over white, its matte, what the avatar shows."""
        view = euler_angles(seen.rotation)
        if args.lens == "film":
            over, matte = as_filmed(person, seen, args.size)
        else:
            over, matte = by_portrait(person, seen, camera, distance)
        position = None if args.lens == "portrait" or avatar.meta.rest is None else seen.place
        shown = head.render_portrait(tracked.expression, euler_angles(tracked.rotation),
                                     args.size, view=view, position=position)  # fmt: skip
        return over, matte, shown.rgb

    every = list(moments(args.seed, args.seconds, args.script, args.frames))
    rows: list[Row] = []
    lines = []
    for yaw, pitch in VIEWS:
        scores = []
        for moment in every:
            over, matte, shown = both(walked(moment, yaw, pitch), moment)
            scores.append(likeness(shown, over, matte))
        mean = mean_likeness(scores)
        values = {"psnr": mean.psnr_whole, "psnr_head": mean.psnr_head,
                  "psnr_rimless": mean.psnr_rimless, "ssim": mean.ssim_whole}  # fmt: skip
        name = f"views.yaw{yaw:+d}.pitch{pitch:+d}"
        rows += [Row(f"{name}.{k}", v, "" if k == "ssim" else "dB") for k, v in values.items()]
        cells = [f"{v:.4f}" if k == "ssim" else f"{v:.2f}" for k, v in values.items()]
        lines.append([f"yaw {yaw:+d}°, pitch {pitch:+d}°", *cells])
    print_table(f"a performer from the side, {args.size} px, {args.frames} held-out frames",
                ["camera", "whole", "head", "rimless", "SSIM"], lines)  # fmt: skip
    if args.pictures is not None:
        middle = every[len(every) // 2]
        columns = [both(walked(middle, *view), middle) for view in SHOWN]
        sheet = np.concatenate(
            [np.concatenate([over, shown]) for over, _, shown in columns], axis=1
        )
        if not cv2.imwrite(str(args.pictures), sheet[..., ::-1]):
            raise LocalError(
                f"{args.pictures} cannot be written: name a .png in a folder that is there"
            )
        print(
            f"{args.pictures}: truth above, avatar below, yaw {', '.join(str(y) for y, _ in SHOWN)}"
        )
    if args.json is not None:
        write_json(args.json, document(["views", *argv], rows))
    head.close()
    return 0
