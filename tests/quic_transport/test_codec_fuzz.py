"""Hostile payloads: the corpus and a fixed run of the fuzzer, for every profile."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from quic_transport.codec import PROFILES, RcDecoder, Terms
from quic_transport.codec.fraction_coder import TOTAL
from quic_transport.codec.rc_tables import SHAPES, SYMBOLS
from tests.quic_transport.codec_fuzz import TERMS, UNIT, corpus, feed, fuzz
from tests.quic_transport.rc_golden import golden_tables


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_corpus_gives_a_face_or_codec_error(name: str) -> None:
    outcomes = set()
    for payload in corpus():
        decoder = PROFILES[name].decoder(TERMS)
        outcomes |= {feed(decoder, 0, None, payload), feed(decoder, 1, 0, payload)}
    assert {"CodecError"} <= outcomes <= {"face", "CodecError", "ReferenceLost"}


def test_ten_thousand_mutated_frames_give_a_face_or_codec_error() -> None:
    outcome = fuzz(1, 2000)
    assert {key.split()[0] for key in outcome} == set(PROFILES)
    for name in PROFILES:
        assert outcome[f"{name} face"] >= 5
        assert outcome[f"{name} CodecError"] > 500


def test_the_longest_frame_of_escapes_is_read_whole_and_refused() -> None:
    """Its numbers lie far out of range: the decoder says so after 49 of them, not after more."""
    longest = max((p for p in corpus() if len(p) <= 512 and p.strip(b"\0\xff")), key=len)
    decoder = RcDecoder(golden_tables())
    assert len(longest) > 250
    assert feed(decoder, 0, None, longest) == "CodecError"
    assert decoder.needs_keyframe


@pytest.mark.parametrize("seed", range(6))
def test_wildest_tables_that_are_accepted_only_give_faces_or_codec_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    edge = seed % 2 == 0

    def draw(low: int, high: int, shape: tuple[int, ...], kind: type) -> NDArray[Any]:
        ends = rng.choice([low, high], shape) if edge else rng.integers(low, high, shape)
        return ends.astype(kind)

    shares = np.ones((SHAPES, SYMBOLS), np.int64)
    shares[np.arange(SHAPES), rng.integers(0, SYMBOLS, SHAPES)] = TOTAL - SYMBOLS + 1
    rho = draw(0, 1 << 15, (9, 52), np.uint16)
    rho[0] = 0
    sections = {
        "codec.mean": draw(-(1 << 24), 1 << 24, (49,), np.int32),
        "codec.basis": draw(-(1 << 28), 1 << 28, (49, 49), np.int32), "codec.rho": rho,
        "codec.scale": draw(0, 127, (9, 52), np.uint8), "codec.shape": shares.astype(np.uint16),
    }  # fmt: skip
    decoder = PROFILES["rc+offset"].decoder(Terms(UNIT, sections))
    outcomes = set()
    good = None
    for n in range(400):
        payload = bytes(1 + n % 3) if n % 8 == 0 else rng.bytes(int(rng.integers(1, 200)))
        outcome = feed(decoder, n, good if n % 2 else None, payload)
        good = n if outcome == "face" else good
        outcomes.add(outcome)
    assert outcomes <= {"face", "CodecError", "ReferenceLost"}
    assert "CodecError" in outcomes
