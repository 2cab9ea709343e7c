"""TUN and tc: what they would say to the kernel, and where it lets us, that it works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from netsim import namespaces, tun
from netsim.cli import main
from netsim.errors import BackendError
from netsim.loss import BurstLoss, GilbertElliott, IndependentLoss
from netsim.namespaces import NamespacePair, clean, existing
from netsim.settings import LinkSettings, Outage
from netsim.tc import missing, netem_words, probe, steps, tbf_words
from netsim.traces import Trace
from tests.netsim.test_cli import ROOT


@pytest.fixture
def privileged() -> None:
    """Skip where namespaces or TUN cannot be had."""
    reason = namespaces.why_not() or tun.why_not()
    if reason is None:
        try:
            NamespacePair.create().remove()
        except BackendError as error:
            reason = str(error)
    if reason is not None:
        pytest.skip(reason)


def test_tc_says_what_is_missing() -> None:
    rate = LinkSettings(trace=Trace.steady(10))
    assert missing(rate, {"tbf"}) == []
    assert missing(rate, {"netem"}) == ["a rate (needs tbf)"]
    rich = LinkSettings(
        delay_ms=5, jitter_ms=1, loss=IndependentLoss(0.1), reorder=0.1, duplicate=0.1
    )
    assert missing(rich, {"tbf", "netem"}) == []
    assert [m.split(" (")[0] for m in missing(rich, {"tbf"})] == [
        "delay", "jitter", "loss", "reordering", "duplication",
    ]  # fmt: skip
    assert len(missing(LinkSettings(loss=BurstLoss(0.1), outages=(Outage(1, 1),)), {"netem"})) == 2
    columns = Trace(np.zeros(1), np.ones(1), 1.0, delay_ms=np.ones(1), loss=np.ones(1))
    assert len(missing(LinkSettings(trace=columns), {"tbf"})) == 2


def test_tc_words() -> None:
    how = LinkSettings(delay_ms=20, jitter_ms=10, loss=IndependentLoss(0.1), duplicate=0.01)
    assert " ".join(netem_words(how, 5.0, 0.5)) == (
        "netem delay 30.000ms 5.000ms loss random 55.0000% duplicate 1.0000% limit 100000"
    )
    states = LinkSettings(loss=GilbertElliott(0.01, 0.2))
    assert " ".join(netem_words(states, 0.0, 0.0)) == (
        "netem delay 0.000ms loss gemodel 1.0000% 20.0000% 100.0000% 0.0000% limit 100000"
    )
    few = LinkSettings(queue_packets=10)
    assert " ".join(tbf_words(few, 64.0)) == "tbf rate 64000bit burst 1600 limit 15140"
    assert tbf_words(few, 0.0)[2] == "8bit"
    assert tbf_words(few, 100_000.0)[4] == "50000"


def test_tc_steps_are_where_something_changes() -> None:
    assert len(steps(Trace.steady(64.3))) == 1
    trace = Trace(np.array([0.0, 1.0, 2.0]), np.array([10.0, 10.0, 0.0]), 3.0,
                  delay_ms=np.array([5.0, 9.0, 9.0]))  # fmt: skip
    assert steps(trace) == [(0.0, 10.0, 5.0, 0.0), (1.0, 10.0, 9.0, 0.0), (2.0, 0.0, 9.0, 0.0)]


@pytest.mark.parametrize("reason", ["ip", "root"])
def test_namespaces_without_means_are_one_sentence(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces.sys, "platform", "linux")
    monkeypatch.setattr(namespaces.shutil, "which", lambda name: None if reason == "ip" else "ip")
    monkeypatch.setattr(namespaces.os, "geteuid", lambda: 1000)
    with pytest.raises(BackendError, match=f"need.*{reason}"):
        NamespacePair.create()


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("backend", ["tun", "tc"])
def test_backend_runs_two_programs_and_leaves_nothing(
    backend: str, programs: tuple[list[str], list[str]], tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server, client = programs
    source = Path(server[-1])
    source.write_text(source.read_text().replace("127.0.0.1", "0.0.0.0"))
    stats = tmp_path / "stats.json"
    before = set(existing())
    options = ["--delay", "20"] if backend == "tun" else []
    code = main(["replay", "200kbps", "--backend", backend, *options, "--stats", str(stats),
                 "--", *server, "0", "--", *client, "INVITE"])  # fmt: skip
    assert code == 0
    assert "the client is done" in capfd.readouterr().out
    assert set(existing()) == before
    if backend == "tun":
        report = json.loads(stats.read_text())
        assert report["up"]["delivered"] == 6
        assert report["up"]["delay ms p50"] >= 20


@pytest.mark.usefixtures("privileged")
def test_tc_without_netem_refuses_delay_and_leaves_nothing() -> None:
    pair = NamespacePair.create()
    try:
        has = probe(pair.names[0])
    finally:
        pair.remove()
    if "netem" in has:
        pytest.skip("this kernel has netem")
    before = set(existing())
    with pytest.raises(BackendError, match=r"delay \(needs netem\)"):
        main(["replay", "200kbps", "--delay", "5", "--backend", "tc",
              "--", "x", "--", "y", "INVITE"])  # fmt: skip
    assert set(existing()) == before


@pytest.mark.usefixtures("privileged")
def test_clean_removes_what_a_killed_replay_left(tmp_path: Path) -> None:
    replay = subprocess.Popen(
        [sys.executable, "-m", "netsim.cli", "replay", "1mbps", "--backend", "tun",
         "--", "sleep", "100", "--", "true", "INVITE"],
        cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    mine = {f"facewire-{replay.pid}-{end}" for end in "ab"}
    while not mine <= set(existing()) and replay.poll() is None:
        time.sleep(0.05)
    assert replay.poll() is None
    assert not mine & set(clean()), "a living process's namespaces are its own"
    os.killpg(replay.pid, signal.SIGKILL)
    replay.wait()
    assert mine <= set(clean())
    assert not mine & set(existing())


@pytest.mark.usefixtures("privileged")
def test_terminated_replay_restores_and_ends_its_children() -> None:
    replay = subprocess.Popen(
        [sys.executable, "-m", "netsim.cli", "replay", "1mbps", "--backend", "tun",
         "--", "sleep", "100", "--", "true", "INVITE"],
        cwd=ROOT, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    mine = {f"facewire-{replay.pid}-{end}" for end in "ab"}
    while not mine <= set(existing()) and replay.poll() is None:
        time.sleep(0.05)
    time.sleep(0.5)
    replay.terminate()
    assert replay.wait() != 0
    assert not mine & set(existing())
