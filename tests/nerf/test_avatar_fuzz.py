"""No file makes a reader crash, hang or take more memory than a head may."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nerf.avatar_fuzz import (
    CORPUS,
    MOST_MEMORY,
    Row,
    assembled,
    hostile,
    memory,
    outcome,
    tiny_rows,
)

ENTRIES = json.loads(CORPUS.read_text(encoding="utf-8"))
ROWS = tiny_rows()
OUTCOMES = ("head", "no head", "no avatar")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["what"])
def test_each_file_of_the_corpus_comes_to_what_it_did(entry: dict[str, str]) -> None:
    data = zlib.decompress(base64.b64decode(entry["file"]))
    assert outcome(data) == entry["comes_to"]
    assert memory(lambda: outcome(data)) < MOST_MEMORY


def test_the_corpus_is_what_its_script_makes() -> None:
    assert [entry["what"] for entry in ENTRIES] == [what for what, _ in hostile()]
    assert {entry["comes_to"] for entry in ENTRIES} == set(OUTCOMES)


@st.composite
def changed_rows(draw: st.DrawFn) -> list[Row]:
    """Sections of a head of which some have other bytes, types, sizes, or are gone."""
    rows = list(ROWS)
    for _ in range(draw(st.integers(1, 3))):
        i = draw(st.integers(0, len(rows) - 1))
        row = rows[i]
        kind = draw(st.sampled_from(["bytes", "stream", "dtype", "shape", "claim", "drop", "swap"]))
        if kind == "bytes" and row.stored:
            at = draw(st.integers(0, len(row.stored) - 1))
            some = draw(st.binary(min_size=1, max_size=8))
            content = (row.stored[:at] + some + row.stored[at + len(some) :])[: len(row.stored)]
            rows[i] = replace(row, stored=content)
        elif kind == "stream":
            some = draw(st.binary(max_size=60))
            rows[i] = replace(row, stored=some, raw=len(some), shape=(len(some),))
        elif kind == "dtype":
            rows[i] = replace(row, dtype=draw(st.integers(0, 9)))
        elif kind == "shape":
            sizes = st.integers(0, 2**32 - 1) | st.integers(0, 9)
            rows[i] = replace(row, shape=tuple(draw(st.lists(sizes, max_size=9))))
        elif kind == "claim":
            rows[i] = replace(row, raw=draw(st.integers(0, 2**64 - 1)),
                              compression=draw(st.integers(0, 2)))  # fmt: skip
        elif kind == "swap":
            j = draw(st.integers(0, len(rows) - 1))
            rows[i], rows[j] = replace(row, name=rows[j].name), replace(rows[j], name=row.name)
        elif len(rows) > 1:
            rows.pop(i)
    return rows


@settings(max_examples=200)
@given(changed_rows(), st.sampled_from([1, 2]))
def test_any_change_behind_fitting_hashes_is_a_head_or_one_of_two_errors(
    rows: list[Row], version: int
) -> None:
    assert outcome(assembled(rows, version=version)) in OUTCOMES


@settings(max_examples=80)
@given(st.data())
def test_any_bytes_of_a_file_may_change(data: st.DataObject) -> None:
    whole = bytearray(assembled(ROWS))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    assert outcome(bytes(whole[:cut])) in OUTCOMES
