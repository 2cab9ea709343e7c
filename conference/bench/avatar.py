"""`facewire bench avatar FULL.fwa SET`: what the bytes of an avatar buy.

The rule: one field in full precision, stored in every size and read back from the very bytes that
a peer gets; pictures of held-out frames, with the pose optimised for each in full precision so that
the tracker's error hides nothing, are compared with the frames and with the full field's own. A
beginning of the default file is judged the same way.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conference.bench.results import Row, document, print_table
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from nerf.cpu.pool import WorkerPool
    from nerf.field import HeadField
    from nerf.metrics import Likeness
    from nerf.trainset import TrainSet
    from quic_transport.avatar_file import AvatarFile, AvatarMeta

LIMITS_MB = (0.3, 0.5, 0.75)  # beside the named sizes
BEGINNINGS_KB = (150, 200, 250, 300, 400, 600, 800)  # of the default file
DECODED = 5  # times that a file is read, for the median


@dataclass(frozen=True, slots=True, eq=False)
class Scenes:
    """Held-out frames, and how the head was held in each."""

    rgb: NDArray[np.uint8]
    """[N, S, S, 3]"""
    alpha: NDArray[np.uint8]
    """[N, S, S]"""
    expressions: list[NDArray[np.float64]]
    """[46] each."""
    poses: list[NDArray[np.float64]]
    """[4, 4] head → camera each."""
    cameras: list[Any]
    """The cameras that took the portraits, S × S."""
    meta: AvatarMeta
    """The avatar's description."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench avatar", description="bytes and likeness of every avatar size"
    )
    add = p.add_argument
    add("avatar", type=Path, metavar="FULL.fwa", help="trained with --avatar-size full")
    add("data", type=Path, metavar="SET", help="the training set it came from")
    add("--size", type=int, default=512, metavar="PX", help="of the pictures; default 512")
    add("--frames", type=int, default=15, metavar="N", help="held-out frames; default 15")
    add("--threads", type=int, metavar="N", help="CPU threads; default all")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    for name, low in (("size", 32), ("frames", 1), ("threads", 1)):
        value = getattr(args, name)
        if value is not None and value < low:
            raise LocalError(f"--{name} must be at least {low}, not {value}")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    from conference.avatar_size import Views, head_of, stored
    from nerf.cpu.pool import WorkerPool
    from nerf.trainset import TrainSetError, read_trainset
    from quic_transport.avatar_file import encode_avatar, load_avatar, public_bytes

    avatar = load_avatar(args.avatar)
    field = head_of(avatar)
    pool = WorkerPool(args.threads)
    try:
        data = read_trainset(args.data)
        scenes = _scenes(avatar, field, data, args.size, args.frames, pool)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    if "mean" not in avatar.sections:
        announce(f"{args.avatar} is not in full precision: losses are against what it holds")
    truth = [*_pictures(field, scenes, pool), *_sides(field, scenes)]
    base = _likeness(truth[:-SIDES], scenes)
    announce(f"{len(truth) - SIDES} held-out frames at {args.size} px, each with its best pose")
    rows = [Row("avatar.reference.psnr_whole", base.psnr_whole, "dB"),
            Row("avatar.reference.psnr_rimless", base.psnr_rimless, "dB")]  # fmt: skip
    views = Views.to_expect(field, avatar.meta)
    lines = [["as given", f"{len(public_bytes(avatar)) / 1e3:.0f}", f"{base.psnr_whole:.2f}",
              f"{base.psnr_rimless:.2f}", "", "", "", ""]]  # fmt: skip
    files = {"8 bits": _eight_bits(avatar, field)}
    for size in ("default", "small"):
        files[size] = encode_avatar(
            _public(
                stored(avatar.meta, field, avatar.sections, views, size=size, threads=args.threads)
            )
        )
    for limit in LIMITS_MB:
        files[f"{limit:g} MB"] = encode_avatar(_public(
            stored(avatar.meta, field, avatar.sections, views, most_bytes=int(limit * 1e6),
                   threads=args.threads)))  # fmt: skip
    for name, content in files.items():
        lines.append(_judged(name, content, rows, scenes, truth, base, pool))
    print_table("sizes (what a peer gets; loss against full precision)", HEADING, lines)
    parts = []
    for kilobytes in BEGINNINGS_KB:
        if 1000 * kilobytes < len(files["default"]):
            beginning = files["default"][: 1000 * kilobytes]
            parts.append(_judged(f"{kilobytes} kB", beginning, rows, scenes, truth, base, pool))
    print_table("the default file while it arrives", HEADING, parts)
    if args.json is not None:
        text = json.dumps(document(["avatar", *argv], rows), indent=1)
        args.json.write_text(text, encoding="utf-8")
    pool.close()
    return 0


HEADING = ["", "kB", "PSNR", "rimless", "loss dB", "vs full", "30° vs full", "read ms"]
YAWS = [-30.0, 30.0]  # degrees, of views from the side
SIDES = len(YAWS)


