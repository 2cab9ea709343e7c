"""tc back end: two namespaces joined by a cable whose ends the kernel shapes.

The rate is tbf's, changed as the trace goes; delay, jitter, loss, reordering and duplication are
netem's, where the kernel has it. The rule: what this kernel cannot do is said in one sentence
before anything starts, never left out silently. Random numbers are the kernel's: a seed means
nothing here.
Reference: tc-tbf(8), tc-netem(8).
"""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import numpy as np

from netsim.errors import BackendError
from netsim.loss import BurstLoss, GilbertElliott, IndependentLoss
from netsim.namespaces import NamespacePair, command, ip
from netsim.path import PathSettings
from netsim.relay import Address
from netsim.settings import LinkSettings
from netsim.traces import Trace

STEP_S = 0.5  # the rate changes no more often: every change refills tbf's bucket
LEAST_BIT = 8  # tbf knows no rate 0: a byte per second is none
PACKET_BYTES = 1514
DEFAULT_QUEUE_PACKETS = 1000
BURST_S = 0.004  # a tick of the slowest usual kernel (HZ=250)


def probe(name: str) -> set[str]:
    """Which of netem and tbf the kernel has; tried on the loopback of the namespace `name`."""
    trials = {"netem": "netem delay 1ms", "tbf": "tbf rate 1mbit burst 3000 limit 30000"}
    found = set()
    for kind, words in trials.items():
        try:
            command("tc", ["-n", name, "qdisc", "add", "dev", "lo", "root", *words.split()])
            command("tc", ["-n", name, "qdisc", "del", "dev", "lo", "root"])
        except BackendError:
            continue
        found.add(kind)
    return found


def missing(settings: LinkSettings, has: set[str]) -> list[str]:
    """What of `settings` the kernel cannot do."""
    trace = settings.trace
    wanted = {
        "a rate": (trace is not None, "tbf"),
        "delay": (settings.delay_ms > 0 or (trace is not None and trace.delay_ms is not None),
                  "netem"),
        "jitter": (settings.jitter_ms > 0, "netem"),
        "loss": (settings.loss is not None or (trace is not None and trace.loss is not None),
                 "netem"),
        "reordering": (settings.reorder > 0, "netem"),
        "duplication": (settings.duplicate > 0, "netem"),
        "loss in bursts of a fixed length": (isinstance(settings.loss, BurstLoss), "(nothing)"),
        "outages": (bool(settings.outages), "(nothing)"),
    }  # fmt: skip
    return [f"{what} (needs {kind})" for what, (on, kind) in wanted.items()
            if on and kind not in has]  # fmt: skip


def netem_words(settings: LinkSettings, delay_ms: float, loss: float) -> list[str]:
    """netem's arguments, with the trace's own delay and loss of the moment."""
    delay = settings.delay_ms + delay_ms + settings.jitter_ms / 2
    words = ["netem", "delay", f"{delay:.3f}ms"]
    if settings.jitter_ms > 0:
        words += [f"{settings.jitter_ms / 2:.3f}ms"]
    if isinstance(settings.loss, GilbertElliott):
        model = settings.loss
        shares = (model.to_bad, model.to_good, model.loss_bad, model.loss_good)
        words += ["loss", "gemodel", *(f"{100 * share:.4f}%" for share in shares)]
    else:
        own = settings.loss.share if isinstance(settings.loss, IndependentLoss) else 0.0
        both = 1 - (1 - own) * (1 - loss)
        words += ["loss", "random", f"{100 * both:.4f}%"] if both > 0 else []
    if settings.duplicate > 0:
        words += ["duplicate", f"{100 * settings.duplicate:.4f}%"]
    if settings.reorder > 0:
        words += ["reorder", f"{100 * settings.reorder:.4f}%"]
    return [*words, "limit", "100000"]


def tbf_words(settings: LinkSettings, kbps: float) -> list[str]:
    """tbf's arguments for a rate."""
    bits = max(LEAST_BIT, round(1000 * kbps))
    burst = max(PACKET_BYTES + 86, round(bits / 8 * BURST_S))
    packets = settings.queue_packets or DEFAULT_QUEUE_PACKETS
    limit = settings.queue_bytes or packets * PACKET_BYTES
    words = ["tbf", "rate", f"{bits}bit", "burst", str(burst), "limit", str(round(limit))]
    return words


