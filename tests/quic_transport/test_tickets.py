"""Session tickets as files: good once, for their owner only, and never a reason to fail."""

from __future__ import annotations

import datetime
import os
import secrets
import shutil
import socket
import threading
from pathlib import Path

import pytest
from aioquic.tls import CipherSuite, SessionTicket
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.certs import Identity, load_identity
from quic_transport.endpoint import Listener, Party, connect, serve
from quic_transport.invite import Invite
from quic_transport.kept_tickets import KeptTickets, lasting_tickets
from quic_transport.tickets import (
    MAX_TICKET_BYTES,
    MAX_TICKETS,
    Tickets,
    TicketStore,
    decode_ticket,
    encode_ticket,
)
from quic_transport.tokens import forget_token, lasting_token
from tests.quic_transport.test_reconnect import (
    SENDER,
    Relay,
    Talker,
    Viewer,
    accept,
    connection_of,
    until,
)

NOW = datetime.datetime.now(datetime.UTC)
LONG_HEADER = 0x80
dates = st.datetimes(timezones=st.just(datetime.UTC))


def make_ticket(label: bytes, *, secret: bytes = bytes(32)) -> SessionTicket:
    return SessionTicket(
        age_add=7, cipher_suite=CipherSuite.AES_128_GCM_SHA256, not_valid_before=NOW,
        not_valid_after=NOW + datetime.timedelta(days=1), resumption_secret=secret,
        server_name="facewire", ticket=label, max_early_data_size=2**32 - 1,
        other_extensions=[(57, b"parameters")],
    )  # fmt: skip


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@given(
    st.builds(
        SessionTicket, age_add=st.integers(0, 2**32 - 1), cipher_suite=st.sampled_from(CipherSuite),
        not_valid_after=dates, not_valid_before=dates, resumption_secret=st.binary(max_size=48),
        server_name=st.none() | st.text(max_size=9), ticket=st.binary(max_size=64),
        max_early_data_size=st.none() | st.integers(0, 2**32 - 1),
        other_extensions=st.lists(
            st.tuples(st.integers(0, 2**16), st.binary(max_size=40)), max_size=3
        ),
    )
)  # fmt: skip
def test_ticket_survives_its_bytes(ticket: SessionTicket) -> None:
    assert decode_ticket(encode_ticket(ticket)) == ticket


@given(st.data())
def test_damaged_ticket_is_none(data: st.DataObject) -> None:
    good = bytearray(encode_ticket(make_ticket(b"label")))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    found = decode_ticket(bytes(good))
    assert found is None or encode_ticket(found) == bytes(good)
    assert decode_ticket(bytes(good[:at])) is None


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"1", b"{}", b"[" * 4000, b'{"a":1}']))
def test_other_bytes_are_no_ticket(data: bytes) -> None:
    assert decode_ticket(data) is None


@pytest.mark.parametrize("kept", [True, False])
def test_ticket_is_taken_once_and_the_oldest_are_forgotten(kept: bool, tmp_path: Path) -> None:
    tickets: TicketStore = KeptTickets(tmp_path) if kept else Tickets()
    labels = [bytes([number]) for number in range(MAX_TICKETS + 5)]
    for number, label in enumerate(labels):
        tickets.add(make_ticket(label))
        for path in files(tmp_path):  # so that each is older than the next
            os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns - 10**9))
        assert len(files(tmp_path)) == (min(number + 1, MAX_TICKETS) if kept else 0)
    assert tickets.take(labels[0]) is None
    assert tickets.take(labels[-1]) == make_ticket(labels[-1])
    assert tickets.take(labels[-1]) is None
    assert tickets.take(b"../" * 30) is None


