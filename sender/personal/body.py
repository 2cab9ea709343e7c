"""Measures how the body stands: the torso's own four numbers, from the camera's picture.

The rule: causal, a step or two of Gauss-Newton on one small grey picture, held near what the head
lets expect. What is hidden by the head, looks otherwise than in training or lies in another room
counts less or nothing, and the numbers then go back to the guess, smoothly.
References: Baker & Matthews 2004 (Lucas-Kanade 20 years on); Black & Rangarajan 1996 (robust
weights: Geman-McClure).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import BODY_DIM, FaceParams
from sender.personal.body_model import HIDDEN_PX, BodyModel

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

STEPS = 2  # of Gauss-Newton for a frame
FIRST_STEPS = 5  # where nothing is known from the frame before
BLUR_PX = 0.7
WINDOW_PX = 4.0
"""Standard deviation of the window over which light is taken out, canvas pixels."""
CONTRAST, CONTRAST_FLOOR = 0.08, 0.02
SPREAD = 0.01
"""Standard deviation of a normal difference, of 1 after contrast is made even."""
ROBUST = 1.5  # of SPREAD: beyond, a difference counts less and less
POINT_SHARE = 0.06
"""Neighbouring pixels err alike: one counts as so many independent measurements."""
BEYOND = 2  # canvas pixels around the body that still tell of it
INSIDE = 3  # canvas pixels from its edge: what lies further in shows no room
DOUBT = (1.8, 3.5)
"""Of the training frames' 95th percentile: up to the first a misfit is normal, from the second on
nothing is believed."""
UNLIKE = (0.35, 0.6)
"""Of what two unrelated pictures differ by (1): the same, whatever training saw. A person whom
training knew differs by 0.01 to 0.1."""
LEAST_SEEN = 60.0  # canvas pixels of the body's inside, or nothing is believed
TRUST_S = 0.25
"""Time constant with which belief comes and goes, seconds."""
FORGET_S = 0.5  # after a longer gap nothing old is believed
FINEST_PX = 0.5  # canvas pixels: of a camera's picture no more than so many of its own are read


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What one picture says."""

    deviation: Float64
    """[BODY_DIM] from what the head lets expect."""
    misfit: float
    """Root mean square difference that remains in the body, in spreads."""
    room: float
    """The same in the room behind it."""
    unlike: float
    """The square of the difference over that of two pictures that have nothing to do with each
    other: 0 the same, about 1 another body."""
    seen: float
    """Canvas pixels of the body's inside that were seen."""


