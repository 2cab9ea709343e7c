"""The codec bench: its runs are the codec's, its comparisons are at the same error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conference.bench.codec import Subject, main, measure, parse, plot
from conference.bench.codec_runs import (
    ALONE,
    CHAIN,
    CONFIRMED,
    coarser_eg0,
    error_px,
    rate_at,
    run,
)
from conference.bench.results import Row
from quic_transport.codec import Terms
from quic_transport.codec.rc_tables import to_sections
from quic_transport.errors import LocalError
from quic_transport.params import ParamBounds
from tests.quic_transport.rc_golden import golden_tables, placed
from tests.quic_transport.strategies import synthetic_track

FACES = [placed(p, i) for i, p in enumerate(synthetic_track(5, 80))]
TRUE = np.stack([f.vector() for f in FACES]).astype(np.float64)
TERMS = Terms(ParamBounds.of(TRUE), to_sections(golden_tables()))
FORM = np.diag(np.full(49, 20.0**2))


def test_eight_bits_of_the_coarser_eg0_are_eg0() -> None:
    decoded, kbps = coarser_eg0(TERMS.bounds, TRUE, 8, 20.0)
    coded = run("eg0", TERMS, FACES, CHAIN, 1)
    assert np.abs(decoded - coded.decoded).max() < 1e-6
    assert kbps == pytest.approx(coded.kbps, rel=0.02)


def test_chain_costs_least_and_each_frame_alone_most() -> None:
    rates = [run("rc", TERMS, FACES, way, 3).kbps for way in (CHAIN, CONFIRMED, ALONE)]
    assert rates == sorted(rates)
    assert rates[0] < 0.8 * rates[2]


def test_a_frame_that_is_left_out_shows_the_one_before() -> None:
    still = [replace(FACES[0], capture_time=i / 20) for i in range(40)]
    coded = run("rc", TERMS, still, CHAIN, 1, paced=True)
    assert coded.spared > 0.5
    assert len(coded.decoded) == 40
    assert error_px(FORM, coded.decoded, np.tile(TRUE[0], (40, 1))) < 2.0


def test_rate_at_an_error_lies_between_the_points_or_is_unknown() -> None:
    assert rate_at(0.2, [0.4, 0.1], [1.0, 4.0]) == pytest.approx(2.0)
    assert rate_at(0.05, [0.4, 0.1], [1.0, 4.0]) is None


def test_measure_and_plot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject = Subject("somebody", TERMS, FACES, TRUE, FORM, 20.0,
                      lambda v: 30.0 - float(np.abs(v - TRUE).mean()))  # fmt: skip
    rows: list[Row] = []
    curves = measure(subject, 3, rows)
    named = {row.name: row.value for row in rows}
    assert named["codec.somebody.rc.chain.psnr_lost"] > 0
    assert named["codec.somebody.rc.chain.payload"] < named["codec.somebody.eg0.chain.payload"]
    assert "codec.somebody.rc.confirmed.budget_0.8.payload" in named
    assert "rc.confirmed" in capsys.readouterr().out
    plot(tmp_path / "c.png", {"somebody": curves})
    assert (tmp_path / "c.png").stat().st_size > 5000


@pytest.mark.parametrize(
    "argv", [["a.fwa", "--fps", "0"], ["a.fwa", "--rtt", "-1"], ["a.fwa", "--size", "4"]]
)
def test_senseless_options_are_refused(argv: list[str]) -> None:
    with pytest.raises(LocalError, match="must be"):
        parse(argv)


def test_avatar_without_its_training_set_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="there is no avatar"):
        main([str(tmp_path / "none.fwa")])
