"""What `facewire bench rd` says: table, sentences, rows, plot and contact sheet.

The rule: rates are compared at equal quality and qualities at equal rate, and where a curve never
crosses, that is said instead of a number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from conference.bench.rd import Point
from conference.bench.rd_subject import Scene
from conference.bench.results import Row
from conference.bench.video_codecs import PACKET_BYTES, VIDEO_CODECS, rate_for

NAMES = ("psnr_whole", "psnr_head", "psnr_rimless", "ssim_whole", "ssim_head")
HEADER = ["", "payload", "wire", "first B", "wait s", "PSNR", "head", "rimless", "SSIM",
          "SSIM head", "LPIPS"]  # fmt: skip
OURS = ("rc_50ms", "rc", "eg0")  # the first that is there is compared with
SHEET_CODECS = ("x265_low_delay", "av1", "vp9")
MEASURES: tuple[tuple[str, str, Callable[[Point], float]], ...] = (
    ("psnr", "PSNR", lambda p: p.quality.psnr_whole),
    ("psnr_head", "PSNR in the head", lambda p: p.quality.psnr_head),
    ("ssim", "SSIM", lambda p: p.quality.ssim_whole),
    ("ssim_head", "SSIM in the head", lambda p: p.quality.ssim_head),
)
CALL_MINUTES = 10
MARKERS = (("s", 8), ("P", 10), ("*", 15), ("D", 7), ("v", 8))  # ours, in the order of SETTINGS


def table(points: Sequence[Point]) -> tuple[list[str], list[list[str]]]:
    """Header and lines; the last column only where LPIPS was measured."""
    lines = []
    for p in points:
        q = p.quality
        name = p.label if p.target is None else f"{p.label}, {p.target:g}"
        lines.append([
            name, f"{p.payload:.2f}", "" if math.isnan(p.wire) else f"{p.wire:.1f}",
            f"{p.first_bytes}" if p.first_bytes else "",
            "" if p.wait_s is None else f"{p.wait_s:.1f}", f"{q.psnr_whole:.2f}",
            f"{q.psnr_head:.2f}", f"{q.psnr_rimless:.2f}", f"{q.ssim_whole:.4f}",
            f"{q.ssim_head:.4f}", "" if p.lpips is None else f"{p.lpips:.4f}",
        ])  # fmt: skip
    if all(p.lpips is None for p in points):
        return HEADER[:-1], [line[:-1] for line in lines]
    return HEADER, lines


def curves(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The codecs' points by label."""
    coded = [p for p in points if p.target is not None]
    return {label: list(group) for label, group in groupby(coded, lambda p: p.label)}


def ours_of(points: Sequence[Point]) -> Point:
    """Facewire's point that codecs are compared with."""
    named = {p.name: p for p in points if p.target is None}
    return next(named[name] for name in OURS if name in named)


def crossing(quality: float, curve: Sequence[Point], measure: Callable[[Point], float],
             rate: Callable[[Point], float]) -> tuple[str, float | None]:  # fmt: skip
    """("", kbps at which a curve reaches `quality`), or in words why there is no such number."""
    qualities, rates = [measure(p) for p in curve], [rate(p) for p in curve]
    found = rate_for(quality, rates, qualities)
    if found is not None:
        return "", found
    lowest = min(zip(rates, qualities, strict=True))
    if lowest[1] > quality:
        return f"better already at its least, {lowest[0]:.1f}", None
    return "never", None


def words(points: Sequence[Point]) -> list[str]:
    """At which rate each codec reaches what facewire shows."""
    ours = ours_of(points)
    measured = ", ".join(f"{what} {measure(ours):.4f}" if "SSIM" in what
                         else f"{what} {measure(ours):.2f} dB"
                         for _, what, measure in MEASURES)  # fmt: skip
    lines = [f"\n{ours.label}: {ours.payload:.2f} kbps of payload, {ours.wire:.1f} on the wire; "
             f"{measured}. A codec is as good at (kbps of payload / on the wire):"]  # fmt: skip
    for label, curve in curves(points).items():
        parts = []
        for _, what, measure in MEASURES:
            why, payload = crossing(measure(ours), curve, measure, lambda p: p.payload)
            wire = crossing(measure(ours), curve, measure, lambda p: p.wire)[1]
            parts.append(f"{what} {why or f'{payload:.1f} / {wire or math.nan:.1f}'}")
        lines.append(f"  {label}: {'; '.join(parts)}")
    return lines


def remarks(avatar_bytes: int, call_s: float) -> list[str]:
    """What the numbers mean and leave out."""
    bounded = [c for c in VIDEO_CODECS if c.least_kbps]
    least = ", ".join(f"{c.label.split()[0]} {c.least_kbps:g}" for c in bounded)
    spread = avatar_bytes * 8e-3 / (60 * CALL_MINUTES)
    return [
        f"\nfacewire's wire: whole calls of {call_s:g} s over a clean path of RTT 100 ms, both "
        "directions, IP and UDP headers, the handshake (first B) included. The avatar "
        f"({avatar_bytes / 1000:.0f} kB) crosses once, ever: {spread:.1f} kbps over the first "
        f"{CALL_MINUTES} minutes, if it is the first call.",
        f"The codecs' wire: {PACKET_BYTES} bytes of IP, UDP, RTP and SRTP a packet, nothing for "
        f"reports back; the same {call_s:g} s, one keyframe unless FFmpeg's defaults say otherwise "
        "(the paper's x265, H.264: every 250). wait: of the worst picture on a link that carries "
        "just the payload's rate.",
        "VP8 and H.264 stand in for aiortc: FFmpeg's libvpx and libx264 under aiortc's settings. "
        f"aiortc itself asks its encoders for no less than (kbps): {least}.",
    ]


