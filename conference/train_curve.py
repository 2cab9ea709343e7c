"""Likeness against seconds: the rows that a training run leaves, and their picture.

The rule: a row is kept as soon as it is known, so that a run that is killed has its curve; a run
that goes on drops what came after its checkpoint, because that has not been.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

BLUE, GREY = "#20507a", "#888888"


@dataclass(frozen=True, slots=True)
class Point:
    """Held-out frames at one moment of a run."""

    seconds: float
    """Of training, all sessions together."""
    step: int
    """Steps taken."""
    frames: int
    """How many were looked at."""
    kind: str
    """Under whose parameters (`conference.train_report`)."""
    psnr: float
    """dB, head on white."""
    psnr_head: float
    """dB, inside the head's mask."""
    psnr_rimless: float
    """dB, inside the mask without its rim."""


FIELDS = ("seconds", "step", "frames", "kind", "psnr", "psnr_head", "psnr_rimless")


def to_csv(points: Sequence[Point]) -> bytes:
    """A header and a line for each point."""
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n")
    write.writerow(FIELDS)
    for p in points:
        write.writerow([f"{p.seconds:.2f}", p.step, p.frames, p.kind, f"{p.psnr:.3f}",
                        f"{p.psnr_head:.3f}", f"{p.psnr_rimless:.3f}"])  # fmt: skip
    return out.getvalue().encode("utf-8")


def from_csv(data: bytes, until_step: int) -> list[Point]:
    """The points up to a step; what is no such file has none, and a line that is damaged ends
    them."""
    points: list[Point] = []
    try:
        for row in csv.DictReader(io.StringIO(data.decode("utf-8", "replace"))):
            p = Point(float(row["seconds"]), int(row["step"]), int(row["frames"]), row["kind"],
                      float(row["psnr"]), float(row["psnr_head"]),
                      float(row["psnr_rimless"]))  # fmt: skip
            if p.step > until_step:
                break
            points.append(p)
    except (ValueError, KeyError, TypeError, csv.Error):
        pass
    return points


def draw(points: Sequence[Point], name: str, end: float | None = None) -> bytes:
    """PNG: PSNR against seconds up to `end`, whole picture and head without its rim; one colour
    for each kind of parameters."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    long = max([end or 0.0, *(p.seconds for p in points)]) > 600
    unit, scale = ("minutes", 60.0) if long else ("seconds", 1.0)
    kinds = list(dict.fromkeys(p.kind for p in points))
    for kind in kinds:
        rows = [p for p in points if p.kind == kind]
        colour = BLUE if kind == kinds[-1] else GREY
        x = [p.seconds / scale for p in rows]
        for values, style, what in (
            ([p.psnr for p in rows], "o-", "whole picture"),
            ([p.psnr_rimless for p in rows], "o:", "head without its rim"),
        ):
            axis.plot(x, values, style, color=colour, markersize=3.5, linewidth=1.2,
                      label=f"{what}, {kind}")  # fmt: skip
    if points:
        best = points[-1]
        axis.annotate(f"{best.psnr:.2f} dB", (best.seconds / scale, best.psnr), (-4, 7),
                      textcoords="offset points", ha="right", color=BLUE)  # fmt: skip
        axis.legend(fontsize=8, loc="lower right")
    axis.margins(y=0.12)
    axis.set_xlim(0, 1.03 * max(end or 0.0, *(p.seconds for p in points), 1.0) / scale)
    axis.set_xlabel(f"{unit} of training")
    axis.set_ylabel("held-out PSNR, dB")
    count = f"{points[-1].frames} " if points else ""
    axis.set_title(f"{name}: {count}frames that training never saw", fontsize=10)
    axis.grid(alpha=0.3)
    out = io.BytesIO()
    figure.savefig(out, dpi=110, format="png")
    return out.getvalue()
