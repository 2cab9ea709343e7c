"""The 8-bit quantiser: error, edges, idempotence, degenerate dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.codec.quantizer import Quantizer
from quic_transport.errors import LocalError
from quic_transport.params import PARAM_DIM, FaceParams, ParamBounds
from tests.quic_transport.strategies import bounds, face_params

UNIT = ParamBounds(np.zeros(PARAM_DIM, np.float32), np.ones(PARAM_DIM, np.float32))


@pytest.mark.parametrize(
    ("value", "code"),
    [(0.0, 0), (1.0, 255), (-5.0, 0), (9.0, 255), (1 / 255, 1), (0.49 / 255, 0), (0.51 / 255, 1)],
)
def test_code_of_known_values_between_0_and_1(value: float, code: int) -> None:
    assert Quantizer(UNIT).quantise([value] * PARAM_DIM).tolist() == [code] * PARAM_DIM


def test_end_codes_are_the_bounds_exactly() -> None:
    rng = np.random.default_rng(3)
    ends = np.sort(rng.normal(size=(2, PARAM_DIM)).astype(np.float32), axis=0)
    quantizer = Quantizer(ParamBounds(ends[0], ends[1]))
    assert np.array_equal(quantizer.dequantise(np.zeros(PARAM_DIM, np.uint8)), ends[0])
    assert np.array_equal(quantizer.dequantise(np.full(PARAM_DIM, 255, np.uint8)), ends[1])


@given(bounds(), face_params())
def test_error_is_at_most_half_a_step_of_the_clipped_value(b: ParamBounds, p: FaceParams) -> None:
    quantizer = Quantizer(b)
    value = quantizer.dequantise(quantizer.quantise(p.vector()))
    clipped = np.clip(p.vector(), b.low, b.high).astype(np.float64)
    half = (b.high.astype(np.float64) - b.low) / 510
    rounding = np.spacing(np.maximum(np.abs(b.low), np.abs(b.high)))  # float32's own
    assert (np.abs(value - clipped) <= half + rounding).all()
    assert ((value >= b.low) & (value <= b.high)).all()


@given(bounds(), face_params())
def test_quantising_a_reconstruction_changes_nothing(b: ParamBounds, p: FaceParams) -> None:
    quantizer = Quantizer(b)
    value = quantizer.dequantise(quantizer.quantise(p.vector()))
    assert np.array_equal(quantizer.dequantise(quantizer.quantise(value)), value)


@given(bounds(), face_params(), face_params())
def test_larger_values_never_get_smaller_codes(
    b: ParamBounds, p: FaceParams, q: FaceParams
) -> None:
    quantizer = Quantizer(b)
    low, high = np.minimum(p.vector(), q.vector()), np.maximum(p.vector(), q.vector())
    assert (quantizer.quantise(low) <= quantizer.quantise(high)).all()


@given(face_params(), st.binary(min_size=PARAM_DIM, max_size=PARAM_DIM))
def test_degenerate_dimension_codes_0_and_reconstructs_low(p: FaceParams, codes: bytes) -> None:
    low = np.linspace(-1, 1, PARAM_DIM, dtype=np.float32)
    quantizer = Quantizer(ParamBounds(low, low))
    assert not quantizer.quantise(p.vector()).any()
    assert np.array_equal(quantizer.dequantise(np.frombuffer(codes, np.uint8)), low)
    assert not quantizer.steps.any()


def test_extreme_bounds_do_not_overflow() -> None:
    big = np.full(PARAM_DIM, 3.4e38, np.float32)
    tiny = np.full(PARAM_DIM, 1e-45, np.float32)
    for b in (ParamBounds(-big, big), ParamBounds(0 * tiny, tiny), ParamBounds(-big, tiny)):
        quantizer = Quantizer(b)
        assert quantizer.quantise(b.low).tolist() == [0] * PARAM_DIM
        assert quantizer.quantise(b.high).tolist() == [255] * PARAM_DIM


def test_vector_that_is_not_49_finite_numbers_is_misuse() -> None:
    with pytest.raises(LocalError, match="shape"):
        Quantizer(UNIT).quantise([0.0] * 46)
    with pytest.raises(LocalError, match="finite"):
        Quantizer(UNIT).quantise([np.nan] * PARAM_DIM)
