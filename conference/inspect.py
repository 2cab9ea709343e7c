"""`facewire inspect`: show what is inside an avatar file.

The rule: the file is verified before a word of it is shown, and nothing of it is executed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quic_transport.errors import AvatarFileError, LocalError

if TYPE_CHECKING:
    from rich.table import Table

    from quic_transport.avatar_file import AvatarFile

PREVIEW_SECTION = "preview"  # an array uint8 [H, W, 3], RGB


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire inspect", description="show what is in an avatar")
    p.add_argument("avatar", type=Path, metavar="ME.fwa")
    p.add_argument("--preview", type=Path, metavar="OUT.png", help="draw the neutral face")
    p.add_argument("--size", type=int, default=256, metavar="PX", help="of the preview; 256")
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the command."""
    args = parse(argv)
    from rich.console import Console

    from quic_transport.avatar_file import (
        avatar_id,
        decode_avatar,
        public_bytes,
        read_avatar_bytes,
    )

    data = read_avatar_bytes(args.avatar)
    try:
        avatar = decode_avatar(data)
    except AvatarFileError as error:
        raise AvatarFileError(f"{args.avatar}: {error}") from error
    console = Console(highlight=False)
    shown = public_bytes(avatar)
    console.print(f"{args.avatar}: {len(data) / 1e6:.2f} MB, id {avatar_id(shown)}", markup=False)
    if len(shown) < len(data):
        own = (len(data) - len(shown)) / 1e3
        console.print(f"of which {own:.0f} kB, the personal tracker, stay here in a call")
    for table in (description_table(avatar), section_table(avatar), bounds_table(avatar)):
        console.print(table)
    if args.preview is not None:
        write_preview(avatar, args.preview, args.size)
        console.print(f"preview: {args.preview}", markup=False)
    return 0


def plain_table(*headings: str) -> Table:
    """A table without lines, numbers to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right")
    return table


def description_table(avatar: AvatarFile) -> Table:
    """What the avatar says about itself."""
    from rich.markup import escape

    meta, table = avatar.meta, plain_table("\ndescription", "")
    rows = {
        "name": meta.name,
        "created": meta.created,
        "schema": meta.schema,
        "tracker": meta.extractor,
        "camera distance": f"{meta.distance_m:.3f} m",
        "portrait": f"{meta.size_px} px, {meta.portrait_scale:g} widths per metre",
        "training video": f"{meta.frame_rate:g} frames per second",
    }
    for name, value in {**rows, **meta.provenance}.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(f"  {escape(name)}", escape(text))
    return table


def section_table(avatar: AvatarFile) -> Table:
    """The arrays, those that differ by a number only taken together ("tables.0-7")."""
    groups: dict[str, list[np.ndarray]] = defaultdict(list)
    for name, array in avatar.sections.items():
        groups[".".join("*" if part.isdigit() else part for part in name.split("."))].append(array)
    table = plain_table("\nsections", "number", "type", "shape", "kB")
    for name, arrays in groups.items():
        shapes = {array.shape for array in arrays}
        shape = " × ".join(map(str, arrays[0].shape)) if len(shapes) == 1 else "various"
        size = sum(array.nbytes for array in arrays) / 1000
        kind = str(arrays[0].dtype)
        table.add_row(f"  {name}", str(len(arrays)), kind, shape, f"{size:.1f}")
    return table


def bounds_table(avatar: AvatarFile) -> Table:
    """What the person did in the training video: the widest coefficients and the head's turns."""
    from quic_transport.params import EXPRESSION_DIM, SCHEMAS

    low, high = avatar.meta.bounds.low, avatar.meta.bounds.high
    table = plain_table("\nbounds of the parameters", "lowest", "highest")
    for axis, i in (("pitch", 0), ("yaw", 1), ("roll", 2)):
        turns = np.degrees([low[EXPRESSION_DIM + i], high[EXPRESSION_DIM + i]])
        table.add_row(f"  {axis}", f"{turns[0]:.1f}°", f"{turns[1]:.1f}°")
    spans = (high - low)[:EXPRESSION_DIM]
    for i in np.argsort(-spans)[:8]:
        name = SCHEMAS[avatar.meta.schema][i]
        table.add_row(f"  {name}", f"{low[i]:.2f}", f"{high[i]:.2f}")
    idle = int((spans < 0.02).sum())
    table.add_row(f"  {idle} of {EXPRESSION_DIM} coefficients hardly moved", "", "")
    return table


def write_preview(avatar: AvatarFile, path: Path, size: int) -> None:
    """Draw the resting face; the picture in the file where its weights cannot be drawn."""
    import cv2

    from quic_transport.params import EXPRESSION_DIM, FaceParams
    from receiver.head import open_head
    from receiver.pose_control import PoseControl

    if not 16 <= size <= 2048:
        raise LocalError(f"--size must lie in 16..2048 pixels, not {size}")
    try:
        head = open_head(avatar, size)
        low = avatar.meta.bounds.low
        vector = np.concatenate([low[:EXPRESSION_DIM], np.zeros(3, np.float32)])
        params = FaceParams.from_vector(vector, 0.0)
        rgb = head.draw(params, PoseControl(head.distance_m).pose(params.rotation, 0.0))
    except AvatarFileError:
        stored = avatar.sections.get(PREVIEW_SECTION)
        if stored is None or stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3:
            raise
        rgb = stored
    _, png = cv2.imencode(".png", rgb[..., ::-1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}; name another place") from error
