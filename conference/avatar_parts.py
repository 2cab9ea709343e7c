"""What an avatar's bytes are spent on, as tables for people.

The rule: sizes are those that lie in the file, compressed; a part that this program does not know
is shown as such, never guessed at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from quic_transport.avatar_file import AvatarFile, stored_sizes

if TYPE_CHECKING:
    from rich.table import Table

    from nerf.field import HeadField

PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("preview picture", ("preview",)),
    ("parameter codec", ("codec.",)),
    ("head: networks", ("network.",)),
    ("head: where it is", ("occupancy",)),
    ("head: shape, code, pose", ("field.", "code.", "pose.", "steps.")),
    ("head: tables", ("mean", "tables")),
    ("torso", ("torso.",)),
    ("background plate", ("plate.",)),
    ("personal tracker", ("personal.",)),
)


def plain_table(*headings: str) -> Table:
    """A table without lines, numbers to the right."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title_justify="left")
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="left" if index == 0 else "right")
    return table


def parts_table(avatar: AvatarFile) -> Table:
    """Kilobytes of each part in the file, tables by layer and kind with bits per weight."""
    stored = stored_sizes(avatar)
    table = plain_table("\nparts", "kB", "share", "")
    total = sum(stored.values())
    counted: set[str] = set()

    def row(name: str, size: int, note: str) -> None:
        table.add_row(name, f"{size / 1e3:.1f}", f"{100 * size / max(total, 1):.0f} %", note)

    for part, beginnings in PARTS:
        names = [n for n in stored if n.startswith(beginnings) and n not in counted]
        counted.update(names)
        if not names:
            continue
        note = _note(avatar, part)
        row(f"  {part}", sum(stored[n] for n in names), note)
        if part == "head: tables":
            for line in _table_rows(avatar, stored):
                row(*line)
    others = sorted(set(stored) - counted)
    if others:
        row("  others", sum(stored[n] for n in others), ", ".join(others)[:60])
    return table


def section_table(avatar: AvatarFile) -> Table:
    """The arrays, those that differ by a number only taken together ("tables.0.*")."""
    stored = stored_sizes(avatar)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in avatar.sections:
        groups[".".join("*" if part.isdigit() else part for part in name.split("."))].append(name)
    table = plain_table("\nsections", "number", "type", "shape", "kB", "kB stored")
    for name, members in groups.items():
        arrays = [avatar.sections[member] for member in members]
        shapes = {array.shape for array in arrays}
        shape = " × ".join(map(str, arrays[0].shape)) if len(shapes) == 1 else "various"
        raw, packed = sum(a.nbytes for a in arrays), sum(stored[member] for member in members)
        kind = str(arrays[0].dtype)
        table.add_row(f"  {name}", str(len(arrays)), kind, shape, f"{raw / 1e3:.1f}",
                      f"{packed / 1e3:.1f}")  # fmt: skip
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


def _field(avatar: AvatarFile) -> HeadField | None:
    from nerf.weights import WeightsError, from_sections

    try:
        return from_sections(avatar.sections)
    except WeightsError:
        return None


def _note(avatar: AvatarFile, part: str) -> str:
    if part not in ("head: networks", "head: where it is", "head: tables"):
        return ""
    field = _field(avatar)
    if field is None:
        return "not a head that can be drawn here"
    config = field.config
    if part == "head: networks":
        weights = sum(w.size for w in field.networks)
        return f"{weights} weights, {config.hidden} wide"
    if part == "head: where it is":
        return f"{100 * field.occupancy.mean():.0f} % of the cube"
    used = (field.mean != 0).any(axis=1).mean()
    warp = f"warp of {config.warp}, " if config.warp else ""
    return (
        f"{warp}{config.levels} levels, {config.blended_levels} with rank {config.rank}, "
        f"{100 * used:.0f} % used"
    )


def _table_rows(avatar: AvatarFile, stored: dict[str, int]) -> Iterable[tuple[str, int, str]]:
    """(name, bytes, note) of the tables' layers; of undivided tables mean and expression."""
    field = _field(avatar)
    if field is None:
        return
    layers = sorted({_second(n) for n in stored if n.startswith("steps.")})
    kinds: list[tuple[str, int, Callable[[str], bool]]] = [
        ("mean", field.mean.size, lambda n: n.split(".")[0] == "mean"),
        ("expressions", field.tables.size, lambda n: n.split(".")[0] == "tables"),
    ]
    for layer in layers or [""]:
        for name, weights, is_kind in kinds:
            inside = [n for n in stored if is_kind(n) and (not layer or _second(n) == layer)]
            size = sum(stored[n] for n in inside)
            title = f"    layer {layer}, {name}" if layer else f"    {name}"
            yield title, size, f"{8 * size / max(weights, 1):.2f} bits per weight"


def _second(name: str) -> str:
    """What lies between the first dot of a name and the next; strangers name sections too."""
    return [*name.split("."), ""][1]
