"""The relay over real sockets: whoever calls it talks to the target, over the path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from netsim import relay as relay_module
from netsim.errors import NetsimError
from netsim.loss import IndependentLoss
from netsim.path import PathSettings, report_lines
from netsim.relay import Address, Relay, start_relay
from netsim.settings import LinkSettings

PERFECT = LinkSettings()


class Endpoint(asyncio.DatagramProtocol):
    """Keeps what comes; answers if it is told to."""

    def __init__(self, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.got: list[bytes] = []
        self.times: list[float] = []
        self.senders: set[Any] = set()
        self.transport: asyncio.DatagramTransport | None = None
        self.more = asyncio.Event()
        self.answer = answer

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append(data)
        self.times.append(asyncio.get_running_loop().time())
        self.senders.add(addr)
        self.more.set()
        if self.answer is not None and self.transport is not None:
            self.transport.sendto(self.answer(data), addr)

    async def wait(self, n: int) -> None:
        """Until `n` packets are here; the test's own time limit is the only one."""
        async with asyncio.timeout(20):
            while len(self.got) < n:
                self.more.clear()
                await self.more.wait()


async def listen(answer: Callable[[bytes], bytes] | None = None) -> tuple[Endpoint, Address]:
    loop = asyncio.get_running_loop()
    transport, endpoint = await loop.create_datagram_endpoint(
        lambda: Endpoint(answer), local_addr=("127.0.0.1", 0)
    )
    return endpoint, transport.get_extra_info("sockname")


async def call(address: Address) -> Endpoint:
    loop = asyncio.get_running_loop()
    _, endpoint = await loop.create_datagram_endpoint(Endpoint, remote_addr=address)
    return endpoint


def close(relay: Relay, *endpoints: Endpoint) -> None:
    relay.close()
    for endpoint in endpoints:
        assert endpoint.transport is not None
        endpoint.transport.close()


def test_relay_carries_both_ways_with_delay() -> None:
    async def run() -> None:
        echo, target = await listen(lambda data: data.upper())
        link = LinkSettings(delay_ms=30)
        relay = await start_relay(("127.0.0.1", 0), target, PathSettings(link, link))
        caller = await call(relay.address)
        began = asyncio.get_running_loop().time()
        for word in (b"one", b"two", b"three"):
            assert caller.transport is not None
            caller.transport.sendto(word)
        await caller.wait(3)
        assert caller.got == [b"ONE", b"TWO", b"THREE"]
        assert caller.times[0] - began >= 0.06
        report = relay.clock.report()
        assert report["up"]["delivered"] == report["down"]["delivered"] == 3
        assert report["up"]["delay ms p50"] == pytest.approx(30, abs=0.01)
        text = "\n".join(report_lines(report, relay.clock.seconds()))
        assert "3 packets in, 3 out, dropped: none" in text
        close(relay, echo, caller)

    asyncio.run(run())


def test_relay_keeps_callers_apart() -> None:
    async def run() -> None:
        echo, target = await listen(lambda data: b"to " + data)
        relay = await start_relay(("127.0.0.1", 0), target, PathSettings(PERFECT, PERFECT))
        callers = [await call(relay.address) for _ in range(3)]
        for i, caller in enumerate(callers):
            assert caller.transport is not None
            caller.transport.sendto(b"%d" % i)
        for i, caller in enumerate(callers):
            await caller.wait(1)
            assert caller.got == [b"to %d" % i]
        assert len(echo.senders) == 3
        close(relay, echo, *callers)

    asyncio.run(run())


def test_relay_makes_room_for_new_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "MAX_CALLERS", 2)

    async def run() -> None:
        echo, target = await listen(lambda data: data)
        relay = await start_relay(("127.0.0.1", 0), target, PathSettings(PERFECT, PERFECT))
        callers = [await call(relay.address) for _ in range(4)]
        for caller in callers:
            assert caller.transport is not None
            caller.transport.sendto(b"x")
            await caller.wait(1)
        assert len(relay._callers) == len(relay._numbers) == 2
        assert callers[0].transport is not None
        callers[0].transport.sendto(b"again")  # forgotten, but welcome
        await callers[0].wait(2)
        close(relay, echo, *callers)

    asyncio.run(run())


def test_relay_loses_what_the_path_loses() -> None:
    async def run() -> None:
        echo, target = await listen()
        up = LinkSettings(loss=IndependentLoss(0.5))
        relay = await start_relay(("127.0.0.1", 0), target, PathSettings(up, PERFECT), seed=4)
        caller = await call(relay.address)
        for i in range(60):
            assert caller.transport is not None
            caller.transport.sendto(b"%d" % i)
            await asyncio.sleep(0.001)
        while relay.clock.path is None or relay.clock.report()["up"]["sent"] < 60:
            await asyncio.sleep(0.01)
        counts = relay.clock.path.links["up"].counts()
        assert counts.balanced()
        assert 15 < counts.dropped["loss"] < 45
        await echo.wait(counts.delivered)
        assert len(echo.got) == counts.delivered
        close(relay, echo, caller)

    asyncio.run(run())


def test_relay_to_nobody_is_silent_and_survives() -> None:
    async def run() -> None:
        other, gone = await listen()
        assert other.transport is not None
        other.transport.close()
        relay = await start_relay(("127.0.0.1", 0), gone, PathSettings(PERFECT, PERFECT))
        caller = await call(relay.address)
        for _ in range(3):
            assert caller.transport is not None
            caller.transport.sendto(b"anybody?")
            await asyncio.sleep(0.02)
        assert relay.clock.report()["up"]["delivered"] == 3
        assert caller.got == []
        close(relay, caller)
        relay.close()  # twice does no harm

    asyncio.run(run())


def test_relay_port_in_use_is_one_sentence() -> None:
    async def run() -> None:
        other, address = await listen()
        with pytest.raises(NetsimError, match="cannot listen"):
            await start_relay(address, ("127.0.0.1", 9), PathSettings(PERFECT, PERFECT))
        assert other.transport is not None
        other.transport.close()

    asyncio.run(run())
