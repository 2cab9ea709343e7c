"""Which frames are worth sending, and how finely: a face at rest is left out, and a budget kept.

The rule: a frame that is left out never reaches the encoder, so nothing refers to it and every
capture time that crosses is exact. Under a budget the step of the ladder follows what the last
second would have cost at each step; only where the coarsest is still too dear are frames left out.
Pure: time is the frames' own capture time.
"""

from __future__ import annotations

import math

from quic_transport.codec.profile import EncodedFrame, ParameterEncoder
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams

SETTLED = 2
"""Frames at rest that are still sent, so that a lost one does not leave the face in mid-motion."""
REST_S = 0.25
"""A face at rest is sent again after so long, seconds: whoever lost a frame waits no longer."""
CLOCK_S = 0.005  # capture times tremble
MEAN_S = 1.0
"""Time constant of the mean rate, seconds."""
RUNG = 0.81
"""What one rung of the ladder makes of the rate: 0.80 to 0.82 on real tracks."""
TYPICAL_KBPS = 1.5
"""What the usual step is expected to cost before anything was sent."""
FINER_S, FINER = 0.5, 0.92
"""A finer step not sooner after the last change, and only if it is expected to need no more than
this share of the budget."""
DEBT_S = 0.5
"""Of the budget that may be overdrawn at the coarsest step before frames are left out."""
LEAST_KBPS = 0.1


class Pacer:
    """Stands before one encoder."""

    def __init__(self, encoder: ParameterEncoder, *, kbps: float | None = None) -> None:
        """`kbps`: payload, at most, on average; None: the usual step whatever it costs."""
        if kbps is not None and not kbps >= LEAST_KBPS:
            raise LocalError(f"a payload of {kbps:g} kbps is too little: at least {LEAST_KBPS:g}")
        self._encoder = encoder
        self._budget = None if kbps is None else 125.0 * kbps  # bytes per second
        self._need = 125.0 * TYPICAL_KBPS / RUNG**encoder.step  # bytes/s, were the step the finest
        if self._budget is not None and encoder.steps > 1:
            encoder.step = self._rung(self._budget)
        self._debt = 0.0  # bytes beyond the budget
        self._at: float | None = None  # of the last frame offered
        self._sent_at: float | None = None
        self._decided_at: float | None = None
        self._resting = 0  # frames at rest that were sent since the last motion

    def wants(self, params: FaceParams, *, must: bool = False) -> bool:
        """Whether the frame is to be coded, at the encoder's step as it is then; `must`: because
        the peer waits for one."""
        now = params.capture_time
        self._follow(now)
        still = self._encoder.is_still(params)
        if not still:
            self._resting = 0
        if must or self._sent_at is None or now - self._sent_at >= REST_S - CLOCK_S:
            return True
        if still and self._resting >= SETTLED:
            return False
        self._resting += still
        return not (
            self._budget is not None and self._encoder.step + 1 >= self._encoder.steps
            and self._debt > DEBT_S * self._budget
        )  # fmt: skip

    def sent(self, frame: EncodedFrame) -> None:
        """The frame that was coded."""
        self._sent_at = frame.capture_time
        if self._budget is None:
            return
        encoder = self._encoder
        if encoder.step + 1 >= encoder.steps:
            self._debt = min(self._debt + len(frame.payload), 2 * DEBT_S * self._budget)
        if encoder.steps < 2:
            return
        self._need += len(frame.payload) / RUNG**encoder.step / MEAN_S
        wanted = self._rung(self._budget)
        if wanted < encoder.step:
            waited = self._decided_at is None or frame.capture_time - self._decided_at >= FINER_S
            if not waited or self._need * RUNG ** (encoder.step - 1) > FINER * self._budget:
                return
            wanted = encoder.step - 1
        if wanted != encoder.step:
            encoder.step, self._decided_at = wanted, frame.capture_time

    def _rung(self, budget: float) -> int:
        """The finest step at which the last second would have kept the budget."""
        rung = math.ceil(math.log(budget / self._need) / math.log(RUNG) - 1e-9)
        return min(max(rung, 0), self._encoder.steps - 1)

    def _follow(self, now: float) -> None:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        if self._budget is not None:
            self._need = max(self._need * math.exp(-passed / MEAN_S), 1e-3)
            self._debt = max(0.0, self._debt - passed * self._budget)
