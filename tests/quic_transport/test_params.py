"""The parameter types: validated once, frozen, and named by schema."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from quic_transport.params import (
    ARKIT46,
    EXPRESSION_DIM,
    EXPRESSION_HIGH,
    EXPRESSION_LOW,
    PARAM_DIM,
    SCHEMAS,
    FaceParams,
    ParamBounds,
    frozen_vector,
    within_reach,
)
from tests.quic_transport.strategies import face_params


@pytest.mark.parametrize("schema", sorted(SCHEMAS))
def test_schema_names_46_different_expressions(schema: str) -> None:
    assert len(set(SCHEMAS[schema])) == EXPRESSION_DIM


def test_arkit46_leaves_out_exactly_the_dead_and_the_neutral_outputs() -> None:
    dead = {"cheekPuff", "cheekSquintLeft", "cheekSquintRight", "noseSneerLeft", "noseSneerRight"}
    assert not dead & set(ARKIT46)
    assert "_neutral" not in ARKIT46
    assert list(ARKIT46) == sorted(ARKIT46)  # MediaPipe's own order is alphabetical


@given(st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=9))
def test_reach_bounds_every_coefficient_and_changes_none_inside(values: list[float]) -> None:
    wanted = [min(max(value, EXPRESSION_LOW), EXPRESSION_HIGH) for value in values]
    narrow, wide = within_reach(np.array(values, np.float32)), within_reach(np.array(values))
    assert (narrow.dtype, wide.dtype) == (np.float32, np.float64)
    assert narrow.tolist() == wide.tolist() == wanted


def test_reach_is_wider_than_what_general_trackers_say() -> None:
    assert EXPRESSION_LOW < -0.3 < 0.0 < 1.0 < 1.3 < EXPRESSION_HIGH


@given(face_params())
def test_from_vector_inverts_vector(params: FaceParams) -> None:
    again = FaceParams.from_vector(params.vector(), params.capture_time)
    assert np.array_equal(again.vector(), params.vector())
    assert again.capture_time == params.capture_time
    assert again.offset is None


def test_params_arrays_are_copied_and_read_only() -> None:
    expression = np.zeros(EXPRESSION_DIM, np.float32)
    params = FaceParams(expression, np.zeros(3, np.float32), 0.0, np.ones(3, np.float32))
    expression[0] = 1
    assert params.expression[0] == 0
    for array in (params.expression, params.rotation, params.offset):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0] * 4, "shape"),
        ([[0.0] * 3], "shape"),
        ([0.0, np.inf, 0.0], "finite"),
        ([0.0, 1e300, 0.0], "finite"),
        ([0.0, np.nan, 0.0], "finite"),
        (["a", "b", "c"], "numbers"),
        ([[1.0], [1.0, 2.0], 3.0], "numbers"),
        (None, "shape|numbers"),
    ],
)
def test_vector_of_the_wrong_kind_is_misuse(values: object, message: str) -> None:
    with pytest.raises(LocalError, match=message):
        frozen_vector(values, 3, "rotation")  # type: ignore[arg-type]


def test_bounds_of_a_track_hold_it_tightly() -> None:
    track = np.random.default_rng(0).normal(size=(20, PARAM_DIM)).astype(np.float32)
    bounds = ParamBounds.of(track)
    assert np.array_equal(bounds.low, track.min(axis=0))
    assert np.array_equal(bounds.high, track.max(axis=0))
    assert bounds.equals(ParamBounds.of(track[::-1]))
    assert not bounds.equals(ParamBounds.of(track[:5]))


@pytest.mark.parametrize("shape", [(0, PARAM_DIM), (3, 46), (PARAM_DIM,)])
def test_bounds_of_no_vectors_are_misuse(shape: tuple[int, ...]) -> None:
    with pytest.raises(LocalError, match="shape"):
        ParamBounds.of(np.zeros(shape))


def test_bounds_upside_down_name_the_dimension() -> None:
    low = np.zeros(PARAM_DIM, np.float32)
    low[7] = 3.4e38
    high = np.zeros(PARAM_DIM, np.float32)
    high[3] = 3.4e38
    with pytest.raises(LocalError, match="7 has not"):
        ParamBounds(low, high)
