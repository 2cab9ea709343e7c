"""`facewire netsim`: run programs over a recorded or made-up network, look at traces, make them.

    replay TRACE [options] -- COMMAND [-- COMMAND]     plot TRACE -o FILE.png
    convert TRACE -o FILE.csv                          generate NETWORK -o FILE.csv
    clean                                              remove what a killed replay left

The rule: NetsimError is a sentence for the user; whoever calls `main` prints it. What addresses
look like in commands is the caller's (`addresses`): this package knows no invites.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import re
import selectors
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netsim.errors import NetsimError

if TYPE_CHECKING:
    from netsim.backend import Backend
    from netsim.path import PathSettings
    from netsim.relay import Address
    from netsim.replay import Addresses

TRACE_HELP = "a trace file, a rate like 12kbps, or train, lift, satellite, wifi, gprs[:SEED]"
QUEUE_PACKETS = 100
BACKENDS = ("relay", "tun", "tc")


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line; `commands` has what stood after each `--`."""
    words: list[list[str]] = [[]]
    for word in argv:
        if word == "--":
            words.append([])
        else:
            words[-1].append(word)
    p = argparse.ArgumentParser(prog="facewire netsim", description="a network in a box")
    sub = p.add_subparsers(dest="what", required=True, metavar="WHAT")
    r = sub.add_parser(
        "replay", help="run a call over a trace",
        usage="facewire netsim replay TRACE [options] [-- CALLED ...] -- CALLER ...",
        description="Run one or two programs over a trace, or (without a command) relay to --to.",
    )  # fmt: skip
    add = r.add_argument
    add("trace", metavar="TRACE", help=TRACE_HELP + "; two of them joined by a comma: up,down")
    add("--scale", type=float, default=1.0, metavar="F", help="multiply the rate by F")
    add("--delay", type=float, default=0.0, metavar="MS", help="one-way delay, each direction")
    add("--jitter", type=float, default=0.0, metavar="MS", help="up to so much more, at random")
    add("--loss", metavar="P", help="a share like 0.05; burst:SHARE,LENGTH; ge:TO_BAD,TO_GOOD")
    add("--queue", type=int, default=QUEUE_PACKETS, metavar="N", help="packets that may wait; 100")
    add("--seed", type=int, default=0, metavar="N", help="of everything random; default 0")
    add("--backend", choices=BACKENDS, default="relay", help="default relay (UDP, no privileges)")
    add("--to", metavar="INVITE", help="without a command: where to relay, also HOST:PORT")
    add("--listen", default="127.0.0.1:0", metavar="HOST:PORT", help="of the relay")
    add("--stats", type=Path, metavar="FILE.json", help="write the path's numbers")
    for name, what in (("plot", "draw a trace"), ("convert", "write any trace as our CSV")):
        c = sub.add_parser(name, help=what, description=what)
        c.add_argument("trace", metavar="TRACE", help=TRACE_HELP)
        ending = "png" if name == "plot" else "csv"
        c.add_argument("-o", "--output", type=Path, required=True, metavar=f"FILE.{ending}")
        c.add_argument("--scale", type=float, default=1.0, metavar="F", help="multiply the rate")
        c.add_argument(
            "--direction", choices=("up", "down"), default="down",
            help="which, of formats that hold both; default down",
        )  # fmt: skip
    g = sub.add_parser("generate", help="make up a network", description="make up a network")
    g.add_argument("network", metavar="NETWORK", help="train, lift, satellite, wifi or gprs")
    g.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.csv")
    g.add_argument("--seconds", type=float, default=300.0, metavar="N", help="default 300")
    g.add_argument("--seed", type=int, default=0, metavar="N", help="default 0")
    sub.add_parser("clean", help="remove what a killed replay left behind")
    args = p.parse_args(words[0])
    args.commands = words[1:]
    if args.commands and args.what != "replay":
        p.error(f"{args.what} takes no command")
    return args


def main(argv: list[str], addresses: Addresses | None = None) -> int:
    """Run one of the commands; NetsimError says what is wrong."""
    args = parse(argv)
    if args.what == "replay":
        return _replay(args, addresses or PlainAddresses())
    if args.what == "clean":
        from netsim.namespaces import clean

        gone = clean()
        print(f"removed {', '.join(gone)}" if gone else "nothing was left behind")
        return 0
    from netsim.choose import choose_trace
    from netsim.generate import generate

    if args.what == "generate":
        trace = generate(args.network, args.seconds, args.seed)
    else:
        trace = choose_trace(args.trace, args.direction)
        if args.scale != 1:
            trace = trace.scaled(args.scale)
    if args.what == "plot":
        from netsim.plot import plot

        plot(trace, args.output)
    else:
        from netsim.readers.table import write

        _write_text(args.output, write(trace))
    print(
        f"{args.output}: {trace.duration_s:g} s, mean {trace.mean_kbps():.0f} kbps, "
        f"longest gap {trace.longest_gap_s():.1f} s"
    )
    return 0


class PlainAddresses:
    """host:port in words."""

    def find(self, text: str) -> Found | None:
        """The first IPv4 address or name with a port."""
        from netsim.replay import Found

        match = re.search(r"(?<![\w.:])([A-Za-z0-9_.-]+):([0-9]{1,5})(?![\w.:])", text)
        if match is None or not 0 < int(match[2]) < 65536:
            return None
        return Found(match[0], (match[1], int(match[2])))

    def moved(self, found: Found, address: Address) -> str:
        """host:port again."""
        return f"{address[0]}:{address[1]}"


