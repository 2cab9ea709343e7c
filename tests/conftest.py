"""Fixtures that all tests share: the optional folder of lab data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with `videos/` and `models/`; the test is skipped where there is none."""
    default = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("FACEWIRE_ASSETS", default))
    if not (folder / "videos").is_dir():
        pytest.skip(f"no lab data: {folder}/videos does not exist (set FACEWIRE_ASSETS)")
    return folder