def as_rows(found: Sequence[tuple[Scene, Sequence[Point]]], avatar_bytes: int) -> list[Row]:
    """Everything as rows with stable names."""
    rows = [Row("rd.avatar", avatar_bytes, "B")]
    for scene, points in found:
        for p in points:
            prefix = f"rd.{scene.name}.{p.name}"
            rows.append(Row(f"{prefix}.payload", p.payload, "kbps"))
            if not math.isnan(p.wire):
                rows += [Row(f"{prefix}.wire", p.wire, "kbps"),
                         Row(f"{prefix}.first", p.first_bytes, "B")]  # fmt: skip
            if p.wait_s is not None:
                rows.append(Row(f"{prefix}.wait", p.wait_s, "s"))
            for name, value in zip(NAMES, astuple(p.quality), strict=True):
                rows.append(Row(f"{prefix}.{name}", value, "dB" if "psnr" in name else ""))
            if p.lpips is not None:
                rows.append(Row(f"{prefix}.lpips", p.lpips, ""))
        ours = ours_of(points)
        for curve in curves(points).values():
            codec = curve[0].name.rpartition("_")[0]
            for short, _, measure in MEASURES:
                for what, rate in (("payload", lambda p: p.payload), ("wire", lambda p: p.wire)):
                    value = crossing(measure(ours), curve, measure, rate)[1]
                    if value is not None:
                        name = f"rd.{scene.name}.{codec}_for_our_{short}.{what}"
                        rows.append(Row(name, value, "kbps"))
    return rows


def plot(path: Path, found: Sequence[tuple[Scene, Sequence[Point]]]) -> None:
    """Quality against kbps on the wire: a row of panels for each scene, ours as stars."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels: list[tuple[str, Callable[[Point], float | None]]] = [
        ("PSNR, dB", lambda p: p.quality.psnr_whole),
        ("PSNR in the head, dB", lambda p: p.quality.psnr_head),
        ("SSIM", lambda p: p.quality.ssim_whole),
    ]
    if any(p.lpips is not None for _, points in found for p in points):
        panels.append(("LPIPS (less is better)", lambda p: p.lpips))
    figure, axes = plt.subplots(len(found), len(panels), squeeze=False, layout="constrained",
                                figsize=(4.2 * len(panels), 3.4 * len(found) + 0.7))  # fmt: skip
    for line, (scene, points) in zip(axes, found, strict=True):
        ours = [p for p in points if p.target is None and not math.isnan(p.wire)]
        for axis, (label, measure) in zip(line, panels, strict=True):
            for name, curve in curves(points).items():
                ordered = sorted(curve, key=lambda p: p.wire)
                axis.plot([p.wire for p in ordered], [measure(p) for p in ordered], "o-",
                          markersize=3, linewidth=1.2, label=name)  # fmt: skip
            for (marker, large), own in zip(MARKERS, ours, strict=False):
                axis.plot([own.wire], [measure(own)], marker, color="crimson", markersize=large,
                          markeredgecolor="white", markeredgewidth=0.6, linestyle="none",
                          label=own.label)  # fmt: skip
            axis.set_xscale("log")
            axis.set_xticks([5, 10, 20, 50, 100, 200, 500], ["5", "10", "20", "50", "100", "200",
                                                             "500"])  # fmt: skip
            axis.minorticks_off()
            axis.set_title(scene.title if axis is line[0] else "", fontsize=10, loc="left")
            axis.set_xlabel("kbps on the wire")
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=8, loc="outside lower center", ncols=4)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def write_sheet(path: Path, found: Sequence[tuple[Scene, Sequence[Point]]]) -> None:
    """A row for each frame: the source, facewire, and codecs at the wire rate nearest to it."""
    import cv2

    blocks = []
    for scene, points in found:
        ours = ours_of(points)
        columns = [ours, *nearest(points, ours.wire)]
        titles = ["source", *(f"{p.label.split(',')[0]}: {p.payload:.1f} kbps, {p.wire:.1f} wire, "
                              f"{p.quality.psnr_whole:.1f} dB" for p in columns)]  # fmt: skip
        height, width = scene.frames.shape[1:3]
        shrink = min(1.0, 420 / width)
        size = (round(width * shrink), round(height * shrink))
        bar = np.full((24, size[0] * len(titles), 3), 255, np.uint8)
        for k, text in enumerate(titles):
            cv2.putText(bar, text, (4 + k * size[0], 16), cv2.FONT_HERSHEY_SIMPLEX, 0.4,
                        (60, 60, 60), 1, cv2.LINE_AA)  # fmt: skip
        block = [bar]
        for i in sorted(ours.pictures):
            pictures: list[Any] = [scene.frames[i], *(p.pictures[i] for p in columns)]
            small = [cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in pictures]
            block.append(np.concatenate(small, axis=1))
        blocks.append(np.concatenate(block, axis=0))
    widest = max(block.shape[1] for block in blocks)
    padded = [np.pad(b, ((0, 8), (0, widest - b.shape[1]), (0, 0)), constant_values=255)
              for b in blocks]  # fmt: skip
    if not cv2.imwrite(str(path), np.concatenate(padded, axis=0)[..., ::-1]):
        raise OSError(f"cannot write {path}")


def nearest(points: Sequence[Point], wire: float) -> list[Point]:
    """Of the codecs on the sheet, each at the wire rate nearest to `wire`."""
    known = {curve[0].name.rpartition("_")[0]: curve for curve in curves(points).values()}
    return [min(known[name], key=lambda p: abs(math.log(p.wire / wire)))
            for name in SHEET_CODECS if name in known]  # fmt: skip
