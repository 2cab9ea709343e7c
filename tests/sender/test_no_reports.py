"""Nothing that looks at a face reports to anybody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
LOADS = {
    "the tracker": "from sender.facenet.reader import PE_FILE, open_network\n"
    "from sender import facenet\n"
    "open_network(Path(facenet.__file__).parent / 'weights' / PE_FILE)",
    "the training of networks": "import portrait\nimport onnxruntime\n"
    "onnxruntime.InferenceSession(next(Path('sender').rglob('*.onnx')))",
}


@pytest.mark.parametrize("what", sorted(LOADS))
def test_networks_leave_no_trace_outside_the_process(what: str, tmp_path: Path) -> None:
    """Where ONNX Runtime reports, it writes a device id and a queue of events to the cache."""
    quiet = ("CI", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS")
    env = {name: value for name, value in os.environ.items() if name not in quiet}
    env |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    code = f"from pathlib import Path\n{LOADS[what]}\nprint('loaded')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True,
                          capture_output=True, text=True)  # fmt: skip
    assert "loaded" in done.stdout
    assert not [p for p in tmp_path.rglob("*") if "onnxruntime" in p.name]
