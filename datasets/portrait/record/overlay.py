"""What the window shows while filming: the prompt above, the mirrored picture below.

The rule: it draws on a canvas of its own; the picture that goes into the file is never touched.
The words stand at the top, next to where cameras sit, so that the eyes stay on the camera.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portrait.record.session import Prompt

PICTURE_PX = 520  # height of the mirrored picture in the window
WIDTH_PX = 924  # least width of the window
PANEL_PX = 200  # height of the words
BAR_PX = 8
MARGIN_PX = 24

Colour = tuple[int, int, int]
BACK: Colour = (24, 26, 30)
TEXT: Colour = (240, 240, 240)
QUIET: Colour = (160, 165, 175)
GOOD: Colour = (90, 200, 120)
WARN: Colour = (255, 170, 60)
FILMING: Colour = (230, 60, 60)
FONT = cv2.FONT_HERSHEY_DUPLEX


def text_width(text: str, scale: float, thickness: int = 1) -> int:
    """Pixels that a line takes."""
    return int(cv2.getTextSize(text, FONT, scale, thickness)[0][0])


def wrapped(text: str, width: int, scale: float) -> list[str]:
    """The text in lines no wider than `width` pixels; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_width(longer, scale) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def draw(prompt: Prompt, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The window's content, uint8 [H, W, 3] RGB, for an RGB picture of any size."""
    picture = _mirrored(image)
    width = max(WIDTH_PX, picture.shape[1])
    canvas: Any = np.full((PANEL_PX + PICTURE_PX, width, 3), BACK, dtype=np.uint8)
    left = (width - picture.shape[1]) // 2
    canvas[PANEL_PX:, left : left + picture.shape[1]] = picture
    _words(canvas, prompt)
    _guides(canvas, prompt, (width / 2, PANEL_PX + 0.5 * PICTURE_PX))
    _hints(canvas, prompt)
    return np.asarray(canvas, dtype=np.uint8)


def _mirrored(image: NDArray[np.uint8]) -> Any:
    height, width = image.shape[:2]
    size = (max(1, round(width * PICTURE_PX / height)), PICTURE_PX)
    method = cv2.INTER_AREA if height > PICTURE_PX else cv2.INTER_LINEAR
    return cv2.flip(cv2.resize(image, size, interpolation=method), 1)


def _write(canvas: Any, text: str, x: int, y: int, scale: float, colour: Colour) -> None:
    cv2.putText(canvas, text, (x, y), FONT, scale, colour, 1, cv2.LINE_AA)


def _words(canvas: Any, prompt: Prompt) -> None:
    width = canvas.shape[1]
    bar = round(width * prompt.total_share)
    cv2.rectangle(canvas, (0, 0), (width, BAR_PX), (60, 64, 72), -1)
    cv2.rectangle(canvas, (0, 0), (bar, BAR_PX), GOOD, -1)
    _write(canvas, prompt.title, MARGIN_PX, 58, 1.15, GOOD if prompt.reached else TEXT)
    for line, text in enumerate(wrapped(prompt.detail, width - 2 * MARGIN_PX, 0.8)[:3]):
        _write(canvas, text, MARGIN_PX, 96 + 30 * line, 0.8, TEXT)
    if prompt.filming:
        cv2.circle(canvas, (width - MARGIN_PX - 6, 32), 9, FILMING, -1, cv2.LINE_AA)
        left = f"{prompt.remaining_s:.0f} s left"
        x = width - MARGIN_PX - 24 - text_width(left, 0.6)
        _write(canvas, left, x, 38, 0.6, QUIET)
        done = round((width - 2 * MARGIN_PX) * prompt.step_share)
        end = MARGIN_PX + done
        cv2.rectangle(canvas, (MARGIN_PX, 188), (width - MARGIN_PX, 192), (60, 64, 72), -1)
        cv2.rectangle(canvas, (MARGIN_PX, 188), (end, 192), TEXT, -1)
    if prompt.following:
        text = f"next: {prompt.following}"
        _write(canvas, text, width - MARGIN_PX - text_width(text, 0.55), 180, 0.55, QUIET)


def _guides(canvas: Any, prompt: Prompt, middle: tuple[float, float]) -> None:
    x, y = middle
    if prompt.phase in ("waiting", "countdown"):
        axes = (round(0.24 * PICTURE_PX), round(0.33 * PICTURE_PX))
        cv2.ellipse(canvas, (round(x), round(y)), axes, 0, 0, 360, TEXT, 2, cv2.LINE_AA)
    if prompt.countdown is not None:
        number = str(prompt.countdown)
        size = cv2.getTextSize(number, FONT, 5.0, 8)[0]
        at = (round(x - size[0] / 2), round(y + size[1] / 2))
        cv2.putText(canvas, number, at, FONT, 5.0, (0, 0, 0), 16, cv2.LINE_AA)
        cv2.putText(canvas, number, at, FONT, 5.0, TEXT, 8, cv2.LINE_AA)
    if prompt.toward is not None:
        dx, dy = prompt.toward
        near, far = 0.30 * PICTURE_PX, 0.44 * PICTURE_PX
        start = (round(x + near * dx), round(y + near * dy))
        end = (round(x + far * dx), round(y + far * dy))
        colour = GOOD if prompt.reached else WARN
        cv2.arrowedLine(canvas, start, end, (0, 0, 0), 14, cv2.LINE_AA, 0, 0.45)
        cv2.arrowedLine(canvas, start, end, colour, 8, cv2.LINE_AA, 0, 0.45)


def _hints(canvas: Any, prompt: Prompt) -> None:
    """The most urgent hint, over the lower edge of the mirrored picture."""
    if not prompt.hints:
        return
    height, width = canvas.shape[:2]
    text = prompt.hints[0]
    wide = text_width(text, 0.85)
    x = (width - wide) // 2
    cv2.rectangle(canvas, (x - 18, height - 64), (x + wide + 18, height - 18), WARN, -1)
    _write(canvas, text, x, height - 33, 0.85, (0, 0, 0))
