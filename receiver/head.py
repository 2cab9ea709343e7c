"""From an avatar file to a head that can be drawn.

The rule: whatever is wrong with the avatar comes out here as one sentence, before the sender is
told that this side is ready; the first picture of a call costs no more than the others.
"""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import head_pose
from quic_transport.avatar_file import AvatarFile
from quic_transport.errors import AvatarFileError
from quic_transport.params import FaceParams
from receiver.full_frame import FullFrame, Renderer, open_full_frame


class Head:
    """A person's head at one picture size."""

    whole = False
    """Whether the pictures show more than the head."""

    def __init__(self, renderer: Renderer, distance_m: float, size: int) -> None:
        """`distance_m`: portrait camera to head, metres; `size`: picture width, pixels."""
        self.distance_m = distance_m
        self.size = size
        self._renderer = renderer
        self._thread = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the pictures."""
        return self.size, self.size

    def warm_up(self) -> None:
        """Make the first picture as quick as the others."""
        self._renderer.warm_up(self.size)

    def draw(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        """The head over white, uint8 [size, size, 3] RGB, turned as `pose` [4, 4] says."""
        self._claim_thread()
        turn = np.asarray(pose)[:3, :3]
        picture = self._renderer.render_portrait(
            params.expression, params.rotation, self.size, view=turn
        )
        return picture.rgb

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

    def __init__(self, renderer: Renderer, distance_m: float, size: int, full: FullFrame) -> None:
        super().__init__(renderer, distance_m, size)
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

    def draw(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        """The whole picture, uint8 [H, W, 3] RGB, or [H, W, 4] with colours times their opacity
        where the background is transparent."""
        self._claim_thread()
        picture = self._full.draw(params, pose)
        return np.ascontiguousarray(picture[..., :3]) if self._full.opaque else picture


def open_head(
    avatar: AvatarFile, size: int, threads: int | None = None, background: str | None = None
) -> Head:
    """The head of `avatar`, not warm yet; AvatarFileError if its weights do not fit together.

    With a `background` ("plate", "blur", ...: `full_frame.background_of`) it is drawn in the whole
    picture, if the avatar has one.
    """
    import nerf

    meta = avatar.meta
    try:
        renderer: Renderer = nerf.load_head(
            avatar.sections, meta.distance_m, meta.portrait_scale, threads
        )
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise AvatarFileError(
            f"the avatar of {meta.name!r} cannot be drawn ({error}): ask its owner to train it "
            "again with this version of facewire"
        ) from error
    if background is not None:
        full = open_full_frame(avatar.sections, renderer, meta.distance_m, background, threads)
        if full is not None:
            return WholeHead(renderer, meta.distance_m, size, full)
    return Head(renderer, meta.distance_m, size)
