"""`facewire call`: both directions over one connection, in one process and as two."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from conference.call import main as call_main
from conference.call_log import CallEntry, add_call, log_lines, read_log
from conference.incoming import ReceiveOptions
from conference.outgoing import OutgoingFace, SendOptions
from conference.terminal import Interrupt, StatusLine
from conference.two_way import TwoWayCall
from quic_transport.avatar_cache import AvatarCache
from quic_transport.avatar_file import avatar_id, decode_avatar, read_avatar_bytes
from quic_transport.certs import load_identity
from quic_transport.endpoint import Party, connect, serve
from quic_transport.errors import LocalError, RemoteError
from receiver.pose_control import View
from tests.conference.conftest import TinyPerson

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


class Person:
    """One side's belongings."""

    def __init__(
        self, tiny: TinyPerson, folder: Path, name: str, *, seen: bool = True,
        shares: bool = True, seconds: float = 1.5,
    ) -> None:  # fmt: skip
        data = read_avatar_bytes(tiny.avatar)
        cache = AvatarCache(folder / name)
        self.recording = folder / f"{name}.mp4"
        self.options = ReceiveOptions(size=32, view=View(), output=self.recording)
        self.interrupt = Interrupt()
        self.face: OutgoingFace | None = None
        self.party = Party(receives=True, cache=cache)
        if seen:
            options = SendOptions(source=str(tiny.clip), seconds=seconds)
            self.face = OutgoingFace(options, decode_avatar(data).meta)
            self.face.warm_up()
            offer = self.face.offer(avatar_id(data), len(data))
            shared = data if shares else None
            self.party = Party(offer=offer, avatar=shared, receives=True, cache=cache)


@contextmanager
def talking(
    tmp_path: Path, caller: Person, callee: Person
) -> Iterator[tuple[TwoWayCall, TwoWayCall, list[BaseException]]]:
    """Both run their call in threads until both are over."""
    identity = load_identity(tmp_path / "identity")
    with serve("127.0.0.1", 0, party=callee.party, identity=identity) as listener:
        out = connect(listener.invite, party=caller.party)
        into = listener.accept(timeout=10)
        assert into is not None
        calls = tuple(
            TwoWayCall(call, person.face, person.options, person.interrupt, StatusLine())
            for call, person in ((out, caller), (into, callee))
        )
        errors: list[BaseException] = []

        def run(call: TwoWayCall) -> None:
            try:
                call.run()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        yield calls[0], calls[1], errors
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    for person in (caller, callee):
        if person.face is not None:
            person.face.close()


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pictures_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_two_way_both_see_each_other_to_the_end(tiny: TinyPerson, tmp_path: Path) -> None:
    caller, callee = Person(tiny, tmp_path, "caller"), Person(tiny, tmp_path, "callee")
    with talking(tmp_path, caller, callee) as (out, into, errors):
        pass
    assert not errors
    for call, person in ((out, caller), (into, callee)):
        sender, receiver = call.reports()
        assert (sender.role, receiver.role) == ("sender", "receiver")
        assert sender.balanced
        assert receiver.balanced
        assert receiver.frames["rendered"] > 15
        assert pictures_in(person.recording) > 10
        assert call.failure() is None
        entry = call.entry(outgoing=call is out, address="x")
        assert entry.peer == "Tiny"
        assert entry.sent_frames > 15 < entry.received_frames
        assert entry.seconds > 1


def test_two_way_who_has_no_camera_only_looks_on(tiny: TinyPerson, tmp_path: Path) -> None:
    caller = Person(tiny, tmp_path, "caller", seen=False)
    callee = Person(tiny, tmp_path, "callee")
    with talking(tmp_path, caller, callee) as (out, into, errors):
        pass
    assert not errors
    assert [r.role for r in out.reports()] == ["receiver"]
    assert [r.role for r in into.reports()] == ["sender"]
    assert out.failure() is None
    assert into.failure() is None


def test_two_way_hang_up_of_one_ends_both(tiny: TinyPerson, tmp_path: Path) -> None:
    caller = Person(tiny, tmp_path, "caller", seconds=60)
    callee = Person(tiny, tmp_path, "callee", seconds=60)
    with talking(tmp_path, caller, callee) as (out, into, errors):
        until(lambda: into.exchange.call.counts()[1].frames > 10)
        until(lambda: out.exchange.call.counts()[1].frames > 10)
        callee.interrupt.requested = True
    assert not errors
    assert out.failure() is None
    assert into.failure() is None
    assert out.exchange.ended is not None


