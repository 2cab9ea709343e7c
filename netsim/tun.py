"""TUN back end: two namespaces whose only way out leads through a path in this process.

Each namespace has a TUN device; what its programs send, whatever protocol, comes out of the
device's file here as IP packets, takes the path and goes into the other one. The rule: nothing
is rewritten and no program needs to know; a packet's size is that of the IP packet.
Reference: Linux, Documentation/networking/tuntap.rst.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from dataclasses import replace
from typing import Any

from netsim.errors import BackendError
from netsim.link import Arrival
from netsim.namespaces import NamespacePair, ip
from netsim.path import PathSettings, Way
from netsim.relay import Address, Clockwork

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500


def why_not() -> str | None:
    """The sentence that says why there is no TUN here; None: there is."""
    if not os.path.exists(DEVICE):
        return f"{DEVICE} does not exist (kernel module tun); take --backend relay"
    try:
        os.close(os.open(DEVICE, os.O_RDWR))
    except OSError as error:
        return (
            f"{DEVICE} cannot be opened ({error.strerror}): run with sudo, or take --backend relay"
        )
    return None


def open_device(name: str) -> int:
    """A new TUN device; its file. It vanishes when the file is closed."""
    fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    except OSError as error:
        os.close(fd)
        raise BackendError(
            f"a TUN device cannot be made ({error.strerror}); take --backend relay"
        ) from None
    return fd


class TunBackend:
    """Two namespaces, two devices, one path."""

    def __init__(self, settings: PathSettings, seed: int) -> None:
        """Use `open`."""
        bare = PathSettings(  # the packets have their headers already
            up=replace(settings.up, overhead_bytes=0), down=replace(settings.down, overhead_bytes=0)
        )
        self._clock = Clockwork(bare, seed, self._arrived)
        self._files: list[int] = []
        self._pair = NamespacePair.create()
        self.hosts = self._pair.hosts

    @staticmethod
    async def open(settings: PathSettings, seed: int) -> TunBackend:
        """Make everything; BackendError says what is missing, and nothing is left then."""
        if (reason := why_not()) is not None:
            raise BackendError(reason)
        backend = TunBackend(settings, seed)
        try:
            backend._connect()
        except BaseException:
            await backend.close()
            raise
        return backend

    def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        ways: tuple[Way, Way] = ("down", "up")
        for which, way in enumerate(ways):
            device = self._pair.devices[which]
            fd = open_device(device)
            self._files.append(fd)
            ip("link", "set", device, "mtu", str(MTU), "netns", self._pair.names[which])
            self._pair.plug(which)
            loop.add_reader(fd, self._readable, fd, way)

    def _readable(self, fd: int, way: Way) -> None:
        for _ in range(64):
            try:
                packet = os.read(fd, MTU + 100)
            except BlockingIOError:
                return
            except OSError:
                asyncio.get_running_loop().remove_reader(fd)
                return
            if packet and packet[0] >> 4 == 4:  # no neighbour discovery of IPv6
                self._clock.send(way, packet)

    def _arrived(self, way: Way, arrival: Arrival) -> None:
        if self._files:
            try:
                os.write(self._files[0 if way == "up" else 1], arrival.packet)
            except OSError:
                pass  # the device is full or going down: lost, as on a real network

    async def lead(self, target: Address) -> Address:
        """The called one is reached at its own address."""
        return (self.hosts[0].address, target[1])

    async def drain(self) -> None:
        """Let the last words of who has ended arrive."""
        await self._clock.drain()

    def report(self) -> dict[str, dict[str, Any]]:
        """The path's numbers; bytes include IP and UDP headers."""
        return self._clock.report()

    def seconds(self) -> float:
        """Since the first packet."""
        return self._clock.seconds()

    async def close(self) -> None:
        """Remove devices and namespaces."""
        self._clock.stop()
        loop = asyncio.get_running_loop()
        for fd in self._files:
            loop.remove_reader(fd)
            os.close(fd)
        self._files.clear()
        self._pair.remove()
