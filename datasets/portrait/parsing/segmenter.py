"""Who is person, and which part, in a picture: the shipped network with an edge that follows the
picture.

The rule: no state from picture to picture, so that frames may come in any order and from several
threads' segmenters; what keeps the answer steady is that only the outline is taken from the
picture's own edges (portrait.matting). Nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.colour_vote import with_colours
from portrait.matting import refine
from quic_transport.errors import LocalError
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop

WEIGHTS = Path(__file__).parent / "weights" / "parsing.onnx"
INPUT_PX = 256
BACKGROUND, HEAD, NECK, TORSO = range(4)
AROUND = 1.3  # side of the second look over the head's width: both ears, not all hair and chin
CLOSE = 0.85  # of the picture: a second look this large would show nothing new
LEAST_HEAD_PX = 24
FADE, FADE_BELOW = 0.04, 0.25  # of the second look's side
ISLAND = 0.04  # of the largest piece's area: smaller pieces of person are none
HOLE = 0.004  # of the person's area: smaller holes are none

Matte = NDArray[np.float32]
Image = NDArray[np.uint8]


@lru_cache(maxsize=4)
def fingerprint_of(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tidied(shares: Matte) -> Matte:
    """`shares` [H, W, 4] in place, without specks of person in the background and of background
    in the person."""
    import cv2

    person = (shares[..., BACKGROUND] < 0.5).astype(np.uint8)
    for inside, share in ((person, ISLAND), (np.uint8(1) - person, HOLE)):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
        sizes = stats[1:, cv2.CC_STAT_AREA]
        least = share * (sizes.max() if share == ISLAND else person.sum()) if count > 1 else 0
        small = np.concatenate([[False], sizes < least])
        if small.any():
            speck = small[labels]
            if share == ISLAND:
                shares[speck] = (1, 0, 0, 0)
            else:
                parts = shares[speck, 1:] + np.float32(1e-6)
                shares[speck, 1:] = parts / parts.sum(axis=1, keepdims=True)
                shares[speck, 0] = 0
    return shares


def head_square(shares: Matte) -> tuple[int, int, int] | None:
    """(x, y, side) of the square in which a head of `shares` [H, W, 4] is looked at again; None
    where there is no head, or it fills the picture already."""
    height, width = shares.shape[:2]
    head = shares[..., HEAD] > 0.5
    ys, xs = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    if len(ys) == 0:
        return None
    tall, wide = int(ys[-1] - ys[0] + 1), int(xs[-1] - xs[0] + 1)
    side = round(AROUND * wide)
    if side > CLOSE * max(height, width) or min(tall, wide) < LEAST_HEAD_PX:
        return None
    return (int(xs[0] + xs[-1] + 1 - side) // 2, int(ys[0] + ys[-1] + 1 - side) // 2, side)


def fading(height: int, width: int) -> Matte:
    """Weight of the second look, float32 [H, W]: one inside, falling to nothing at the edges, at
    the lower one from further away."""
    y = np.arange(height) + 0.5
    x = np.arange(width) + 0.5
    down = np.minimum(y / (FADE * height), (height - y) / (FADE_BELOW * height))
    across = np.minimum(x, width - x) / (FADE * width)
    return np.clip(np.minimum(down[:, None], across[None]), 0.0, 1.0).astype(np.float32)


class ParsingSegmenter:
    """Our own segmenter. Not thread-safe; one thread of its own computes."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self.fingerprint = fingerprint_of(weights)
            self._net: Any = onnxruntime.InferenceSession(
                str(weights), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own have no common base
            raise LocalError(
                f"{weights} cannot be loaded as the parsing network: install facewire again"
            ) from error
        self._seen: Image | None = None
        self._last: tuple[Matte, Matte]

    def shares(self, picture: Image) -> Matte:
        """Background, head, neck and torso at the picture's size, float32 [H, W, 4] in 0..1.

        The network looks twice: at everything, and at the head by itself where it is small (ears
        are a few pixels wide in the first look, and get lost before a wall of their colour). Where
        it has looked twice the second look counts; only its shoulders do not (it sees none).
        """
        whole = self.first_look(picture)
        box = head_square(whole)
        if box is None:
            return whole
        x, y, side = box
        x1, y1 = min(x + side, picture.shape[1]), min(y + side, picture.shape[0])
        x0, y0 = max(x, 0), max(y, 0)
        near = self.first_look(np.ascontiguousarray(picture[y0:y1, x0:x1]))
        weight = fading(y1 - y0, x1 - x0)
        part = whole[y0:y1, x0:x1]
        more = near[..., BACKGROUND] < part[..., BACKGROUND]
        weight[more & (near.argmax(axis=-1) != HEAD)] = 0.0
        part += weight[..., None] * (near - part)
        return whole

    def first_look(self, picture: Image) -> Matte:
        """The network's own answer about a picture, float32 [H, W, 4] in 0..1."""
        import cv2

        height, width = picture.shape[:2]
        scale = INPUT_PX / max(height, width)
        w, h = max(1, round(width * scale)), max(1, round(height * scale))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(picture, (w, h), interpolation=how)
        left, top = (INPUT_PX - w) // 2, (INPUT_PX - h) // 2
        square = cv2.copyMakeBorder(
            small, top, INPUT_PX - h - top, left, INPUT_PX - w - left, cv2.BORDER_REPLICATE
        )
        x = np.ascontiguousarray(square.transpose(2, 0, 1)[None], dtype=np.float32)
        x *= np.float32(1 / 255)
        (out,) = self._net.run(None, {"picture": x})
        plane = tidied(np.ascontiguousarray(out[0].transpose(1, 2, 0)))
        k = plane.shape[0] / INPUT_PX  # map pixel centres: full picture → network output
        sx, sy = w * k / width, h * k / height
        affine = np.array([[sx, 0, left * k + 0.5 * sx - 0.5], [0, sy, top * k + 0.5 * sy - 0.5]])
        full = cv2.warpAffine(
            plane, affine, (width, height), borderMode=cv2.BORDER_REPLICATE,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        )  # fmt: skip
        return np.asarray(full, dtype=np.float32)

    def person(
        self, portrait: Image, frame: Frame | None = None, crop: PortraitCrop | None = None
    ) -> Matte:
        """Opacity of the person, float32 [H, W] in 0..1."""
        return self._look(portrait)[0].copy()

    def classes(
        self, portrait: Image, frame: Frame | None = None, crop: PortraitCrop | None = None
    ) -> Image:
        """0 background, 1 head with hair and ears, 2 neck, 3 torso: uint8 [H, W]."""
        alpha, shares = self._look(portrait)
        which = shares[..., 1:].argmax(axis=-1).astype(np.uint8) + np.uint8(1)
        return np.where(alpha > 0.5, which, BACKGROUND).astype(np.uint8)

    def _look(self, portrait: Image) -> tuple[Matte, Matte]:
        """(opacity, shares); the last picture's are kept, for both questions about it."""
        if self._seen is None or not np.array_equal(self._seen, portrait):
            shares = self.shares(portrait)
            person = with_colours(np.float32(1) - shares[..., BACKGROUND], portrait)
            self._last = refine(person, portrait), shares
            self._seen = portrait.copy()
        return self._last

    def close(self) -> None:
        """Free the network."""
        self._net = None
