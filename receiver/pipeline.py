"""The receiver's thread: draws each picture when its time has come and hands it on.

The rule: nobody waits busily and nothing queues up. The thread sleeps until the next picture is
due or something changes; finished pictures go through a fifo of two that makes it wait, so a slow
display costs pictures (which the books show), never delay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.codec import EncodedFrame
from quic_transport.fifo import EndOfStream, Fifo, Stage, run_stage
from quic_transport.params import FaceParams
from receiver.display import Picture
from receiver.stream import PictureJob, ReceiveStream
from receiver.veil import CAPTION, veiled

FINISHED_PICTURES = 2  # capacity of the fifo to the display

Draw = Callable[[FaceParams, ArrayLike], NDArray[np.uint8]]


class ReceivePipeline:
    """Runs a `ReceiveStream` in real time."""

    def __init__(
        self, stream: ReceiveStream, draw: Draw, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`draw` makes the picture of parameters under a pose, in this pipeline's thread."""
        self.stream = stream
        self.pictures: Fifo[Picture] = Fifo(FINISHED_PICTURES)
        self._draw = draw
        self._clock = clock
        self._changed = threading.Condition()
        self._draining = False
        self._stopped = False
        self._stage: Stage | None = None
        self._last: tuple[bytes, NDArray[np.uint8]] | None = None  # what was drawn, and of what

    def start(self) -> None:
        """Begin to draw as soon as frames come."""
        self._stage = run_stage("draw", self._run, self.pictures)

    def feed(self, frame: EncodedFrame, arrival: float) -> bool:
        """A frame came, at `arrival` on our clock; whether it was decoded."""
        with self._changed:
            good = self.stream.on_frame(frame, arrival)
            self._changed.notify_all()
            return good

    def note_quiet(self, quiet_s: float) -> None:
        """The sender was last heard so many seconds ago."""
        with self._changed:
            if self.stream.note_quiet(quiet_s, self._clock()):
                self._changed.notify_all()

    def note_hold(self, holding: bool) -> None:
        """The sender has put the call on hold, or goes on."""
        with self._changed:
            if self.stream.presence.on_hold != holding:
                self.stream.presence.on_hold = holding
                self._changed.notify_all()

    def key(self, name: str) -> bool:
        """A key was pressed; whether it moved the viewpoint."""
        with self._changed:
            known = self.stream.control.key(name)
            self._changed.notify_all()
            return known

    def absent(self, since: float) -> None:
        """The sender has had no face since then, seconds on its clock."""
        with self._changed:
            self.stream.presence.note_absent(since)
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                job = None
                while job is None:
                    if self._stopped or (self._draining and not self.stream.waiting):
                        return
                    now = self._clock()
                    start = self.stream.next_start(now)
                    if start is None:
                        self._changed.wait()
                    elif start > now:
                        self._changed.wait(start - now)
                    else:
                        job = self.stream.begin(start, now)
            rgb = self._picture(job)
            with self._changed:
                self.stream.finish(job, self._clock())
            self.pictures.put(Picture(rgb, job.sample.media_time, job.veil))

    def _picture(self, job: PictureJob) -> NDArray[np.uint8]:
        """The head, veiled as it must be; under a moving veil it is drawn once."""
        if not job.veil:
            self._last = None
            return self._draw(job.params, job.pose)
        what = job.params.vector().tobytes() + job.pose.tobytes()
        if self._last is None or self._last[0] != what:
            self._last = (what, self._draw(job.params, job.pose))
        return veiled(self._last[1], job.veil, job.caption or CAPTION)

    def drain(self) -> None:
        """No more frames come: draw those that wait for their turn, then end."""
        with self._changed:
            self._draining = True
            self._changed.notify_all()

    def stop(self) -> None:
        """End now; what waits is not drawn."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self.pictures.close()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread; raises what ended it, if that was a failure."""
        if self._stage is not None:
            try:
                self._stage.join(timeout)
            except EndOfStream:
                pass
