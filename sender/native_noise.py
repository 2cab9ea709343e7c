"""Keeps native libraries' log lines off the user's terminal while they start.

The rule: only while a model loads; Python's own errors are raised after the block and seen.
MediaPipe's C++ writes to file descriptor 2 before any of its log settings take effect.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def native_noise_silenced() -> Iterator[None]:
    """Send file descriptor 2 to nowhere inside the block. Affects the whole process."""
    sys.stderr.flush()
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all: nothing to silence
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