def test_two_way_hold_stops_one_face_and_goes_on(tiny: TinyPerson, tmp_path: Path) -> None:
    caller = Person(tiny, tmp_path, "caller", seconds=4.5)
    callee = Person(tiny, tmp_path, "callee", seconds=4.5)
    with talking(tmp_path, caller, callee) as (out, into, errors):
        until(lambda: into.exchange.call.counts()[1].frames > 10)
        out.toggle_hold()
        until(lambda: into.exchange.peer_holds)
        time.sleep(0.2)
        held = out.exchange.call.counts()[0].frames
        other = into.exchange.call.counts()[0].frames
        until(lambda: into.exchange.call.counts()[0].frames > other + 10)
        assert out.exchange.call.counts()[0].frames <= held + 1
        out.toggle_hold()
        until(lambda: out.exchange.call.counts()[0].frames > held + 5)
        assert not into.exchange.peer_holds
    assert not errors
    sender = out.reports()[0]
    assert sender.frames["on hold"] > 5
    assert sender.balanced
    assert into.reports()[1].balanced


def test_two_way_avatar_leaves_only_with_consent(tiny: TinyPerson, tmp_path: Path) -> None:
    caller = Person(tiny, tmp_path, "caller", shares=False)
    callee = Person(tiny, tmp_path, "callee", seen=False)
    with talking(tmp_path, caller, callee) as (out, into, _):
        pass
    for call in (out, into):
        ended = call.exchange.ended
        assert ended is not None
        assert "does not hand out" in ended.sentence
        assert isinstance(ended.error(), RemoteError)
    assert not list((tmp_path / "callee").glob("*.fwa"))


def entry(number: int) -> CallEntry:
    return CallEntry(
        began="2026-01-02T03:04:05", direction="in", peer=f"Zoë {number}", seconds=1.0,
        sent_frames=1, received_frames=2, wire_kb=3.0, ended="hung up",
    )  # fmt: skip


def test_call_log_keeps_the_newest_and_forgives_damage(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "calls.jsonl"
    assert read_log(path) == []
    add_call(path, entry(0))
    with path.open("a") as file:
        file.write('{"nonsense": 1}\nnot json\n')
    add_call(path, entry(1))
    assert read_log(path) == [entry(0), entry(1)]
    assert path.stat().st_mode & 0o777 == 0o600
    assert "Zoë 1" in log_lines(read_log(path))[0]


def test_call_log_never_grows_beyond_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conference.call_log.MAX_CALLS", 3)
    for number in range(5):
        add_call(tmp_path / "calls.jsonl", entry(number))
    assert [e.peer for e in read_log(tmp_path / "calls.jsonl")] == ["Zoë 2", "Zoë 3", "Zoë 4"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--listen", ":0", "--source", "x.mp4"], "belong together"),
        (["--to", "facewire://nonsense"], "copy the whole line"),
        (["--listen", ":0", "--latency-budget", "900"], "0..500"),
    ],
)
def test_call_wrong_usage_is_one_sentence(args: list[str], sentence: str) -> None:
    with pytest.raises(LocalError, match=sentence):
        call_main(args)


COMMAND = """
import sys
from conference.call import main
from quic_transport.errors import FacewireError
try:
    sys.exit(main(sys.argv[1:]))
except FacewireError as error:
    sys.exit(f"facewire call: {error}")
"""


def command(folder: Path, name: str, *args: object) -> subprocess.Popen[str]:
    environment = {
        **os.environ, "FACEWIRE_CONFIG": str(folder / name), "PYTHONWARNINGS": "default",
        "FACEWIRE_CACHE": str(folder / f"{name}-cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'datasets'}",
    }  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, args)], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_call_as_two_processes_ctrl_c_hangs_up_and_is_logged(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    mine = ("--source", tiny.clip, "--avatar", tiny.avatar, "--share-avatar", "--size", 32)
    listening = command(tmp_path, "callee", "--listen", "127.0.0.1:0", *mine, "-o",
                        tmp_path / "callee.mp4", "--seconds", 30)  # fmt: skip
    assert listening.stdout is not None
    invite = listening.stdout.readline().removeprefix("invite: ").strip()
    calling = command(tmp_path, "caller", "--to", invite, *mine, "-o", tmp_path / "caller.mp4",
                      "--stats", tmp_path / "caller.json", "--seconds", 30,
                      "--latency-budget", 50, "--qlog", tmp_path / "qlog")  # fmt: skip
    until(lambda: all((tmp_path / f"{n}.mp4").exists() for n in ("caller", "callee")))
    until(lambda: (tmp_path / "caller.mp4").stat().st_size > 2000)
    calling.send_signal(signal.SIGINT)
    for process in (calling, listening):
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert "as the sender saw it" in out
        assert "as the receiver saw it" in out
    stats = json.loads((tmp_path / "caller.json").read_text())
    assert set(stats) == {"sender", "receiver"}
    assert list((tmp_path / "qlog").glob("*.qlog"))
    for name in ("caller", "callee"):
        (line,) = read_log(tmp_path / name / "calls.jsonl")
        assert line.peer == "Tiny"
        assert line.received_frames > 0


def test_call_history_of_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FACEWIRE_CONFIG", str(tmp_path))
    assert call_main(["--history"]) == 0
    assert "no calls yet" in capsys.readouterr().out
