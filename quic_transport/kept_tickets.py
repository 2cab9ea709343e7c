"""Tickets that outlive a listener that was killed, as its token does: one small file each.

The rule: a file that was removed opens a connection, one that could not be removed does not. As
only one process can remove it, each ticket is good once, whoever else uses the folder. Files that
cannot be read or written cost callers a round trip, nobody an error. Only tickets of callers who
showed the token come here (`listener`), so strangers cost no file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path

from aioquic.tls import SessionTicket

from quic_transport.tickets import (
    MAX_TICKET_BYTES,
    MAX_TICKETS,
    Tickets,
    TicketStore,
    decode_ticket,
    encode_ticket,
)
from quic_transport.tokens import LASTS_S, tickets_folder

NEW = ".new-"


class KeptTickets:
    """A `TicketStore` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        """The folder is made with the first ticket."""
        self._folder = folder

    def add(self, ticket: SessionTicket) -> None:
        """See `TicketStore`. The file is there whole or not at all."""
        data = encode_ticket(ticket)
        if len(data) > MAX_TICKET_BYTES:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=NEW)  # mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                os.replace(name, self._path(ticket.ticket))
            except OSError:
                os.unlink(name)
                raise
            self._thin_out()

    def take(self, label: bytes) -> SessionTicket | None:
        """See `TicketStore`."""
        path = self._path(label)
        try:
            old = time.time() - path.stat().st_mtime > LASTS_S
            with path.open("rb") as file:
                data = file.read(MAX_TICKET_BYTES + 1)
            path.unlink()
        except OSError:
            return None
        ticket = decode_ticket(data)
        return None if old or ticket is None or ticket.ticket != label else ticket

    def _path(self, label: bytes) -> Path:
        return self._folder / hashlib.sha256(label).hexdigest()  # a stranger chooses the label

    def _thin_out(self) -> None:
        """Remove what is too old, and the oldest of too many."""
        ages = []
        for entry in os.scandir(self._folder):
            with contextlib.suppress(OSError):
                ages.append((entry.stat(follow_symlinks=False).st_mtime_ns, entry.path))
        ages.sort(reverse=True)
        oldest_ns = time.time_ns() - int(LASTS_S * 1e9)
        for number, (made_ns, path) in enumerate(ages):
            if number >= MAX_TICKETS or made_ns < oldest_ns:
                with contextlib.suppress(OSError):
                    os.unlink(path)


def lasting_tickets(port: int, folder: Path | None = None) -> TicketStore:
    """The tickets for listening on `port` (0: any port, so nothing is kept)."""
    return KeptTickets(tickets_folder(port, folder)) if port else Tickets()
