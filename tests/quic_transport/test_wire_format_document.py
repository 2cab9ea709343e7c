"""docs/wire-format.md cannot rot: what it dissects is the golden stream, to the bit."""

from __future__ import annotations

import json
import re
from pathlib import Path

from quic_transport.codec.body import SAME, SPREAD, shares
from quic_transport.codec.golomb import code_length, fold
from quic_transport.codec.rc_tables import LAGS
from quic_transport.codec.residuals import LIVELINESS, STEP_SHARES, STEPS
from tests.quic_transport.rc_golden import dissection, golden_frames, golden_tables

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docs" / "wire-format.md").read_text(encoding="utf-8")
FRAMES = json.loads((ROOT / "tests" / "golden" / "eg0_stream.json").read_text())["frames"]
ROW = re.compile(r"^ *(\d+)   ([0-9a-f]{2})   ([01|]+)(.*)$", re.MULTILINE)


def test_dissected_bytes_are_the_second_golden_frame() -> None:
    rows = ROW.findall(TEXT)
    assert [int(row[0]) for row in rows] == list(range(len(rows)))
    assert "".join(row[1] for row in rows) == FRAMES[1]["payload"]
    assert all(int(row[2].replace("|", ""), 2) == int(row[1], 16) for row in rows)
    assert FRAMES[0]["payload"] in TEXT


def test_dissected_codewords_lead_from_the_first_to_the_second_codes() -> None:
    before, after = (bytes.fromhex(frame["codes"]) for frame in FRAMES[:2])
    rows = ROW.findall(TEXT)
    *words, padding = "".join(row[2] for row in rows).split("|")
    claims = [claim.split(":") for row in rows for claim in row[3].split()]
    assert len(words) == len(claims) == 49
    assert set(padding) <= {"0"}
    for index, (word, (number, difference)) in enumerate(zip(words, claims, strict=True)):
        d = int(difference)
        assert int(number) == index
        assert after[index] - before[index] == d
        assert int(word, 2) == fold(d) + 1
        assert len(word) == code_length(fold(d))


def test_dissected_frame_of_rc_is_the_golden_one() -> None:
    tables = golden_tables()
    assert dissection(tables, 9) in TEXT
    assert golden_frames(tables)[9].payload.hex() in TEXT
    assert golden_frames(tables)[9].sequence == 5


def test_numbers_of_rc_are_those_of_the_code() -> None:
    for numbers in (STEPS, LAGS, LIVELINESS):
        text = ", ".join(map(str, numbers[:-1]))
        assert text in re.sub(r"\s+", " ", TEXT)
    for same, other in STEP_SHARES:
        assert f"0+{same}" in TEXT
        assert f" {other} each" in TEXT


def test_numbers_of_the_body_are_those_of_the_code() -> None:
    assert f"S, by class: {', '.join(map(str, SAME))}." in TEXT
    rows = " | ".join(" ".join(map(str, row)) for row in SPREAD)
    assert f"| s | {rows} |" in TEXT
    zero, *sides, escape = shares(8)
    said = ", ".join(map(str, sides[:-1]))
    assert f"{zero} for 0, then {said} and {sides[-1]} for either sign, and {escape} for" in TEXT


def test_document_has_its_parts() -> None:
    assert re.findall(r"^## (.*)$", TEXT, re.MULTILINE)[:4] == [
        "Parameter payload, profile `eg0`",
        "Parameter payload, profile `rc`",
        "Avatar file",
        "Messages",
    ]