if TYPE_CHECKING:
    from netsim.replay import Found


def path_settings(args: argparse.Namespace) -> PathSettings:
    """What the options say about the path."""
    from netsim.choose import choose_trace
    from netsim.loss import parse_loss
    from netsim.path import PathSettings
    from netsim.settings import LinkSettings

    names = [args.trace] if Path(args.trace).is_file() else args.trace.split(",")
    if len(names) > 2:
        raise NetsimError("TRACE is one trace for both directions, or two: up,down")
    loss = parse_loss(args.loss) if args.loss is not None else None

    def link(way: str, name: str) -> LinkSettings:
        trace = choose_trace(name, "up" if way == "up" else "down").scaled(args.scale)
        return LinkSettings(
            trace=trace, delay_ms=args.delay, jitter_ms=args.jitter, loss=loss,
            queue_packets=args.queue,
        )  # fmt: skip

    if not math.isfinite(args.delay):
        raise NetsimError("--delay is a number of milliseconds")
    return PathSettings(up=link("up", names[0]), down=link("down", names[-1]))


def _replay(args: argparse.Namespace, addresses: Addresses) -> int:
    commands = args.commands
    if len(commands) > 2 or any(not command for command in commands):
        raise NetsimError("replay runs one command or two, each after a --")
    if not commands and args.to is None:
        raise NetsimError("say what to run (-- COMMAND) or where to relay (--to INVITE)")
    if commands and args.to is not None:
        raise NetsimError("--to is for replay without a command: the command has the invite")
    if args.backend != "relay" and len(commands) != 2:
        raise NetsimError(
            f"--backend {args.backend} runs both programs, each in a network of its own: "
            "-- CALLED ... -- CALLER ... with the word INVITE in the second"
        )
    settings = path_settings(args)
    with asyncio.Runner(loop_factory=_punctual_loop) as runner:
        return runner.run(_replay_async(args, settings, addresses))


def _punctual_loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers are exact: epoll's, asyncio's usual choice, are rounded up to whole
    milliseconds, which would be added to every packet's delay. Windows has but its own for
    programs that are run."""
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


async def _replay_async(
    args: argparse.Namespace, settings: PathSettings, addresses: Addresses
) -> int:
    from netsim.path import report_lines
    from netsim.replay import run_over

    _cancel_on_signals()
    backend: Backend | None = None
    report: dict[str, dict[str, Any]] = {}
    code, seconds = 0, 0.0
    try:
        backend = await _open_backend(args, settings)
        if args.commands:
            code = (await run_over(backend, args.commands, addresses, say)).code
        else:
            await _relay_only(args.to, backend, addresses)
    except asyncio.CancelledError:  # Ctrl-C or a kill: still restore and report
        code = 130
    finally:
        if backend is not None:
            report, seconds = backend.report(), backend.seconds()
            await backend.close()
    if report:
        print("\n".join(report_lines(report, seconds)), flush=True)
    if args.stats is not None:
        named = {"trace": args.trace, "seed": args.seed, "seconds": round(seconds, 3)}
        _write_text(args.stats, json.dumps({**named, **report}, indent=1) + "\n")
    return 0 if code == 130 and not args.commands else code


def _cancel_on_signals() -> None:
    """Ctrl-C, a kill and a closed terminal cancel this task, so that what was changed is restored.
    SIGINT too, though asyncio.run sees to Ctrl-C: a background job starts with it ignored. Windows'
    loops have no handlers, and Windows no SIGHUP; there Ctrl-C is all there is."""
    me = asyncio.current_task()
    assert me is not None
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(getattr(signal, name), me.cancel)


async def _open_backend(args: argparse.Namespace, settings: PathSettings) -> Backend:
    if args.backend == "tun":
        from netsim.tun import TunBackend

        return await TunBackend.open(settings, args.seed)
    if args.backend == "tc":
        from netsim.tc import TcBackend

        return await TcBackend.open(settings)
    from netsim.backend import RelayBackend

    match = re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9_.-]*)):([0-9]{1,5})", args.listen)
    if match is None or int(match[3]) > 65535:
        raise NetsimError(f"--listen looks like 127.0.0.1:4433, not {args.listen!r}")
    host = match[1] or match[2] or "0.0.0.0"
    return RelayBackend(settings, args.seed, (host, int(match[3])))


async def _relay_only(to: str, backend: Backend, addresses: Addresses) -> None:
    found = addresses.find(to) or PlainAddresses().find(to)
    if found is None:
        raise NetsimError(f"--to is an invite or HOST:PORT, not {to[:40]!r}")
    address = await backend.lead(found.target)
    plain = found.text == f"{found.target[0]}:{found.target[1]}"
    moved = PlainAddresses().moved(found, address) if plain else addresses.moved(found, address)
    say(f"call {moved}")
    say("relaying until Ctrl-C")
    await asyncio.Event().wait()


def say(text: str) -> None:
    """A line for people, beside what the programs print."""
    print(f"netsim: {text}", flush=True)


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NetsimError(f"{path} cannot be written ({error.strerror or error})") from None


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NetsimError as problem:
        sys.exit(f"netsim: {problem}")
