"""From an avatar file to a head that can be drawn.

The rule: whatever is wrong with the avatar comes out here as one sentence, before the sender is
told that this side is ready; the first picture of a call costs no more than the others.
"""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.avatar_file import AvatarFile
from quic_transport.errors import AvatarFileError
from quic_transport.params import FaceParams


class Rendered(Protocol):
    """What a renderer gives back."""

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], the head over the background."""


class Renderer(Protocol):
    """What draws a head: `nerf.load_head` gives one."""

    def render_portrait(
        self, expression: ArrayLike, rotation: ArrayLike, size: int, view: ArrayLike | None = None
    ) -> Rendered:
        """The head with this expression [46] that was tracked at `rotation` [3], turned as `view`
        [3, 3] on the screen, over white."""

    def warm_up(self, size: int) -> None:
        """Compile and fill caches, so that the next picture takes its usual time."""


class Head:
    """A person's head at one picture size."""

    def __init__(self, renderer: Renderer, distance_m: float, size: int) -> None:
        """`distance_m`: portrait camera to head, metres; `size`: picture width, pixels."""
        self.distance_m = distance_m
        self.size = size
        self._renderer = renderer
        self._thread = 0

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


def open_head(avatar: AvatarFile, size: int, threads: int | None = None) -> Head:
    """The head of `avatar`, not warm yet; AvatarFileError if its weights do not fit together."""
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
    return Head(renderer, meta.distance_m, size)
