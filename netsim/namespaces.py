"""Two network namespaces for two programs, made and removed as one.

    pair = NamespacePair.create()      # facewire-<pid>-a and -b
    pair.hosts, pair.remove()

The rule: names carry the process id of their maker, so `clean` can tell what a killed process left
behind from what is in use. Needs Linux, `ip` (iproute2) and the right to make namespaces (root).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from netsim.backend import Host
from netsim.errors import BackendError

_NAME = re.compile(r"facewire-([0-9]+)-[ab]")
TIMEOUT_S = 20.0


def ip(*words: str) -> str:
    """Run `ip`; BackendError with its own words if it fails."""
    return command("ip", words)


def command(program: str, words: Sequence[str]) -> str:
    """Run a program of iproute2; its output."""
    try:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BackendError(f"`{program}` cannot be run ({error})") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise BackendError(f"`{program} {' '.join(words)}` failed: {said}")
    return done.stdout


def why_not() -> str | None:
    """The sentence that says why there are no namespaces here; None: there are."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux; take --backend relay"
    if shutil.which("ip") is None:
        return "network namespaces need the program `ip` (package iproute2); install it"
    if os.geteuid() != 0:
        return "network namespaces need root: run with sudo, or take --backend relay"
    return None


class NamespacePair:
    """Two namespaces with nothing but loopback in them."""

    def __init__(self, names: tuple[str, str], net: int) -> None:
        """Use `create`."""
        self.names = names
        self.addresses = (f"10.198.{net}.1", f"10.198.{net}.2")
        self.devices = (f"fw{net}a", f"fw{net}b")

    @staticmethod
    def create() -> NamespacePair:
        """Make them, after removing what dead processes left; BackendError says why not."""
        if (reason := why_not()) is not None:
            raise BackendError(reason)
        clean()
        pid = os.getpid()
        pair = NamespacePair((f"facewire-{pid}-a", f"facewire-{pid}-b"), 1 + pid % 253)
        try:
            for name in pair.names:
                ip("netns", "add", name)
                ip("-n", name, "link", "set", "lo", "up")
        except BackendError as error:
            pair.remove()
            raise BackendError(
                f"this machine lets nobody make network namespaces ({error}); take --backend relay"
            ) from None
        return pair

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Where programs run: the called one in the first, the caller in the second."""
        a, b = (
            Host(("ip", "netns", "exec", name), address)
            for name, address in zip(self.names, self.addresses, strict=True)
        )
        return a, b

    def plug(self, which: int) -> None:
        """Give a device that was moved into a namespace its address and routes."""
        name, device = self.names[which], self.devices[which]
        ip("-n", name, "addr", "add", f"{self.addresses[which]}/30", "dev", device)
        ip("-n", name, "link", "set", device, "up")
        ip("-n", name, "route", "add", "default", "dev", device)

    def remove(self) -> None:
        """Both, with the devices in them. May be called twice, and half-way."""
        there = set(existing())
        for name in self.names:
            if name in there:
                _delete(name)


def existing() -> list[str]:
    """Namespaces of this kind, whoever made them."""
    try:
        lines = ip("netns", "list").splitlines()
    except BackendError:
        return []
    return [word for line in lines if _NAME.fullmatch(word := line.split(" ")[0])]


def clean() -> list[str]:
    """Remove those whose maker is dead; their names."""
    gone = []
    for name in existing():
        match = _NAME.fullmatch(name)
        if match is not None and not os.path.exists(f"/proc/{match[1]}") and _delete(name):
            gone.append(name)
    return gone


def _delete(name: str) -> bool:
    try:
        ip("netns", "del", name)
    except BackendError:
        return False
    return True
