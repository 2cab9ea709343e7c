"""What all tests share: the optional folder of lab data, and how Hypothesis chooses examples.

A run of the suite repeats the last one (`repeatable`); `pytest --hypothesis-profile search` looks
for new counter-examples. Neither limits an example's time: machines differ.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder with `videos/` and `models/`; the test is skipped where there is none."""
    default = Path(__file__).resolve().parent.parent.parent / "shared"
    folder = Path(os.environ.get("FACEWIRE_ASSETS", default))
    if not (folder / "videos").is_dir():
        pytest.skip(f"no lab data: {folder}/videos does not exist (set FACEWIRE_ASSETS)")
    return folder
