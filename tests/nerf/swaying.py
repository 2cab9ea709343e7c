"""A made-up torso that sways by itself: right, down, over, and broader."""

from __future__ import annotations

import cv2
import numpy as np

from nerf.framing import Framing
from nerf.torso import Region, TorsoLayer

W, H, TOP, OWN = 240, 200, 90, 4
FRAMING = Framing((W, H), (0, 0, W, H), (W, H))
REST = FRAMING.place((0.0, -0.1, 0.0))
CELL, MARGIN = 20.0, (16, 16)


def swaying_torso() -> TorsoLayer:
    """Patterned clothes; the guess follows yaw a little."""
    rng = np.random.default_rng(5)
    th, tw = H - TOP + MARGIN[1], W + 2 * MARGIN[0]
    y, x = np.mgrid[:th, :tw].astype(float) + 0.5
    wide = 40 + 55 * np.clip(y / 40, 0, 1)
    alpha = np.clip(wide - np.abs(x - tw / 2), 0, 1) * np.clip(y - 4, 0, 1)
    coarse = rng.integers(30, 220, (th // 9, tw // 9, 3)).astype(np.uint8)
    cloth = cv2.resize(coarse, (tw, th), interpolation=cv2.INTER_CUBIC).astype(float)
    texture = np.dstack([cloth * alpha[..., None], 255 * alpha]).round().astype(np.uint8)
    gh, gw = int(np.ceil((H - TOP) / CELL)) + 1, int(np.ceil(W / CELL)) + 1
    moves = np.zeros((1 + 6 + OWN, 2, gh, gw), np.float32)
    down = np.linspace(0, 1, gh)[:, None]
    across = np.linspace(-1, 1, gw)[None]
    moves[7, 0], moves[8, 1] = 0.03, 0.015
    moves[9, 0], moves[10, 0] = 0.05 * (1 - down), 0.02 * across
    guess = np.zeros((OWN, 7), np.float32)
    guess[0, 2] = 0.2
    drivers = np.array([[0] * 6, [0.1] * 6, [-0.2] * 6, [0.2] * 6], np.float32)
    drivers[:, 4] = (-0.1, 0.1, -0.3, 0.1)
    return TorsoLayer(FRAMING, Region(TOP, CELL, MARGIN, REST), texture, drivers,
                      np.zeros(0, np.uint8), moves, np.zeros((7 + OWN, 3, gh, gw), np.float32),
                      guess)  # fmt: skip