class Body:
    """Draws and aligns one person's body; knows nothing of the frames before."""

    def __init__(self, model: BodyModel) -> None:
        import cv2

        self._m = m = model
        h, w = m.room.shape
        self._down, self._across = m.down, np.ascontiguousarray(m.across.T)
        self._texture = m.texture / np.float32(255)
        self._room = m.room / np.float32(255)
        self._x = (np.arange(w, dtype=np.float32) + m.canvas[2])[None]
        self._y = (np.arange(h, dtype=np.float32) + m.canvas[3])[:, None]
        own = m.bends[-BODY_DIM:, :2]
        self._own = self._spread(own).reshape(BODY_DIM, 2, -1)
        self._uses = m.uses.astype(int)
        self._drivers = m.drivers.astype(np.float64)
        self._framing = m.framing.tolist()
        self._near = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * BEYOND + 1,) * 2)
        self._far = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * INSIDE + 1,) * 2)

    def _spread(self, grid: Float32) -> Float32:
        return np.asarray(self._down @ (grid @ self._across))

    def driven(self, params: FaceParams, offset: Float64) -> Float64:
        """[1 + D] what the head does, within what training saw."""
        mean, scale, low, high = self._drivers
        e = params.expression[self._uses]
        raw = np.concatenate([params.rotation, offset, e]).astype(np.float64)
        return np.concatenate([[1.0], (np.clip(raw, low, high) - mean) / scale])

    def drawn(self, z: Float64) -> tuple[Float32, Float32]:
        """The canvas under z [1 + D + BODY_DIM], and the body's opacity there, [H, W] each."""
        import cv2

        bent = self._spread(np.tensordot(z.astype(np.float32), self._m.bends, 1))
        seen = cv2.remap(self._texture, self._x + bent[0], self._y + bent[1], cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        opacity = seen[..., 1]
        lit = seen[..., 0] + opacity * (bent[2] * np.float32(1 / 255) - self._room)
        return np.asarray(lit + self._room), np.asarray(opacity)

    def measure(self, image: NDArray[np.uint8], params: FaceParams, start: ArrayLike,
                steps: int) -> Measured:  # fmt: skip
        """Of a camera's picture, uint8 [H, W, 3] RGB, of the face `params`, whose offset is known;
        `start` [BODY_DIM] is the deviation to begin with."""
        import cv2

        m = self._m
        assert params.offset is not None
        offset = params.offset.astype(np.float64)
        inside = np.clip(offset, *self._drivers[2:, 3:6])
        look, there = self._look(image, offset, inside)
        there = there * (1.0 - self._hidden(inside))
        wanted = _even(look)
        z = self.driven(params, offset)
        guess = m.guess.astype(np.float64) @ z
        keep = m.information.astype(np.float64)
        found = np.array(start, dtype=np.float64)
        body = room = unlike = seen = 0.0
        for _ in range(steps):
            shown, opacity = self.drawn(np.concatenate([z, guess + found]))
            even = _even(shown)
            core = there * cv2.erode(opacity, self._far)
            near = there * cv2.dilate(opacity, self._near)
            left = (wanted - even) * np.float32(1 / SPREAD)
            square = left * left
            seen = float(core.sum())
            around = there - near
            wrong = float((core * square).sum())
            body = math.sqrt(wrong / max(seen, 1.0))
            both = float((core * (wanted * wanted + even * even)).sum()) / SPREAD**2
            unlike = wrong / max(both, 1e-6)
            room = math.sqrt(float((around * square).sum()) / max(float(around.sum()), 1.0))
            known = 1.0
            if around.sum() > LEAST_SEEN:
                known = faded(room, *(d * float(m.misfit[1]) for d in DOUBT))
            weight = (core + np.float32(known) * (near - core)).ravel()
            robust = np.float32(POINT_SHARE) / (1 + square.ravel() * np.float32(ROBUST**-2))
            root = np.sqrt(weight * robust)
            by_x = cv2.Sobel(even, cv2.CV_32F, 1, 0, scale=0.125 / SPREAD).ravel() * root
            by_y = cv2.Sobel(even, cv2.CV_32F, 0, 1, scale=0.125 / SPREAD).ravel() * root
            rows = self._own[:, 0] * by_x + self._own[:, 1] * by_y
            h = (rows @ rows.T).astype(np.float64) + keep
            g = (rows @ (left.ravel() * root)).astype(np.float64) - keep @ found
            found = found + np.linalg.solve(h, g)
            found = np.clip(found, -m.reach, m.reach)
        return Measured(found, body, room, unlike, seen)

    def _look(self, image: NDArray[np.uint8], offset: Float64,
              inside: Float64) -> tuple[Float32, Float32]:  # fmt: skip
        """The picture as the canvas would show it, [H, W] of 0..1, and where there is one."""
        import cv2

        kx, x, ky, y = self._from_camera(image.shape[1], image.shape[0], offset, inside)
        # canvas = k · camera + (x, y); first shrink by whole pixels, then warp
        step = max(1, int(FINEST_PX / max(kx, ky)))
        h, w = self._room.shape
        first = max(0, int(((-1.5 - y) / ky) // step)) * step
        size = (image.shape[1] // step, (image.shape[0] - first) // step)
        if min(size) < 1:
            return np.zeros((h, w), np.float32), np.zeros((h, w), np.float32)
        rows = image[first : first + size[1] * step, : size[0] * step]
        if step > 1:
            rows = np.asarray(cv2.resize(rows, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        grey = np.asarray(cv2.cvtColor(rows, cv2.COLOR_RGB2GRAY), np.float32)
        reach = max(1, round(1 / (step * max(kx, ky))))
        wide = cv2.blur(grey, (reach, reach), borderType=cv2.BORDER_REPLICATE)
        # pixel i of `grey` is pixel first + i · step of the camera, whose centre lies at + 0.5
        a = np.array([[kx * step, 0.0, kx * 0.5 + x - 0.5],
                      [0.0, ky * step, ky * (first + 0.5) + y - 0.5]])  # fmt: skip
        if reach % 2 == 0:
            a[:, 2] -= (kx * step / 2, ky * step / 2)  # an even box lies half a pixel before
        look = cv2.warpAffine(wide, a, (w, h), flags=cv2.INTER_LINEAR,
                              borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        columns = (np.arange(w) + 0.5 - x) / kx
        lines = (np.arange(h) + 0.5 - y) / ky
        there = ((lines > 0) & (lines < image.shape[0]))[:, None] & (
            (columns > 0) & (columns < image.shape[1])
        )
        return np.asarray(look * np.float32(1 / 255)), there.astype(np.float32)

    def _from_camera(self, width: int, height: int, offset: Float64,
                     inside: Float64) -> tuple[float, float, float, float]:  # fmt: skip
        """(kx, x, ky, y): canvas = k · pixel of a camera's picture + shift. A head outside of where
        training saw it has taken its body along."""
        m = self._m
        sw, sh, x0, y0, ww, wh, ow, oh = self._framing
        size, top = float(m.canvas[0]), float(m.canvas[1])
        same = min(sw, sh) / min(width, height)
        here, there = self.place(offset), self.place(inside)
        k = there[2] / here[2]
        out = []
        for whole, source, first, scale, i, begin in (
            (width, sw, x0, ow / ww, 0, 0.0), (height, sh, y0, oh / wh, 1, top)
        ):  # fmt: skip
            # shown = (source / 2 + same (p − whole / 2) − first) scale, then as if inside
            slope = k * same * scale
            shift = k * (source / 2 - same * whole / 2 - first) * scale
            shift += there[i] - k * here[i]
            out += [slope / size, (shift - begin) / size]
        return out[0], out[1], out[2], out[3]

    def place(self, offset: Float64) -> tuple[float, float, float]:
        """Middle and side of the head's portrait in the shown picture."""
        sw, sh, x0, y0, ww, wh, ow, oh = self._framing
        side = math.exp(offset[2]) * min(sw, sh)
        kx, ky = ow / ww, oh / wh
        u, v = (sw / 2 + offset[0] * side - x0) * kx, (sh / 2 + offset[1] * side - y0) * ky
        return u, v, side * math.sqrt(kx * ky)

    def _hidden(self, inside: Float64) -> Float32:
        """[H, W] where the head may be, 0..1."""
        import cv2

        m = self._m
        u, v, side = self.place(inside)
        size, top = float(m.canvas[0]), float(m.canvas[1])
        k = side / HIDDEN_PX / size
        a = np.array([[k, 0, (u - side / 2) / size + 0.5 * k - 0.5],
                      [0, k, (v - side / 2 - top) / size + 0.5 * k - 0.5]])  # fmt: skip
        h, w = self._room.shape
        out = cv2.warpAffine(m.hidden, a, (w, h), flags=cv2.INTER_LINEAR)
        return np.asarray(out * np.float32(1 / 255))


def _even(image: Float32) -> Float32:
    """Brightness [H, W] less its local mean, over its local contrast."""
    import cv2

    image = np.asarray(cv2.GaussianBlur(image, (0, 0), BLUR_PX), dtype=np.float32)
    left = image - cv2.GaussianBlur(image, (0, 0), WINDOW_PX)
    variance = cv2.GaussianBlur(left * left, (0, 0), WINDOW_PX)
    return np.asarray(left * (CONTRAST / (np.sqrt(variance) + np.float32(CONTRAST_FLOOR))))


def faded(value: float, low: float, high: float) -> float:
    """1 up to `low`, 0 from `high` on."""
    return min(1.0, max(0.0, (high - value) / (high - low)))


def belief(found: Measured, usual: float) -> float:
    """How much is believed of a measurement where a misfit of `usual` is normal, 0..1."""
    if found.seen < LEAST_SEEN:
        return 0.0
    low, high = (d * usual for d in DOUBT)
    return faded(found.misfit, low, high) * faded(found.unlike, *UNLIKE)


class BodyTracker:
    """One person's body from frame to frame."""

    def __init__(self, model: BodyModel) -> None:
        self._body = Body(model)
        self._usual = float(model.misfit[0])
        self._reset(-math.inf)

    def _reset(self, now: float) -> None:
        self._at = now
        self._deviation = np.zeros(BODY_DIM)
        self._trust = 0.0
        self._fresh = True

    def follow(self, image: NDArray[np.uint8], params: FaceParams) -> FaceParams:
        """`params`, which say where the head is in the picture [H, W, 3] RGB, with the body's
        numbers."""
        if params.offset is None:
            return params
        now = params.capture_time
        passed = now - self._at
        began = not 0.0 <= passed <= FORGET_S
        if began:
            self._reset(now)
        self._at = now
        found = self._body.measure(image, params, self._deviation,
                                   FIRST_STEPS if self._fresh else STEPS)  # fmt: skip
        now_believed = belief(found, self._usual)
        self._fresh = now_believed < 0.5
        if now_believed > 0:
            self._deviation = self._deviation + now_believed * (found.deviation - self._deviation)
        share = 1.0 if began else -math.expm1(-passed / TRUST_S)  # nobody has seen it before
        self._trust += share * (now_believed - self._trust)
        return replace(params, body=(self._trust * self._deviation).astype(np.float32))