def _judged(name: str, content: bytes, rows: list[Row], scenes: Scenes,
            truth: Sequence[NDArray[np.uint8]], base: Likeness, pool: WorkerPool,
            ) -> list[str]:  # fmt: skip
    """A line of the table for the bytes of a file or of its beginning; its rows are added."""
    from nerf.metrics import psnr
    from nerf.weights import from_sections, is_drawable
    from quic_transport.avatar_file import decode_avatar_prefix

    prefix = decode_avatar_prefix(content)
    if prefix is None or not is_drawable(prefix.avatar.sections):
        return [name, f"{len(content) / 1e3:.0f}", "nothing yet", "", "", "", "", ""]
    taken = []
    for _ in range(DECODED):
        begun = time.perf_counter()
        again = decode_avatar_prefix(content)
        assert again is not None
        field = from_sections(again.avatar.sections)
        taken.append(1000 * (time.perf_counter() - begun))
    shown = _pictures(field, scenes, pool)
    found = _likeness(shown, scenes)
    near, aside = (
        float(np.mean([psnr(a, b) for a, b in zip(ours, theirs, strict=True)]))
        for ours, theirs in ((shown, truth[:-SIDES]), (_sides(field, scenes), truth[-SIDES:]))
    )
    lost = base.psnr_whole - found.psnr_whole
    key = "avatar." + name.replace(" ", "_")
    numbers = {"bytes": (len(content), "B"), "psnr_whole": (found.psnr_whole, "dB"),
               "psnr_rimless": (found.psnr_rimless, "dB"), "lost": (lost, "dB"),
               "against_full": (near, "dB"), "sides_against_full": (aside, "dB"),
               "read": (statistics.median(taken), "ms")}  # fmt: skip
    rows += [Row(f"{key}.{what}", float(value), unit) for what, (value, unit) in numbers.items()]
    return [name, f"{len(content) / 1e3:.0f}", f"{found.psnr_whole:.2f}",
            f"{found.psnr_rimless:.2f}", f"{lost:+.3f}", f"{near:.1f}", f"{aside:.1f}",
            f"{statistics.median(taken):.0f}"]  # fmt: skip


def _eight_bits(avatar: AvatarFile, field: HeadField) -> bytes:
    """The file with tables in 8 bits, as before they were priced by pictures."""
    from conference.avatar_size import HEAD, in_order
    from nerf.weights import to_sections
    from quic_transport.avatar_file import AvatarFile, encode_avatar

    kept = {name: a for name, a in avatar.sections.items() if not name.startswith(HEAD)}
    return encode_avatar(_public(
        AvatarFile(avatar.meta, in_order({**kept, **to_sections(field)}))))  # fmt: skip


def _public(avatar: AvatarFile) -> AvatarFile:
    from quic_transport.avatar_file import decode_avatar, public_bytes

    return decode_avatar(public_bytes(avatar))


def _scenes(avatar: AvatarFile, field: HeadField, data: TrainSet, size: int, count: int,
            pool: WorkerPool) -> Scenes:  # fmt: skip
    """Some held-out frames; with a personal tracker in the avatar, poses are found from it."""
    from conference.personal.ceiling import optimised_motion
    from conference.personal.sending import aligned, read_portrait
    from conference.seat import positions_of
    from nerf.cpu.engine import CpuEngine
    from nerf.train import PRESETS, Footage, Trainer
    from nerf.trainset import load_images
    from sender.personal.model import from_sections

    held = np.arange(data.train_count, len(data))
    if not len(held):
        raise LocalError(f"{data.folder} holds no frames out: it is too short for this bench")
    picked = held[np.unique(np.linspace(0, len(held) - 1, count).astype(int))]
    rgb, alpha = load_images(data, size, picked)
    footage = Footage(rgb, alpha, data.rotation[picked], data.expression[picked],
                      data.camera.resized(size, size), data.distance_m,
                      position=None if avatar.meta.rest is None else positions_of(data)[picked],
                      )  # fmt: skip
    model = from_sections(avatar.sections)
    expressions, poses = list(footage.expression), [footage.pose(i) for i in range(len(picked))]
    if model is not None:
        settings = replace(PRESETS["fast"], config=field.config, size=size, holdout=0.0)
        trainer = Trainer(footage, settings, pool)
        trainer.field, trainer.engine = field, CpuEngine(field, pool)
        for i, frame in enumerate(picked.tolist()):
            found = aligned(model, data, frame, read_portrait(data, frame))
            motion = optimised_motion(trainer, i, found.motion, found.expression)
            expressions[i] = found.expression
            poses[i] = motion.apply(footage.pose(i), model.pivot)
    cameras = [footage.lens(i) for i in range(len(picked))]
    return Scenes(rgb, alpha, expressions, poses, cameras, avatar.meta)


def _pictures(field: HeadField, scenes: Scenes, pool: WorkerPool) -> list[NDArray[np.uint8]]:
    from nerf.cpu.render import CpuRenderer

    renderer = CpuRenderer(field, pool)
    out = []
    for said, pose, camera in zip(scenes.expressions, scenes.poses, scenes.cameras, strict=True):
        renderer.set_expression(field.code.seen(said, pose))
        out.append(renderer.render(pose, camera).rgb)
    return out


def _sides(field: HeadField, scenes: Scenes) -> list[NDArray[np.uint8]]:
    """The usual face from both sides, at 256 pixels."""
    from conference.avatar_size import portraits

    return portraits(field, scenes.meta, 256, YAWS)


def _likeness(shown: Sequence[NDArray[np.uint8]], scenes: Scenes) -> Likeness:
    from nerf.metrics import likeness, mean_likeness

    triples = zip(shown, scenes.rgb, scenes.alpha, strict=True)
    return mean_likeness([likeness(*triple) for triple in triples])
