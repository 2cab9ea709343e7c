"""Made-up networks: the same everywhere, and shaped like their names. What a user may write."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from netsim.choose import choose_trace
from netsim.errors import NetsimError
from netsim.generate import NETWORKS, generate
from netsim.readers import parse_trace, table

GOLDEN = {
    "train": "e4b3d219100cd07d",
    "lift": "fba890b018a733ca",
    "satellite": "2045149d22efe097",
    "wifi": "ab311d98deef1c05",
    "gprs": "a9e14c9e2cdee863",
}


@pytest.mark.parametrize("name", NETWORKS)
def test_generated_trace_is_the_golden_one(name: str) -> None:
    text = table.write(generate(name, 60, seed=1))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == GOLDEN[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_generated_trace_survives_its_file(name: str) -> None:
    trace = generate(name, 90, seed=3)
    again = parse_trace(table.write(trace).encode())
    assert np.array_equal(again.rate_kbps, trace.rate_kbps)
    assert trace.duration_s == again.duration_s == 90
    assert trace.delay_ms is not None
    assert trace.loss is not None


@pytest.mark.parametrize("name", NETWORKS)
def test_generated_traces_differ_by_seed(name: str) -> None:
    first, second = generate(name, 60, seed=1), generate(name, 60, seed=2)
    assert not np.array_equal(first.rate_kbps[:20], second.rate_kbps[:20])


def test_networks_are_like_their_names() -> None:
    assert 10 < generate("gprs", 600).mean_kbps() < 40
    assert 3 <= generate("train", 600).longest_gap_s() <= 25
    lift = generate("lift", 300)
    assert (lift.binned_kbps(1.0) < 50).mean() > 0.1
    assert lift.loss is not None
    assert lift.loss.max() >= 0.28
    orbit = generate("satellite", 120)
    assert orbit.mean_kbps() > 10_000
    assert orbit.delay_ms is not None
    assert len(np.unique(orbit.delay_ms // 10)) > 2
    wifi = generate("wifi", 300)
    assert np.percentile(wifi.rate_kbps, 5) < 100 < 1000 < np.percentile(wifi.rate_kbps, 50)


@pytest.mark.parametrize(("name", "seconds"), [("bus", 10), ("train", 0), ("train", 1e6)])
def test_generate_refuses(name: str, seconds: float) -> None:
    with pytest.raises(NetsimError):
        generate(name, seconds)


@pytest.mark.parametrize(
    ("text", "kbps"), [("12kbps", 12), ("1.5Mbps", 1500), ("2gbps", 2e6), ("gprs:3", None)]
)
def test_choose_trace_rates_and_networks(text: str, kbps: float | None) -> None:
    trace = choose_trace(text)
    if kbps is None:
        assert trace.name == text
    else:
        assert trace.mean_kbps() == pytest.approx(kbps)


def test_choose_trace_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train").write_text("5\n10\n")
    assert choose_trace("train").duration_s == 0.01
    assert choose_trace("train:0").duration_s == 300


@pytest.mark.parametrize("text", ["", "bus", "train:", "train:x", "-1kbps", "kbps", "12 kbps"])
def test_choose_trace_anything_else_is_one_sentence(text: str) -> None:
    with pytest.raises(NetsimError, match="neither a file"):
        choose_trace(text)
