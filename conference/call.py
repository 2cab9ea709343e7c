"""`facewire call`: two people, one connection, both seen by the other.

    facewire call --listen 0.0.0.0:4433 --source camera:0 --avatar me.fwa --share-avatar
    facewire call --to INVITE           --source camera:0 --avatar you.fwa --share-avatar

The rule: whoever has no camera or no avatar leaves them out and only looks on; an avatar leaves
this machine only with --share-avatar. Keys in the window: h holds, q hangs up (Ctrl-C anywhere).
Standard output has the invite first, if we listen, and a table for each direction last.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from conference.statistics import print_report, report_json, write_json
from conference.terminal import Interrupt, StatusLine, announce
from quic_transport.errors import AvatarFileError, FacewireError, LocalError

if TYPE_CHECKING:
    from conference.incoming import ReceiveOptions
    from conference.outgoing import OutgoingFace
    from quic_transport.endpoint import Call, Party


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(prog="facewire call", description="call somebody, both ways")
    add = p.add_argument
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--listen", metavar="HOST:PORT", help="wait for a call; prints an invite")
    where.add_argument("--to", metavar="INVITE", help="call who printed this")
    where.add_argument("--history", action="store_true", help="show the call log and end")
    add("--source", metavar="SRC", help="camera:0, or a video; left out: you are not seen")
    add("--avatar", type=Path, metavar="ME.fwa", help="your avatar, with --source")
    add("--share-avatar", action="store_true",
        help="your consent: hand your avatar to the other side if it lacks it")  # fmt: skip
    add("-o", "--output", type=Path, metavar="PATH", help="record the other: .mp4, .mkv, a folder")
    add("--frame", choices=("full", "head"), default="full",
        help="full: with body and room, if the avatar has them; head: on white")  # fmt: skip
    add("--background", default="plate", metavar="WHAT",
        help="behind the other: plate (their room), blur, #rrggbb, a picture, or none")  # fmt: skip
    add("--size", type=int, metavar="PX",
        help="side of the head's picture; default 256, and 512 within a whole picture")  # fmt: skip
    add("--latency-budget", type=float, default=0.0, metavar="MS",
        help="a frame may wait so long for others to share its packet; 50 takes the "
        "wire from 17 to 10 kbps; default 0")  # fmt: skip
    add("--codec", choices=("rc", "eg0"), help="rc: ours, eg0: the paper's; default: rc if it can")
    add("--payload-kbps", type=float, metavar="X", help="of the coded parameters, at most")
    add("--seconds", type=float, metavar="N", help="send for so many seconds")
    add("--qlog", type=Path, metavar="DIR", help="write QUIC's own log (qlog) there")
    add("--stats", type=Path, metavar="FILE.json", help="write the final tables as JSON")
    args = p.parse_args(argv)
    if (args.source is None) != (args.avatar is None):
        raise LocalError("--source and --avatar belong together: your face needs both")
    if args.size is None:
        args.size = 512 if args.frame == "full" else 256
    if not 16 <= args.size <= 2048:
        raise LocalError(f"--size must lie in 16..2048 pixels, not {args.size}")
    if not 0 <= args.latency_budget <= 500:
        raise LocalError(f"--latency-budget must lie in 0..500 ms, not {args.latency_budget:g}")
    return args


def main(argv: list[str]) -> int:
    """Run the command; 0 unless the call ended otherwise than by somebody's wish."""
    args = parse(argv)
    from conference.call_log import log_lines, log_path, read_log

    if args.history:
        print("\n".join(log_lines(read_log(log_path())) or ["no calls yet"]))
        return 0
    from conference.incoming import ReceiveOptions
    from quic_transport.invite import parse_address
    from quic_transport.tokens import forget_token
    from receiver.pose_control import View

    if args.output is not None:
        from receiver.display import check_output

        check_output(args.output)
    background = args.background if args.frame == "full" else None
    if background is not None:
        from receiver.full_frame import check_background

        check_background(background)
    options = ReceiveOptions(size=args.size, view=View(), background=background, output=args.output)
    with Interrupt() as interrupt, StatusLine() as status:
        face, party = bring(args, status)
        try:
            call = reach(args, party, face, interrupt, status)
            if call is None:
                return 0
            code = talk(args, call, face, options, interrupt, status)
            if args.listen is not None:
                forget_token(parse_address(args.listen)[1])
            return code
        finally:
            if face is not None:
                face.close()


