"""`facewire inspect`: show what is inside an avatar file.

The rule: the file is verified before a word of it is shown, and nothing of it is executed; nothing
is asked of any network.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import AvatarFileError, LocalError

if TYPE_CHECKING:
    from rich.table import Table

    from quic_transport.avatar_file import AvatarFile, AvatarMeta

YAWS = (-30.0, 0.0, 30.0)  # degrees, of the preview


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire inspect", description="show what is in an avatar")
    p.add_argument("avatar", type=Path, metavar="ME.fwa")
    p.add_argument("--preview", type=Path, metavar="OUT.png",
                   help="draw the face from the front and from both sides")  # fmt: skip
    p.add_argument("--size", type=int, default=256, metavar="PX", help="of each view; 256")
    p.add_argument("--sections", action="store_true", help="list every section")
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the command."""
    args = parse(argv)
    from rich.console import Console

    from conference.avatar_parts import bounds_table, parts_table, section_table
    from quic_transport.avatar_file import (
        avatar_id,
        decode_avatar,
        public_bytes,
        read_avatar_bytes,
    )

    if not 16 <= args.size <= 2048:
        raise LocalError(f"--size must lie in 16..2048 pixels, not {args.size}")
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
    for table in (description_table(avatar), parts_table(avatar), bounds_table(avatar)):
        console.print(table)
    if args.sections:
        console.print(section_table(avatar))
    if args.preview is not None:
        drawn = write_preview(avatar, args.preview, args.size)
        console.print(f"preview: {args.preview.absolute()} ({drawn})", markup=False, soft_wrap=True)
    else:
        console.print("\n--preview FACE.png draws the face", markup=False)
    return 0


def description_table(avatar: AvatarFile) -> Table:
    """What the avatar says about itself."""
    from rich.markup import escape

    from conference.avatar_parts import plain_table

    meta, table = avatar.meta, plain_table("\ndescription", "")
    rows = {
        "name": meta.name,
        "created": meta.created,
        "schema": meta.schema,
        "tracker": meta.extractor,
        "camera distance": f"{meta.distance_m:.3f} m",
        "usual place": usual_place(meta),
        "portrait": f"{meta.size_px} px, {meta.portrait_scale:g} widths per metre",
        "training video": f"{meta.frame_rate:g} frames per second",
    }
    for name, value in {**rows, **meta.provenance}.items():
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        table.add_row(f"  {escape(name)}", escape(text))
    return table


def usual_place(meta: AvatarMeta) -> str:
    """Where the person usually sat, in words."""
    from conference.seat import seat_of_avatar

    if meta.rest is None:
        return "not known (an older avatar): taken for the picture's middle"
    x, y, _ = (100 * seat_of_avatar(meta).position()).tolist()
    across, up = "right" if x > 0 else "left", "above" if y > 0 else "below"
    return f"{abs(x):.0f} cm {across} of and {abs(y):.0f} cm {up} the picture's middle"


def write_preview(avatar: AvatarFile, path: Path, size: int) -> str:
    """Draw the usual face in three views; the picture in the file where its weights cannot be
    drawn. Says which."""
    import cv2

    from conference.avatar_size import head_of, portraits

    try:
        views = portraits(head_of(avatar), avatar.meta, size, list(YAWS))
        rgb: NDArray[np.uint8] = np.concatenate(views, axis=1)
        drawn = "from -30, 0 and 30 degrees"
    except AvatarFileError:
        stored = stored_preview(avatar)
        if stored is None:
            raise
        rgb, drawn = stored, "the small picture in the file: its head cannot be drawn here"
    _, png = cv2.imencode(".png", rgb[..., ::-1])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png.tobytes())
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}; name another place") from error
    return drawn


def stored_preview(avatar: AvatarFile) -> NDArray[np.uint8] | None:
    """The face as a picture uint8 [H, W, 3] that was put in at training, if it is there and is
    one."""
    from conference.avatar_size import PREVIEW

    stored = avatar.sections.get(PREVIEW)
    if stored is None or stored.dtype != np.uint8 or stored.ndim != 3 or stored.shape[2] != 3:
        return None
    return stored if min(stored.shape) > 0 else None
