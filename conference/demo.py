"""`facewire demo`: a video becomes an avatar, and the avatar makes a call over loopback.

The rule: nothing here that a user could not type. Every step is a facewire command, shown as it
runs; finished steps are kept and said so; the call's two ends are processes of their own, and
what is sent is the last 15 % of the video, which training never saw.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from conference.statistics import write_json
from conference.terminal import announce
from quic_transport.errors import LocalError
from sender.extractor import DEFAULT_EXTRACTOR, EXTRACTORS

EXACT = "truth"
EXACT_NOTE = (
    "the performer's own parameters were sent (extractor truth), so nothing here says how well a "
    "tracker follows a face"
)
FREE_VIEW = "pitch=-5,sway=30"
CALL_PATIENCE_S = 120.0  # beyond the clip's length, for starting, warming up and saying goodbye
FRAMES_PER_SECOND = 20.0


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire demo", description="video → avatar → call over loopback, with pictures"
    )
    add = p.add_argument
    add("--video", type=Path, metavar="CLIP", help="a video of one person; default: a performer")
    add("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="default demo/")
    add("--seed", type=int, default=7, help="which performer; default 7")
    add("--seconds", type=float, default=40.0, metavar="N", help="of performance; default 40")
    add("--budget", type=float, default=120.0, metavar="SECONDS", help="of training; default 120")
    add("--size", type=int, default=256, metavar="PX", help="of the received pictures; 256")
    add("--threads", type=int, metavar="N", help="of drawing; default: all cores")
    add("--frame", choices=("full", "head"), default="full",
        help="full: a third call shows body and room too; head: the paper's two")  # fmt: skip
    add("--extractor", choices=EXTRACTORS, default=DEFAULT_EXTRACTOR, help="default facenet")
    add("--models", type=Path, metavar="DIR", help="folder of the tracker's model files")
    args = p.parse_args(argv)
    if not 10 <= args.seconds <= 600:
        raise LocalError(f"--seconds must lie in 10..600, not {args.seconds:g}")
    if not args.budget > 0:
        raise LocalError(f"--budget must be positive, not {args.budget:g}")
    return args


class Steps:
    """Which steps are done, with what; kept in `steps.json`."""

    def __init__(self, folder: Path) -> None:
        """Remembers what an earlier run in `folder` left, if that is readable."""
        self.seconds: dict[str, float] = {}
        self._file = folder / "steps.json"
        self._before = ""  # what the step before was made as: if it changes, all after it do
        try:
            self._done = dict(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            self._done = {}

    def run(self, name: str, recipe: list[str], product: Path, work: Callable[[], None]) -> None:
        """Do `work` unless its product is there, made by this recipe from what is there now."""
        wanted = [*recipe, self._before]
        known = self._done.get(name)
        if product.exists() and isinstance(known, dict) and known.get("recipe") == wanted:
            announce(f"\n[{name}] kept from before: {product}")
            self._before = str(known.get("made"))
            return
        announce(f"\n[{name}]")
        self._done.pop(name, None)
        started = time.monotonic()
        work()
        self.seconds[name] = round(time.monotonic() - started, 1)
        self._before = f"{name} {time.time_ns()}"
        self._done[name] = {"recipe": wanted, "made": self._before}
        write_json(self._file, self._done)


def main(argv: list[str]) -> int:
    """Run the demo; 0 when everything was made."""
    args = parse(argv)
    folder: Path = args.output
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make the folder {folder}: {error.strerror}") from error
    steps, started = Steps(folder), time.monotonic()
    tracker = args.extractor
    why = EXACT_NOTE if tracker == EXACT else ""
    video = film(args, steps)
    dataset = folder / "dataset"
    build = ["build", str(video), "-o", str(dataset), "--extractor", tracker, "--force"]
    if args.models is not None:
        build += ["--models", str(args.models)]
    steps.run("dataset", build, dataset / "transforms.json", lambda: command("dataset", build))
    avatar = folder / "avatar.fwa"
    train = [str(dataset), "-o", str(avatar), "--seconds", f"{args.budget:g}"]
    steps.run("training", train, avatar, lambda: command("train", train))
    clip, reference = folder / "heldout.mp4", folder / "heldout"
    steps.run("held-out part", [str(video)], clip,
              lambda: cut(video, dataset, avatar, clip, reference))  # fmt: skip
    call = Call(args, avatar, clip, reference, folder)
    steps.run("call", ["call", str(args.size)], folder / "received.json", call.true_view)
    steps.run("call, seen from elsewhere", ["free", str(args.size), FREE_VIEW],
              folder / "free_view.json", call.free_view)  # fmt: skip
    whole = args.frame == "full" and has_whole_picture(avatar)
    if whole:
        steps.run("call, the whole picture", ["whole"], folder / "whole.json", call.whole_picture)
    announce("\n[pictures]")
    write_pictures(args, folder, reference)
    if whole:
        from conference.demo_pictures import write_whole

        write_whole(folder, clip, avatar, FRAMES_PER_SECOND)
    write_table(folder, tracker, why, steps.seconds, time.monotonic() - started)
    return 0


def command(name: str, argv: list[str]) -> None:
    """Run a facewire command in this process, after showing it; an interruption ends the demo."""
    from importlib import import_module

    from facewire import COMMANDS

    announce(f"$ facewire {name} {shlex.join(argv)}")
    if import_module(COMMANDS[name][0]).main(argv) != 0:
        raise LocalError(f"the demo stopped at `facewire {name}`; the same command goes on there")


def film(args: argparse.Namespace, steps: Steps) -> Path:
    """The video: the user's, or a performer's."""
    if args.video is not None:
        return Path(args.video)
    video = args.output / f"performer-{args.seed}.mp4"
    argv = ["--seed", str(args.seed), "--seconds", f"{args.seconds:g}", "--script", "enrolment",
            "-o", str(video)]  # fmt: skip
    steps.run("performer", argv, video, lambda: command("performer", argv))
    return Path(video)


def cut(video: Path, dataset: Path, avatar: Path, clip: Path, reference: Path) -> None:
    """Make the clip and the reference of the call."""
    from conference.heldout import cut_clip, cut_trainset
    from nerf.trainset import read_trainset
    from quic_transport.avatar_file import load_avatar
    from sender.personal.model import from_sections

    start = cut_clip(video, read_trainset(dataset), clip)
    cut_trainset(dataset, start, reference, from_sections(load_avatar(avatar).sections))
    announce(f"{clip}: what training never saw, from second {start:.1f} on")


class Call:
    """Runs `facewire receive` and `facewire send` as two processes."""

    def __init__(
        self, args: argparse.Namespace, avatar: Path, clip: Path, reference: Path, folder: Path
    ) -> None:
        self._args, self._avatar, self._clip = args, avatar, clip
        self._reference, self._folder = reference, folder

    def true_view(self) -> None:
        """The paper's call, measured against the source."""
        self._run("received", "head", ["--reference", str(self._reference)])

    def free_view(self) -> None:
        """The same call, seen from elsewhere."""
        self._run("free_view", "head", ["--view", FREE_VIEW])

    def whole_picture(self) -> None:
        """The call as its users see it: head, body and room."""
        self._run("whole", "full", [])

    def _run(self, name: str, frame: str, options: list[str]) -> None:
        out = self._folder / name
        if frame == "head":
            options = ["--size", str(self._args.size), *options]
        if self._args.threads is not None:
            options = ["--threads", str(self._args.threads), *options]
        receive = ["receive", "--listen", "127.0.0.1:0", "--once", "--frame", frame,
                   "-o", f"{out}.mp4", "--stats", f"{out}.json", "--trace",
                   f"{out}.receiver.jsonl", *options]  # fmt: skip
        send = ["send", "--share-avatar", "--frame", frame, "--source", str(self._clip),
                "--avatar", str(self._avatar), "--fps", f"{FRAMES_PER_SECOND:g}",
                "--stats", f"{out}.sender.json", "--trace", f"{out}.sender.jsonl"]  # fmt: skip
        if self._args.models is not None:
            send += ["--models", str(self._args.models)]
        Path(f"{out}.json").unlink(missing_ok=True)
        facewire = [sys.executable, "-m", "facewire"]
        announce(f"$ facewire {shlex.join(receive)}")
        with subprocess.Popen([*facewire, *receive], stdout=subprocess.PIPE, text=True) as receiver:
            assert receiver.stdout is not None
            try:
                invite = read_invite(receiver.stdout.readline())
                announce(f"$ facewire {shlex.join(send)} --to INVITE")
                from sender.video import probe

                patience = CALL_PATIENCE_S + (probe(self._clip).duration or 600.0)
                sent = subprocess.run([*facewire, *send, "--to", invite], timeout=patience,
                                      stdout=subprocess.DEVNULL, check=False)  # fmt: skip
                receiver.communicate(timeout=30.0)
            except subprocess.TimeoutExpired as error:
                raise LocalError("the demo's call did not come to an end; run it again") from error
            finally:
                if receiver.poll() is None:
                    receiver.terminate()
        if sent.returncode or receiver.returncode:
            raise LocalError("the demo's call failed (its reason stands above); run it again")
        announce(f"recorded {out}.mp4")


