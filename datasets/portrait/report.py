"""report.html: what is good about a finished set, what is not, and what to film again.

The rule: it is made of the set alone (facts.npz, transforms.json and the stored pictures), so it
can be written again at any time, and what is wrong in the set is visible in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nerf.trainset import TrainSet, TrainSetError, read_trainset
from portrait.checks import Verdict
from portrait.neckline import Neckline
from portrait.report_advice import advise, verdict
from portrait.report_facts import read_facts
from portrait.report_page import Section, advice_list, page, praise_list
from portrait.report_pictures import good_frames, matte_frames, worst_frames
from portrait.report_praise import praise
from portrait.report_sections import (
    expressions,
    frames,
    heads,
    key_numbers,
    left_out,
    over_time,
    products,
    turns,
)
from portrait.tracks import Tracks
from quic_transport.errors import LocalError
from quic_transport.params import EXPRESSION_DIM, SCHEMAS

SAMPLES = 6
CELL_PX = 300


def draw_report(
    path: Path,
    tracks: Tracks,
    kept: Tracks,
    trainset: TrainSet,
    neckline: Neckline | None,
    verdict: Verdict,
    warnings: list[str],
) -> None:
    """Draw the page for a set whose pictures already lie in `trainset.folder`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picked = np.unique(np.linspace(0, len(kept) - 1, SAMPLES + 2).round().astype(int)[1:-1])
    figure = Figure(figsize=(3 * SAMPLES, 17), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(6, len(picked), height_ratios=(3, 3, 1.6, 1.6, 1.6, 1.0))
    for column, row in enumerate(picked):
        name = int(trainset.img_id[row])
        for line, picture in enumerate(_cells(trainset.folder, name, kept, int(row), neckline)):
            axes = figure.add_subplot(grid[line, column])
            axes.imshow(picture)
            axes.set_axis_off()
            if line == 0:
                axes.set_title(f"frame {kept.index[row]}, {kept.time[row]:.2f} s", fontsize=9)
    _plot_tracks(figure, grid, tracks, kept, trainset)
    text = figure.add_subplot(grid[5, :])
    text.set_axis_off()
    text.text(0, 1, _words(tracks, trainset, verdict, warnings), va="top", fontsize=11)
    figure.savefig(path, dpi=80)


def _cells(
    folder: Path, name: int, kept: Tracks, row: int, neckline: Neckline | None
) -> tuple[Any, Any]:
    """The portrait with everything drawn over it, and the head on white."""
    import cv2

    portrait: Any = cv2.imread(str(folder / "ori_imgs" / f"{name}.jpg"))
    head: Any = cv2.imread(str(folder / "head_imgs" / f"{name}.jpg"))
    matte: Any = cv2.imread(str(folder / "matte" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    size = portrait.shape[0]
    outline, _ = cv2.findContours(
        (matte > 127).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    for x, y in kept.landmarks[row] * size:
        cv2.circle(portrait, (int(x), int(y)), 1, (255, 200, 0), -1)
    cv2.drawContours(portrait, outline, -1, (0, 0, 255), 2)
    if neckline is not None:
        curve = neckline.curve(kept.rotation[row], kept.expression[row])[1:-1] * size
        cv2.polylines(portrait, [curve.round().astype(np.int32)], False, (0, 255, 0), 1)
    cv2.drawMarker(portrait, (size // 2, size // 2), (0, 255, 255), cv2.MARKER_CROSS, 24, 2)
    small = [cv2.resize(x, (CELL_PX, CELL_PX), interpolation=cv2.INTER_AREA)
             for x in (portrait, head)]  # fmt: skip
    return small[0][..., ::-1], small[1][..., ::-1]


def _plot_tracks(figure: Any, grid: Any, tracks: Tracks, kept: Tracks, trainset: TrainSet) -> None:
    names = SCHEMAS.get(trainset.schema, tuple(str(i) for i in range(46)))
    liveliest = np.argsort(-trainset.expression.std(axis=0))[:6]
    series: list[tuple[str, list[tuple[str, Any]]]] = [
        ("degrees", [(n, np.degrees(kept.rotation[:, i]))
                     for i, n in enumerate(("pitch", "yaw", "roll"))]),
        ("coefficient", [(names[i], trainset.expression[:, i]) for i in liveliest]),
        ("crop (portrait widths)", [("x", kept.offset[:, 0]), ("y", kept.offset[:, 1]),
                                    ("log size", kept.offset[:, 2])]),
    ]  # fmt: skip
    missing = np.setdiff1d(tracks.index, kept.index)
    gone = tracks.time[np.isin(tracks.index, missing)]
    for line, (label, lines) in enumerate(series, start=2):
        axes = figure.add_subplot(grid[line, :])
        for name, values in lines:
            axes.plot(kept.time, values, label=name, linewidth=0.9)
        for t in gone:
            axes.axvline(t, color="red", alpha=0.15, linewidth=1)
        axes.axvspan(kept.time[min(trainset.train_count, len(kept) - 1)], kept.time[-1],
                     color="grey", alpha=0.15)  # fmt: skip
        axes.set_ylabel(label)
        axes.set_xlim(tracks.time[0], max(tracks.time[-1], tracks.time[0] + 1e-3))
        axes.legend(loc="upper left", ncols=6, fontsize=8)
    axes.set_xlabel("seconds (grey: held out, red: left out)")


def _words(tracks: Tracks, trainset: TrainSet, verdict: Verdict, warnings: list[str]) -> str:
    left = ", ".join(f"{n} {why}" for why, n in verdict.left_out.items()) or "none"
    low, high = np.degrees(np.percentile(trainset.rotation, [1, 99], axis=0))
    spans = ", ".join(
        f"{name} {a:+.0f}° to {b:+.0f}°"
        for name, a, b in zip(("pitch", "yaw", "roll"), low, high, strict=True)
    )
    lines = [
        f"{trainset.source}: {len(trainset)} of {len(tracks)} frames kept "
        f"({trainset.train_count} for training); left out: {left}",
        f"{spans}; distance {trainset.distance_m:.3f} m, {trainset.frame_rate:.2f} frames/s, "
        f"tracked by {trainset.extractor}",
        *(f"note: {w}" for w in warnings),
    ]
    return "\n".join(lines)


def write_report(folder: Path) -> Path:
    """Write `folder`/report.html of a finished training set; LocalError where it is not one."""
    try:
        trainset = read_trainset(folder)
    except TrainSetError as error:
        raise LocalError(str(error)) from error
    facts = read_facts(folder)
    advice = advise(facts)
    level, line = verdict(facts, advice)
    names = SCHEMAS.get(trainset.schema, tuple(str(i) for i in range(EXPRESSION_DIM)))
    sections = [
        Section("What to film again",
                advice_list(advice) if advice else ""),
        Section("What is good", praise_list(praise(facts, advice))),
        Section("Good frames", frames(folder, facts, good_frames(facts)),
                "Spread over the turns and expressions of the clip."),
        Section("Heads cut out", heads(folder, facts, matte_frames(facts)),
                "Over checks: white rims and missing hair will be seen in the avatar."),
        Section("Background, classes, torso", products(folder, facts, matte_frames(facts)),
                "Blue: head with hair; green: neck; red: torso."),
        Section("Doubtful frames", frames(folder, facts, worst_frames(facts), landmarks=True),
                "In the set all the same; the worst of each kind, with what the tracker saw."),
        Section("Over time", over_time(facts, trainset),
                "Red: left-out frames. Grey: held out, not trained on."),
        Section("Where the head was turned", turns(facts),
                "As in a mirror. Stronger colour: more frames; dashed: views to be guessed."),
        Section("Expressions", expressions(facts, names),
                "Bar: from the 1st to the 99th percentile; tick: largest value; number: in how "
                "many frames it is in use."),
        Section("Left-out frames", left_out(facts)),
    ]  # fmt: skip
    text = page(f"Training set of {trainset.source or folder.name}", level, line,
                key_numbers(facts, trainset), sections)  # fmt: skip
    path = folder / "report.html"
    temporary = folder / "report.html.tmp"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
    return path
