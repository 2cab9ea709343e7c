"""How like the source the received pictures are, measured while the call runs.

The rule: a picture is compared only with the source portrait of its own instant (within 5 ms), by
the metrics of `nerf.metrics`, and measuring never holds the call up: what the measuring thread
cannot keep up with is left out, and the number of pictures measured is reported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf.metrics import Likeness, likeness, mean_likeness
from nerf.trainset import TrainSetError, load_images, read_trainset
from quic_transport.errors import LocalError
from quic_transport.fifo import Fifo, Stage, run_stage
from receiver.display import Picture

TOLERANCE_S = 0.005
QUEUE = 4  # pictures that wait for their comparison
MAX_SCORES = 20_000  # a bound on memory: 1000 s at 20 per second


class ReferenceMeter:
    """Compares pictures with a training set's portraits."""

    def __init__(self, folder: Path, size: int) -> None:
        """`size`: width of the received pictures, pixels; the portraits are shrunk to it."""
        try:
            self._set = read_trainset(folder)
        except TrainSetError as error:
            raise LocalError(f"--reference: {error}") from error
        self._size = size
        self._origin: float | None = None
        self._queue: Fifo[tuple[Picture, int]] = Fifo(QUEUE, "drop-oldest")
        self._scores: list[Likeness] = []
        self._stage: Stage = run_stage("reference", self._measure, self._queue)

    def set_origin(self, origin: float) -> None:
        """The sender's clock at the source's first frame, seconds."""
        self._origin = origin

    def offer(self, picture: Picture) -> None:
        """A picture was shown; it is measured if the source has its instant."""
        if self._origin is None or self._queue.closed:
            return
        at = picture.media_time - self._origin
        index = int(np.abs(self._set.time - at).argmin())
        if abs(float(self._set.time[index]) - at) <= TOLERANCE_S:
            self._queue.put((picture, index))

    def _measure(self) -> None:
        while True:
            picture, index = self._queue.get()
            rgb, matte = load_images(self._set, self._size, [index], threads=1)
            if len(self._scores) < MAX_SCORES:
                self._scores.append(likeness(picture.rgb, rgb[0], matte[0]))

    def finish(self) -> dict[str, float]:
        """Measure what is queued and give the means, name with unit → value."""
        self._queue.close()
        self._stage.join(30.0)
        if not self._scores:
            return {"pictures measured": 0}
        mean = mean_likeness(self._scores)
        return {
            "PSNR whole, dB": mean.psnr_whole,
            "PSNR head, dB": mean.psnr_head,
            "PSNR rimless head, dB": mean.psnr_rimless,
            "SSIM whole": mean.ssim_whole,
            "SSIM head": mean.ssim_head,
            "pictures measured": len(self._scores),
        }
