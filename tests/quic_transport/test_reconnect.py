"""Over real sockets: a call outlives its address, its connection and the other side's process."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aioquic.quic.events import HandshakeCompleted, QuicEvent

from quic_transport.avatar_cache import AvatarCache
from quic_transport.call import Call
from quic_transport.certs import Identity, load_identity
from quic_transport.codec.profile import EncodedFrame
from quic_transport.connection import Connection
from quic_transport.endpoint import Listener, Party, connect, serve
from quic_transport.errors import LocalError
from quic_transport.events import CallEnded, Ending, Event, FrameReceived
from quic_transport.invite import Invite
from quic_transport.kept_tickets import KeptTickets
from quic_transport.limits import Limits
from quic_transport.route import source_address
from quic_transport.unknown import MARK, SentPackets, notice_for
from tests.quic_transport.simulated import AVATAR, make_offer

PATIENCE_S = 30.0
SENDER = Party(offer=make_offer(mode="datagram"), avatar=AVATAR)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return load_identity(tmp_path_factory.mktemp("identity"))


class Relay:
    """A UDP relay in front of a server that can go silent and can change the server's address."""

    def __init__(self, port: int) -> None:
        self.silent = False
        self.port_there = port
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind(("127.0.0.1", 0))
        self.front.settimeout(0.05)
        self.port = self.front.getsockname()[1]
        self.backs: dict[tuple[str, int], socket.socket] = {}
        self.stop = False
        self.threads = [threading.Thread(target=self._up, daemon=True)]
        self.threads[0].start()

    def _up(self) -> None:
        while not self.stop:
            try:
                data, who = self.front.recvfrom(2000)
            except OSError:
                continue
            if who not in self.backs:
                back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                back.settimeout(0.05)
                back.bind(("127.0.0.1", 0))
                self.backs[who] = back
                self.threads.append(
                    threading.Thread(target=self._down, args=(back, who), daemon=True)
                )
                self.threads[-1].start()
            if not self.silent:
                self.passes(data)
                self.backs[who].sendto(data, ("127.0.0.1", self.port_there))

    def passes(self, data: bytes) -> None:
        """Something goes up."""

    def _down(self, back: socket.socket, who: tuple[str, int]) -> None:
        while not self.stop:
            try:
                data, _ = back.recvfrom(2000)
                if not self.silent:
                    self.front.sendto(data, who)
            except OSError:
                continue

    def close(self) -> None:
        self.stop = True
        for thread in self.threads:
            thread.join(5)
        for one in (self.front, *self.backs.values()):
            one.close()


class Talker:
    """Sends a frame every 20 ms until it is told to stop."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.next = 0
        self.stop = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.stop and self.call.ended is None:
            if self.call.can_send_frame():
                reference = self.call.reference()
                before = reference if isinstance(reference, int) else None
                coded = EncodedFrame(self.next, before is None, time.monotonic(), b"x" * 9, before)
                self.next += self.call.send_frame(coded)
            time.sleep(0.02)

    def close(self) -> None:
        self.stop = True
        self.thread.join(5)


class Viewer:
    """Takes a call's events and confirms its frames."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.frames: list[tuple[float, EncodedFrame]] = []
        self.events: list[Event] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            event = self.call.next_event(PATIENCE_S)
            if event is None:
                return
            self.events.append(event)
            if isinstance(event, FrameReceived):
                self.frames.append((time.monotonic(), event.frame))
                self.call.frame_decoded(event.frame.sequence)
            if isinstance(event, CallEnded):
                return


