"""The exported networks, made once: exporting is the slow part."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sender.cpem.faceboxes import FBNet
from sender.cpem.resnet50 import PENet
from tests.sender.cpem import made_up


@dataclass(frozen=True)
class Made:
    folder: Path
    """What `facewire export-cpem` made."""
    printed: str
    """What it said."""
    pe_net: PENet
    fb_net: FBNet
    checkpoint: Path
    faceboxes: Path


@pytest.fixture(scope="session")
def nets() -> tuple[PENet, FBNet]:
    import torch

    with torch.no_grad():
        return made_up.pe_net(), made_up.fb_net()


@pytest.fixture(scope="session")
def made(nets: tuple[PENet, FBNet], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    from contextlib import redirect_stdout
    from io import StringIO

    from sender.cpem.cli import main

    folder = tmp_path_factory.mktemp("cpem")
    checkpoint = made_up.save(nets[0], folder / "made-up.ckpt")
    faceboxes = made_up.save(nets[1], folder / "made-up.pth")
    out = folder / "out"
    with redirect_stdout(StringIO()) as printed:
        assert main([str(checkpoint), "-o", str(out), "--faceboxes", str(faceboxes)]) == 0
    yield Made(out, printed.getvalue(), *nets, checkpoint, faceboxes)
    shutil.rmtree(folder)  # 200 MB, which pytest would keep for three runs
