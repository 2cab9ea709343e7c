"""Whether two sides may and can talk: the checks of a hello, in their order.

The rule: the token first, in constant time, before anything else of the hello is looked at; then
the version; then whether roles, schema, codec and sizes fit. Each failure is a Refusal.
"""

from __future__ import annotations

import hmac

from quic_transport.limits import Limits
from quic_transport.messages import Hello
from quic_transport.offer import MODES, Offer, Reason, Refusal
from quic_transport.params import SCHEMAS
from quic_transport.wire import VERSION, Reader


def check_prefix(body: bytes, token: bytes | None) -> None:
    """Token (None: the peer proved itself otherwise) and version of an undecoded hello."""
    prefix = Reader(body, "the hello")
    version, shown = prefix.varint(), prefix.blob(len(body))
    if token is not None and not hmac.compare_digest(shown, token):
        why = "this invite is not valid (any more); ask for the one that was printed last"
        raise Refusal(Reason.WRONG_TOKEN, why)
    if version != VERSION:
        why = f"the two sides speak different versions ({version} and {VERSION}); update both"
        raise Refusal(Reason.VERSION, why)


def check_fit(peer: Hello, offer: Offer | None, receives: bool, limits: Limits) -> None:
    """Whether the peer's hello suits a side with this offer that receives or not."""
    theirs = peer.offer if receives else None
    if theirs is None:
        if offer is None or not peer.receives:
            what = "receive" if receives else "send"
            why = f"both sides only {what}: one must send and the other receive"
            raise Refusal(Reason.ROLES, why)
        return
    if theirs.schema not in SCHEMAS:
        why = f"the schema {theirs.schema} is unknown here (known: {', '.join(SCHEMAS)})"
        raise Refusal(Reason.SCHEMA, why)
    if theirs.profile not in limits.profiles:
        known = ", ".join(sorted(limits.profiles))
        why = f"the codec {theirs.profile} is unknown here (known: {known})"
        raise Refusal(Reason.PROFILE, why)
    if theirs.mode not in MODES:
        why = f"the mode {theirs.mode} is unknown here (known: {', '.join(MODES)})"
        raise Refusal(Reason.PROFILE, why)
    if theirs.avatar_size > limits.max_avatar_bytes:
        size, limit = theirs.avatar_size / 2**20, limits.max_avatar_bytes / 2**20
        why = f"the avatar has {size:.1f} MiB; at most {limit:g} MiB are accepted"
        raise Refusal(Reason.AVATAR, why)
