"""What a user may write for a trace: a file, a generated network, or a rate.

    choose_trace("home.csv"), choose_trace("train"), choose_trace("gprs:7"), choose_trace("12kbps")

The rule: a file of that name wins.
"""

from __future__ import annotations

import re
from pathlib import Path

from netsim.errors import NetsimError
from netsim.generate import NETWORKS, generate
from netsim.readers import Direction, read_trace
from netsim.traces import Trace

_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(k|m|g)bps", re.IGNORECASE)
_KBPS = {"k": 1.0, "m": 1e3, "g": 1e6}


def choose_trace(text: str, direction: Direction = "down") -> Trace:
    """The trace that `text` means; NetsimError says what could have been written."""
    if Path(text).is_file():
        return read_trace(Path(text), direction)
    rate = _RATE.fullmatch(text)
    if rate is not None:
        return Trace.steady(float(rate[1]) * _KBPS[rate[2].lower()])
    name, colon, seed = text.partition(":")
    if name in NETWORKS and (not colon or re.fullmatch(r"[0-9]{1,9}", seed)):
        return generate(name, seed=int(seed or 0))
    raise NetsimError(
        f"{text!r} is neither a file, nor a rate like 12kbps, nor one of {', '.join(NETWORKS)} "
        "(a number may follow: train:7)"
    )
