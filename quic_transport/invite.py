"""The invite: one string that says where to call, whom to trust and how to be let in.

    facewire://192.168.1.7:4433/<68 characters>

The 68 characters are base64url of 51 bytes: SHA-256 of the server's certificate (32), token (16),
checksum (3). The rule: any string gives an Invite or a LocalError, and the checksum covers the
address too, so a mistyped character anywhere is noticed before anything is sent.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import socket
from dataclasses import dataclass

from quic_transport.errors import LocalError
from quic_transport.messages import TOKEN_BYTES

SCHEME = "facewire://"
FINGERPRINT_BYTES = 32
CHECKSUM_BYTES = 3
SECRET_CHARACTERS = (FINGERPRINT_BYTES + TOKEN_BYTES + CHECKSUM_BYTES) * 4 // 3  # 68, no padding
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252})")


def check_host(host: str) -> str:
    """`host` in its one spelling: an IP address or a lower-case name; LocalError otherwise."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if _HOST.fullmatch(host) is None or re.fullmatch(r"[0-9.]+", host):
        raise LocalError(f"{host!r} is neither an IP address nor a host name")
    return host.lower()


def parse_address(text: str) -> tuple[str, int]:
    """("host", port) from "host:port", "[v6]:port" or ":port" (every interface)."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise LocalError(f"an address looks like 0.0.0.0:4433 or [::]:4433, not {text!r}")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise LocalError(f"an IPv6 address needs brackets before its port: [{host}]:{port}")
    return check_host(host or "0.0.0.0"), int(port)


def format_address(host: str, port: int) -> str:
    """The inverse of `parse_address`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable_host(host: str) -> str:
    """An address under which others may reach a server that listens on `host`.

    A wildcard becomes the source address that this machine would use towards the internet (no
    packet is sent), or loopback where there is no route. Best effort: behind a NAT it is the
    private address.
    """
    probes = {"0.0.0.0": (socket.AF_INET, "192.0.2.1", "127.0.0.1"),
              "::": (socket.AF_INET6, "2001:db8::1", "::1")}  # fmt: skip
    if host not in probes:
        return host
    family, target, fallback = probes[host]
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((target, 9))
            return str(probe.getsockname()[0]).split("%")[0]
    except OSError:
        return fallback


@dataclass(frozen=True, slots=True)
class Invite:
    """Everything a caller needs; whoever has it may call."""

    host: str
    """IP address or host name, without brackets."""
    port: int
    """UDP port, 1 to 65535."""
    fingerprint: bytes
    """SHA-256 of the server's DER certificate, 32 bytes."""
    token: bytes
    """The server's secret for this listening, 16 bytes; never shown in messages or logs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "host", check_host(self.host))
        if not 1 <= self.port <= 65535:
            raise LocalError(f"a port lies between 1 and 65535, not {self.port}")
        if len(self.fingerprint) != FINGERPRINT_BYTES or len(self.token) != TOKEN_BYTES:
            raise LocalError(
                f"an invite has a fingerprint of {FINGERPRINT_BYTES} and a token of "
                f"{TOKEN_BYTES} bytes"
            )

    @property
    def address(self) -> str:
        """host:port, for people."""
        return format_address(self.host, self.port)

    def __str__(self) -> str:
        secret = self.fingerprint + self.token
        secret += _checksum(self.address, secret)
        return f"{SCHEME}{self.address}/{base64.urlsafe_b64encode(secret).decode('ascii')}"

    def __repr__(self) -> str:
        return f"Invite({self.address}, token hidden)"

    @staticmethod
    def parse(text: str) -> Invite:
        """The invite in `text`; white space (line wraps) and quotes around it are forgiven."""
        line = "".join(text.split()).strip("'\"<>")
        if not line.lower().startswith(SCHEME):
            raise LocalError(
                f"an invite starts with {SCHEME} and is printed by `facewire receive` or "
                f"`facewire call --listen`; this starts with {line[:16]!r}"
            )
        address, slash, secret = line[len(SCHEME) :].partition("/")
        if not slash:
            raise LocalError("the invite ends after its address; copy the whole line")
        host, port = parse_address(address)
        if len(secret) != SECRET_CHARACTERS:
            raise LocalError(
                f"the invite's last part has {len(secret)} of {SECRET_CHARACTERS} characters; "
                "copy the whole line"
            )
        if re.fullmatch(r"[A-Za-z0-9_-]+", secret) is None:
            raise LocalError("the invite's last part has characters that never occur in one")
        raw = base64.urlsafe_b64decode(secret)
        body, checksum = raw[:-CHECKSUM_BYTES], raw[-CHECKSUM_BYTES:]
        if _checksum(format_address(host, port), body) != checksum:
            raise LocalError(
                "the invite's checksum is wrong: a character was changed; copy it anew"
            )
        return Invite(host, port, body[:FINGERPRINT_BYTES], body[FINGERPRINT_BYTES:])


def _checksum(address: str, secret: bytes) -> bytes:
    return hashlib.sha256(address.encode() + b"/" + secret).digest()[:CHECKSUM_BYTES]
