"""What `replay` needs of a way to run two programs over a path.

The rule: a back end leaves nothing behind: `close` restores everything, may be called twice, and
is called after whatever happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from netsim.path import PathSettings
from netsim.relay import Address, Relay, start_relay


@dataclass(frozen=True, slots=True)
class Host:
    """Where one of the two programs runs."""

    prefix: tuple[str, ...] = ()
    """What goes before its command."""
    address: str = "127.0.0.1"
    """Its IP address as the other one sees it."""


class Backend(Protocol):
    """One path between two programs."""

    hosts: tuple[Host, Host]
    """Of the one who is called, and of the caller."""

    async def lead(self, target: Address) -> Address:
        """Where the caller has to call so that `target` is reached over the path."""

    async def drain(self) -> None:
        """Wait (a few seconds at most) until what is under way has arrived."""

    def report(self) -> dict[str, dict[str, Any]]:
        """The path's numbers so far; empty where the back end counts nothing."""

    def seconds(self) -> float:
        """How long packets have been under way."""

    async def close(self) -> None:
        """Restore everything."""


class RelayBackend:
    """Both programs where they are; the caller calls a UDP relay instead of the other one."""

    def __init__(self, settings: PathSettings, seed: int, listen: Address) -> None:
        self.hosts = (Host(), Host())
        self._settings = settings
        self._seed = seed
        self._listen = listen
        self._relay: Relay | None = None

    async def lead(self, target: Address) -> Address:
        """Start the relay."""
        self._relay = await start_relay(self._listen, target, self._settings, self._seed)
        return self._relay.address

    async def drain(self) -> None:
        """The last words of who has ended already."""
        if self._relay is not None:
            await self._relay.clock.drain()

    def report(self) -> dict[str, dict[str, Any]]:
        """The relay's numbers."""
        return self._relay.clock.report() if self._relay is not None else {}

    def seconds(self) -> float:
        """Since the first packet."""
        return self._relay.clock.seconds() if self._relay is not None else 0.0

    async def close(self) -> None:
        """Free the ports."""
        if self._relay is not None:
            self._relay.close()