def bring(args: argparse.Namespace, status: StatusLine) -> tuple[OutgoingFace | None, Party]:
    """Our face, warmed up, and what the peer will be told of us."""
    from conference.outgoing import OutgoingFace, SendOptions
    from quic_transport.avatar_cache import AvatarCache
    from quic_transport.avatar_file import (
        avatar_id,
        decode_avatar,
        public_bytes,
        read_avatar_bytes,
    )
    from quic_transport.endpoint import Party
    from sender.personal.model import from_sections

    if args.source is None:
        return None, Party(receives=True, cache=AvatarCache())
    try:
        avatar = decode_avatar(read_avatar_bytes(args.avatar))
        personal = from_sections(avatar.sections)
    except AvatarFileError as error:
        raise AvatarFileError(f"{args.avatar}: {error}") from error
    data = public_bytes(avatar)  # the personal tracker stays here
    place = args.frame == "full" and "plate.framing" in avatar.sections
    face = OutgoingFace(
        SendOptions(source=args.source, seconds=args.seconds, place=place, codec=args.codec,
                    payload_kbps=args.payload_kbps),
        avatar.meta, personal, avatar.sections,
    )  # fmt: skip
    status.show("warming up the tracker", time.monotonic())
    face.warm_up()
    offer = face.offer(avatar_id(data), len(data))
    shared = data if args.share_avatar else None
    return face, Party(offer=offer, avatar=shared, receives=True, cache=AvatarCache())


def reach(
    args: argparse.Namespace, party: Party, face: OutgoingFace | None, interrupt: Interrupt,
    status: StatusLine,
) -> Call | None:  # fmt: skip
    """The call, made or taken; None after Ctrl-C."""
    from conference.calling import call_peer
    from quic_transport.endpoint import serve
    from quic_transport.invite import Invite, parse_address
    from quic_transport.kept_tickets import lasting_tickets
    from quic_transport.limits import Limits
    from quic_transport.tokens import forget_token, lasting_token

    limits = Limits(latency_budget_s=args.latency_budget / 1000)
    if args.to is not None:
        invite = Invite.parse(args.to)
        status.show(f"calling {invite.address}", time.monotonic())
        return call_peer(invite, party, face, limits=limits, qlog=args.qlog)
    host, port = parse_address(args.listen)
    token = lasting_token(port)
    listener = serve(
        host, port, party=party, token=token, limits=limits, qlog=args.qlog,
        tickets=lasting_tickets(port),
    )  # fmt: skip
    announce(f"invite: {listener.invite}")
    announce("waiting for a call; whoever has the invite can call (Ctrl-C ends)")
    while not interrupt.requested:
        call = listener.accept(timeout=0.2)
        if call is not None:
            return call
    listener.close()
    forget_token(port)
    return None


def talk(
    args: argparse.Namespace, call: Call, face: OutgoingFace | None, options: ReceiveOptions,
    interrupt: Interrupt, status: StatusLine,
) -> int:  # fmt: skip
    """The call from its opening to its tables."""
    from conference.call_log import add_call, log_path
    from conference.two_way import TwoWayCall

    both = TwoWayCall(call, face, options, interrupt, status)
    offer = call.peer.offer
    status.say(f"connected with {offer.name if offer is not None else 'somebody who is not seen'}")
    try:
        both.run()
    finally:
        try:
            address = args.to or args.listen
            add_call(log_path(), both.entry(outgoing=args.to is not None, address=address[:40]))
        except FacewireError as error:  # the call itself is over, and well
            print(f"facewire call: {error}", file=sys.stderr)
    reports = both.reports()
    for report in reports:
        print_report(report)
    if args.stats is not None:
        write_json(args.stats, {report.role: report_json(report) for report in reports})
    if (failure := both.failure()) is not None:
        raise failure
    return 0
