"""Session tickets that a listener gave to callers: each opens one connection, once.

The rule: whoever takes a ticket has it alone, and nothing may be opened with it before it is gone
from the store: early data can be replayed, and this is what keeps a replay from being read. As
bytes a ticket is JSON; whatever does not have exactly its form is no ticket, and no error.
Reference: RFC 8446, section 8 (0-RTT and anti-replay), RFC 9001, section 4.6.
"""

from __future__ import annotations

import datetime
import json
from typing import Any, Protocol

from aioquic.tls import CipherSuite, SessionTicket

MAX_TICKETS = 64
MAX_TICKET_BYTES = 4096  # as JSON; ours have some 700


class TicketStore(Protocol):
    """Where a listener keeps the tickets that it gave away."""

    def add(self, ticket: SessionTicket) -> None:
        """Keep a ticket; the oldest goes when there are too many. Never raises."""

    def take(self, label: bytes) -> SessionTicket | None:
        """The ticket with this label, which is not valid any more after this."""


class Tickets:
    """In memory: they end with the process."""

    def __init__(self) -> None:
        self._tickets: dict[bytes, SessionTicket] = {}

    def add(self, ticket: SessionTicket) -> None:
        """See `TicketStore`."""
        while len(self._tickets) >= MAX_TICKETS:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[ticket.ticket] = ticket

    def take(self, label: bytes) -> SessionTicket | None:
        """See `TicketStore`."""
        return self._tickets.pop(label, None)


def encode_ticket(ticket: SessionTicket) -> bytes:
    """A ticket as JSON. It holds a secret: only for a file that nobody else can read."""
    fields = {
        "age_add": ticket.age_add,
        "cipher_suite": int(ticket.cipher_suite),
        "not_valid_after": ticket.not_valid_after.isoformat(),
        "not_valid_before": ticket.not_valid_before.isoformat(),
        "resumption_secret": ticket.resumption_secret.hex(),
        "server_name": ticket.server_name,
        "ticket": ticket.ticket.hex(),
        "max_early_data_size": ticket.max_early_data_size,
        "other_extensions": [[kind, data.hex()] for kind, data in ticket.other_extensions],
    }
    return json.dumps(fields).encode()


def decode_ticket(data: bytes) -> SessionTicket | None:
    """The ticket that `encode_ticket` wrote; None for any other bytes."""
    if len(data) > MAX_TICKET_BYTES:
        return None
    try:
        fields: dict[str, Any] = json.loads(data)
        name, early = fields["server_name"], fields["max_early_data_size"]
        if not isinstance(name, str | None):
            return None
        ticket = SessionTicket(
            age_add=_number(fields["age_add"]),
            cipher_suite=CipherSuite(_number(fields["cipher_suite"])),
            not_valid_after=_date(fields["not_valid_after"]),
            not_valid_before=_date(fields["not_valid_before"]),
            resumption_secret=bytes.fromhex(fields["resumption_secret"]),
            server_name=name,  # type: ignore[arg-type]  # a server's own is None
            ticket=bytes.fromhex(fields["ticket"]),
            max_early_data_size=None if early is None else _number(early),
            other_extensions=[
                (_number(kind), bytes.fromhex(text)) for kind, text in fields["other_extensions"]
            ],
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return ticket if encode_ticket(ticket) == data else None


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise ValueError
    return value


def _date(text: str) -> datetime.datetime:
    date = datetime.datetime.fromisoformat(text)
    if date.tzinfo is None:
        raise ValueError
    return date
