"""Calls over real sockets: `serve` waits for them, `connect` makes them.

    listener = serve("0.0.0.0", 4433, party=Party(receives=True, cache=AvatarCache()))
    print(listener.invite)                                  # facewire://HOST:PORT/...
    call = listener.accept(timeout=None)                    # None after a timeout
    call = connect(invite, party=Party(offer=offer, avatar=avatar_bytes))   # <= 5 s, or an error

Both give a `Call` (quic_transport/call.py); all its methods may be called from any thread:

    call.peer: Hello                 the peer's hello (call.peer.offer: Offer | None)
    call.next_event(timeout=None) -> Event | None    None: timeout; EndOfStream: after CallEnded
    call.can_send_frame() -> bool    ask BEFORE the predictor; False: drop the raw frame
    call.keyframe_due() -> bool      True until a keyframe was sent (reference=None)
    call.reference() -> Reference    what the encoder is to predict the next frame from
    call.send_frame(frame: EncodedFrame) -> bool     False: it and all queued ones were dropped
    call.frame_decoded(sequence)     after each decoded frame: it may be a reference from now on
    call.request_keyframe()          after a CodecError; rate-limited, call it as often as you like
    call.send_ready()                receiver: renderer is warm → peer gets PeerReady
    call.send_stats({...})           counters for the peer's table → peer gets PeerStats
    call.to_our_clock(t) -> float    peer's monotonic clock → ours
    call.round_trip() -> RoundTrip | None    rtt_s, offset_s, error_s
    call.wire() -> WireCount         bytes and packets both ways, with IP + UDP headers
    call.counts() -> (sent, received)        FrameCounts each
    call.refuse(Reason.BOUNDS, "...")        end it with a sentence for both sides
    call.hang_up("") -> None         clean end; waits (<= 1.5 s) until the peer has everything
    call.close()                     hang up if need be, free socket and thread; also `with call:`
    call.ended -> CallEnded | None   how it ended; .error() is what to raise (None: clean)

Typical receiver: CallOpened → AvatarReceived (from cache or wire) → load, warm up, send_ready()
→ FrameReceived ... → CallEnded. Typical sender: CallOpened → PeerReady → send frames → hang_up().

The rule: whatever goes wrong while a call is set up is one sentence, within the time-out.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from quic_transport.call import Call
from quic_transport.caller import Caller, Destination
from quic_transport.certs import Identity, load_identity
from quic_transport.errors import LocalError, RemoteError
from quic_transport.invite import Invite
from quic_transport.limits import Limits
from quic_transport.listener import Listener
from quic_transport.loop_thread import LoopThread
from quic_transport.messages import TOKEN_BYTES
from quic_transport.party import Party
from quic_transport.tickets import Tickets, TicketStore

__all__ = ["Call", "Listener", "Party", "connect", "serve"]


def serve(
    host: str, port: int, *, party: Party, identity: Identity | None = None,
    token: bytes | None = None, limits: Limits | None = None, qlog: Path | None = None,
    tickets: TicketStore | None = None,
) -> Listener:  # fmt: skip
    """Listen on `host`:`port` (0: any free port). LocalError: in use, not ours, no such host.

    `identity` None: the user's own, made on first use; `token` None: a new random one; `qlog`: a
    folder for QUIC's own logs; `tickets`: where callers' session tickets are (None: in memory).
    """
    token = token if token is not None else secrets.token_bytes(TOKEN_BYTES)
    if len(token) != TOKEN_BYTES:
        raise LocalError(f"a token has {TOKEN_BYTES} bytes, not {len(token)}")
    identity, limits = identity or load_identity(), limits or Limits()
    return Listener(host, port, party, identity, token, limits, qlog, tickets or Tickets())


def connect(
    invite: Invite | str, *, party: Party, timeout: float = 5.0, limits: Limits | None = None,
    qlog: Path | None = None,
) -> Call:  # fmt: skip
    """Call the peer named by `invite`; returns when both hellos have crossed.

    LocalError or RemoteError with one sentence if that fails: after `timeout` seconds if nothing at
    all is heard, after SLOW_CONNECT_S if the peer is there but the path is that slow.
    """
    invite = invite if isinstance(invite, Invite) else Invite.parse(invite)
    limits = limits or Limits()
    thread = LoopThread("facewire-call")
    try:
        caller = Caller(Destination(invite, party, limits, qlog), thread)
        connection = thread.run(caller.first(timeout))
    except BaseException:
        thread.stop()
        raise
    call = connection.call
    try:
        opened = call.wait_open(limits.hello_timeout_s + 1.0)  # it is there, if slow
    except BaseException:  # Ctrl-C
        connection.shut()
        raise
    if opened and call.ended is None:
        return call
    error = call.ended.error() if call.ended is not None else None
    connection.shut()
    raise error or RemoteError(f"the peer at {invite.address} did not answer the hello; try again")
