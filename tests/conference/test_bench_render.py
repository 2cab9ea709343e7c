"""What `facewire bench render` makes of an avatar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conference.bench import cli, render
from quic_transport.errors import LocalError
from tests.conference.conftest import TinyPerson


def test_bench_render_measures_every_kind_and_its_ceiling(
    tiny: TinyPerson, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(render, "WARM", 1)
    monkeypatch.setattr(render, "SIZES", (24, 32))
    out = tmp_path / "render.json"
    command = ["render", str(tiny.avatar), "--threads", "2", "--frames", "2", "--json", str(out)]
    assert cli.main(command) == 0
    rows = {row["name"]: row["value"] for row in json.loads(out.read_text())["rows"]}
    kinds = ("24", "32", "32.yaw-30", "32.yaw+30")
    for threads in (1, 2):
        for kind in kinds:
            base = f"render.{kind}.{threads}t"
            assert 0 < rows[f"{base}.p50"] <= rows[f"{base}.p95"]
            assert 1 < rows[f"{base}.samples_per_pixel"] < rows[f"{base}.samples_per_head_pixel"]
            assert 0 < rows[f"{base}.share.core"] < 1.5
        assert rows[f"render.ceiling.encode.core.{threads}t"] > 1e5
    table = capsys.readouterr().out
    assert all(kind in table for kind in kinds)


def test_bench_render_wants_frames_and_threads() -> None:
    with pytest.raises(LocalError, match="--frames"):
        render.parse(["a.fwa", "--frames", "1"])
