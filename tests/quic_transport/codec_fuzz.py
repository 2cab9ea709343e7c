"""A fuzzer of the parameter codecs: golden payloads, mutated, into every profile's decoder.

    python -m tests.quic_transport.codec_fuzz [SECONDS] [SEED]

The rule: any bytes give a finite face or CodecError, in bounded time and memory. What once went
wrong, or is of a kind of its own, stands in tests/golden/codec_corpus.json and is tried first.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from quic_transport.codec import PROFILES, RING, EncodedFrame, Terms
from quic_transport.codec.body import TOP_BODY
from quic_transport.codec.profile import ParameterDecoder
from quic_transport.codec.rc_tables import to_sections
from quic_transport.errors import CodecError
from quic_transport.params import PARAM_DIM, ParamBounds, within_reach
from tests.quic_transport.rc_golden import BODY_STREAM, STREAM, golden_tables, placed
from tests.quic_transport.strategies import synthetic_track

CORPUS = STREAM.with_name("codec_corpus.json")
UNIT = ParamBounds(np.zeros(PARAM_DIM, np.float32), np.ones(PARAM_DIM, np.float32))
TERMS = Terms(UNIT, to_sections(golden_tables()))


def corpus() -> list[bytes]:
    """The payloads of a kind of their own."""
    return [bytes.fromhex(entry["payload"]) for entry in json.loads(CORPUS.read_text("utf-8"))]


def golden(path: Path) -> list[bytes]:
    """A golden stream's payloads."""
    found = json.loads(path.read_text("utf-8"))
    rows = found["frames"] if isinstance(found, dict) else found
    return [bytes.fromhex(row["payload"]) for row in rows]


def mutated(payload: bytes, rng: random.Random) -> bytes:
    """The payload with something done to it."""
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(5)
        if what == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif what == 1:
            data[at:at] = bytes([rng.choice((0, 255, rng.randrange(256)))] * rng.choice((1, 3, 40)))
        elif what == 2:
            del data[at : at + rng.choice((1, 2, 30))]
        elif what == 3:
            data[at:] = data[: at // 2]
        else:
            data[at : at + 4] = rng.randbytes(4)
    return bytes(data)


def feed(decoder: ParameterDecoder, sequence: int, reference: int | None, payload: bytes) -> str:
    """What became of a frame: "face", or the error's name."""
    try:
        face = decoder.decode(EncodedFrame(sequence, reference is None, 0.0, payload, reference))
    except CodecError as error:
        return type(error).__name__
    assert np.isfinite(face.vector()).all()
    assert np.array_equal(face.expression, within_reach(face.expression))
    assert face.offset is None or np.isfinite(face.offset).all()
    assert face.body is None or np.abs(face.body).max() <= TOP_BODY
    return "face"


def fuzz(seed: int, frames: int, seconds: float = float("inf")) -> Counter[str]:
    """How many of `frames` mutated frames for each profile gave what."""
    rng = random.Random(seed)
    seeds = corpus() + golden(STREAM) + golden(STREAM.with_name("eg0_stream.json"))
    seeds += golden(BODY_STREAM)
    outcome: Counter[str] = Counter()
    end = time.monotonic() + seconds
    for name, profile in PROFILES.items():
        decoder, good = profile.decoder(TERMS), 0
        encoder = profile.encoder(TERMS, gop=1)
        home = encoder.encode(placed(synthetic_track(seed, 1)[0], 0)).payload
        tried = seeds + [mutated(rng.choice(seeds), rng) for _ in range(frames)]
        for n, payload in enumerate(tried):
            if time.monotonic() > end:
                break
            if n % 16 == 0:
                assert feed(decoder, n, None, home) == "face"
                good = n
                continue
            wild = (n - rng.choice((0, 1, RING))) % 2**32
            reference = rng.choice((None, good, good, wild))
            what = feed(decoder, n, reference, payload)
            good = n if what == "face" else good
            outcome[f"{name} {what}"] += 1
    return outcome


if __name__ == "__main__":
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    began, total = time.monotonic(), Counter[str]()
    while (left := limit - (time.monotonic() - began)) > 0:
        total += fuzz(first, 2000, left)
        first += 1
    print(f"next seed {first}:", dict(sorted(total.items())))
