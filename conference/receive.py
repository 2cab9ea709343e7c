"""`facewire receive`: wait for a call, draw the caller's head.

The rule: standard output has the invite first (a line `invite: facewire://...`) and the table
last. Without --once the next call is awaited when one has ended.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conference.statistics import print_report, report_json, write_json
from conference.terminal import Interrupt, StatusLine, announce
from quic_transport.errors import FacewireError, LocalError

if TYPE_CHECKING:
    from conference.incoming import ReceiveOptions
    from quic_transport.endpoint import Call, Listener


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire receive", description="wait for a call and draw the caller's head"
    )
    add = p.add_argument
    add("--listen", default="0.0.0.0:4433", metavar="HOST:PORT", help="default 0.0.0.0:4433")
    add("--frame", choices=("full", "head"), default="full",
        help="full: the whole picture with body and room, if the avatar has them; head: the head "
        "on white, as in the paper")  # fmt: skip
    add("--background", default="plate", metavar="WHAT",
        help="behind the person: plate (default: the sender's room), blur, #rrggbb, a picture, or "
        "none (transparent in PNGs)")  # fmt: skip
    add("--size", type=int, metavar="PX",
        help="side of the head's picture; default 256, and 512 within a whole picture")  # fmt: skip
    add("-o", "--output", type=Path, metavar="PATH", help="record: .mp4, .mkv or a folder of PNGs")
    add(
        "--view",
        default="",
        metavar="yaw=20,pitch=-10",
        help="look from elsewhere: degrees within ±45; sway=30 swings to and fro",
    )
    add("--buffer", type=float, default=1.0, metavar="K", help="frames of delay; default 1")
    add(
        "--display-fps",
        type=float,
        metavar="FPS",
        help="pictures per second; default: what the machine sustains, at least one per frame",
    )
    add("--fps", type=float, metavar="FPS",
        help="pictures per second to keep on a slow machine: resolution, then steps along rays "
        "are given up for it, and come back; default: the sender's; 0: never")  # fmt: skip
    add("--threads", type=int, metavar="N", help="of drawing; default: all cores")
    add("--device", choices=("auto", "cuda", "cpu"), default="auto", help="to draw; default auto")
    add("--backend", choices=("auto", "triton", "tcnn", "torch", "cpu"), default="auto",
        help="whose kernels draw; default the best there is (docs/gpu.md)")  # fmt: skip
    add(
        "--reference",
        type=Path,
        metavar="DIR",
        help="training set of the clip that is sent, on this machine: report PSNR and SSIM",
    )
    add("--stats", type=Path, metavar="FILE.json", help="write the final table as JSON")
    add("--trace", type=Path, metavar="FILE.jsonl", help="one line per frame: when it passed what")
    add("--once", action="store_true", help="end after the first call")
    return p.parse_args(argv)


def options_of(args: argparse.Namespace) -> ReceiveOptions:
    """Checked options; LocalError names the flag."""
    from conference.incoming import ReceiveOptions
    from receiver.display import check_output
    from receiver.full_frame import check_background
    from receiver.pose_control import parse_view

    if args.output is not None:
        check_output(args.output)

    whole = args.frame == "full" and args.reference is None  # a reference is a head on white
    if args.size is None:
        args.size = 512 if whole else 256
    if not 16 <= args.size <= 2048:
        raise LocalError(f"--size must lie in 16..2048 pixels, not {args.size}")
    if not 0 <= args.buffer <= 100:
        raise LocalError(f"--buffer must lie in 0..100 frames, not {args.buffer:g}")
    if args.display_fps is not None and not 1 <= args.display_fps <= 240:
        raise LocalError(f"--display-fps must lie in 1..240, not {args.display_fps:g}")
    if args.fps is not None and not (args.fps == 0 or 1 <= args.fps <= 240):
        raise LocalError(f"--fps must be 0 or lie in 1..240, not {args.fps:g}")
    if args.threads is not None and not 1 <= args.threads <= 1024:
        raise LocalError(f"--threads must lie in 1..1024, not {args.threads}")
    if args.device == "cuda":
        from nerf.backends import no_cuda

        if (missing := no_cuda()) is not None:
            raise LocalError(f"{missing}: use --device cpu")
    view = parse_view(args.view)
    if args.reference is not None and args.view:
        raise LocalError("--reference compares with the sender's own view: leave --view out")
    if whole:
        check_background(args.background)  # a wrong one is said now
    return ReceiveOptions(
        size=args.size, background=args.background if whole else None, view=view,
        buffer=args.buffer, display_fps=args.display_fps, fps=args.fps, threads=args.threads,
        device=args.device, backend=args.backend,
        output=args.output, reference=args.reference, stats=args.stats, trace=args.trace,
    )  # fmt: skip


def main(argv: list[str]) -> int:
    """Run the command; 0 unless the call ended otherwise than by somebody's wish."""
    args = parse(argv)
    options = options_of(args)
    from quic_transport.avatar_cache import AvatarCache
    from quic_transport.endpoint import Party, serve
    from quic_transport.invite import parse_address
    from quic_transport.kept_tickets import lasting_tickets
    from quic_transport.tokens import forget_token, lasting_token

    host, port = parse_address(args.listen)
    if options.reference is not None:
        from nerf.trainset import TrainSetError, read_trainset

        try:  # a wrong folder is said now, not when somebody has called
            read_trainset(options.reference)
        except TrainSetError as error:
            raise LocalError(f"--reference: {error}") from error
    party = Party(receives=True, cache=AvatarCache())
    with (
        Interrupt() as interrupt,
        serve(
            host, port, party=party, token=lasting_token(port), tickets=lasting_tickets(port)
        ) as listener,
    ):
        announce(f"invite: {listener.invite}")
        announce("waiting for a call; whoever has the invite can call (Ctrl-C ends)")
        try:
            return serve_calls(listener, options, interrupt, once=args.once)
        finally:
            forget_token(port)