def has_whole_picture(avatar: Path) -> bool:
    """Whether an avatar has a room to stand in."""
    from conference.send import PLATE_FRAMING
    from quic_transport.avatar_file import load_avatar

    return PLATE_FRAMING in load_avatar(avatar).sections


def read_invite(line: str) -> str:
    """The invite in the receiver's first line."""
    label, _, invite = line.strip().partition("invite: ")
    if label or not invite:
        raise LocalError("the demo's receiver did not start (its reason stands above)")
    return invite


def write_pictures(args: argparse.Namespace, folder: Path, reference: Path) -> None:
    """The side-by-side video and the contact sheet."""
    from conference.demo_pictures import (
        recorded,
        side_by_side,
        source_portraits,
        write_contact_sheet,
        write_video,
    )

    columns = [source_portraits(reference, args.size)]
    for name in ("received", "free_view"):
        report = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        columns.append(recorded(folder / f"{name}.mp4", report["recording_start_s"]))
    write_video(side_by_side(columns, FRAMES_PER_SECOND), folder / "side_by_side.mp4",
                FRAMES_PER_SECOND)  # fmt: skip
    write_contact_sheet(columns, folder / "contact_sheet.png")


def write_table(
    folder: Path, tracker: str, why: str, seconds: dict[str, float], total: float
) -> None:
    """The table as text and as JSON, and what was made."""
    from conference.statistics import (
        CallReport,
        join_traces,
        milliseconds,
        print_report,
        write_json,
    )

    document = json.loads((folder / "received.json").read_text(encoding="utf-8"))
    transport = join_traces(folder / "received.sender.jsonl", folder / "received.receiver.jsonl")
    if ms := milliseconds(transport):
        latency = document["latency_ms"]
        after = list(latency).index("capture to arrival") if "capture to arrival" in latency else 0
        rows = list(latency.items())
        rows.insert(after, ("transport", ms))
        document["latency_ms"] = dict(rows)
    document["notes"] = [note for note in (*document["notes"], why) if note]
    document["demo"] = {"tracker": tracker, "step_seconds": seconds, "total_seconds": round(total)}
    write_json(folder / "table.json", document)
    fields = {name: document[name] for name in CallReport.__slots__}
    report = CallReport(**{**fields, "notes": tuple(document["notes"])})
    with (folder / "table.txt").open("w", encoding="utf-8") as text:
        print_report(report, text)
    print_report(report)
    took = ", ".join(f"{name} {s:.0f} s" for name, s in seconds.items())
    announce(
        f"\nmade in {total:.0f} s ({took or 'everything was kept from before'}), in {folder}/:"
    )
    for name, what in (
        ("side_by_side.mp4", "source, received, free viewpoint"),
        ("contact_sheet.png", "the same as a picture"),
        ("whole_picture.mp4", "source and received, with body and room"),
        ("avatar.fwa", "the avatar; look inside with `facewire inspect`"),
        ("table.txt, table.json", "the numbers above"),
    ):
        if (folder / name.partition(",")[0]).exists():
            announce(f"  {name:<22} {what}")
