"""The example runs as its document says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def test_simulated_call_decodes_every_frame_exactly() -> None:
    path = ROOT / "examples" / "simulated_call.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 80
    run = subprocess.run(
        [sys.executable, str(path)], cwd=ROOT, capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert "the avatar is here: 200000 bytes" in run.stdout
    found = re.search(r"(\d+) frames sent, (\d+) decoded", run.stdout)
    assert found is not None
    assert found[1] == found[2]
    assert int(found[1]) > 200
    error, step = re.search(
        r"error ([\d.]+) \(half a quantiser step is ([\d.]+)", run.stdout
    ).groups()  # type: ignore[union-attr]
    assert float(error) <= float(step) + 1e-4
