"""`facewire bench latency`: the paper's Table 1 on this machine.

The rule: "individual" is a stage alone in this process, warm; "overall" is the same stage inside a
real call of two processes over loopback QUIC. Times are wall-clock, p50 and p95.
Reference: the paper, table 1 (two RTX 4090, RTT 20 ms set by tc; ours is loopback, RTT below 1 ms).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from conference.bench.results import Row, document, print_table
from conference.statistics import join_traces, write_json
from conference.terminal import announce
from quic_transport.errors import LocalError

PAPER_MS = {  # stage: (individual, overall)
    "extract": (14.7, 25.6), "encode": (0.5, 0.8), "transport": (12.46, 13.69),
    "decode": (0.15, 0.21), "generate": (27.6, 49.2), "end to end": (None, 89.5),
}  # fmt: skip
SIZES = (128, 256, 512)
WARM = 5  # runs of each stage that are not counted
RUNS = 60


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire bench latency", description="latency per stage")
    add = p.add_argument
    add("--avatar", type=Path, required=True, metavar="FILE.fwa", help="who is seen")
    add("--clip", type=Path, required=True, help="the video that is sent")
    add("--seconds", type=float, default=60.0, metavar="N", help="of the call; default 60")
    add("--size", type=int, default=256, metavar="PX", help="of the pictures; default 256")
    add("--fps", type=float, default=20.0, help="frames per second; default 20")
    add("--extractor", help="default: the avatar's")
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    add("--json", type=Path, metavar="FILE", help="write the rows")
    args = p.parse_args(argv)
    if not args.clip.exists():
        raise LocalError(f"{args.clip} does not exist: give the video that is to be sent")
    if args.size < 16 or not args.seconds > 0 or not args.fps > 0:
        raise LocalError("--size must be at least 16, --seconds and --fps above 0")
    return args


def main(argv: list[str]) -> int:
    """Run the bench; 0."""
    args = parse(argv)
    alone = individual(args)
    with tempfile.TemporaryDirectory(prefix="facewire-bench-") as folder:
        report, overall, memory = call(args, Path(folder))
    lines = []
    for stage, (paper_alone, paper_all) in PAPER_MS.items():
        mine = alone.get(stage)
        lines.append([
            stage, _ms(paper_alone), _ms(mine and mine[0]), _ms(mine and mine[1]),
            _ms(paper_all), _ms(overall[stage][0]), _ms(overall[stage][1]),
        ])  # fmt: skip
    print_table(
        f"latency, ms, {args.size} px at {args.fps:g} fps",
        ["", "paper alone", "p50", "p95", "paper in call", "p50", "p95"],
        lines,
    )
    renders = [(f"{s} px", alone[f"render {s}"]) for s in SIZES]
    print_table("one picture alone, ms", ["", "p50", "p95"],
                [[n, _ms(a), _ms(b)] for n, (a, b) in renders])  # fmt: skip
    frames = {k: v for k, v in report["frames"].items() if v or k in ("captured", "rendered")}
    announce(
        "\nframes: "
        + ", ".join(f"{k} {v}" for k, v in frames.items())
        + ("; the books balance" if report["balanced"] else "; the books do NOT balance")
    )
    announce("rates: " + ", ".join(f"{k} {v:.2f}" for k, v in report["rates"].items()))
    for who, (early, late) in memory.items():
        announce(f"memory of the {who}: {early:.0f} MB early in the call, {late:.0f} MB at its end")
    if args.json is not None:
        rows = as_rows(alone, overall, report, memory)
        write_json(args.json, document(["latency", *argv], rows))
    return 0


def individual(args: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """(p50, p95) in ms of each stage alone, and of a picture at each size."""
    from itertools import islice

    from conference.outgoing import tracker_of
    from nerf.renderer import load_head
    from quic_transport.avatar_file import load_avatar
    from quic_transport.codec import PROFILES, Terms
    from quic_transport.codec.rc_tables import from_sections as tables_of
    from sender.extractor import open_extractor
    from sender.personal.extractor import PersonalExtractor
    from sender.personal.model import from_sections
    from sender.smoothing import smoothed
    from sender.video import read_video

    avatar = load_avatar(args.avatar)
    name = args.extractor or tracker_of(avatar.meta)
    found = open_extractor(name, models=args.models, source=str(args.clip))
    if (personal := from_sections(avatar.sections)) is not None:
        found = PersonalExtractor(found, personal)
    extractor = smoothed(found)
    frames = list(islice(read_video(args.clip, warn=lambda _: None), WARM + RUNS))
    tracked = []
    out: dict[str, tuple[float, float]] = {}

    def extract(i: int) -> None:
        found = extractor.extract(frames[i])
        if found:
            tracked.append(found[0].params)

    out["extract"] = timed(extract, len(frames))
    extractor.close()
    if len(tracked) < WARM + 2:
        raise LocalError(f"{args.clip} shows a face in {len(tracked)} of {len(frames)} frames: "
                         "the bench needs one throughout")  # fmt: skip
    profile = PROFILES["eg0" if tables_of(avatar.sections) is None else "rc"]  # as a call does
    terms = Terms(avatar.meta.bounds, avatar.sections)
    encoder, decoder = profile.encoder(terms, gop=0), profile.decoder(terms)
    coded: list[Any] = []
    out["encode"] = timed(lambda i: coded.append(encoder.encode(tracked[i])), len(tracked))
    decoded: list[Any] = []
    out["decode"] = timed(lambda i: decoded.append(decoder.decode(coded[i])), len(coded))
    head = load_head(avatar.sections, avatar.meta.distance_m, avatar.meta.portrait_scale)
    for size in SIZES:

        def draw(i: int, size: int = size) -> None:
            head.render_portrait(decoded[i].expression, decoded[i].rotation, size)

        out[f"render {size}"] = timed(draw, len(decoded))
    out["generate"] = out.get(f"render {args.size}") or timed(
        lambda i: head.render_portrait(decoded[i].expression, decoded[i].rotation, args.size),
        len(decoded),
    )
    head.close()
    return out


def timed(work: Callable[[int], object], count: int) -> tuple[float, float]:
    """(p50, p95) in ms of work(0), work(1), …, the first few not counted."""
    import numpy as np

    spent = []
    for i in range(count):
        began = time.perf_counter()
        work(i)
        if i >= WARM:
            spent.append(1000 * (time.perf_counter() - began))
    p50, p95 = np.percentile(spent, [50, 95])
    return float(p50), float(p95)


def call(args: argparse.Namespace, folder: Path) -> tuple[
    dict[str, Any], dict[str, tuple[float, float]], dict[str, tuple[float, float]]
]:  # fmt: skip
    """A call of two processes: the receiver's report, (p50, p95) ms per stage, memory in MB."""
    base = [sys.executable, "-m", "facewire"]
    receive = [*base, "receive", "--listen", "127.0.0.1:0", "--once", "--frame", "head",
               "--size", str(args.size), "-o", str(folder / "call.mp4"),
               "--stats", str(folder / "receiver.json"),
               "--trace", str(folder / "receiver.jsonl")]  # fmt: skip
    send = [*base, "send", "--frame", "head", "--share-avatar", "--source", str(args.clip),
            "--avatar", str(args.avatar), "--fps", f"{args.fps:g}",
            "--seconds", f"{args.seconds:g}",
            "--trace", str(folder / "sender.jsonl")]  # fmt: skip
    for flag in ("extractor", "models"):
        if getattr(args, flag) is not None:
            send += [f"--{flag}", str(getattr(args, flag))]
    announce(f"a call of {args.seconds:g} s or the clip's length")
    with subprocess.Popen(receive, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                          text=True) as receiver:  # fmt: skip
        try:
            assert receiver.stdout is not None
            invite = receiver.stdout.readline().strip().partition("invite: ")[2]
            if not invite:
                raise LocalError("the bench's receiver did not start; try `facewire receive`")
            sender = subprocess.Popen([*send, "--to", invite], stdout=subprocess.DEVNULL)
            memory = watch({"sender": sender.pid, "receiver": receiver.pid}, sender)
            if sender.wait() != 0:
                raise LocalError("the bench's sender failed; its reason stands above")
            receiver.communicate(timeout=60)
        finally:
            if receiver.poll() is None:
                receiver.terminate()
    report = json.loads((folder / "receiver.json").read_text(encoding="utf-8"))
    latency = report["latency_ms"]
    overall = {s: (latency[s]["p50"], latency[s]["p95"])
               for s in ("extract", "encode", "decode", "generate", "end to end")}  # fmt: skip
    transport = join_traces(folder / "sender.jsonl", folder / "receiver.jsonl")
    overall["transport"] = (1000 * transport.p50, 1000 * transport.p95)
    return report, overall, memory