def until(reached: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def accept(listener: Listener) -> Call:
    call = listener.accept(timeout=10)
    assert call is not None
    return call


@pytest.fixture
def listener(identity: Identity) -> Iterator[Listener]:
    with serve("127.0.0.1", 0, party=Party(receives=True), identity=identity) as listening:
        yield listening


def connection_of(call: Call) -> Connection:
    link = call._link
    assert isinstance(link, Connection)
    return link


def test_moved_socket_goes_on_without_a_gap(listener: Listener) -> None:
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        connection = connection_of(sender)
        before = connection._wrapped._transport.get_extra_info("sockname")
        peer = ("127.0.0.1", listener.port)
        connection._thread.run(connection.move_socket(peer))
        count = len(viewer.frames)
        until(lambda: len(viewer.frames) > count + 20, 5)
        after = connection._wrapped._transport.get_extra_info("sockname")
        assert before != after
        talker.close()
        sequences = [f.sequence for _, f in viewer.frames]
        assert sorted(sequences) == list(range(len(sequences)))
        assert sender.reconnects == 0
        sender.hang_up()
        until(lambda: viewer.call.ended is not None)
        assert viewer.call.ended is not None
        assert viewer.call.ended.how is Ending.PEER_HUNG_UP


def test_socket_moves_as_soon_as_the_route_has_another_source(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another address of this machine is noticed by itself, not by the silence that follows."""
    monkeypatch.setattr("quic_transport.caller.MOVE_AFTER_S", 1e9)
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        connection = connection_of(sender)
        before = connection._wrapped.address("sockname")
        told = iter([None, "127.0.0.2"])  # no route for a moment, then another address
        monkeypatch.setattr(
            "quic_transport.caller.source_address", lambda peer: next(told, "127.0.0.1")
        )
        until(lambda: connection._wrapped.address("sockname") != before)
        count = len(viewer.frames)
        until(lambda: len(viewer.frames) > count + 20)
        talker.close()
        assert next(told, None) is None
        assert sender.reconnects == 0
        assert connection.refusals == 0


def test_source_address_is_that_of_the_route() -> None:
    assert source_address(("127.0.0.1", 9)) == "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.3", 9))
        assert source_address(("127.0.0.3", 9)) == one.getsockname()[0]


def test_outage_of_some_seconds_is_over_with_the_network(listener: Listener) -> None:
    relay = Relay(listener.port)
    invite = type(listener.invite)(
        "127.0.0.1", relay.port, listener.invite.fingerprint, listener.invite.token
    )
    with connect(invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        relay.silent = True
        time.sleep(3.0)
        assert sender.ended is None
        assert sender.quiet_s() > 2.0
        count = len(viewer.frames)
        relay.silent = False
        back = time.monotonic()
        until(lambda: len(viewer.frames) > count, 5)
        assert viewer.frames[count][0] - back < 1.0  # 100 ms on a machine that is not busy
        until(lambda: len(viewer.frames) > count + 50, 10)
        talker.close()
        assert viewer.call.ended is None
    relay.close()


def test_receiver_that_was_restarted_is_found_again(identity: Identity, tmp_path: Path) -> None:
    token = secrets.token_bytes(16)
    party = Party(receives=True, cache=AvatarCache(tmp_path))

    def start(port: int) -> Listener:
        return serve("127.0.0.1", port, party=party, identity=identity, token=token)

    first = start(0)
    with connect(first.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(first)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        port = first.port
        # a process that dies says nothing: its socket is gone, and its memory
        dead(first)
        time.sleep(1.0)
        with start(port) as second:
            back = time.monotonic()
            again = Viewer(accept(second))
            until(lambda: len(again.frames) > 20, 10)
            assert again.frames[0][0] - back < 3.0
            assert again.frames[0][1].key
            assert sender.ended is None
            assert sender.reconnects == 1
            assert sender.counts()[0].frames >= len(viewer.frames) + len(again.frames) - 20
            talker.close()
            sender.hang_up()
            until(lambda: again.call.ended is not None)
    first.close()


def test_receiver_that_was_restarted_at_once_is_found_by_its_notice_alone(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No silence is waited for, and the old connection's last packets are no sign of life."""
    monkeypatch.setattr("quic_transport.caller.MOVE_AFTER_S", 1e9)
    monkeypatch.setattr("quic_transport.caller.RETRY_AFTER_S", 1e9)
    token, party = secrets.token_bytes(16), Party(receives=True)
    first = serve("127.0.0.1", 0, party=party, identity=identity, token=token)
    relay = Relay(first.port)
    invite = type(first.invite)(
        "127.0.0.1", relay.port, first.invite.fingerprint, first.invite.token
    )
    with connect(invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(first)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        with serve("127.0.0.1", 0, party=party, identity=identity, token=token) as second:
            relay.port_there = second.port
            again = Viewer(accept(second))
            until(lambda: len(again.frames) > 20)
            assert sender.reconnects == 1
            assert again.frames[0][1].key
            talker.close()
            sender.hang_up()
            until(lambda: again.call.ended is not None)
    relay.close()
    first.close()


@pytest.mark.parametrize("refused", [True, False])
def test_restarted_receiver_that_kept_its_tickets_reads_early_data(
    refused: bool, identity: Identity, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However long it was away, and whatever was tried meanwhile: the ticket is still good."""
    monkeypatch.setattr("quic_transport.caller.RETRY_AFTER_S", 0.3)
    monkeypatch.setattr("quic_transport.caller.MOVE_AFTER_S", 0.2)
    monkeypatch.setattr("quic_transport.caller.ATTEMPT_S", 0.3)
    token, party = secrets.token_bytes(16), Party(receives=True)

    def start(port: int = 0) -> Listener:
        return serve("127.0.0.1", port, party=party, identity=identity, token=token,
                     tickets=KeptTickets(tmp_path))  # fmt: skip

    first = start()
    relay = Relay(first.port)
    port = first.port if refused else relay.port
    invite = Invite("127.0.0.1", port, first.invite.fingerprint, token)
    with connect(invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(first)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        until(lambda: len(list(tmp_path.iterdir())) == 1)
        relay.silent = True
        dead(first)
        attempts = sender._link._session._hello.attempt  # type: ignore[attr-defined]
        until(lambda: sender.quiet_s() > 0.8)  # some connections were tried in vain
        completed = handshakes(monkeypatch)
        with start(first.port if refused else 0) as second:
            relay.port_there = second.port
            relay.silent = False
            again = Viewer(accept(second))
            until(lambda: len(again.frames) > 20)
            assert sender.reconnects == 1
            assert sender.peer.attempt > attempts + 1
            assert again.frames[0][1].key
            assert completed
            assert all(event.early_data_accepted for event in completed)
            until(lambda: len(list(tmp_path.iterdir())) == 1)  # another one
            talker.close()
            sender.hang_up()
            until(lambda: again.call.ended is not None)
    relay.close()
    first.close()


def test_impostor_in_the_place_of_the_receiver_never_hears_the_hello(
    identity: Identity, tmp_path: Path
) -> None:
    """Early data that nobody could read is not said again to whoever answered."""
    token, party = secrets.token_bytes(16), Party(receives=True)
    first = serve("127.0.0.1", 0, party=party, identity=identity, token=token)
    other = load_identity(tmp_path / "other")
    with connect(first.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(first)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        dead(first)
        time.sleep(0.1)
        with serve("127.0.0.1", first.port, party=party, identity=other, token=token) as second:
            until(lambda: second.connections > 0)
            assert second.accept(1.0) is None
            assert sender.reconnects == 0
            assert sender.ended is None
            talker.close()
    first.close()


def test_broken_connection_comes_back_into_its_own_call(listener: Listener) -> None:
    """The server's side of the connection breaks; the call is the same for both owners."""
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        connection = connection_of(sender)
        connection._thread.soon(lambda: connection._quic.close(error_code=0x5, reason_phrase="?"))
        connection._thread.soon(connection.transmit)
        until(lambda: sender.reconnects == 1, 10)
        count = len(viewer.frames)
        until(lambda: len(viewer.frames) > count + 20, 10)
        talker.close()
        assert viewer.call.reconnects == 1
        assert listener.accept(0.01) is None  # not a new call
        sequences = [f.sequence for _, f in viewer.frames]
        assert len(set(sequences)) == len(sequences)
        assert viewer.call.counts()[1].frames == len(viewer.frames)


def test_reconnection_uses_the_ticket_and_early_data(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    completed = handshakes(monkeypatch)
    with connect(listener.invite, party=SENDER) as sender:
        viewer, talker = Viewer(accept(listener)), Talker(sender)
        until(lambda: len(viewer.frames) > 20)
        connection = connection_of(sender)
        connection._thread.soon(lambda: connection._quic.close(error_code=0x5))
        connection._thread.soon(connection.transmit)
        until(lambda: sender.reconnects == 1, 10)
        talker.close()
    early = [event.early_data_accepted for event in completed]
    assert early[:2] == [False, False]
    assert True in early[2:]


def handshakes(monkeypatch: pytest.MonkeyPatch) -> list[HandshakeCompleted]:
    """Those that are completed from now on, at either end."""
    completed: list[HandshakeCompleted] = []
    original = Connection.quic_event_received

    def spy(self: Connection, event: QuicEvent) -> None:
        if isinstance(event, HandshakeCompleted):
            completed.append(event)
        original(self, event)

    monkeypatch.setattr(Connection, "quic_event_received", spy)
    return completed


def dead(listener: Listener) -> None:
    """Take a listener's socket away, as a crash does: it says nothing to anybody."""

    def close() -> None:
        transport = listener._server._transport
        assert transport is not None
        transport.close()

    listener._thread.soon(close)


def test_peer_that_stays_away_is_lost_in_the_end(identity: Identity) -> None:
    limits = Limits(peer_timeout_s=2.5)
    listener = serve("127.0.0.1", 0, party=Party(receives=True), identity=identity)
    with connect(listener.invite, party=SENDER, limits=limits) as sender:
        accept(listener)
        dead(listener)
        until(lambda: sender.ended is not None, 15)
        assert sender.ended is not None
        assert sender.ended.how is Ending.PEER_LOST
    listener.close()


def test_caller_that_died_makes_room_for_the_next(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quic_transport.listener.DESERTED_S", 0.3)
    with connect(listener.invite, party=SENDER) as first:
        old = Viewer(accept(listener))
        with pytest.raises(LocalError, match="in another call"):
            connect(listener.invite, party=SENDER)
        connection = connection_of(first)
        connection._thread.soon(connection._wrapped.close)
        time.sleep(0.6)
        with connect(listener.invite, party=SENDER) as second:
            assert accept(listener).ended is None
            assert second.ended is None
            until(lambda: old.call.ended is not None)


def test_notice_is_believed_only_by_who_sent_the_packet() -> None:
    packets = SentPackets()
    packet = b"\x41" + os.urandom(80)
    notice = notice_for(packet)
    assert notice is not None
    assert len(notice) < len(packet)
    assert not packets.is_notice(notice)
    packets.sent(packet)
    assert packets.is_notice(notice)
    assert notice_for(notice) is None
    assert notice_for(packet[:32]) is not None  # a packet with a small face
    assert notice_for(packet[:20]) is None
    assert not packets.is_notice(MARK + os.urandom(12))
