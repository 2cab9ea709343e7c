"""The avatar's description: exact round trips, and every way in which it can be wrong."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quic_transport.avatar_meta import meta_from_json
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.params import ParamBounds
from tests.quic_transport.strategies import AVATAR_META as META
from tests.quic_transport.strategies import bounds, same_meta

TEXTS = st.text(st.characters(exclude_categories=("C", "Z")), max_size=40)
FACTS = TEXTS | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)


@given(TEXTS, bounds(), st.dictionaries(TEXTS, FACTS, max_size=5), st.floats(1e-3, 1e3))
@settings(max_examples=60)
def test_metadata_survives_exactly(
    name: str, b: ParamBounds, facts: dict[str, Any], distance: float
) -> None:
    meta = replace(META, name=name, bounds=b, provenance=facts, distance_m=distance)
    again = meta_from_json(meta.to_json())
    assert same_meta(again, meta)
    assert (again.name, again.distance_m, again.provenance) == (name, distance, facts)


def test_numpy_scalars_and_bools_become_plain_facts() -> None:
    meta = replace(META, provenance={"psnr": np.float32(0.5), "steps": np.int64(7), "cpu": True})  # type: ignore[dict-item]
    assert dict(meta_from_json(meta.to_json()).provenance) == {"psnr": 0.5, "steps": 7, "cpu": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "flame"), ("name", "a\x1b[2J"), ("name", 5), ("name", "x" * 5000),
        ("created", "yesterday"), ("distance_m", 0), ("distance_m", math.nan),
        ("portrait_scale", -1.0), ("frame_rate", "25"), ("size_px", 0), ("size_px", 256.5),
        ("size_px", True), ("bounds", None), ("provenance", {"x": math.inf}),
        ("provenance", {"x": None}), ("provenance", {"x": 10**19}), ("provenance", []),
        ("provenance", {str(i): i for i in range(257)}), ("provenance", {"\n": 1}),
    ],
)  # fmt: skip
def test_metadata_field_out_of_range_is_misuse_in_memory_and_an_error_in_a_file(
    field: str, value: Any
) -> None:
    with pytest.raises(LocalError, match=field):
        replace(META, **{field: value})
    document = json.loads(META.to_json())
    document[field] = value
    with pytest.raises(AvatarFileError):
        meta_from_json(json.dumps(document).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"7", b"{}", b"\xff", b'{"name":', b"[" * 100_000, b"{" * 100_000,
        b"1" * 5000, b'{"a":NaN}', b'{"a":Infinity}', b'"\\ud800"',
    ],
)  # fmt: skip
def test_metadata_that_is_not_a_description_raises_avatar_file_error(text: bytes) -> None:
    with pytest.raises(AvatarFileError):
        meta_from_json(text)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"low":[', b'"low":[1,'), (b'"low":[', b'"low":[[],'), (b'"low":', b'"lo":'),
        (b'"distance_m":0.61', b'"distance_m":1e999'), (b'"size_px":256', b'"size_px":1e400'),
        (b'"distance_m":0.61', b'"distance_m":' + b"9" * 4000), (b"Zo", b"\\ud800"),
        (b'"steps":900', b'"steps":' + b"[" * 900 + b"]" * 900), (b'"bounds":', b'"bounds":3,"b":'),
        (b'"high":[1.0', b'"high":[1e300'), (b'"high":[1.0', b'"high":[-5'),
    ],
)  # fmt: skip
def test_metadata_with_one_bad_value_raises_avatar_file_error(old: bytes, new: bytes) -> None:
    text = META.to_json()
    assert old in text
    with pytest.raises(AvatarFileError):
        meta_from_json(text.replace(old, new, 1))


def test_metadata_keys_of_later_versions_are_ignored() -> None:
    document = json.loads(META.to_json()) | {"mood": "good"}
    assert same_meta(meta_from_json(json.dumps(document).encode()), META)


def test_the_usual_offset_travels_and_older_files_have_none() -> None:
    meta = replace(META, rest=(0.25, -0.5, -0.75))
    again = meta_from_json(meta.to_json())
    assert again.rest == (0.25, -0.5, -0.75)
    assert b'"rest"' not in META.to_json()
    assert meta_from_json(META.to_json()).rest is None


@pytest.mark.parametrize("rest", [[1, 2], [1, 2, 3, 4], "abc", {"x": 1}, [1, 2, "3"], [0, 0, 1e9],
                                  [float("nan"), 0, 0], 7, [True, 0, 0]])  # fmt: skip
def test_a_strange_usual_offset_is_refused(rest: object) -> None:
    document = json.loads(META.to_json()) | {"rest": rest}
    with pytest.raises(AvatarFileError, match="rest"):
        meta_from_json(json.dumps(document).encode())
    with pytest.raises(LocalError, match="rest"):
        replace(META, rest=rest)  # type: ignore[arg-type]
