"""One call's events, taken off the endpoint as they come and kept where both directions look.

The rule: frames are fed to the receiver on the thread that took them; everything else is a small
piece of state that the main thread reads or waits for, so nothing can queue up. At the end of a
direction its sender tells its numbers (`FINAL`), then its receiver (`FINAL_SEEN`); then somebody
hangs up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from quic_transport.events import (
    AvatarProgress,
    AvatarReceived,
    CallEnded,
    Event,
    FrameReceived,
    PeerReady,
    PeerStats,
)
from quic_transport.fifo import Stage, run_stage

if TYPE_CHECKING:
    from quic_transport.endpoint import Call

FINAL = "final"
"""Name of the statistic that says: these are my last numbers as a sender, no frames follow."""
FINAL_SEEN = "final seen"
"""Name of the statistic that says: these are my last numbers as a receiver."""
ON_HOLD = "on hold"
"""Name of the statistic: 1 while its sender holds the call, 0 when it goes on."""
MEDIA_ORIGIN = "media origin"
"""Name of the statistic: the sender's clock, seconds, at the first frame of the file it plays."""
NO_FACE_SINCE = "no face since"
"""Name of the statistic: when the sender's face went missing, seconds on its clock. A frame that
was captured later ends that."""


class Exchange:
    """What has happened in a call so far."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.on_frame: Callable[[FrameReceived], None] | None = None
        self.peer_ready = False
        self.peer_stats: dict[str, float] = {}
        self.avatar: AvatarReceived | None = None
        self.progress: AvatarProgress | None = None
        self.ended: CallEnded | None = None
        self._changed = threading.Condition()
        self._stage: Stage = run_stage("events", self._run)

    @property
    def peer_final(self) -> bool:
        """Whether the peer has told its last numbers as a sender: no frames come after them."""
        return FINAL in self.peer_stats

    @property
    def peer_seen_all(self) -> bool:
        """Whether the peer has told its last numbers as a receiver."""
        return FINAL_SEEN in self.peer_stats

    @property
    def peer_holds(self) -> bool:
        """Whether the peer has put the call on hold."""
        return self.peer_stats.get(ON_HOLD, 0.0) > 0

    @property
    def over(self) -> bool:
        """Whether the call has ended, or its events have."""
        return self.ended is not None or not self._stage.alive

    def _run(self) -> None:
        while True:
            event = self.call.next_event()
            if isinstance(event, FrameReceived):
                if self.on_frame is not None:
                    self.on_frame(event)
            elif event is not None:
                with self._changed:
                    self._note(event)
                    self._changed.notify_all()

    def _note(self, event: Event) -> None:
        if isinstance(event, PeerReady):
            self.peer_ready = True
        elif isinstance(event, PeerStats):
            self.peer_stats = {**self.peer_stats, **event.values}
        elif isinstance(event, AvatarReceived):
            self.avatar = event
        elif isinstance(event, AvatarProgress):
            self.progress = event
        elif isinstance(event, CallEnded):
            self.ended = event

    def wait(self, reached: Callable[[], bool], timeout: float) -> bool:
        """Wait until `reached()` or the end of the call, at most `timeout` seconds; whether it
        is reached."""
        with self._changed:
            self._changed.wait_for(lambda: reached() or self.over, timeout)
            return reached()

    def wait_for_end(self, timeout: float) -> None:
        """Wait until the peer has hung up, at most `timeout` seconds."""
        self.wait(lambda: self.ended is not None, timeout)

    def close(self, sentence: str = "") -> None:
        """Hang up if that has not happened, free the socket and let the thread end."""
        if self.ended is None:
            self.call.hang_up(sentence)
            self.wait_for_end(2.0)
        self.call.close()
        self._stage.join(2.0)
