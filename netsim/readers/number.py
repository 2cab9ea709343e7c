"""Numbers as trace files write them: plain decimal ASCII, bounded in length.

The rule: stricter than Python's own float() and int(), which take underscores, "nan", "inf" and
digits of every script.
"""

from __future__ import annotations

import math
import re

from netsim.errors import TraceError

_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[0-9]{1,15}")


def decimal(text: str, what: str, line: int, low: float = 0.0, high: float = float("inf")) -> float:
    """The number in `text`; TraceError names what it should have been."""
    if _DECIMAL.fullmatch(text) is None:
        raise TraceError(f"{what} should be a number, not {text[:20]!r}", line)
    value = float(text)
    if not (math.isfinite(value) and low <= value <= high):
        raise TraceError(f"{what} lies in {low:g}..{high:g}, not {value:g}", line)
    return value


def whole(text: str, what: str, line: int) -> int:
    """The whole number, 0 or more, in `text`."""
    if _WHOLE.fullmatch(text) is None:
        raise TraceError(f"{what} should be a whole number, not {text[:20]!r}", line)
    return int(text)
