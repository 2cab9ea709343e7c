"""Calls over real loopback sockets; everything else is tested in virtual time."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import MAX_QUEUED_FRAMES, Call
from quic_transport.certs import Identity, load_identity
from quic_transport.endpoint import Listener, Party, connect, serve
from quic_transport.errors import LocalError, RemoteError
from quic_transport.events import (
    AvatarReceived,
    CallEnded,
    CallOpened,
    Ending,
    Event,
    FrameReceived,
    PeerReady,
)
from quic_transport.fifo import EndOfStream
from quic_transport.invite import Invite
from quic_transport.limits import Limits
from quic_transport.offer import Reason
from tests.quic_transport.simulated import AVATAR, frame, make_offer

ROOT = Path(__file__).resolve().parent.parent.parent
PATIENCE_S = 60.0  # on a busy machine; nothing that works takes so long
SENDER = Party(offer=make_offer(), avatar=AVATAR)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return load_identity(tmp_path_factory.mktemp("config"))


@pytest.fixture
def listener(identity: Identity) -> Iterator[Listener]:
    with serve("127.0.0.1", 0, party=Party(receives=True), identity=identity) as listener:
        yield listener


def accept(listener: Listener) -> Call:
    call = listener.accept(PATIENCE_S)
    assert call is not None
    return call


def wait_for(call: Call, wanted: Callable[[Event], bool]) -> list[Event]:
    """The events up to and with the first that is wanted."""
    events: list[Event] = []
    while True:
        event = call.next_event(PATIENCE_S)
        assert event is not None, f"only {events} came"
        events.append(event)
        if wanted(event):
            return events


def is_a(kind: type) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, kind)


def test_whole_call_with_avatar_frames_and_goodbye(listener: Listener) -> None:
    with connect(str(listener.invite), party=SENDER) as sender:
        receiver = accept(listener)
        assert receiver.peer.offer is not None
        assert receiver.peer.offer.name == "Zoë"
        avatar = wait_for(receiver, is_a(AvatarReceived))[-1]
        assert isinstance(avatar, AvatarReceived)
        assert avatar.data == AVATAR
        receiver.send_ready()
        wait_for(sender, is_a(PeerReady))
        sent = 0
        while sent < 60:
            if sender.can_send_frame():
                now = time.monotonic()
                assert sender.send_frame(frame(sent, now, key=sender.keyframe_due()))
                sent += 1
            time.sleep(0.005)
        sender.hang_up("that was it")
        events = wait_for(receiver, is_a(CallEnded))
        got = [e.frame.sequence for e in events if isinstance(e, FrameReceived)]
        assert got == list(range(60))
        assert receiver.ended is not None
        assert receiver.ended.how is Ending.PEER_HUNG_UP
        assert receiver.ended.sentence == "that was it"
        assert sender.ended is not None
        assert sender.ended.error() is None
        with pytest.raises(EndOfStream):
            receiver.next_event(PATIENCE_S)
        assert not sender.send_frame(frame(99, 0.0, key=True))
        path = receiver.round_trip()
        assert path is not None
        assert abs(path.offset_s) <= path.error_s + 1e-3  # one machine, one clock
        assert sender.counts()[0].frames == receiver.counts()[1].frames == 60
        up, down = sender.wire(), receiver.wire()
        # nothing is lost on loopback but what the socket buffers drop
        assert down.received_packets <= up.sent_packets
        assert down.received_bytes > len(AVATAR) + 60 * 31
        assert up.sent_bytes - 28 * up.sent_packets > len(AVATAR)
        assert up.since(up).sent_bytes == 0


def test_both_ways_at_once(identity: Identity) -> None:
    party = Party(offer=make_offer(), avatar=AVATAR, receives=True)
    with (
        serve("127.0.0.1", 0, party=party, identity=identity) as listener,
        connect(listener.invite, party=party) as caller,
    ):
        callee = accept(listener)
        for call in (caller, callee):
            assert call.send_frame(frame(0, time.monotonic(), key=True))
        for call in (caller, callee):
            seen = wait_for(call, is_a(AvatarReceived))
            if not any(isinstance(e, FrameReceived) for e in seen):
                wait_for(call, is_a(FrameReceived))


def test_avatar_of_five_megabytes_crosses_once(identity: Identity, tmp_path: Path) -> None:
    data = secrets.token_bytes(5 * 2**20)
    cache = AvatarCache(tmp_path / "avatars")
    avatar_id = hashlib.sha256(data).hexdigest()
    cache.store_partial(avatar_id, data[: 2**20])  # an earlier call broke off
    party = Party(offer=make_offer(data), avatar=data)
    receives = Party(receives=True, cache=cache)
    with serve("127.0.0.1", 0, party=receives, identity=identity) as listener:
        for cached in (False, True):
            with connect(listener.invite, party=party) as sender:
                receiver = accept(listener)
                got = wait_for(receiver, is_a(AvatarReceived))[-1]
                assert isinstance(got, AvatarReceived)
                assert got.data == data
                assert got.cached is cached
                received = receiver.wire().received_bytes
                assert received < 20_000 if cached else 4 * 2**20 < received < 5 * 2**20
                while not cached and cache.load(avatar_id) is None:
                    time.sleep(0.01)  # it is written beside the call
                sender.hang_up()
                wait_for(receiver, is_a(CallEnded))


def test_second_caller_is_told_that_the_line_is_busy(listener: Listener) -> None:
    with connect(listener.invite, party=SENDER) as first:
        receiver = accept(listener)
        with pytest.raises(LocalError, match="in another call"):
            connect(listener.invite, party=SENDER)
        assert first.ended is None
        first.hang_up()
        wait_for(receiver, is_a(CallEnded))
    with connect(listener.invite, party=SENDER) as third:
        assert accept(listener).ended is None
        assert third.ended is None


def test_wrong_token_and_wrong_fingerprint_are_one_sentence(listener: Listener) -> None:
    good = listener.invite
    with pytest.raises(LocalError, match="not valid"):
        connect(Invite(good.host, good.port, good.fingerprint, bytes(16)), party=SENDER)
    with pytest.raises(RemoteError, match="certificate differs"):
        connect(Invite(good.host, good.port, bytes(32), good.token), party=SENDER)
    assert listener.accept(0.05) is None
    with connect(good, party=SENDER) as call:  # and the line is still free
        assert call.ended is None


def test_roles_that_do_not_fit_are_one_sentence(listener: Listener) -> None:
    with pytest.raises(RemoteError, match="both sides only receive"):
        connect(listener.invite, party=Party(receives=True))


def test_avatar_that_does_not_fit_is_refused_by_the_receiver(listener: Listener) -> None:
    with connect(listener.invite, party=SENDER) as sender:
        receiver = accept(listener)
        receiver.refuse(Reason.BOUNDS, "the bounds are not the avatar's")
        end = wait_for(sender, is_a(CallEnded))[-1]
        assert isinstance(end, CallEnded)
        assert end.reason is Reason.BOUNDS
        assert "the bounds are not the avatar's" in end.sentence


def test_port_in_use_and_foreign_address_are_one_sentence(identity: Identity) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=f"{port} is in use"):
            serve("127.0.0.1", port, party=Party(receives=True), identity=identity)
    with pytest.raises(LocalError, match="not an address of this machine"):
        serve("192.0.2.1", 0, party=Party(receives=True), identity=identity)


def test_nobody_there_is_one_sentence_in_bounded_time(identity: Identity) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        invite = Invite("127.0.0.1", port, identity.fingerprint, bytes(16))
        with pytest.raises(LocalError, match=r"no answer .* within 0.5 s"):
            connect(invite, party=SENDER, timeout=0.5)
    with pytest.raises(LocalError, match="nothing listens"):
        connect(invite, party=SENDER, timeout=0.5)


def test_other_protocol_on_the_port_is_one_sentence(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quic_transport.quic_inside.ALPN", "facewire/999")
    with pytest.raises(RemoteError, match="same version"):
        connect(listener.invite, party=SENDER)


def test_host_name_that_does_not_exist_is_one_sentence(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nowhere(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    with pytest.raises(LocalError, match="cannot be resolved"):
        connect(Invite("no.such.host", 4433, identity.fingerprint, bytes(16)), party=SENDER)


CALLER = """
import sys, time
from tests.quic_transport.simulated import AVATAR, frame, make_offer
from quic_transport.endpoint import Party, connect
call = connect(sys.argv[1], party=Party(offer=make_offer(), avatar=AVATAR))
n = 0
while True:
    if call.can_send_frame():
        call.send_frame(frame(n, time.monotonic(), key=call.keyframe_due()))
        n += 1
    time.sleep(0.05)
