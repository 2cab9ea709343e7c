"""A head that gives up quality where drawing would take too long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import FaceParams
from quic_transport.seat import Seat
from receiver.head import LEAST_PX, Head, WholeHead
from receiver.quality import FULL, LADDER

STILL = FaceParams(np.zeros(46, np.float32), np.zeros(3, np.float32), 0.0)


@dataclass(frozen=True)
class Picture:
    rgb: NDArray[np.uint8]


class SlowRenderer:
    """Takes two microseconds a pixel of a clock of its own; what it draws gets darker downwards."""

    portrait_scale = 2.6

    def __init__(self) -> None:
        self.now = 0.0
        self.sizes: list[int] = []
        self.stride = 1.0

    def set_stride(self, stride: float) -> None:
        self.stride = stride

    def render_portrait(self, expression: ArrayLike, rotation: ArrayLike, size: int,
                        **_: Any) -> Picture:  # fmt: skip
        self.sizes.append(size)
        self.now += 2e-6 * size**2 / self.stride
        column = np.linspace(250, 50, size).astype(np.uint8)
        return Picture(
            np.ascontiguousarray(np.broadcast_to(column[:, None, None], (size, size, 3)))
        )

    def warm_up(self, size: int) -> None: ...


def drawn(fps: float | None, size: int, pictures: int = 60) -> tuple[Head, SlowRenderer]:
    renderer = SlowRenderer()
    head = Head(renderer, Seat(0.6, 2.6), size)  # type: ignore[arg-type]
    if fps is not None:
        head.keep(fps, clock=lambda: renderer.now)
    for _ in range(pictures):
        picture = head.draw(STILL, np.eye(4))
        renderer.now += 0.01
        assert picture.shape == (size, size, 3)
        assert abs(int(picture[0, 0, 0]) - 250) <= 2
        assert abs(int(picture[-1, 0, 0]) - 50) <= 2
        assert abs(int(picture[size // 2, 0, 0]) - 150) <= 3
    return head, renderer


def test_head_that_is_too_slow_is_drawn_smaller_and_shown_as_large() -> None:
    head, renderer = drawn(20.0, 200)  # 80 ms a picture, 40 are allowed
    assert renderer.sizes[0] == 200
    assert renderer.sizes[-1] == 200 * head.quality.share < 150
    assert renderer.stride == 1
    assert "%" in head.quality.note


def test_hopeless_head_is_drawn_at_the_last_level() -> None:
    head, renderer = drawn(200.0, 100)
    assert head.quality == LADDER[-1]
    assert renderer.sizes[-1] == max(50, LEAST_PX)
    assert renderer.stride == 2


def test_head_without_a_rate_to_keep_never_gives_up_quality() -> None:
    head, renderer = drawn(None, 300, 12)
    assert head.quality == FULL
    assert set(renderer.sizes) == {300}


class SlowFrame:
    """A whole picture whose head takes two microseconds a pixel."""

    size, opaque, head_px = (64, 48), True, 0

    def __init__(self, renderer: SlowRenderer) -> None:
        self.renderer = renderer

    def draw(self, params: FaceParams, pose: ArrayLike) -> NDArray[np.uint8]:
        self.renderer.now += 2e-6 * self.head_px**2 / self.renderer.stride
        return np.zeros((48, 64, 4), np.uint8)


def test_head_in_a_whole_picture_is_drawn_smaller_too() -> None:
    renderer = SlowRenderer()
    full = SlowFrame(renderer)
    head = WholeHead(renderer, Seat(0.6, 2.6), 200, full)  # type: ignore[arg-type]
    head.keep(20.0, clock=lambda: renderer.now)
    for _ in range(40):
        assert head.draw(STILL, np.eye(4)).shape == (48, 64, 3)
        renderer.now += 0.01
    assert full.head_px == 200 * head.quality.share < 150
