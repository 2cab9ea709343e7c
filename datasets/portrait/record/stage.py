"""Where prompts go while filming: an OpenCV window with the mirrored picture, or the terminal.

The rule: a window is opened only after a probe in a process of its own, because OpenCV aborts
where it finds no display. Thin shells, no policy; to be used from the main thread.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from portrait.record.session import Event, Prompt, StepStarted

DISPLAY_PROBE_S = 15.0


class Stage(Protocol):
    """Where prompts go and keys come from."""

    def show(self, prompt: Prompt, events: list[Event], image: NDArray[np.uint8]) -> None:
        """Show what is to be done now."""

    def key(self) -> str:
        """ "q", " " or nothing."""

    def close(self) -> None:
        """Take it away."""


class Window:
    """The mirrored preview in an OpenCV window."""

    TITLE = "facewire record"

    def __init__(self) -> None:
        import cv2

        self._seen = False  # some back ends show the window only after a while
        cv2.namedWindow(self.TITLE, cv2.WINDOW_AUTOSIZE)

    def show(self, prompt: Prompt, events: list[Event], image: NDArray[np.uint8]) -> None:
        """Draw prompt and picture."""
        import cv2

        from portrait.record.overlay import draw

        cv2.imshow(self.TITLE, draw(prompt, image)[..., ::-1])

    def key(self) -> str:
        """Escape and closing the window count as "q"."""
        import cv2

        code = cv2.waitKey(1) & 0xFF
        visible = cv2.getWindowProperty(self.TITLE, cv2.WND_PROP_VISIBLE) >= 1
        closed, self._seen = self._seen and not visible, visible
        return "q" if closed or code in (27, ord("q")) else " " if code == 32 else ""

    def close(self) -> None:
        """Close the window."""
        import cv2

        cv2.destroyWindow(self.TITLE)


class Terminal:
    """Prompts as lines of text."""

    def __init__(self) -> None:
        self._hint = ""

    def show(self, prompt: Prompt, events: list[Event], image: NDArray[np.uint8]) -> None:
        """Print what is new."""
        if prompt.countdown is not None and self._hint != str(prompt.countdown):
            self._hint = str(prompt.countdown)
            print(f"  {prompt.countdown} …", flush=True)
        for event in events:
            if isinstance(event, StepStarted):
                print(f"[{prompt.remaining_s:3.0f} s left] {prompt.title}. {prompt.detail}",
                      flush=True)  # fmt: skip
        first = prompt.hints[0] if prompt.hints else ""
        if first and first != self._hint:
            print(f"  ! {first}", flush=True)
        if prompt.countdown is None:
            self._hint = first

    def key(self) -> str:
        """Ctrl-C is the only key."""
        return ""

    def close(self) -> None:
        """Nothing to take away."""


def display_available() -> bool:
    """Whether a window can be opened, tried in a process of its own: OpenCV may abort."""
    linux = sys.platform.startswith("linux")
    if linux and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    code = "import cv2; cv2.namedWindow('facewire'); cv2.waitKey(1); cv2.destroyAllWindows()"
    try:
        tried = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, timeout=DISPLAY_PROBE_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0
