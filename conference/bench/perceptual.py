"""LPIPS where it is installed: a learned distance of pictures, for `facewire bench rd`.

The rule: nothing is downloaded; without the package or AlexNet's weights on this machine there is
no such number, and `open_lpips` says what is missing. Reference: Zhang et al. 2018.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Distance = Callable[[Image, Image], float]
"""Two pictures, uint8 [H, W, 3] → their distance; 0: the same."""

ALEXNET = "alexnet-owt-*.pth"


def open_lpips() -> tuple[Distance | None, str]:
    """The distance, or None and a sentence that says what is missing."""
    if find_spec("lpips") is None:
        return None, "LPIPS is not measured: `pip install lpips` (which brings torchvision) adds it"
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not any(folder.glob(ALEXNET)):
        return None, (
            f"LPIPS is not measured: AlexNet's weights ({ALEXNET}) are not in {folder}; "
            "`torchvision.models.alexnet(weights='DEFAULT')` fetches them"
        )
    network: Any = import_module("lpips").LPIPS(net="alex", verbose=False)
    network.eval()

    def tensor(image: Image) -> Any:
        unit = np.ascontiguousarray(image.transpose(2, 0, 1)[None]).astype(np.float32)
        return torch.from_numpy(unit / 127.5 - 1)

    def distance(a: Image, b: Image) -> float:
        with torch.no_grad():
            return float(network(tensor(a), tensor(b)))

    return distance, "LPIPS with AlexNet"
