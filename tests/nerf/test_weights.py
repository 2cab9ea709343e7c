"""A head as named arrays: what is written comes back, nonsense is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nerf import weights
from nerf.config import FieldConfig
from nerf.field import HeadField
from nerf.layers import Plan, size_of, work
from nerf.renderer import HeadRenderer, load_head
from nerf.weights import Section, WeightsError, from_sections, is_drawable, to_sections
from tests.nerf.heads import SMALL, random_head

EXPRESSION = np.random.default_rng(5).random(46)
FIELD = random_head()
CODED = to_sections(FIELD)
EXACT = to_sections(FIELD, exact=True)
UNWARPED = replace(SMALL, warp=0)


def plan_of(field: HeadField, *prices: float, most: int | None = None) -> Plan:
    """Half of the entries matter."""
    worth = np.zeros_like(field.mean)
    worth[::2] = 1e-6
    spread = np.full(field.config.rank, 0.25, np.float32)
    return Plan(worth, spread, prices, (most,) * len(prices))


LAYERED = to_sections(FIELD, plan_of(FIELD, 1e-8, 1e-10))


def as_bytes(header: object) -> np.ndarray:
    return np.frombuffer(json.dumps(header).encode(), np.uint8)


def header_of(sections: dict[str, Section]) -> dict[str, object]:
    return dict(json.loads(bytes(np.asarray(sections["field.config"], np.uint8))))


def before_warps(config: FieldConfig) -> dict[str, object]:
    """The configuration as it was written when no field had a warp."""
    return {k: v for k, v in config.to_dict().items() if k != "warp"}


def version_1(field: HeadField) -> dict[str, Section]:
    """The sections as this program wrote them before version 2."""
    config = field.config
    out: dict[str, Section] = {
        name: array.astype(np.float32) if name.startswith("network") else array
        for name, array in CODED.items()
        if not name.startswith(("mean", "tables", "steps", "occupancy"))
    }
    out["field.config"] = as_bytes(
        {"version": 1, "field": before_warps(config), "cube": header_of(CODED)["cube"]}
    )
    out["occupancy"] = np.packbits(field.occupancy.ravel())
    for level in range(config.levels):
        part = slice(config.offsets()[level], config.offsets()[level + 1])
        scale = np.float32(np.abs(field.mean[part]).max() / 127)
        out[f"mean.{level}"] = np.rint(field.mean[part, :, None] / scale).astype(np.int8)
        out[f"mean.{level}.scale"] = np.array([scale])
        if level < config.blended_levels:
            scales = np.abs(field.tables[part]).max(axis=(0, 1)) / np.float32(127)
            out[f"tables.{level}"] = np.rint(field.tables[part] / scales).astype(np.int8)
            out[f"tables.{level}.scale"] = scales
    return out


def test_picture_survives_storage() -> None:
    before = HeadRenderer(FIELD, 0.5, 2.6, 1).render_portrait(EXPRESSION, (0, 0.2, 0), 40)
    after = load_head(CODED, 0.5, 2.6, 1).render_portrait(EXPRESSION, (0, 0.2, 0), 40)
    assert before.alpha.max() > 200
    # 8-bit tables: random weights are the worst case, every entry matters
    assert np.abs(before.rgb.astype(int) - after.rgb).mean() < 2.0


def test_exact_sections_give_back_every_bit_of_the_tables() -> None:
    again = from_sections(EXACT)
    np.testing.assert_array_equal(again.mean, FIELD.mean)
    np.testing.assert_array_equal(again.tables, FIELD.tables)
    np.testing.assert_array_equal(again.occupancy, FIELD.occupancy)
    assert to_sections(again).keys() == CODED.keys()
    for name, array in to_sections(again).items():
        np.testing.assert_array_equal(array, CODED[name])


def test_a_head_that_learned_with_angles_is_read_as_one() -> None:
    field = random_head(turned=True)
    for exact in (False, True):
        again = from_sections(to_sections(field, exact=exact))
        assert again.code.angles == 3
        assert again.code.coefficients == 46
        np.testing.assert_array_equal(again.code.projection, field.code.projection)
        assert again.correction.shape == (6, 50)


def test_version_2_is_a_head_without_angles() -> None:
    header = header_of(CODED) | {"version": 2}
    del header["angles"]
    assert from_sections(CODED | {"field.config": as_bytes(header)}).code.angles == 0


@pytest.mark.parametrize("angles", [3, 1, -3, 3.0, True, "3", None])
def test_angles_that_the_code_does_not_have_are_refused(angles: object) -> None:
    header = header_of(CODED) | {"angles": angles}  # the correction is that of 46 coefficients
    with pytest.raises(WeightsError):
        from_sections(CODED | {"field.config": as_bytes(header)})


def test_version_1_is_still_read() -> None:
    field = random_head(0, UNWARPED)
    again = from_sections(version_1(field))
    np.testing.assert_allclose(again.mean, field.mean, atol=np.abs(field.mean).max() / 250)
    np.testing.assert_allclose(again.tables, field.tables, atol=np.abs(field.tables).max() / 250)
    np.testing.assert_array_equal(again.occupancy, field.occupancy)


@pytest.mark.parametrize("part", ["mean", "tables", "code.projection"])
def test_a_warp_that_would_throw_points_out_of_every_grid_is_refused(part: str) -> None:
    far = EXACT[part].copy()
    far[0] = 1e30
    with pytest.raises(WeightsError, match="warp"):
        from_sections({**EXACT, part: far})


def test_version_3_had_no_warp() -> None:
    field = random_head(0, UNWARPED)
    sections = to_sections(field)
    header = header_of(sections) | {"version": 3, "field": before_warps(UNWARPED)}
    again = from_sections(sections | {"field.config": as_bytes(header)})
    assert again.config == UNWARPED
    assert again.mean.shape == field.mean.shape


def test_each_layer_brings_the_tables_nearer_and_the_first_is_a_head() -> None:
    names = list(LAYERED)
    errors, drawable = [], []
    for count in range(len(names) + 1):
        beginning = {name: LAYERED[name] for name in names[:count]}
        drawable.append(is_drawable(beginning))
        if drawable[-1]:
            again = from_sections(beginning)
            errors.append(float(((again.mean - FIELD.mean)[::2] ** 2).sum()
                                + ((again.tables - FIELD.tables)[::2] ** 2).sum()))  # fmt: skip
        else:
            with pytest.raises(WeightsError):
                from_sections(beginning)
    assert drawable.index(True) == names.index("tables.0.1") + 2  # and mean.0.2, its last
    assert drawable == sorted(drawable)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.2 * errors[0]


def test_entries_that_nothing_hangs_on_cost_nothing() -> None:
    kept = from_sections(LAYERED)
    assert not kept.mean[1::2].any()
    assert not kept.tables[1::2].any()
    dull = Plan(np.zeros_like(FIELD.mean), np.full(3, 0.25, np.float32), (1e-9,), (None,))
    streams = {k: v for k, v in to_sections(FIELD, dull).items() if k.startswith(("mean", "tab"))}
    assert size_of(streams) == 0


@pytest.mark.parametrize("most", [3000, 20_000])
def test_a_layer_keeps_to_its_room(most: int) -> None:
    free = to_sections(FIELD, plan_of(FIELD, 1e-12))
    bound = to_sections(FIELD, plan_of(FIELD, 1e-12, most=most))
    layer = {k: v for k, v in bound.items() if k.startswith(("mean", "tables", "steps"))}
    assert 0.5 * most < size_of(layer) <= most < size_of(free)


@pytest.mark.parametrize("name", sorted(CODED))
def test_each_missing_or_misshapen_section_is_refused(name: str) -> None:
    without = {k: v for k, v in CODED.items() if k != name}
    with pytest.raises(WeightsError):
        from_sections(without)
    with pytest.raises(WeightsError):
        from_sections({**CODED, name: CODED[name][None, ..., None]})
    with pytest.raises(WeightsError):
        from_sections({**CODED, name: CODED[name].astype(np.int32)})
    if CODED[name].dtype in (np.float32, np.float16):
        broken = CODED[name].copy()
        broken.ravel()[0] = np.nan
        with pytest.raises(WeightsError, match="finite"):
            from_sections({**CODED, name: broken})


@settings(max_examples=30)
@given(st.sampled_from([n for n in LAYERED if n.startswith(("mean", "tables", "occ"))]),
       st.binary(max_size=400))  # fmt: skip
def test_any_bytes_as_a_stream_are_finite_tables(name: str, raw: bytes) -> None:
    field = from_sections({**LAYERED, name: np.frombuffer(raw, np.uint8)})
    assert np.isfinite(field.mean).all()
    assert np.isfinite(field.tables).all()


def test_a_hostile_size_is_refused_before_it_is_allocated() -> None:
    header = json.loads(bytes(np.asarray(CODED["field.config"], np.uint8)))
    header["field"] |= {"resolutions": [4096] * 32, "log2_sizes": [22] * 32, "rank": 64,
                        "blended_levels": 32}  # fmt: skip
    with pytest.raises(WeightsError, match="larger"):
        from_sections({**CODED, "field.config": as_bytes(header)})


def test_more_work_than_a_reader_accepts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    values = work(FIELD.config, 2, LAYERED)
    monkeypatch.setattr(weights, "MAX_CODED", values)
    from_sections(LAYERED)
    monkeypatch.setattr(weights, "MAX_CODED", values - 1)
    with pytest.raises(WeightsError, match="work"):
        from_sections(LAYERED)


SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
JSON = st.recursive(
    SCALAR,
    lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=5), x, max_size=4),
    max_leaves=8,
)
KEYS = ["version", "cube", "layers", "field", "field.resolutions", "field.rank", "field.hidden",
        "field.log2_sizes", "field.extra", "field.levels"]  # fmt: skip


@settings(max_examples=150)
@given(key=st.sampled_from(KEYS), value=JSON)
def test_any_header_is_a_head_or_a_weights_error(key: str, value: object) -> None:
    header = json.loads(bytes(np.asarray(CODED["field.config"], np.uint8)))
    target, name = (header["field"], key[6:]) if key.startswith("field.") else (header, key)
    target[name] = value
    changed = {**CODED, "field.config": as_bytes(header)}
    assert is_drawable(changed) in (False, True)
    try:
        from_sections(changed)
    except WeightsError:
        pass


@settings(max_examples=60)
@given(st.binary(max_size=200))
def test_any_bytes_as_header_are_a_weights_error(raw: bytes) -> None:
    with pytest.raises(WeightsError):
        from_sections({**CODED, "field.config": np.frombuffer(raw, np.uint8)})
