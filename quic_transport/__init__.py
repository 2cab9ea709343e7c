"""Everything two peers must agree on, and how it crosses.

The names below are loaded when they are first used, so importing the package costs nothing and
only `serve` and `connect` load aioquic.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "ARKIT46": "params",
    "AvatarCache": "avatar_cache",
    "Call": "call",
    "EncodedFrame": "codec",
    "FaceParams": "params",
    "FacewireError": "errors",
    "Fifo": "fifo",
    "Invite": "invite",
    "Limits": "limits",
    "LocalError": "errors",
    "Offer": "offer",
    "PROFILES": "codec",
    "ParamBounds": "params",
    "Party": "endpoint",
    "Reason": "offer",
    "RemoteError": "errors",
    "Session": "session",
    "Timeline": "timeline",
    "connect": "endpoint",
    "load_identity": "certs",
    "serve": "endpoint",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"quic_transport has no {name!r}")
    return getattr(import_module(f"quic_transport.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
