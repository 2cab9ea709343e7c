"""Strangers at the port: many, wrong and loud; the call beside them does not notice."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from quic_transport import quic_inside
from quic_transport.certs import Identity, load_identity
from quic_transport.datagram import encode_datagram
from quic_transport.endpoint import Listener, Party, connect, serve
from quic_transport.errors import LocalError
from quic_transport.events import CallEnded
from quic_transport.invite import Invite
from quic_transport.limits import Limits
from quic_transport.session import Session
from quic_transport.tokens import forget_token, lasting_token
from tests.quic_transport.simulated import TOKEN, make_session
from tests.quic_transport.test_datagram import GOLDEN
from tests.quic_transport.test_reconnect import SENDER, Talker, Viewer, accept, until

ATTEMPTS = 10_000


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return load_identity(tmp_path_factory.mktemp("identity"))


@pytest.fixture
def listener(identity: Identity) -> Iterator[Listener]:
    with serve("127.0.0.1", 0, party=Party(receives=True), identity=identity) as listening:
        yield listening


def first_packet() -> bytes:
    """A genuine client's first packet, 1200 bytes."""
    quic = quic_inside.client_connection(quic_inside.configuration(is_client=True))
    quic.connect(("127.0.0.1", 1), now=0.0)
    ((data, _),) = quic.datagrams_to_send(now=0.0)
    return bytes(data)


def test_ten_thousand_connection_attempts_cost_little_and_disturb_nobody(
    listener: Listener,
) -> None:
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        genuine = [first_packet() for _ in range(20)]
        rng = random.Random(1)
        tracemalloc.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            address = ("127.0.0.1", listener.port)
            count = len(viewer.frames)
            began = time.monotonic()
            most = 0
            for i in range(ATTEMPTS):
                data = bytearray(rng.choice(genuine))
                data[6:14] = rng.randbytes(8)  # another connection id: another stranger
                stranger.sendto(data, address)
                if i % 100 == 0:
                    most = max(most, listener.connections)
                    time.sleep(0.01)  # or the kernel drops them all
            until(lambda: len(viewer.frames) > count + 60)
            took = time.monotonic() - began
        memory = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert most <= Limits().max_connections
        assert memory < 30e6  # 193 kB for each of at most 32 strangers, and what was measured with
        gaps = [b[0] - a[0] for a, b in zip(viewer.frames[count:], viewer.frames[count + 1 :],
                                            strict=False)]  # fmt: skip
        assert sorted(gaps)[int(0.95 * len(gaps))] < 0.3, (took, max(gaps))
        assert sender.ended is None
        assert sender.reconnects == 0
        talker.close()


def test_noise_of_every_size_disturbs_nobody(listener: Listener) -> None:
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        rng = random.Random(2)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.settimeout(0.2)
            for _ in range(2000):
                size = rng.choice((0, 1, 5, 20, 60, 1200, 1400))
                stranger.sendto(rng.randbytes(size), ("127.0.0.1", listener.port))
            answers = 0
            with contextlib.suppress(TimeoutError):
                while True:
                    stranger.recvfrom(2000)
                    answers += 1
        count = len(viewer.frames)
        until(lambda: len(viewer.frames) > count + 20)
        assert answers < 900  # version negotiation for long headers, some notices: no more
        assert sender.ended is None
        talker.close()


def test_wrong_tokens_by_the_dozen_leave_the_line_free(listener: Listener) -> None:
    good = listener.invite
    for _ in range(5):
        wrong = Invite(good.host, good.port, good.fingerprint, os.urandom(16))
        with pytest.raises(LocalError, match="not valid"):
            connect(wrong, party=SENDER)
    with connect(good, party=SENDER) as call:
        assert call.ended is None


def test_listener_full_of_strangers_makes_room_for_a_caller(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quic_transport.listener.STRANGER_S", 0.2)
    limits = Limits(max_connections=3, handshakes_per_s=1000)
    party = Party(receives=True)
    with serve("127.0.0.1", 0, party=party, identity=identity, limits=limits) as listener:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for _ in range(10):
                stranger.sendto(first_packet(), ("127.0.0.1", listener.port))
        until(lambda: listener.connections == 3)
        time.sleep(0.3)
        with connect(listener.invite, party=SENDER) as call:
            assert call.ended is None


def test_token_is_compared_before_anything_of_the_hello_is_kept() -> None:
    session = make_session(is_client=False, sends=False, receives=True)
    session.start(0.0)
    from quic_transport import messages as msg

    hello = msg.Hello(b"x" * 16, True, None, b"12345678", 3, 77)
    session.receive(0, msg.encode_message(hello), False, 0.1)
    assert session.peer is None
    end = [e for e in iter(session.next_event, None) if isinstance(e, CallEnded)]
    assert not end  # it goes on until the refusal has been delivered
    (out,) = session.data_to_send(0.1)
    assert b"not valid" in out.data


def open_pair() -> tuple[Session, Session]:
    from tests.quic_transport.simulated import Simulation, make_offer

    client = make_session(
        is_client=True, sends=True, receives=False, offer=make_offer(mode="datagram")
    )
    server = make_session(is_client=False, sends=False, receives=True)
    Simulation(client, server).run(1.0)
    return client, server


@pytest.mark.parametrize("seed", range(20))
def test_hostile_datagrams_end_the_call_or_do_nothing(seed: int) -> None:
    rng = random.Random(seed)
    for side in open_pair():
        for _ in range(50):
            data = bytearray(encode_datagram(rng.choice(list(GOLDEN.values()))[0]))
            for _ in range(rng.randrange(4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            side.receive_datagram(bytes(data[: rng.randrange(len(data) + 1)]), 1.0)
        ends = [e for e in iter(side.next_event, None) if isinstance(e, CallEnded)]
        assert len(ends) <= 1


def test_datagram_before_the_hello_is_let_go() -> None:
    session = make_session(is_client=False, sends=False, receives=True, token=TOKEN)
    session.start(0.0)
    session.receive_datagram(os.urandom(100), 0.1)
    assert session.next_event() is None


def test_token_of_a_crash_lasts_and_of_a_clean_end_does_not(tmp_path: Path) -> None:
    token = lasting_token(4433, tmp_path)
    assert lasting_token(4433, tmp_path) == token
    assert lasting_token(4434, tmp_path) != token
    assert lasting_token(0, tmp_path) != lasting_token(0, tmp_path)
    (path,) = tmp_path.glob("listening-4433")
    assert path.stat().st_mode & 0o777 == 0o600
    os.utime(path, (0, 0))
    assert lasting_token(4433, tmp_path) != token
    token = lasting_token(4433, tmp_path)
    forget_token(4433, tmp_path)
    forget_token(4433, tmp_path)
    assert lasting_token(4433, tmp_path) != token