def watch(pids: dict[str, int], until: subprocess.Popen[bytes]) -> dict[str, tuple[float, float]]:
    """Resident MB of processes: mean of the second fifth and of the last fifth of their time."""
    seen: dict[str, list[float]] = {who: [] for who in pids}
    while until.poll() is None:
        for who, pid in pids.items():
            try:
                fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
            except OSError:
                continue
            seen[who].append(int(fields[1]) * 4096 / 1e6)
        time.sleep(0.5)

    def mean(values: Sequence[float]) -> float:
        return sum(values) / max(len(values), 1)

    fifth = {who: max(len(v) // 5, 1) for who, v in seen.items()}
    return {who: (mean(v[fifth[who] : 2 * fifth[who]]), mean(v[-fifth[who] :]))
            for who, v in seen.items() if v}  # fmt: skip


def as_rows(
    alone: dict[str, tuple[float, float]],
    overall: dict[str, tuple[float, float]],
    report: dict[str, Any],
    memory: dict[str, tuple[float, float]],
) -> list[Row]:
    """Everything as rows with stable names."""
    rows = []
    for kind, values in (("alone", alone), ("call", overall)):
        for stage, (p50, p95) in values.items():
            name = stage.replace(" ", "_")
            rows += [Row(f"latency.{kind}.{name}.p50", p50, "ms"),
                     Row(f"latency.{kind}.{name}.p95", p95, "ms")]  # fmt: skip
    rows += [Row(f"latency.frames.{k.replace(', ', '_').replace(' ', '_')}", float(v), "")
             for k, v in report["frames"].items()]  # fmt: skip
    for key, value in report["rates"].items():
        unit = "kbps" if "kbps" in key else "1/s"
        rows.append(Row(f"latency.rate.{key.replace(' kbps', '').replace(' ', '_')}", value, unit))
    for who, (early, late) in memory.items():
        rows += [Row(f"latency.memory.{who}.early", early, "MB"),
                 Row(f"latency.memory.{who}.late", late, "MB")]  # fmt: skip
    return rows


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
