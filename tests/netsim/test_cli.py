"""The commands: files come out as they should, programs run over the path, nothing is left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from netsim.cli import PlainAddresses, main
from netsim.errors import NetsimError
from netsim.readers import read_trace

ROOT = Path(__file__).resolve().parent.parent.parent


def test_replay_runs_two_programs_over_the_path(
    programs: tuple[list[str], list[str]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server, client = programs
    stats = tmp_path / "stats.json"
    code = main(["replay", "1mbps", "--delay", "5", "--seed", "2", "--stats", str(stats),
                 "--", *server, "0", "--", *client, "INVITE"])  # fmt: skip
    out = capfd.readouterr().out
    assert code == 0
    for line in ("a line before", "the client is done", "the server is done"):
        assert line in out
    report = json.loads(stats.read_text())
    assert report["trace"] == "1mbps"
    assert report["up"]["delivered"] == 6
    assert report["down"]["delivered"] == 5
    assert report["down"]["delay ms p50"] >= 5


def test_replay_exit_code_is_that_of_the_program(
    programs: tuple[list[str], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    server, client = programs
    assert main(["replay", "1mbps", "--", *server, "7", "--", *client, "INVITE"]) == 7


def test_replay_caller_that_fails_ends_the_other_too(
    programs: tuple[list[str], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    server, _ = programs
    fails = [sys.executable, "-c", "import sys; sys.exit(3)", "INVITE"]
    assert main(["replay", "1mbps", "--", *server, "0", "--", *fails]) != 0
    assert "the server is done" not in capfd.readouterr().out


def test_replay_one_command_is_led_over_the_path(
    programs: tuple[list[str], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    server, client = programs
    with subprocess.Popen(
        [sys.executable, "-u", *server[1:], "0"], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        found = PlainAddresses().find(running.stdout.readline())
        assert found is not None
        assert main(["replay", "1mbps", "--delay", "150", "--", *client, found.text]) == 0
        assert "the server is done" in running.stdout.read()
    out = capfd.readouterr().out
    assert "6 packets in, 6 out" in out


def test_replay_without_command_relays_until_interrupted(
    programs: tuple[list[str], list[str]],
) -> None:
    server, client = programs
    with (
        subprocess.Popen([sys.executable, "-u", *server[1:], "0"], stdout=subprocess.PIPE,
                         text=True) as running,
    ):  # fmt: skip
        assert running.stdout is not None
        running.stdout.readline()
        to = running.stdout.readline().split()[2]
        with subprocess.Popen(
            [sys.executable, "-m", "netsim.cli", "replay", "1mbps", "--to", to],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        ) as relay:  # fmt: skip
            assert relay.stdout is not None
            match = re.fullmatch(r"netsim: call (\S+)\n", relay.stdout.readline())
            assert match is not None
            assert match[1] != to
            subprocess.run([*client, match[1]], check=True, stdout=subprocess.DEVNULL)
            running.wait()
            relay.send_signal(signal.SIGINT)
            assert "6 packets in, 6 out" in relay.stdout.read()
        assert relay.returncode == 0


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["replay", "nowhere", "--to", "127.0.0.1:9"], "neither a file"),
        (["replay", "12kbps"], "say what to run"),
        (["replay", "12kbps", "--to", "here"], "HOST:PORT"),
        (["replay", "12kbps", "--to", "a:1", "--", "true"], "without a command"),
        (["replay", "12kbps", "--", "true"], "no invite in the command"),
        (["replay", "12kbps", "--", "true", "--", "true"], "needs the word INVITE"),
        (["replay", "12kbps", "--", "true", "--", "true", "INVITE"], "without printing"),
        (["replay", "12kbps", "--", "/no/such", "--", "true", "INVITE"], "cannot be started"),
        (["replay", "12kbps", "--", "a", "--", "b", "--", "c"], "one command or two"),
        (["replay", "1kbps,2kbps,3kbps", "--to", "127.0.0.1:9"], "up,down"),
        (["replay", "12kbps", "--loss", "2", "--to", "127.0.0.1:9"], "share"),
        (["replay", "12kbps", "--scale", "0", "--to", "127.0.0.1:9"], "positive"),
        (["replay", "12kbps", "--delay", "nan", "--to", "127.0.0.1:9"], "delay"),
        (["replay", "12kbps", "--queue", "0", "--to", "127.0.0.1:9"], "queue"),
        (["replay", "12kbps", "--listen", "x", "--to", "127.0.0.1:9"], "--listen"),
        (["replay", "12kbps", "--listen", "[::1]:99999", "--to", "127.0.0.1:9"], "--listen"),
        (["replay", "12kbps", "--backend", "tun", "--", "x", "a:1"], "runs both programs"),
        (["convert", "nowhere", "-o", "x.csv"], "neither a file"),
        (["generate", "bus", "-o", "x.csv"], "no network"),
        (["generate", "train", "-o", "/no/such/x.csv"], "cannot be written"),
        (["plot", "train", "-o", "/no/such/x.png"], "cannot be written"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    argv: list[str], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NetsimError, match=re.escape(sentence)) as caught:
        main(argv)
    assert "\n" not in str(caught.value)


def test_generate_convert_and_plot_write_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, scaled, picture = (tmp_path / name for name in ("a.csv", "b.csv", "c.png"))
    assert main(["generate", "lift", "-o", str(made), "--seconds", "60", "--seed", "4"]) == 0
    assert main(["convert", str(made), "-o", str(scaled), "--scale", "0.1"]) == 0
    assert read_trace(scaled).mean_kbps() == pytest.approx(read_trace(made).mean_kbps() / 10)
    assert main(["plot", str(scaled), "-o", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "longest gap" in capsys.readouterr().out


def test_plot_of_a_dead_network_works(tmp_path: Path) -> None:
    assert main(["plot", "0kbps", "-o", str(tmp_path / "dead.png")]) == 0


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("listening on 127.0.0.1:4433 now", ("127.0.0.1", 4433)),
        ("host.example:80", ("host.example", 80)),
        ("at 12:30:45", None),
        ("host:99999", None),
        ("host:0", None),
        ("", None),
    ],
)
def test_plain_addresses_are_found(text: str, target: tuple[str, int] | None) -> None:
    found = PlainAddresses().find(text)
    assert (found.target if found else None) == target


def test_main_prints_the_sentence_and_fails() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "netsim.cli", "generate", "bus", "-o", os.devnull],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr.startswith("netsim: there is no network")


@pytest.mark.parametrize(
    ("rest", "code"), [(["--to", "127.0.0.1:9"], 0), (["--", "true", "--", "true"], 130)]
)
def test_ctrl_c_while_the_back_end_opens_is_no_crash(
    rest: list[str], code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    monkeypatch.setattr("netsim.cli._open_backend", interrupted)
    stats = tmp_path / "stats.json"
    assert main(["replay", "1mbps", "--stats", str(stats), *rest]) == code
    assert json.loads(stats.read_text()) == {"trace": "1mbps", "seed": 0, "seconds": 0.0}
