"""The wheel holds what is imported and nothing that could overwrite somebody else's package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = {"facewire.py", "sender", "receiver", "nerf", "quic_transport", "netsim", "conference",
       "portrait"}  # fmt: skip


def test_wheel_holds_our_packages_and_not_datasets(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == TOP
    for module in ("conference/bench/rd.py", "portrait/performer/cli.py", "nerf/cpu/encode.py"):
        assert module in names
    assert not [n for n in names if n.endswith((".mp4", ".fwa", ".task", ".pyc"))]
