"""UDP relay: a real port whose packets take a simulated path to another port, and back.

    relay = await start_relay(("127.0.0.1", 0), ("192.0.2.7", 4433), settings, seed=1)
    relay.address, relay.path, relay.close()

Each caller gets a socket of its own towards the target, all share one path. The rule: a thin
shell; it moves bytes between sockets and links by the loop's clock and decides nothing. The trace
begins with the first packet.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from netsim.errors import NetsimError
from netsim.link import Arrival
from netsim.path import Path, PathSettings, Way

MAX_CALLERS = 64  # addresses at once; the one that was silent longest makes room
DRAIN_S = 3.0
RECEIVE_BUFFER_BYTES = 4 * 2**20

Address = tuple[str, int]


class Clockwork:
    """Delivers what is due on a path by the clock of a running loop."""

    def __init__(
        self, settings: PathSettings, seed: int, on_arrival: Callable[[Way, Arrival], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._seed = seed
        self._on_arrival = on_arrival
        self._timer: asyncio.TimerHandle | None = None
        self.path: Path | None = None  # none before the first packet

    def send(self, way: Way, packet: bytes, tag: int = 0) -> None:
        """Put a packet on its way now."""
        now = self._loop.time()
        if self.path is None:
            self.path = Path(self._settings, self._seed, now)
        self.path.send(way, packet, now, tag)
        self._work()

    def seconds(self) -> float:
        """Since the first packet."""
        return self._loop.time() - self.path.origin if self.path is not None else 0.0

    def report(self) -> dict[str, dict[str, Any]]:
        """The path's numbers."""
        path = self.path or Path(self._settings, self._seed, self._loop.time())
        return path.report(self._loop.time())

    async def drain(self) -> None:
        """Wait until nothing is under way, or as long as is bearable."""
        until = self._loop.time() + DRAIN_S
        while self.path is not None and (due := self.path.due()) is not None:
            if max(due, self._loop.time()) > until:
                return
            await asyncio.sleep(max(0.0, due - self._loop.time()) + 0.01)

    def stop(self) -> None:
        """Nothing more arrives."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _work(self) -> None:
        assert self.path is not None
        now = self._loop.time()
        for way in ("up", "down"):
            for arrival in self.path.deliver(way, now):  # type: ignore[arg-type]
                self._on_arrival(way, arrival)  # type: ignore[arg-type]
        self.stop()
        due = self.path.due()
        if due is not None:
            self._timer = self._loop.call_at(due, self._work)


class Relay:
    """One listening port and one path. Made by `start_relay`."""

    def __init__(self, target: Address, settings: PathSettings, seed: int) -> None:
        self.clock = Clockwork(settings, seed, self._arrived)
        self.address: Address = ("", 0)
        self._target = target
        self._front: asyncio.DatagramTransport | None = None
        self._numbers: dict[Any, int] = {}  # caller's address → number; oldest first
        self._callers: dict[int, tuple[Any, asyncio.DatagramTransport | None]] = {}
        self._next = 0
        self._opening: set[asyncio.Task[None]] = set()

    def heard(self, data: bytes, address: Any) -> None:
        """A packet from a caller."""
        number = self._numbers.pop(address, None)
        if number is None:
            number = self._next
            self._next += 1
            self._callers[number] = (address, None)
            task = asyncio.get_running_loop().create_task(self._open(number))
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)
        self._numbers[address] = number  # the latest comes last
        if len(self._numbers) > MAX_CALLERS:
            self._forget(next(iter(self._numbers)))
        self.clock.send("up", data, number)

    def answered(self, data: bytes, number: int) -> None:
        """A packet from the target to one of the callers."""
        self.clock.send("down", data, number)

    def close(self) -> None:
        """Free the sockets. May be called twice."""
        self.clock.stop()
        for task in self._opening:
            task.cancel()
        if self._front is not None:
            self._front.close()
        for _, back in self._callers.values():
            if back is not None:
                back.close()
        self._callers.clear()
        self._numbers.clear()

    async def _listen(self, address: Address) -> None:
        loop = asyncio.get_running_loop()
        self._front, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self.heard), local_addr=address
        )
        _widen(self._front)
        self.address = self._front.get_extra_info("sockname")[:2]

    async def _open(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            back, _ = await loop.create_datagram_endpoint(
                lambda: _Socket(lambda data, address: self.answered(data, number)),
                remote_addr=self._target,
            )
        except OSError:  # as if nobody were there
            address, _ = self._callers.pop(number, (None, None))
            self._numbers.pop(address, None)
            return
        if number not in self._callers:  # forgotten meanwhile
            back.close()
            return
        _widen(back)
        self._callers[number] = (self._callers[number][0], back)

    def _forget(self, address: Any) -> None:
        _, back = self._callers.pop(self._numbers.pop(address))
        if back is not None:
            back.close()

    def _arrived(self, way: Way, arrival: Arrival) -> None:
        address, back = self._callers.get(arrival.tag, (None, None))
        if address is None:
            return
        if way == "down":
            if self._front is not None and not self._front.is_closing():
                self._front.sendto(arrival.packet, address)
        elif back is not None:
            back.sendto(arrival.packet)
        else:  # its socket is being opened: a moment later
            asyncio.get_running_loop().call_later(0.005, self._arrived, way, arrival)


class _Socket(asyncio.DatagramProtocol):
    """Hands datagrams on; that nobody listens at the other end is no news for a network."""

    def __init__(self, on_packet: Callable[[bytes, Any], None]) -> None:
        self._on_packet = on_packet

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """From the loop."""
        self._on_packet(data, addr)


async def start_relay(
    listen: Address, target: Address, settings: PathSettings, seed: int = 0
) -> Relay:
    """Listen on `listen` (port 0: any) for packets to `target`; NetsimError if that cannot be."""
    relay = Relay(target, settings, seed)
    try:
        await relay._listen(listen)
    except OSError as error:
        raise NetsimError(
            f"the relay cannot listen on {listen[0]}:{listen[1]} ({error.strerror or error})"
        ) from None
    return relay


def _widen(transport: asyncio.DatagramTransport) -> None:
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
