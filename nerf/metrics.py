"""Image metrics, one definition for everything facewire reports.

The rule: RGB in [0, 1]; PSNR from the mean squared error over the region's pixels; SSIM with an
11×11 Gaussian, σ 1.5, range 1, mean over RGB and over the region. Regions: whole image, head mask
(matte above one half), rimless head (the mask eroded by size/64 pixels: 8 at 512, 4 at 256).
Reference: Wang et al. 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Image = NDArray[np.float32]


def as_unit(image: ArrayLike) -> Image:
    """An image as float32 in [0, 1]: uint8 is divided by 255, floats are taken as they are."""
    a = np.asarray(image)
    return a.astype(np.float32) / 255.0 if a.dtype == np.uint8 else a.astype(np.float32)


def psnr(image: ArrayLike, reference: ArrayLike, mask: ArrayLike | None = None) -> float:
    """PSNR in dB of `image` [H, W, 3] against `reference`, over `mask` [H, W] if given.

    Identical images give 100 dB, so that means stay finite.
    """
    error = (as_unit(image) - as_unit(reference)) ** 2
    if mask is not None:
        error = error[np.asarray(mask, dtype=bool)]
    mse = float(error.mean()) if error.size else 0.0
    return 100.0 if mse < 1e-10 else float(-10.0 * np.log10(mse))


def ssim(image: ArrayLike, reference: ArrayLike, mask: ArrayLike | None = None) -> float:
    """SSIM of `image` [H, W, 3] against `reference`, averaged over `mask` [H, W] if given."""
    return _mean_over(ssim_map(image, reference), mask)


def ssim_map(image: ArrayLike, reference: ArrayLike) -> Image:
    """SSIM of `image` [H, W, 3] against `reference` around each pixel, [H, W]."""
    x, y = as_unit(image), as_unit(reference)

    def blur(a: Image) -> Image:
        return np.asarray(cv2.GaussianBlur(a, (11, 11), 1.5), dtype=np.float32)

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mx * my + c1) * (2 * cov + c2)
    values = top / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return np.asarray(values.mean(axis=-1), dtype=np.float32)


def _mean_over(values: Image, mask: ArrayLike | None) -> float:
    if mask is not None:
        values = values[np.asarray(mask, dtype=bool)]
    return float(values.mean()) if values.size else 1.0


def rimless(mask: ArrayLike) -> NDArray[np.bool_]:
    """The mask [H, W] without a rim of width/64 pixels, where the outline is what is measured."""
    m = np.asarray(mask, dtype=np.uint8)
    rim = max(1, m.shape[1] // 64)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    return np.asarray(cv2.erode(m, kernel), dtype=bool)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How like the reference one picture (or the mean of several) is."""

    psnr_whole: float
    """dB, whole image."""
    psnr_head: float
    """dB, inside the head mask."""
    psnr_rimless: float
    """dB, inside the head mask without its rim."""
    ssim_whole: float
    """0..1, whole image."""
    ssim_head: float
    """0..1, inside the head mask."""


def likeness(image: ArrayLike, reference: ArrayLike, matte: ArrayLike) -> Likeness:
    """All five numbers of `image` [H, W, 3] against `reference`; `matte` [H, W] uint8."""
    head = np.asarray(matte) > 127
    similar = ssim_map(image, reference)
    return Likeness(
        psnr(image, reference),
        psnr(image, reference, head),
        psnr(image, reference, rimless(head)),
        _mean_over(similar, None),
        _mean_over(similar, head),
    )


def mean_likeness(scores: list[Likeness]) -> Likeness:
    """The arithmetic mean of each number over frames."""
    if not scores:
        raise ValueError("no scores to average")
    columns = zip(*[(s.psnr_whole, s.psnr_head, s.psnr_rimless, s.ssim_whole, s.ssim_head)
                    for s in scores], strict=True)  # fmt: skip
    return Likeness(*[float(np.mean(c)) for c in columns])
