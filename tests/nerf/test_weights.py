"""A head as named arrays: what is written comes back, nonsense is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf.renderer import HeadRenderer, load_head
from nerf.weights import WeightsError, from_sections, to_sections
from tests.nerf.heads import random_head


def as_bytes(header: object) -> np.ndarray:
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


EXPRESSION = np.random.default_rng(5).random(46)


def test_picture_survives_storage() -> None:
    field = random_head()
    before = HeadRenderer(field, 0.5, 2.6, 1).render_portrait(EXPRESSION, (0, 0.2, 0), 40)
    after = load_head(to_sections(field), 0.5, 2.6, 1).render_portrait(EXPRESSION, (0, 0.2, 0), 40)
    assert before.alpha.max() > 200
    # 8-bit tables: random weights are the worst case, every entry matters
    assert np.abs(before.rgb.astype(int) - after.rgb).mean() < 2.0


def test_storing_twice_changes_nothing_more() -> None:
    once = from_sections(to_sections(random_head()))
    twice = from_sections(to_sections(once))
    np.testing.assert_allclose(once.mean, twice.mean, atol=5e-3 * np.abs(once.mean).max())
    np.testing.assert_array_equal(once.occupancy, twice.occupancy)


@pytest.mark.parametrize("name", sorted(to_sections(random_head())))
def test_each_missing_or_misshapen_section_is_refused(name: str) -> None:
    sections = to_sections(random_head())
    without = {k: v for k, v in sections.items() if k != name}
    with pytest.raises(WeightsError):
        from_sections(without)
    with pytest.raises(WeightsError):
        from_sections({**sections, name: sections[name].ravel()[:-1]})
    if sections[name].dtype == np.float32:
        broken = sections[name].copy()
        broken.ravel()[0] = np.nan
        with pytest.raises(WeightsError, match="finite"):
            from_sections({**sections, name: broken})


def test_a_hostile_size_is_refused_before_it_is_allocated() -> None:
    sections = to_sections(random_head())
    header = json.loads(bytes(np.asarray(sections["field.config"], np.uint8)))
    header["field"] |= {"resolutions": [4096] * 32, "log2_sizes": [22] * 32, "rank": 64,
                        "blended_levels": 32}  # fmt: skip
    with pytest.raises(WeightsError, match="larger"):
        from_sections(
            {**sections, "field.config": np.frombuffer(json.dumps(header).encode(), np.uint8)}
        )


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALAR,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=5), x, max_size=4),
    max_leaves=8,
)
KEYS = ["version", "cube", "field.resolutions", "field.rank", "field.hidden", "field.log2_sizes",
        "field.extra", "field.levels"]  # fmt: skip


@settings(max_examples=150)
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_header_is_a_head_or_a_weights_error(key: str, value: object) -> None:
    sections = to_sections(random_head())
    header = json.loads(bytes(np.asarray(sections["field.config"], np.uint8)))
    target, name = (header["field"], key[6:]) if key.startswith("field.") else (header, key)
    target[name] = value
    try:
        from_sections({**sections, "field.config": as_bytes(header)})
    except WeightsError:
        pass


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_as_header_are_a_weights_error(raw: bytes) -> None:
    sections = to_sections(random_head())
    with pytest.raises(WeightsError):
        from_sections({**sections, "field.config": np.frombuffer(raw, np.uint8)})
