"""`facewire receive` and `facewire send` as two processes over loopback, killed and misused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import pytest

from conference.receive import main as receive_main
from conference.receive import numbered
from conference.send import main as send_main
from quic_transport.errors import FacewireError, LocalError
from tests.conference.conftest import TinyPerson

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0  # for a process to do what it must; only a hang takes so long


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The user's folders, elsewhere."""
    folder = tmp_path_factory.mktemp("user")
    return {
        **os.environ,
        "FACEWIRE_CONFIG": str(folder / "config"),
        "FACEWIRE_CACHE": str(folder / "cache"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'datasets'}",
        "PYTHONWARNINGS": "default",
        "FACEWIRE_GIVE_UP": "3",
    }


class Process:
    """A facewire command under way; its output is collected as it comes."""

    def __init__(self, environment: dict[str, str], *args: object) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "facewire", *map(str, args)], cwd=ROOT, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.out: list[str] = []
        self.err: list[str] = []
        self._threads = [
            threading.Thread(target=self._collect, args=pipe, daemon=True)
            for pipe in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    @staticmethod
    def _collect(pipe: Iterator[str], lines: list[str]) -> None:
        for line in pipe:
            lines.append(line.rstrip())

    def wait_for(self, word: str) -> str:
        """The first line of either output that holds `word`."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for line in [*self.out, *self.err]:
                if word in line:
                    return line
            time.sleep(0.02)
        raise AssertionError(f"{word!r} did not come:\n" + "\n".join([*self.out, *self.err]))

    def end(self) -> int:
        """Its exit code, once it has ended."""
        code = self.popen.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(5)
        assert "Traceback" not in "\n".join(self.err), "\n".join(self.err)
        return code

    def clean_up(self) -> None:
        """Leave no process and no pipe behind."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait()
        for thread in self._threads:
            thread.join(5)
        for stream in (self.popen.stdout, self.popen.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def call(
    environment: dict[str, str], tiny: TinyPerson, tmp_path: Path, seconds: float
) -> Iterator[tuple[Process, Process]]:
    """A receiver and a sender that are connected."""
    receiver = Process(
        environment, "receive", "--listen", "127.0.0.1:0", "--size", 32, "--once",
        "-o", tmp_path / "out.mp4", "--stats", tmp_path / "receiver.json",
    )  # fmt: skip
    processes = [receiver]
    try:
        invite = receiver.wait_for("invite: ").split()[-1]
        sender = Process(
            environment, "send", "--share-avatar", "--source", tiny.clip,
            "--avatar", tiny.avatar, "--to", invite,
            "--seconds", seconds, "--stats", tmp_path / "sender.json",
        )  # fmt: skip
        processes.append(sender)
        receiver.wait_for("is on")
        yield receiver, sender
    finally:
        for process in processes:
            process.clean_up()


def pictures_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def wait_for_size(path: Path, size: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists() or path.stat().st_size < size:
        assert time.monotonic() < deadline, f"{path} does not grow"
        time.sleep(0.02)


def test_two_processes_call_ends_with_the_clip_and_both_tables_agree(
    environment: dict[str, str], tiny: TinyPerson, tmp_path: Path
) -> None:
    with call(environment, tiny, tmp_path, seconds=2.0) as (receiver, sender):
        assert sender.end() == 0, sender.err
        assert receiver.end() == 0, receiver.err
    sent = json.loads((tmp_path / "sender.json").read_text())
    got = json.loads((tmp_path / "receiver.json").read_text())
    assert sent["balanced"]
    assert got["balanced"]
    assert sent["frames"]["captured"] == got["frames"]["captured"] >= 40
    assert got["frames"]["rendered"] == sent["frames"]["rendered at the receiver"] > 0
    assert got["rates"]["wire kbps received"] > got["rates"]["payload kbps"] > 0
    assert any("end to end" in line for line in receiver.out)
    assert pictures_in(tmp_path / "out.mp4") > 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_sender_killed_receiver_says_so_and_its_recording_plays(
    environment: dict[str, str], tiny: TinyPerson, tmp_path: Path
) -> None:
    with call(environment, tiny, tmp_path, seconds=60) as (receiver, sender):
        wait_for_size(tmp_path / "out.mp4", 3000)
        sender.popen.send_signal(signal.SIGKILL)
        assert receiver.end() == 1
    assert any("end to end" in line for line in receiver.out)
    assert receiver.err[-1].startswith("facewire receive: ")
    assert pictures_in(tmp_path / "out.mp4") > 0
    got = json.loads((tmp_path / "receiver.json").read_text())
    assert not got["clean"]
    assert got["balanced"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_receiver_killed_sender_says_so_and_the_recording_plays(
    environment: dict[str, str], tiny: TinyPerson, tmp_path: Path
) -> None:
    with call(environment, tiny, tmp_path, seconds=60) as (receiver, sender):
        wait_for_size(tmp_path / "out.mp4", 3000)
        receiver.popen.send_signal(signal.SIGKILL)
        assert sender.end() == 1
    assert sender.err[-1].startswith("facewire send: ")
    assert json.loads((tmp_path / "sender.json").read_text())["balanced"]
    assert pictures_in(tmp_path / "out.mp4") > 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupted_sender_both_end_with_code_zero(
    environment: dict[str, str], tiny: TinyPerson, tmp_path: Path
) -> None:
    with call(environment, tiny, tmp_path, seconds=60) as (receiver, sender):
        wait_for_size(tmp_path / "out.mp4", 3000)
        sender.popen.send_signal(signal.SIGINT)
        assert sender.end() == 0, sender.err
        assert receiver.end() == 0, receiver.err
    assert any("captured" in line for line in sender.out)


def refused(*args: object) -> str:
    """The sentence with which `facewire send` refuses."""
    with pytest.raises(FacewireError) as caught:
        send_main([str(a) for a in args])
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_send_bad_input_is_one_sentence_each(tiny: TinyPerson, tmp_path: Path) -> None:
    source = ["--source", tiny.clip]
    invite = "facewire://127.0.0.1:9/" + "A" * 68
    assert "invite" in refused(*source, "--avatar", tiny.avatar, "--to", "hello")
    assert "checksum" in refused(*source, "--avatar", tiny.avatar, "--to", invite)
    assert "--fps" in refused(*source, "--avatar", tiny.avatar, "--to", invite, "--fps", 0)
    from quic_transport.invite import Invite

    dead = Invite("127.0.0.1", 9, b"f" * 32, b"t" * 16)
    assert "no avatar file" in refused(*source, "--avatar", tmp_path / "no.fwa", "--to", dead)
    (tmp_path / "bad.fwa").write_bytes(b"no avatar")
    assert "bad.fwa" in refused(*source, "--avatar", tmp_path / "bad.fwa", "--to", dead)
    gone = refused("--source", tmp_path / "no.mp4", "--avatar", tiny.avatar, "--to", dead)
    assert "no video" in gone
    assert "127.0.0.1:9" in refused(*source, "--avatar", tiny.avatar, "--to", dead)


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--listen", "nonsense"], "address"),
        (["--size", "3"], "--size"),
        (["--buffer", "-1"], "--buffer"),
        (["--display-fps", "0"], "--display-fps"),
        (["--view", "yaw=90"], "yaw"),
        (["--reference", "nowhere"], "--reference"),
        (["-o", "call.WEBM"], "films are written as"),
    ],
)
def test_receive_bad_input_is_one_sentence_each(args: list[str], word: str) -> None:
    with pytest.raises(LocalError, match=word):
        receive_main(args)


def test_receive_port_in_use_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setenv("FACEWIRE_CONFIG", str(tmp_path))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(LocalError, match="in use"):
            receive_main(["--listen", f"127.0.0.1:{other.getsockname()[1]}"])


def test_later_calls_record_beside_the_first() -> None:
    from conference.incoming import ReceiveOptions
    from receiver.pose_control import View

    options = ReceiveOptions(view=View(), output=Path("a/out.mp4"))
    assert numbered(options, 1).output == Path("a/out.mp4")
    assert numbered(options, 3).output == Path("a/out-3.mp4")