def serve_calls(
    listener: Listener, options: ReceiveOptions, interrupt: Interrupt, *, once: bool
) -> int:
    """Take calls one after the other until interrupted, or one."""
    number = 0
    while not interrupt.requested:
        call = listener.accept(timeout=0.2)
        if call is None:
            continue
        number += 1
        try:
            receive_call(call, numbered(options, number), interrupt)
        except FacewireError as error:
            if once:
                raise
            print(f"facewire receive: {error}", file=sys.stderr)
        if once:
            return 0
        if not interrupt.requested:
            announce("waiting for the next call (Ctrl-C ends)")
    return 0


def numbered(options: ReceiveOptions, number: int) -> ReceiveOptions:
    """Later calls record beside the first: out.mp4, out-2.mp4, ..."""
    if number == 1 or options.output is None:
        return options
    path = options.output
    return replace(options, output=path.with_name(f"{path.stem}-{number}{path.suffix}"))


def receive_call(call: Call, options: ReceiveOptions, interrupt: Interrupt) -> None:
    """One call from its opening to its table; FacewireError if it ended otherwise than wished."""
    from conference.exchange import Exchange
    from conference.incoming import Receiving
    from conference.incoming_face import IncomingFace

    exchange = Exchange(call)
    with StatusLine() as status:
        try:
            face = IncomingFace(options, exchange, interrupt, status)
            if not face.prepare():
                exchange.close("the viewer left")
                announce("the call ended before the caller's head was there")
                if exchange.ended is not None and (error := exchange.ended.error()):
                    raise error
                return
            receiving = Receiving(face)
            receiving.run()
            receiving.finish()
        finally:
            exchange.close("the receiver stopped")
    report = receiving.report()
    print_report(report)
    if options.stats is not None:
        write_json(options.stats, report_json(report))
    if (error := receiving.failure()) is not None:
        raise error
