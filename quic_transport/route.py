"""From which of its addresses this machine would send to a peer at present.

The rule: the kernel's routing table is asked, by connecting a datagram socket that sends nothing;
some 20 µs, so it may be asked many times per second. An answer that differs from the address that a
socket is bound to says that the network was changed under it (another Wi-Fi, cable to mobile, a
tunnel), long before silence would.
"""

from __future__ import annotations

import socket
from typing import Any


def source_address(peer: tuple[Any, ...]) -> str | None:
    """The local address of packets to `peer`, an address as sockets have it; None: no route."""
    family = socket.AF_INET6 if ":" in peer[0] else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)
            return str(probe.getsockname()[0])
    except OSError:
        return None
