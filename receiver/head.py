"""From an avatar file to a head that can be drawn.

The rule: whatever is wrong with the avatar comes out here as one sentence, before the sender is
told that this side is ready; the first picture of a call costs no more than the others, and a
picture that would cost the frame rate is drawn with less quality (`receiver.quality`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import head_pose
from quic_transport.avatar_file import AvatarFile
from quic_transport.errors import AvatarFileError
from quic_transport.params import FaceParams
from quic_transport.seat import Seat
from receiver.full_frame import FullFrame, Renderer, open_full_frame
from receiver.quality import FULL, Quality, QualityControl

LEAST_PX = 48  # width below which nothing is drawn however slow the machine


class Head:
    """A person's head at one picture size."""

    whole = False
    """Whether the pictures show more than the head."""

    def __init__(self, renderer: Renderer, seat: Seat, size: int) -> None:
        """`seat`: where the head sat when it was learned; `size`: picture width, pixels."""
        self.distance_m = seat.distance_m
        self._seat = seat
        self.size = size
        self.quality = FULL
        """How the next picture is drawn."""
        self._renderer = renderer
        self._thread = 0
        self._control: QualityControl | None = None
        self._clock: Callable[[], float] = time.monotonic

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.size, self.size

    def warm_up(self) -> None:
        """Make the first picture as quick as the others."""
        self._renderer.warm_up(self.size)

    def keep(self, fps: float, clock: Callable[[], float] = time.monotonic) -> None:
        """From now on give up quality where a picture would take too long for `fps`."""
        self._control, self._clock = QualityControl(fps), clock

    def draw(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        """The picture, turned as `pose` [4, 4] says."""
        self._claim_thread()
        if self._control is None:
            return self._picture(params, pose)
        began = self._clock()
        self._renderer.set_stride(self.quality.stride)
        picture = self._picture(params, pose)
        now = self._clock()
        self.quality = self._control.adapt(1000 * (now - began), now)
        return picture

    def width_at(self, quality: Quality) -> int:
        """Pixels across that the head is drawn with."""
        return min(self.size, max(LEAST_PX, round(self.size * quality.share)))

    def _picture(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        """The head over white, uint8 [size, size, 3] RGB."""
        width = self.width_at(self.quality)
        turn = np.asarray(pose)[:3, :3]
        position = self._seat.position(params.offset)
        rgb = self._renderer.render_portrait(params.expression, params.rotation, width,
                                             view=turn, position=position).rgb  # fmt: skip
        if width == self.size:
            return rgb
        import cv2

        whole = (self.size, self.size)
        return np.asarray(cv2.resize(rgb, whole, interpolation=cv2.INTER_CUBIC), dtype=np.uint8)

    def _claim_thread(self) -> None:
        """Torch's number of threads is a setting of each thread. The renderer spreads its work
        itself; were torch to do so too, the two would spin against each other."""
        if self._thread != threading.get_ident():
            import torch

            torch.set_num_threads(1)
            self._thread = threading.get_ident()


class WholeHead(Head):
    """The same person in the whole picture; `size` is the widest that the head itself is drawn."""

    whole = True

    def __init__(self, renderer: Renderer, seat: Seat, size: int, full: FullFrame) -> None:
        super().__init__(renderer, seat, size)
        self._full = full
        full.head_px = size

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self._full.size[1], self._full.size[0]

    def warm_up(self) -> None:
        """Make the first picture as quick as the others."""
        super().warm_up()
        still = FaceParams(np.zeros(46, np.float32), np.zeros(3, np.float32), 0.0)
        self.draw(still, head_pose(np.zeros(3), self.distance_m))

    def _picture(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        """The whole picture, uint8 [H, W, 3] RGB, or [H, W, 4] with colours times their opacity
        where the background is transparent."""
        self._full.head_px = self.width_at(self.quality)
        picture = self._full.draw(params, pose)
        return np.ascontiguousarray(picture[..., :3]) if self._full.opaque else picture


def open_head(
    avatar: AvatarFile,
    size: int,
    threads: int | None = None,
    background: str | None = None,
    device: str = "auto",
    backend: str = "auto",
) -> Head:
    """The head of `avatar`, not warm yet; AvatarFileError if its weights do not fit together.

    With a `background` ("plate", "blur", ...: `full_frame.background_of`) it is drawn in the whole
    picture, if the avatar has one. `device` and `backend` are wishes (`nerf.backends`).
    """
    import nerf

    meta = avatar.meta
    try:
        renderer: Renderer = nerf.load_head(
            avatar.sections, meta.distance_m, meta.portrait_scale, threads, device, backend
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise AvatarFileError(
            f"the avatar of {meta.name!r} cannot be drawn ({error}): ask its owner to train it "
            "again with this version of facewire"
        ) from error
    seat = Seat(meta.distance_m, meta.portrait_scale, meta.rest)
    if background is not None:
        full = open_full_frame(avatar.sections, renderer, seat, background, threads)
        if full is not None:
            return WholeHead(renderer, seat, size, full)
    return Head(renderer, seat, size)
