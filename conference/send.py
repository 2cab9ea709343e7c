"""`facewire send`: call a receiver and send a face from a camera or a video.

The rule: everything that can be wrong here is found before the call is made; the table comes last
on standard output.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conference.statistics import print_report, report_json, write_json
from conference.terminal import Interrupt, StatusLine, announce
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.offer import DATAGRAM, MODES

PLATE_FRAMING = "plate.framing"  # the section of an avatar that has a whole picture

if TYPE_CHECKING:
    from conference.exchange import Exchange


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire send", description="call a receiver and send your face"
    )
    add = p.add_argument
    add("--source", required=True, metavar="SRC", help="camera:0, or a video played in real time")
    add("--avatar", required=True, type=Path, metavar="ME.fwa", help="the avatar of who is seen")
    add("--to", required=True, metavar="INVITE", help="what `facewire receive` printed")
    add("--fps", type=float, default=20.0, help="frames per second; default 20")
    add(
        "--extractor",
        metavar="NAME",
        help="facenet, mediapipe, cpem or truth; default: the avatar's",
    )
    add("--codec", choices=("rc", "eg0"), help="rc: ours, eg0: the paper's; default: rc if it can")
    add("--payload-kbps", type=float, metavar="X", help="of the coded parameters, at most")
    add(
        "--face",
        default="largest",
        metavar="largest|left|right|N[,mirror][,raw]",
        help="whom to send if there are several; mirror: the camera shows a mirror image; raw: "
        "without smoothing",
    )
    add(
        "--frame",
        choices=("full", "head"),
        default="full",
        help="full: the head's place in the picture is sent too (if the avatar has a body); head: "
        "as in the paper",
    )
    add(
        "--share-avatar",
        action="store_true",
        help="your consent: hand your avatar to the receiver if it has none of you yet",
    )
    add(
        "--mode",
        choices=MODES,
        default=DATAGRAM,
        help="how frames cross: datagram (default), stream (the paper's), stream-per-gop",
    )
    add(
        "--latency-budget",
        type=float,
        default=0.0,
        metavar="MS",
        help="a frame may wait so long to share a packet; 50: the wire from 17 to 10 kbps",
    )
    add("--qlog", type=Path, metavar="DIR", help="write QUIC's own log (qlog) there")
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    add("--seconds", type=float, metavar="N", help="hang up after so many seconds")
    add("--stats", type=Path, metavar="FILE.json", help="write the final table as JSON")
    add("--trace", type=Path, metavar="FILE.jsonl", help="one line per frame: when it passed what")
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the command; 0 unless the call ended otherwise than by somebody's wish."""
    args = parse(argv)
    if not 1 <= args.fps <= 60:
        raise LocalError(f"--fps must lie in 1..60, not {args.fps:g}")
    if args.seconds is not None and not args.seconds > 0:
        raise LocalError(f"--seconds must be positive, not {args.seconds:g}")
    if not 0 <= args.latency_budget <= 500:
        raise LocalError(f"--latency-budget must lie in 0..500 ms, not {args.latency_budget:g}")
    from conference.calling import call_peer
    from conference.exchange import Exchange
    from conference.outgoing import FaceWish, OutgoingFace, Sending, SendOptions
    from quic_transport.avatar_file import (
        avatar_id,
        decode_avatar,
        public_bytes,
        read_avatar_bytes,
    )
    from quic_transport.endpoint import Party
    from quic_transport.invite import Invite
    from quic_transport.limits import Limits
    from sender.personal.model import from_sections

    invite = Invite.parse(args.to)
    try:
        avatar = decode_avatar(read_avatar_bytes(args.avatar))
        personal = from_sections(avatar.sections)
    except AvatarFileError as error:
        raise AvatarFileError(f"{args.avatar}: {error}") from error
    data = public_bytes(avatar)  # the personal tracker stays here
    options = SendOptions(
        source=args.source, fps=args.fps, extractor=args.extractor, models=args.models,
        codec=args.codec, payload_kbps=args.payload_kbps, mode=args.mode,
        seconds=args.seconds, trace=args.trace,
        place=args.frame == "full" and PLATE_FRAMING in avatar.sections,
        face=FaceWish.parse(args.face),
    )  # fmt: skip
    with Interrupt() as interrupt, StatusLine() as status:
        face = OutgoingFace(options, avatar.meta, personal, avatar.sections)
        try:
            status.show("warming up the tracker", time.monotonic())
            face.warm_up()
            status.show(f"calling {invite.address}", time.monotonic())
            shared = data if args.share_avatar else None
            party = Party(offer=face.offer(avatar_id(data), len(data)), avatar=shared)
            limits = Limits(latency_budget_s=args.latency_budget / 1000)
            exchange = Exchange(call_peer(invite, party, face, limits=limits, qlog=args.qlog))
            try:
                if not wait_until_ready(exchange, interrupt, status):
                    exchange.close("the sender left")
                    announce("the call ended before the other side was ready")
                    if exchange.ended is not None and (ending := exchange.ended.error()):
                        raise ending
                    return 0
                status.say(f"connected: sending {face.source.name}")
                sending = Sending(face, exchange)
                sending.run(interrupt, status)
                sending.finish()
            finally:
                exchange.close("the sender stopped")
        finally:
            face.close()
    report = sending.report()
    print_report(report)
    if args.stats is not None:
        write_json(args.stats, report_json(report))
    if (failure := sending.failure()) is not None:
        raise failure
    return 0


def wait_until_ready(exchange: Exchange, interrupt: Interrupt, status: StatusLine) -> bool:
    """Wait until the peer can draw us; False if the call ended first or Ctrl-C came."""
    while not exchange.peer_ready:
        if interrupt.requested or exchange.over:
            return False
        exchange.wait(lambda: exchange.peer_ready, 0.2)
        now = time.monotonic()
        if status.due(now):
            progress = exchange.progress
            if progress is None or progress.done >= progress.total:
                status.show("waiting until the other side is ready", now)
            else:
                share = 100 * progress.done / progress.total
                status.show(f"sending the avatar: {share:.0f} %", now)
    return True
