"""The call log: one line per call of this user, newest last.

The rule: it holds who, when, how long and how it ended, and nothing that was said or shown; only
its owner can read it, and it never grows beyond MAX_CALLS lines.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from quic_transport.errors import LocalError
from quic_transport.folders import config_folder

FILE_NAME = "calls.jsonl"
MAX_CALLS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEntry:
    """One call."""

    began: str
    """Local time, ISO 8601 to the second."""
    direction: str
    """"out" (we called) or "in"."""
    peer: str
    """The peer's name, or its address where it told none."""
    seconds: float
    """From the opening to the end."""
    sent_frames: int
    """Frames that left."""
    received_frames: int
    """Frames that came."""
    wire_kb: float
    """Both directions, with IP and UDP headers, in 1000 bytes."""
    ended: str
    """A sentence."""


def log_path() -> Path:
    """Where the log is."""
    return config_folder() / FILE_NAME


def began_at(clock: float) -> str:
    """A time of the wall clock as the log writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(clock))


def read_log(path: Path) -> list[CallEntry]:
    """The calls so far, oldest first; lines that make no sense are left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    entries = []
    for line in lines:
        try:
            entries.append(CallEntry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries


def add_call(path: Path, entry: CallEntry) -> None:
    """Append a call and let go of the oldest; LocalError names the file."""
    entries = [*read_log(path), entry][-MAX_CALLS:]
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(path.name + ".part")
        with os.fdopen(os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
            file.writelines(json.dumps(asdict(e), ensure_ascii=False) + "\n" for e in entries)
        new.replace(path)
    except OSError as error:
        raise LocalError(f"cannot write the call log {path}: {error.strerror}") from error


def log_lines(entries: list[CallEntry]) -> list[str]:
    """The log for people, newest first."""
    return [
        f"{e.began.replace('T', ' ')}  {'to' if e.direction == 'out' else 'from'} {e.peer}  "
        f"{e.seconds:.0f} s, {e.sent_frames} frames out, {e.received_frames} in, "
        f"{e.wire_kb:.0f} kB; {e.ended}"
        for e in reversed(entries)
    ]