"""
RECEIVER = """
import sys, time
from pathlib import Path
from quic_transport.certs import load_identity
from quic_transport.endpoint import Party, serve
identity = load_identity(Path(sys.argv[1]))
listener = serve("127.0.0.1", 0, party=Party(receives=True), identity=identity)
print(listener.invite, flush=True)
time.sleep(600)
"""


def python(code: str, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, argument], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_killed_sender_is_reported(identity: Identity) -> None:
    limits = Limits(peer_timeout_s=2.0)
    with (
        serve(
            "127.0.0.1", 0, party=Party(receives=True), identity=identity, limits=limits
        ) as listener,
        python(CALLER, str(listener.invite)) as process,
    ):
        receiver = accept(listener)
        wait_for(receiver, is_a(FrameReceived))
        process.kill()
        end = wait_for(receiver, is_a(CallEnded))[-1]
    assert isinstance(end, CallEnded)
    assert end.how is Ending.PEER_LOST
    assert "silent" in end.sentence


def test_killed_receiver_is_reported(tmp_path: Path) -> None:
    with python(RECEIVER, str(tmp_path)) as process:
        assert process.stdout is not None
        limits = Limits(peer_timeout_s=2.0)
        with connect(process.stdout.readline(), party=SENDER, limits=limits) as sender:
            wait_for(sender, is_a(CallOpened))
            process.kill()
            end = wait_for(sender, is_a(CallEnded))[-1]
    assert isinstance(end, CallEnded)
    assert end.how is Ending.PEER_LOST


def test_owner_that_does_not_keep_up_loses_whole_queues_only(listener: Listener) -> None:
    with connect(listener.invite, party=SENDER) as sender:
        receiver = accept(listener)
        sent = 0
        while receiver.counts()[1].frames < MAX_QUEUED_FRAMES + 50:  # nobody takes events
            if sender.can_send_frame():
                sender.send_frame(frame(sent, time.monotonic(), key=sender.keyframe_due()))
                sent += 1
            time.sleep(0.0005)
        sender.hang_up()
        events = wait_for(receiver, is_a(CallEnded))
        frames = [e.frame for e in events if isinstance(e, FrameReceived)]
        skipped = receiver.counts()[1].dropped
        assert skipped > MAX_QUEUED_FRAMES - 10
        assert len(frames) + skipped == receiver.counts()[1].frames
        assert not frames or frames[0].key


def test_strangers_beyond_the_cap_do_not_disturb_a_call(identity: Identity) -> None:
    limits = Limits(max_connections=1)
    party = Party(receives=True)
    with (
        serve("127.0.0.1", 0, party=party, identity=identity, limits=limits) as listener,
        connect(listener.invite, party=SENDER) as sender,
    ):
        receiver = accept(listener)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for size in (1, 20, 1200, 1400):
                stranger.sendto(os.urandom(size), ("127.0.0.1", listener.port))
                stranger.sendto(b"\xc0\0\0\0\1" + bytes(size), ("127.0.0.1", listener.port))
        with pytest.raises(LocalError, match="no answer"):
            connect(listener.invite, party=SENDER, timeout=0.5)
        sender.send_frame(frame(0, time.monotonic(), key=True))
        wait_for(receiver, is_a(FrameReceived))


def test_listener_closes_its_call_cleanly(identity: Identity) -> None:
    listener = serve("127.0.0.1", 0, party=Party(receives=True), identity=identity)
    with connect(listener.invite, party=SENDER) as sender:
        accept(listener)
        listener.close()
        listener.close()
        end = wait_for(sender, is_a(CallEnded))[-1]
        assert isinstance(end, CallEnded)
        assert end.how is Ending.PEER_HUNG_UP
        with pytest.raises(EndOfStream):
            listener.accept(0)
