"""`facewire netsim` with invites: they are found, moved, and a real call goes over the path."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from conference.netsim_command import InviteAddresses, main, with_our_program
from quic_transport.errors import LocalError
from quic_transport.invite import Invite
from tests.conference.conftest import TinyPerson

INVITE = Invite("192.0.2.7", 4433, bytes(range(32)), bytes(16))
ROOT = Path(__file__).resolve().parent.parent.parent


def test_invite_is_found_and_moved() -> None:
    found = InviteAddresses().find(f"invite: {INVITE}\n")
    assert found is not None
    assert found.target == ("192.0.2.7", 4433)
    moved = Invite.parse(InviteAddresses().moved(found, ("127.0.0.1", 5555)))
    assert moved.address == "127.0.0.1:5555"
    assert (moved.fingerprint, moved.token) == (INVITE.fingerprint, INVITE.token)
    everywhere = Invite.parse(InviteAddresses().moved(found, ("0.0.0.0", 5555)))
    assert everywhere.host != "0.0.0.0"  # nobody could call that


@pytest.mark.parametrize("text", ["", "facewire://", f"{INVITE}x", str(INVITE)[:-1], "a:1"])
def test_what_is_no_invite_is_not_found(text: str) -> None:
    assert InviteAddresses().find(text) is None


def test_our_program_is_this_one() -> None:
    words = ["replay", "facewire", "--", "facewire", "send", "facewire", "--", "facewire"]
    us = [sys.executable, "-m", "facewire"]
    assert with_our_program(words) == [
        "replay", "facewire", "--", *us, "send", "facewire", "--", *us,
    ]  # fmt: skip


def test_errors_are_the_users_own() -> None:
    with pytest.raises(LocalError, match="neither a file"):
        main(["replay", "nowhere", "--to", str(INVITE)])


def test_replay_carries_a_real_call(
    tiny: TinyPerson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'datasets'}")
    monkeypatch.setenv("FACEWIRE_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, sender = tmp_path / "path.json", tmp_path / "sender.json"
    code = main([
        "replay", "1mbps", "--delay", "25", "--loss", "0.02", "--seed", "1", "--stats", str(path),
        "--", "facewire", "receive", "--listen", "127.0.0.1:0", "--once", "--size", "32",
        "-o", str(tmp_path / "out.mp4"),
        "--", "facewire", "send", "--share-avatar", "--source", str(tiny.clip),
        "--avatar", str(tiny.avatar),
        "--to", "INVITE", "--seconds", "1.5", "--stats", str(sender),
    ])  # fmt: skip
    out = capfd.readouterr().out
    assert code == 0, out
    report = json.loads(path.read_text())
    assert report["up"]["delivered"] > 20
    assert report["up"]["delay ms p50"] >= 25
    assert json.loads(sender.read_text())["frames"]["sent"] > 10
    assert "the path, " in out