def test_ticket_of_another_process_is_its_owners_alone_and_lasts_a_day(tmp_path: Path) -> None:
    folder = tmp_path / "tickets"
    KeptTickets(folder).add(make_ticket(b"a"))
    (path,) = files(folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    shutil.copytree(folder, tmp_path / "copy")
    assert KeptTickets(folder).take(b"a") == make_ticket(b"a")
    assert files(folder) == []
    (path,) = files(tmp_path / "copy")
    os.utime(path, (0, 0))
    assert KeptTickets(tmp_path / "copy").take(b"a") is None
    assert files(tmp_path / "copy") == []


def test_ticket_is_given_to_one_of_many_processes(tmp_path: Path) -> None:
    for round_ in range(20):
        label = bytes([round_])
        KeptTickets(tmp_path).add(make_ticket(label))
        start = threading.Barrier(6)
        found: list[SessionTicket | None] = []

        def take(
            label: bytes = label, start: threading.Barrier = start,
            found: list[SessionTicket | None] = found,
        ) -> None:  # fmt: skip
            start.wait()
            found.append(KeptTickets(tmp_path).take(label))

        threads = [threading.Thread(target=take) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([one for one in found if one is not None]) == 1


def test_trouble_with_files_is_no_error(tmp_path: Path) -> None:
    tickets = KeptTickets(tmp_path)
    tickets.add(make_ticket(b"a"))
    (path,) = files(tmp_path)
    path.write_bytes(b"damaged")
    assert tickets.take(b"a") is None
    assert files(tmp_path) == []
    tickets.add(make_ticket(b"b", secret=bytes(MAX_TICKET_BYTES)))  # too large
    assert files(tmp_path) == []
    tickets.add(make_ticket(b"c"))
    (path,) = files(tmp_path)
    path.rename(tickets._path(b"d"))  # another one's
    assert tickets.take(b"d") is None
    (tmp_path / "file").write_bytes(b"")
    nowhere = KeptTickets(tmp_path / "file" / "folder")
    nowhere.add(make_ticket(b"a"))
    assert nowhere.take(b"a") is None


def test_tickets_of_a_port_end_with_its_token(tmp_path: Path) -> None:
    for port in (4433, 4434):
        lasting_token(port, tmp_path)
        lasting_tickets(port, tmp_path).add(make_ticket(b"a"))
    assert isinstance(lasting_tickets(0, tmp_path), Tickets)
    lasting_token(4433, tmp_path)  # the same
    assert len(files(tmp_path / "tickets-4433")) == 1
    forget_token(4433, tmp_path)
    assert not (tmp_path / "tickets-4433").exists()
    assert lasting_tickets(4434, tmp_path).take(b"a") is not None
    lasting_tickets(4434, tmp_path).add(make_ticket(b"a"))
    os.utime(tmp_path / "listening-4434", (0, 0))
    lasting_token(4434, tmp_path)  # another one
    assert lasting_tickets(4434, tmp_path).take(b"a") is None


class Recorder(Relay):
    """A relay that writes down what goes up."""

    def __init__(self, port: int) -> None:
        self.seen: list[bytes] = []
        super().__init__(port)

    def passes(self, data: bytes) -> None:
        self.seen.append(data)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return load_identity(tmp_path_factory.mktemp("identity"))


def test_replayed_early_data_opens_nothing(identity: Identity, tmp_path: Path) -> None:
    """Nor does it disturb the call that it was part of; with a ticket given twice it would."""
    token, kept, copied = secrets.token_bytes(16), tmp_path / "kept", tmp_path / "copied"

    def start(tickets: TicketStore) -> Listener:
        return serve("127.0.0.1", 0, party=Party(receives=True), identity=identity, token=token,
                     tickets=tickets)  # fmt: skip

    def replay(flight: list[bytes], port: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            for data in flight:
                attacker.sendto(data, ("127.0.0.1", port))

    with start(KeptTickets(kept)) as listener:
        relay = Recorder(listener.port)
        invite = Invite("127.0.0.1", relay.port, listener.invite.fingerprint, token)
        with connect(invite, party=SENDER) as sender:
            viewer, talker = Viewer(accept(listener)), Talker(sender)
            until(lambda: len(viewer.frames) > 20)
            until(lambda: kept.exists() and len(files(kept)) == 1)
            shutil.copytree(kept, copied)
            connection, before = connection_of(sender), len(relay.seen)
            connection._thread.soon(lambda: connection._quic.close(error_code=0x5))
            connection._thread.soon(connection.transmit)
            until(lambda: sender.reconnects == 1)
            flight = [data for data in relay.seen[before:] if data[0] & LONG_HEADER]
            count = len(viewer.frames)
            for _ in range(3):
                replay(flight, listener.port)
            until(lambda: len(viewer.frames) > count + 50)
            assert viewer.call.ended is None
            assert sender.reconnects == viewer.call.reconnects == 1
            assert listener.accept(0.01) is None
            talker.close()
        relay.close()
    with start(KeptTickets(kept)) as third:
        replay(flight, third.port)
        until(lambda: third.connections > 0)  # it costs a handshake
        assert third.accept(0.5) is None
    with start(KeptTickets(copied)) as fourth:
        replay(flight, fourth.port)
        assert fourth.accept(5.0) is not None


def test_stranger_leaves_no_ticket(identity: Identity, tmp_path: Path) -> None:
    with serve("127.0.0.1", 0, party=Party(receives=True), identity=identity,
               tickets=KeptTickets(tmp_path)) as listener:  # fmt: skip
        wrong = Invite("127.0.0.1", listener.port, listener.invite.fingerprint, bytes(16))
        with pytest.raises(Exception, match="not valid"):
            connect(wrong, party=SENDER)
        assert files(tmp_path) == []
        with connect(listener.invite, party=SENDER):
            accept(listener)
            until(lambda: len(files(tmp_path)) == 1)
