"""Hostile payloads: the corpus and a fixed run of the fuzzer, for every profile."""

from __future__ import annotations

import pytest

from quic_transport.codec import PROFILES, RcDecoder
from tests.quic_transport.codec_fuzz import TERMS, corpus, feed, fuzz
from tests.quic_transport.rc_golden import golden_tables


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_corpus_gives_a_face_or_codec_error(name: str) -> None:
    outcomes = set()
    for payload in corpus():
        decoder = PROFILES[name].decoder(TERMS)
        outcomes |= {feed(decoder, 0, None, payload), feed(decoder, 1, 0, payload)}
    assert {"CodecError"} <= outcomes <= {"face", "CodecError", "ReferenceLost"}


def test_eight_thousand_mutated_frames_give_a_face_or_codec_error() -> None:
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
