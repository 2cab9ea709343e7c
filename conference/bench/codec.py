"""`facewire bench codec`: what the parameters cost and how far off they arrive, eg0 beside rc.

The rule: frames that training never saw, as the avatar's own tracker sends them, in real packets;
distortion is that of landmarks (pixels of a face with 130 px between the eyes) and of the rendered
picture against the true one, and quality is compared at the same error, not at a setting's name.
Reference: the paper, "Encoding and Decoding": 4.94 kbps at 20 frames/s.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.bench.codec_runs import Coded

CURVE = (0, 1, 2, 3, 4, 5, 6, 8)  # rungs of rc's ladder
COARSER = (7, 6, 5, 4)  # bits of a coarser eg0, to compare at the same error
BUDGETS = (0.4, 0.8)  # kbps


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One avatar's held-out track, and the means to judge it."""

    name: str
    terms: Any
    """quic_transport.codec.Terms, with tables."""
    faces: list[Any]
    """FaceParams, with their places."""
    true: Any
    """[N, 49] the same numbers."""
    form: Any
    """[49, 49] landmark error, squared pixels."""
    fps: float
    """Frames per second."""
    psnr: Any
    """[N, 49] → mean PSNR, dB, of the rendered picture over some frames."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench codec", description="rate and error of eg0 and rc on held-out frames"
    )
    add = p.add_argument
    add("avatars", type=Path, nargs="+", metavar="FILE.fwa",
        help="avatars; each one's training set lies beside it (FILE.dataset)")  # fmt: skip
    add("--fps", type=float, default=20.0, help="frames per second; default 20")
    add("--rtt", type=float, default=100.0, metavar="MS",
        help="round trip until a frame is confirmed; default 100")  # fmt: skip
    add("--size", type=int, default=512, metavar="PX", help="of the rendered pictures; 512")
    add("--pictures", type=int, default=40, metavar="N", help="rendered per setting; default 40")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    add("--plot", type=Path, metavar="FILE.png", help="draw error against rate")
    args = p.parse_args(argv)
    if not args.fps > 0 or not args.rtt >= 0:
        raise LocalError("--fps must be above 0 and --rtt at least 0")
    if args.size < 16 or args.pictures < 1:
        raise LocalError("--size must be at least 16 and --pictures at least 1")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    from conference.bench.codec_subject import open_subject

    lag = max(1, int(-(-args.rtt * args.fps // 1000)) + 1)
    rows: list[Row] = []
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for path in args.avatars:
        subject = open_subject(path, args.fps, args.size, args.pictures)
        curves[subject.name] = measure(subject, lag, rows)
    if args.json is not None:
        write_json(args.json, document(["codec", *argv], rows))
    if args.plot is not None:
        plot(args.plot, curves)
    return 0


def measure(subject: Subject, lag: int,
            rows: list[Row]) -> dict[str, list[tuple[float, float]]]:  # fmt: skip
    """Everything about one subject: rows, a printed table, and (kbps, px) by way and profile."""
    from conference.bench.codec_runs import (
        ALONE,
        CHAIN,
        CONFIRMED,
        WAYS,
        coarser_eg0,
        error_px,
        rate_at,
        run,
    )
    from quic_transport.codec.residuals import USUAL_STEP

    raw = subject.psnr(subject.true)
    lines: list[list[str]] = [["uncoded", "31.36", "", "0", f"{raw:.2f}", "", ""]]
    curves: dict[str, list[tuple[float, float]]] = {}

    def note(name: str, coded: Coded, *, pictures: bool = True) -> float:
        import numpy as np

        error = error_px(subject.form, coded.decoded, subject.true)
        p95 = float(np.percentile(coded.sizes, 95))
        loss = raw - subject.psnr(coded.decoded) if pictures else None
        spent = float(np.percentile(coded.encode_ms + coded.decode_ms, 99))
        prefix = f"codec.{subject.name}.{name}"
        rows.extend([
            Row(f"{prefix}.payload", coded.kbps, "kbps"), Row(f"{prefix}.bits", coded.bits, "bit"),
            Row(f"{prefix}.packet_p95", p95, "B"), Row(f"{prefix}.landmarks", error, "px"),
            Row(f"{prefix}.encode_decode_p99", spent, "ms"),
            Row(f"{prefix}.spared", coded.spared, ""),
        ])  # fmt: skip
        if loss is not None:
            rows.append(Row(f"{prefix}.psnr_lost", loss, "dB"))
        lines.append([
            name, f"{coded.kbps:.2f}", f"{p95:.0f}", f"{error:.3f}",
            "" if loss is None else f"{raw - loss:.2f}", "" if loss is None else f"{loss:+.3f}",
            f"{spent:.2f}",
        ])  # fmt: skip
        return error

    for way in WAYS:
        coded = run("eg0", subject.terms, subject.faces, way, lag)
        curves[f"eg0.{way}"] = [(coded.kbps, note(f"eg0.{way}", coded, pictures=way == CHAIN))]
    for bits in COARSER:
        decoded, kbps = coarser_eg0(subject.terms.bounds, subject.true, bits, subject.fps)
        error = error_px(subject.form, decoded, subject.true)
        lost = raw - subject.psnr(decoded)
        curves["eg0.chain"].append((kbps, error))
        prefix = f"codec.{subject.name}.eg0.chain.{bits}bits"
        rows.extend([Row(f"{prefix}.payload", kbps, "kbps"),
                     Row(f"{prefix}.landmarks", error, "px"),
                     Row(f"{prefix}.psnr_lost", lost, "dB")])  # fmt: skip
        lines.append([f"eg0.chain, {bits} bits", f"{kbps:.2f}", "", f"{error:.3f}",
                      f"{raw - lost:.2f}", f"{lost:+.3f}", ""])  # fmt: skip
    for way in WAYS:
        points = []
        for step in CURVE:
            coded = run("rc", subject.terms, subject.faces, way, lag, step=step)
            name = f"rc.{way}" if step == USUAL_STEP else f"rc.{way}.step{step}"
            pictures = step == USUAL_STEP or way == CHAIN
            points.append((coded.kbps, note(name, coded, pictures=pictures)))
        curves[f"rc.{way}"] = points
        usual = points[CURVE.index(USUAL_STEP)][1]
        same = rate_at(usual, [e for _, e in curves["eg0.chain"]],
                       [k for k, _ in curves["eg0.chain"]])  # fmt: skip
        if same is not None:
            rows.append(Row(f"codec.{subject.name}.eg0.chain.at_error_of_rc.{way}", same, "kbps"))
            lines.append([f"eg0.chain at rc.{way}'s error", f"{same:.2f}", "", f"{usual:.3f}", "",
                          "", ""])  # fmt: skip
    for profile in ("eg0", "rc"):
        for way in (CHAIN, CONFIRMED, ALONE):
            coded = run(f"{profile}+offset", subject.terms, subject.faces, way, lag)
            note(f"{profile}+offset.{way}", coded, pictures=False)
    coded = run("rc", subject.terms, subject.faces, CONFIRMED, lag, paced=True)
    note("rc.confirmed.rest_spared", coded, pictures=False)
    for budget in BUDGETS:
        coded = run("rc", subject.terms, subject.faces, CONFIRMED, lag, paced=True, kbps=budget)
        note(f"rc.confirmed.budget_{budget:g}", coded)
    rows.append(Row(f"codec.{subject.name}.uncoded.psnr", raw, "dB"))
    print_table(
        f"{subject.name}: {len(subject.faces)} held-out frames, confirmed after {lag}",
        ["", "kbps", "p95 B", "px", "PSNR", "lost dB", "p99 ms"], lines,
    )  # fmt: skip
    announce(f"{subject.name}: done")
    return curves


def plot(path: Path, curves: dict[str, dict[str, list[tuple[float, float]]]]) -> None:
    """Landmark error against payload, a panel for each subject."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    count = len(curves)
    figure, axes = plt.subplots(1, count, figsize=(4.2 * count, 3.8), layout="constrained",
                                sharey=True, squeeze=False)  # fmt: skip
    colours = {"chain": "tab:blue", "confirmed": "tab:orange", "alone": "tab:green"}
    for axis, (name, by_way) in zip(axes[0], curves.items(), strict=True):
        for key, points in by_way.items():
            profile, way = key.split(".")
            style, size = ("*:", 9) if profile == "eg0" else ("o-", 4)
            axis.plot([k for k, _ in points], [e for _, e in points], style, markersize=size,
                      color=colours[way], label=f"{profile}, {way}")  # fmt: skip
        axis.axvline(4.94, color="grey", linewidth=0.8, linestyle=":")
        axis.set_title(name)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xticks([0.3, 0.5, 1, 2, 3, 5, 8], [".3", ".5", "1", "2", "3", "5", "8"])
        axis.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2], [".05", ".1", ".2", ".5", "1", "2"])
        axis.minorticks_off()
        axis.set_xlabel("payload, kbps")
        axis.grid(alpha=0.3, which="both")
    axes[0][0].set_ylabel("landmark error, px")
    axes[0][-1].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


__all__: Sequence[str] = ["Subject", "main", "measure", "parse", "plot"]
