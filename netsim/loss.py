"""Which packets a path loses: independently, in Gilbert and Elliott's two states, or in bursts.

The rule: a model is a frozen setting; what it remembers between packets is in the `Loser` that it
makes, which draws from its own random numbers only.
Reference: E. O. Elliott, "Estimates of error rates for codes on burst-noise channels", BSTJ 1963.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from netsim.errors import NetsimError

Loser = Callable[[], bool]
"""Asked once per packet: whether it is lost."""


@dataclass(frozen=True, slots=True)
class IndependentLoss:
    """Every packet for itself."""

    share: float
    """Probability that a packet is lost, 0..1."""

    def __post_init__(self) -> None:
        check_share("loss", self.share)

    def start(self, rng: random.Random) -> Loser:
        """A fresh state."""
        return lambda: rng.random() < self.share


@dataclass(frozen=True, slots=True)
class GilbertElliott:
    """A good and a bad state, each with its own loss; one step per packet."""

    to_bad: float
    """Probability per packet that the good state ends, 0..1."""
    to_good: float
    """Probability per packet that the bad state ends, 0..1."""
    loss_bad: float = 1.0
    """Loss in the bad state, 0..1."""
    loss_good: float = 0.0
    """Loss in the good state, 0..1."""

    def __post_init__(self) -> None:
        for name in ("to_bad", "to_good", "loss_bad", "loss_good"):
            check_share(name, getattr(self, name))

    @property
    def share(self) -> float:
        """Loss in the long run."""
        both = self.to_bad + self.to_good
        bad = self.to_bad / both if both > 0 else 0.0
        return bad * self.loss_bad + (1 - bad) * self.loss_good

    def start(self, rng: random.Random) -> Loser:
        """A fresh state: good."""
        bad = False

        def lost() -> bool:
            nonlocal bad
            bad = rng.random() >= self.to_good if bad else rng.random() < self.to_bad
            return rng.random() < (self.loss_bad if bad else self.loss_good)

        return lost


@dataclass(frozen=True, slots=True)
class BurstLoss:
    """Runs of exactly `length` lost packets, so often that `share` of all are lost."""

    share: float
    """Loss in the long run, 0..1."""
    length: int = 3
    """Packets in a burst, 1 or more."""

    def __post_init__(self) -> None:
        check_share("loss", self.share)
        if self.length < 1:
            raise NetsimError(f"a burst has one packet or more, not {self.length}")

    def start(self, rng: random.Random) -> Loser:
        """A fresh state: between two bursts."""
        share, length = self.share, self.length
        begin = share / (share + length * (1 - share)) if share > 0 else 0.0
        left = 0

        def lost() -> bool:
            nonlocal left
            if left == 0 and rng.random() < begin:
                left = length
            hit = left > 0
            left -= hit
            return hit

        return lost


Loss = IndependentLoss | GilbertElliott | BurstLoss


def check_share(what: str, value: float) -> None:
    """NetsimError unless `value` is a share."""
    if not 0 <= value <= 1:
        raise NetsimError(f"{what} is a share in 0..1, not {value:g}")


def parse_loss(text: str) -> Loss:
    """`0.05`, `burst:0.3,3` (share, length) or `ge:0.01,0.2` (to bad, to good, losses)."""
    kind, colon, rest = text.partition(":")
    try:
        values = [float(v) for v in (rest if colon else kind).split(",")]
        if not colon and len(values) == 1:
            return IndependentLoss(values[0])
        if kind == "burst" and len(values) == 2 and values[1] == int(values[1]):
            return BurstLoss(values[0], int(values[1]))
        if kind == "ge" and 2 <= len(values) <= 4:
            return GilbertElliott(*values)
    except NetsimError:
        raise
    except (ValueError, OverflowError):
        pass
    raise NetsimError(
        "a loss is a share like 0.05, burst:0.3,3 or ge:0.01,0.2 (docs/netsim.md explains them), "
        f"not {text!r}"
    )
