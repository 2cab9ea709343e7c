"""`facewire netsim`: the simulator's commands, with our invites and our words for errors.

    facewire netsim replay train -- facewire send --source me.mp4 --avatar me.fwa --to INVITE
    facewire netsim replay lte.down --scale 0.02 -- facewire receive --once -- facewire send ...

The rule: all is in netsim/cli.py; here is only what needs to know what an invite is and how
facewire itself is started.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace

from netsim.cli import main as netsim_main
from netsim.errors import NetsimError
from netsim.relay import Address
from netsim.replay import Found
from quic_transport.errors import FacewireError, LocalError
from quic_transport.invite import SCHEME, Invite, reachable_host


class InviteAddresses:
    """Invites in command lines and in what `facewire receive` prints."""

    def find(self, text: str) -> Found | None:
        """The first valid invite in `text`."""
        match = re.search(re.escape(SCHEME) + r"[^\s'\"<>]+", text, re.IGNORECASE)
        if match is None:
            return None
        try:
            invite = Invite.parse(match[0])
        except FacewireError:
            return None
        return Found(match[0], (invite.host, invite.port))

    def moved(self, found: Found, address: Address) -> str:
        """The same certificate and token at another address, one that others can reach."""
        host = reachable_host(address[0])
        return str(replace(Invite.parse(found.text), host=host, port=address[1]))


def with_our_program(argv: list[str]) -> list[str]:
    """`facewire` as the first word of a command becomes this Python and this facewire."""
    out: list[str] = []
    for i, word in enumerate(argv):
        if word == "facewire" and i > 0 and argv[i - 1] == "--":
            out += [sys.executable, "-m", "facewire"]
        else:
            out.append(word)
    return out


def main(argv: list[str]) -> int:
    """Run the command; LocalError is the sentence."""
    try:
        return netsim_main(with_our_program(argv), InviteAddresses())
    except NetsimError as error:
        raise LocalError(str(error)) from error