def steps(trace: Trace) -> list[tuple[float, float, float, float]]:
    """(time s, kbps, delay ms, loss) of every moment at which one of them changes."""
    kbps = trace.binned_kbps(min(STEP_S, trace.duration_s))
    rows: list[tuple[float, float, float, float]] = []
    for i, rate in enumerate(kbps):
        at = trace.index_at(min(i * STEP_S, float(np.nextafter(trace.duration_s, 0))))
        delay = float(trace.delay_ms[at]) if trace.delay_ms is not None else 0.0
        loss = float(trace.loss[at]) if trace.loss is not None else 0.0
        row = (i * STEP_S, float(f"{rate:.3g}"), delay, loss)  # no change for a crumb
        if not rows or rows[-1][1:] != row[1:]:
            rows.append(row)
    return rows


class TcBackend:
    """Two namespaces, one cable, the kernel's queues at both ends."""

    def __init__(self, settings: PathSettings) -> None:
        """Use `open`."""
        self._settings = settings
        self._feeders: list[asyncio.Task[None]] = []
        self._batches: list[asyncio.subprocess.Process] = []
        self._netem = False
        self._began: float | None = None
        self._pair = NamespacePair.create()
        self.hosts = self._pair.hosts

    @staticmethod
    async def open(settings: PathSettings) -> TcBackend:
        """Make everything; BackendError says what is missing, and nothing is left then."""
        if shutil.which("tc") is None:
            raise BackendError("tc is not installed (package iproute2); take --backend relay")
        backend = TcBackend(settings)
        try:
            backend._connect()
        except BaseException:
            await backend.close()
            raise
        return backend

    def _connect(self) -> None:
        has = probe(self._pair.names[0])
        lacks = sorted({*missing(self._settings.up, has), *missing(self._settings.down, has)})
        if lacks:
            raise BackendError(
                f"tc on this kernel cannot do {', '.join(lacks)}: take --backend tun or relay, "
                "or leave it out"
            )
        self._netem = "netem" in has
        a, b = self._pair.devices
        names = self._pair.names
        ip("link", "add", a, "netns", names[0], "type", "veth", "peer", "name", b,
           "netns", names[1])  # fmt: skip
        for which in (0, 1):
            self._pair.plug(which)
            for line in self._lines(which, "add", None):
                command("tc", ["-n", names[which], *line.split()])

    def _link(self, which: int) -> LinkSettings:
        return self._settings.down if which == 0 else self._settings.up

    def _lines(
        self, which: int, verb: str, row: tuple[float, float, float, float] | None
    ) -> list[str]:
        """tc's lines that set one end to a step of its trace (None: the first)."""
        settings, device = self._link(which), self._pair.devices[which]
        if row is None and settings.trace is not None:
            row = steps(settings.trace)[0]
        lines = []
        parent = ["root", "handle", "1:"]
        if self._netem:
            _, _, delay, loss = row or (0.0, 0.0, 0.0, 0.0)
            words = netem_words(settings, delay, loss)
            lines.append(" ".join(["qdisc", verb, "dev", device, *parent, *words]))
            parent = ["parent", "1:1", "handle", "2:"]
        if row is not None:
            words = tbf_words(settings, row[1])
            lines.append(" ".join(["qdisc", verb, "dev", device, *parent, *words]))
        return lines

    async def _feed(self, which: int) -> None:
        """Change one end as its trace goes, until cancelled."""
        trace = self._link(which).trace
        assert trace is not None
        rows, loop = steps(trace), asyncio.get_running_loop()
        if len(rows) == 1:
            return
        batch = await asyncio.create_subprocess_exec(
            "tc", "-n", self._pair.names[which], "-force", "-batch", "-",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._batches.append(batch)
        assert batch.stdin is not None
        origin = loop.time()
        while True:
            for row in rows:
                await asyncio.sleep(max(0.0, origin + row[0] - loop.time()))
                lines = self._lines(which, "change", row)
                batch.stdin.write(("\n".join(lines) + "\n").encode())
                await batch.stdin.drain()
            if not trace.repeats:
                return
            origin += trace.duration_s

    async def lead(self, target: Address) -> Address:
        """The traces begin; the called one is reached at its own address."""
        self._began = asyncio.get_running_loop().time()
        for which in (0, 1):
            if self._link(which).trace is not None:
                self._feeders.append(asyncio.create_task(self._feed(which)))
        return (self.hosts[0].address, target[1])

    async def drain(self) -> None:
        """Let the last words of who has ended arrive."""
        await asyncio.sleep(0.5)

    def report(self) -> dict[str, dict[str, Any]]:
        """The kernel keeps no books that compare with ours."""
        return {}

    def seconds(self) -> float:
        """Since the traces began."""
        return asyncio.get_running_loop().time() - self._began if self._began is not None else 0.0

    async def close(self) -> None:
        """Stop feeding, remove cable and namespaces."""
        for feeder in self._feeders:
            feeder.cancel()
        self._feeders.clear()
        for batch in self._batches:
            if batch.returncode is None:
                batch.kill()
                await batch.wait()
        self._batches.clear()
        self._pair.remove()
