"""The avatar: a hash-grid NeRF head whose tables are blended by expression.

Names are loaded on first use, so that `import nerf` costs nothing. Read first: renderer.py, then
field.py, cpu/render.py, train.py; reference.py is the plain PyTorch twin of every kernel.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "Camera": "nerf.camera",
    "FieldConfig": "nerf.config",
    "HeadField": "nerf.field",
    "HeadRenderer": "nerf.renderer",
    "Rendered": "nerf.renderer",
    "WeightsError": "nerf.weights",
    "from_sections": "nerf.weights",
    "load_head": "nerf.renderer",
    "portrait_camera": "nerf.camera",
    "to_sections": "nerf.weights",
}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'nerf' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
