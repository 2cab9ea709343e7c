"""Running one or two programs over a path: start them, lead the caller over the path, clean up.

    TRACE -- CALLER ...                     one command; an address in it is moved to the relay
    TRACE -- CALLED ... -- CALLER ...       two; INVITE in the second is what the first printed

The rule: whatever happens, no child and nothing of the back end is left.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from netsim.backend import Backend, Host
from netsim.errors import NetsimError
from netsim.relay import Address

PLACEHOLDER = "INVITE"
INVITE_TIMEOUT_S = 120.0  # a receiver loads its libraries first, perhaps on a slow machine
GRACE_S = 20.0  # how long the other program may take to end by itself
FAILED_GRACE_S = 2.0  # where the caller failed: the other one may never have heard of it
KILL_S = 5.0  # after an interrupt


@dataclass(frozen=True, slots=True)
class Found:
    """An address inside a text."""

    text: str
    """The piece of the text that says it, an invite or host:port."""
    target: Address
    """Where it leads."""


class Addresses(Protocol):
    """What the texts look like that lead from one program to the other."""

    def find(self, text: str) -> Found | None:
        """The first address in `text`."""

    def moved(self, found: Found, address: Address) -> str:
        """The same, leading to `address`."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the programs ended."""

    codes: tuple[int, ...]
    """Exit codes, in the order of the commands."""

    @property
    def code(self) -> int:
        """The first that is not 0; 0: all went well."""
        return next((c if c > 0 else 128 - c for c in self.codes if c), 0)


async def run_over(
    backend: Backend,
    commands: Sequence[Sequence[str]],
    addresses: Addresses,
    say: Callable[[str], None],
) -> Outcome:
    """Run one or two commands; returns when all have ended."""
    called, caller = backend.hosts
    children: list[asyncio.subprocess.Process] = []
    echoes: list[asyncio.Task[None]] = []
    try:
        if len(commands) == 1:
            found = next((f for word in commands[0] if (f := addresses.find(word))), None)
            if found is None:
                raise NetsimError(
                    "there is no invite in the command: give the call's invite to it as always, "
                    "it is led over the path"
                )
            words = commands[0]
        else:
            if not any(PLACEHOLDER in word for word in commands[1]):
                raise NetsimError(f"the second command needs the word {PLACEHOLDER} in it")
            first = await _start(called, commands[0], piped=True)
            children.append(first)
            found = await _await_address(first, addresses)
            echoes.append(asyncio.create_task(_echo(first)))
            words = [word.replace(PLACEHOLDER, found.text) for word in commands[1]]
        moved = addresses.moved(found, await backend.lead(found.target))
        say(f"{found.target[0]}:{found.target[1]} is reached over the path by {moved}")
        words = [word.replace(found.text, moved) for word in words]
        children.append(await _start(caller, words, piped=False))
        await children[-1].wait()
        await backend.drain()
        for child in children[:-1]:
            try:
                failed = children[-1].returncode != 0
                await asyncio.wait_for(child.wait(), FAILED_GRACE_S if failed else GRACE_S)
            except TimeoutError:
                await _end(child)
        for echo in echoes:
            await echo
        return Outcome(tuple(child.returncode or 0 for child in children))
    finally:
        for child in children:
            await _end(child)
        for echo in echoes:
            echo.cancel()


async def _start(host: Host, command: Sequence[str], *, piped: bool) -> asyncio.subprocess.Process:
    words = [*host.prefix, *command]
    try:
        return await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if piped else None,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            limit=2**20,
        )
    except OSError as error:
        raise NetsimError(f"{words[0]} cannot be started ({error.strerror or error})") from None


async def _await_address(child: asyncio.subprocess.Process, addresses: Addresses) -> Found:
    """Read the child's output up to the first address, and pass it on."""
    assert child.stdout is not None
    try:
        async with asyncio.timeout(INVITE_TIMEOUT_S):
            while line := await child.stdout.readline():
                text = line.decode("utf-8", "replace")
                sys.stdout.write(text)
                sys.stdout.flush()
                if (found := addresses.find(text)) is not None:
                    return found
    except TimeoutError:
        raise NetsimError(
            f"the first command printed no invite within {INVITE_TIMEOUT_S:g} s"
        ) from None
    await child.wait()
    raise NetsimError(
        f"the first command ended (exit code {child.returncode}) without printing an invite"
    )


async def _echo(child: asyncio.subprocess.Process) -> None:
    assert child.stdout is not None
    while data := await child.stdout.read(4096):
        sys.stdout.write(data.decode("utf-8", "replace"))
        sys.stdout.flush()


async def _end(child: asyncio.subprocess.Process) -> None:
    """Interrupt a child as Ctrl-C does, then kill it."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if child.returncode is not None:
            return
        try:
            child.send_signal(number)
            await asyncio.wait_for(child.wait(), KILL_S)
        except (TimeoutError, ProcessLookupError):
            pass
