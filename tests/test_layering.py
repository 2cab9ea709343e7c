"""The house keeps its layers: who may import whom, and what must stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT: dict[str, set[str]] = {
    "netsim": set(),
    "nerf": set(),
    "quic_transport": set(),
    "sender": {"quic_transport"},
    "receiver": {"quic_transport", "nerf"},
    "portrait": {"sender", "nerf", "quic_transport"},
    "conference": {"portrait", "sender", "receiver", "nerf", "quic_transport", "netsim"},
}
FOLDER = {"portrait": ROOT / "datasets" / "portrait"}
HEAVY = ("torch", "cv2", "onnxruntime", "aioquic", "numba", "mediapipe", "av", "matplotlib")


def imported_packages(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_package_imports_only_lower_layers(package: str) -> None:
    folder = FOLDER.get(package, ROOT / package)
    files = sorted(folder.rglob("*.py"))
    assert files, f"{folder} has no modules"
    allowed = MAY_IMPORT[package] | {package}
    for path in files:
        forbidden = (imported_packages(path) & set(MAY_IMPORT)) - allowed
        assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


@pytest.mark.parametrize("module", ["facewire", "quic_transport", "netsim"])
def test_import_is_light(module: str) -> None:
    code = f"import {module}, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"


def test_help_is_light_and_names_every_command() -> None:
    code = (
        "import facewire, sys; facewire.main(['--help']); "
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    import facewire

    assert all(name in out.stdout for name in facewire.COMMANDS)
    assert out.stdout.strip().endswith("[]")
