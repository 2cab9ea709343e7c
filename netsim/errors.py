"""The exception tree of the simulator.

    NetsimError              a setting, a link's misuse, a missing back end: one sentence
    ├── TraceError           a trace file that cannot be read as what it claims to be
    └── BackendError         what this machine cannot do, and what to take instead

The rule: any bytes given to a trace reader end in a Trace or a TraceError.
"""

from __future__ import annotations


class NetsimError(ValueError):
    """Base: a sentence with cause and remedy."""


class TraceError(NetsimError):
    """A trace cannot be read; the text names the line (where there is one) and the cause."""

    def __init__(self, cause: str, line: int | None = None) -> None:
        """`line` counts from 1."""
        super().__init__(f"line {line}: {cause}" if line is not None else cause)
        self.cause = cause
        self.line = line


class BackendError(NetsimError):
    """This machine, user or kernel lacks what a back end needs."""
