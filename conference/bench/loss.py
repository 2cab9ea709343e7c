"""`facewire bench loss`: what a viewer sees of a call over bad networks, mode by mode.

The rule: whole calls in virtual time (real sessions, QUIC, codec, playout buffer; `loss_call`), so
a row is the same wherever it is made; several seeds of the network are averaged, and the worst
freeze of any counts. "Wrong" is more than 1.5 px of landmark error (`loss_track`) at a display
instant. Payload counts repetitions, wire both directions with IP and UDP headers.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conference.bench.results import Row, document, print_table
from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError
from quic_transport.offer import DATAGRAM, STREAM, STREAM_PER_GOP

if TYPE_CHECKING:
    from conference.bench.loss_call import CallResult
    from conference.bench.loss_track import Track
    from netsim.path import PathSettings

DATAGRAM_50 = "datagram +50 ms"
WAYS = (DATAGRAM, DATAGRAM_50, STREAM_PER_GOP, STREAM)
HEADER = ("network", "mode", "wrong %", "px", "freeze ms", "payload", "wire", "up", "fps",
          "one-way p50", "p95", "p99", "delay", "back ms")  # fmt: skip


def networks() -> dict[str, PathSettings]:
    """The networks by name; RTT 100 ms but for the last two."""
    from netsim.choose import choose_trace
    from netsim.loss import BurstLoss, IndependentLoss
    from netsim.path import PathSettings
    from netsim.settings import LinkSettings, Outage

    def both(**settings: Any) -> PathSettings:
        link = LinkSettings(**settings)
        return PathSettings(link, link)

    return {
        "clean": both(delay_ms=50),
        "5 %": both(delay_ms=50, loss=IndependentLoss(0.05)),
        "10 %": both(delay_ms=50, loss=IndependentLoss(0.1)),
        "20 %": both(delay_ms=50, loss=IndependentLoss(0.2)),
        "bursts of 3, 30 %": both(delay_ms=50, loss=BurstLoss(0.3, 3)),
        "50 %": both(delay_ms=50, loss=IndependentLoss(0.5)),
        "outage of 5 s": both(delay_ms=50, outages=(Outage(30.0, 5.0),)),
        "jitter 60 ms": both(delay_ms=50, jitter_ms=60),
        "RTT 20, clean": both(delay_ms=10),
        "12 kbps, RTT 40": both(delay_ms=20, trace=choose_trace("12kbps"), queue_packets=100),
    }


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench loss", description="calls over bad networks in virtual time"
    )
    add = p.add_argument
    add("--avatar", type=Path, metavar="FILE.fwa",
        help="whose bounds and tables are used; default: the track's bounds, eg0")  # fmt: skip
    add("--track", type=Path, metavar="DIR",
        help="training set whose held-out part is sent; default: a performer's")  # fmt: skip
    add("--profile", metavar="NAME", help="codec: rc or eg0; default: rc if the avatar has tables")
    add("--seconds", type=float, default=120.0, metavar="N", help="of each call; default 120")
    add("--seeds", type=int, default=3, metavar="N", help="networks of each kind; default 3")
    add("--buffer", type=float, default=100.0, metavar="MS", help="least playout delay; 100")
    add("--fixed", action="store_true", help="the playout delay does not adapt")
    add("--only", metavar="WORD", help="networks whose name contains this")
    add("-o", "--output", type=Path, metavar="FILE.json", help="write the numbers there")
    args = p.parse_args(argv)
    if not 10 <= args.seconds <= 7200 or not 1 <= args.seeds <= 100:
        raise LocalError("--seconds lies in 10..7200 and --seeds in 1..100")
    return args


def main(argv: list[str]) -> int:
    """Run the bench."""
    args = parse(argv)
    from conference.bench.loss_call import CallPlan, run_call
    from conference.bench.loss_track import LandmarkMeter, performed, tracked

    track: Track = tracked(args.track) if args.track is not None else performed()
    bounds, sections = None, None
    if args.avatar is not None:
        from quic_transport.avatar_file import load_avatar

        avatar = load_avatar(args.avatar)
        bounds, sections = avatar.meta.bounds, avatar.sections
    tables = sections is not None and any(name.startswith("codec.") for name in sections)
    profile = args.profile or ("rc" if tables else "eg0")
    meter = LandmarkMeter()
    lines, rows = [], []
    known = networks()
    chosen = {n: path for n, path in known.items() if args.only is None or args.only in n}
    if not chosen:
        raise LocalError(f"--only {args.only}: no network is called so; there are "
                         f"{'; '.join(known)}")  # fmt: skip
    for name, path in chosen.items():
        for way in WAYS:
            plan = CallPlan(
                mode=DATAGRAM if way == DATAGRAM_50 else way, profile=profile, path=path,
                seconds=args.seconds, buffer_s=args.buffer / 1000, adapts=not args.fixed,
                latency_budget_s=0.05 if way == DATAGRAM_50 else 0.0,
            )  # fmt: skip
            results = [
                run_call(replace(plan, seed=seed), track, meter, bounds, sections)
                for seed in range(1, args.seeds + 1)
            ]
            lines.append(line_of(name, way, results))
            rows += rows_of(f"loss.{name}.{way}", results)
            announce("  ".join(lines[-1]))
    title = f"{track.name}, {profile}, 20 frames/s, {args.seeds} × {args.seconds:g} s"
    print_table(title, HEADER, lines)
    if args.output is not None:
        write_json(args.output, document(["loss", *argv], rows))
    return 0


def _mean(results: list[CallResult], name: str) -> float:
    return sum(float(getattr(r, name)) for r in results) / len(results)


def line_of(name: str, way: str, results: list[CallResult]) -> tuple[str, ...]:
    """A row for people."""
    late = {p: sum(r.one_way_ms[p] for r in results) / len(results) for p in ("p50", "p95", "p99")}
    back = [r.back_ms for r in results if r.back_ms is not None]
    return (
        name, way, f"{_mean(results, 'wrong_percent'):.2f}", f"{_mean(results, 'error_px'):.2f}",
        f"{max(r.longest_freeze_ms for r in results):.0f}",
        f"{_mean(results, 'payload_kbps'):.2f}", f"{_mean(results, 'wire_kbps'):.1f}",
        f"{_mean(results, 'up_kbps'):.1f}", f"{_mean(results, 'sent_fps'):.1f}",
        f"{late['p50']:.0f}", f"{late['p95']:.0f}", f"{late['p99']:.0f}",
        f"{_mean(results, 'delay_ms'):.0f}", f"{max(back):.0f}" if back else "",
    )  # fmt: skip


def rows_of(prefix: str, results: list[CallResult]) -> list[Row]:
    """The same for programs."""
    units = {
        "wrong_percent": "%", "error_px": "px", "frozen_percent": "%", "payload_kbps": "kbps",
        "wire_kbps": "kbps", "up_kbps": "kbps", "sent_fps": "1/s", "delay_ms": "ms",
    }  # fmt: skip
    rows = [Row(f"{prefix}.{n}", round(_mean(results, n), 4), unit) for n, unit in units.items()]
    worst = max(r.longest_freeze_ms for r in results)
    rows.append(Row(f"{prefix}.longest_freeze_ms", round(worst, 1), "ms"))
    for p in ("p50", "p95", "p99", "max"):
        mean = sum(r.one_way_ms[p] for r in results) / len(results)
        rows.append(Row(f"{prefix}.one_way_{p}_ms", round(mean, 2), "ms"))
    back = [r.back_ms for r in results if r.back_ms is not None]
    if back:
        rows.append(Row(f"{prefix}.back_ms", round(max(back), 1), "ms"))
    return [row for row in rows if math.isfinite(row.value)]  # a call may never have begun
