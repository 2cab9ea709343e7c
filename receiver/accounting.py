"""The receiver's books: every frame that the sender numbered ends in exactly one fate.

The rule: `sent = sum of all fates + open` holds after every call, whatever the order of events.
Frames are numbered from 0 by the sender, so a number that is skipped is a frame that was lost.
Only open frames are remembered one by one, so the books stay small however long the call is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum

REORDER_FRAMES = 64  # a number skipped by this many later ones counts as lost


class Fate(Enum):
    """What became of a frame at the receiver."""

    RENDERED = "rendered"
    """It contributed to a picture that was shown or stored."""
    SUPERSEDED = "superseded"
    """It came so late that a newer frame had taken its place."""
    UNDECODABLE = "undecodable"
    """It came, but what it builds on had not."""
    LOST = "lost"
    """It never came."""
    UNSHOWN = "unshown"
    """The call ended before its turn."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The books at one moment."""

    sent: int
    """Frames that the sender is known to have numbered."""
    received: int
    """Frames that came, each counted once."""
    open: int
    """Frames that came and wait for their turn, or are still awaited."""
    fates: dict[str, int]
    """Frames by fate, every fate named, zero or not."""

    @property
    def balanced(self) -> bool:
        """Whether every frame is accounted for."""
        return self.sent == self.open + sum(self.fates.values())


class FrameLedger:
    """Follows each frame from its arrival (or absence) to its fate."""

    def __init__(self) -> None:
        self._fates: Counter[Fate] = Counter()
        self._waiting: set[int] = set()  # received, no fate yet
        self._missing: set[int] = set()  # skipped numbers that may still come
        self._next = 0  # one more than the highest number known
        self._received = 0

    def expect(self, count: int) -> None:
        """The sender says that it has numbered `count` frames."""
        if count <= self._next:
            return
        recent = max(self._next, count - REORDER_FRAMES)
        self._fates[Fate.LOST] += recent - self._next
        self._missing.update(range(recent, count))
        self._next = count
        self._give_up(count - REORDER_FRAMES)

    def _give_up(self, below: int) -> None:
        late = {sequence for sequence in self._missing if sequence < below}
        self._missing -= late
        self._fates[Fate.LOST] += len(late)

    def receive(self, sequence: int) -> bool:
        """A frame came; False (and no entry) if it came before or was given up already."""
        if sequence < 0:
            raise ValueError(f"frames are numbered from 0, not {sequence}")
        self.expect(sequence + 1)
        if sequence not in self._missing:
            return False
        self._missing.discard(sequence)
        self._waiting.add(sequence)
        self._received += 1
        return True

    def settle(self, sequence: int, fate: Fate) -> bool:
        """Enter a frame's fate; False (and no entry) if it has none to wait for any more."""
        if sequence not in self._waiting:
            return False
        self._waiting.discard(sequence)
        self._fates[fate] += 1
        return True

    def close(self) -> Balance:
        """The call is over: what is still awaited is lost, what waits was not shown."""
        self._give_up(self._next)
        for sequence in list(self._waiting):
            self.settle(sequence, Fate.UNSHOWN)
        return self.balance()

    def balance(self) -> Balance:
        """The books now."""
        return Balance(
            sent=self._next,
            received=self._received,
            open=len(self._waiting) + len(self._missing),
            fates={fate.value: self._fates[fate] for fate in Fate},
        )
