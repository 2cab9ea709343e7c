"""The golden tables and streams of profile rc, and how they were made.

    python -m tests.quic_transport.rc_golden     writes the files anew

The tables are stored, not made again: what they are learned with (eigenvectors) may differ in the
last digit from machine to machine, what is coded with them may not.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from quic_transport.codec import EncodedFrame, RcDecoder, RcEncoder
from quic_transport.codec.fraction_coder import TOTAL_BITS, FractionReader
from quic_transport.codec.rc import expected
from quic_transport.codec.rc_tables import Tables, from_sections, to_sections
from quic_transport.codec.residuals import STEPS, Shapes, read_residual, read_step
from quic_transport.params import EXPRESSION_DIM, FaceParams
from tests.quic_transport.strategies import synthetic_track

FOLDER = Path(__file__).resolve().parent.parent / "golden"
TABLES, STREAM = FOLDER / "rc_tables.npz", FOLDER / "rc_stream.json"
BODY_STREAM = FOLDER / "rc_body_stream.json"
SEED, FRAMES = 50, 24


def golden_tables() -> Tables:
    """The tables of a synthetic person."""
    with np.load(TABLES, allow_pickle=False) as archive:
        tables = from_sections({name: archive[name] for name in archive.files})
    assert tables is not None
    return tables


def placed(params: FaceParams, index: int) -> FaceParams:
    """`params` with a place that moves now and then."""
    return replace(params, offset=np.array([0.01 * (index // 3), -0.25, 1 / 64], np.float32))


def standing(params: FaceParams, index: int) -> FaceParams:
    """`params` on a body that sways, rests, leaps beyond what can be sent, and is not known."""
    if index % 11 == 10:
        return params
    sway = [1.5 * (index // 2), -index / 4, 0.5, 0.0]
    return replace(params, body=np.array([300, -300, 9, 0] if index == 13 else sway, np.float32))


def golden_frames(tables: Tables, *, body: bool = False) -> list[EncodedFrame]:
    """Chain, confirmed references, keyframes, a change of step, a still face, a wild one."""
    encoder = RcEncoder(tables, first_sequence=2**32 - 4, offset=True, body=body)
    track = synthetic_track(SEED, FRAMES)
    track[8] = replace(track[7], capture_time=track[8].capture_time)
    wild = np.concatenate([np.ones(EXPRESSION_DIM), [3.0, -3.0, 1.5]])
    track[20] = FaceParams.from_vector(wild, track[20].capture_time)
    frames = []
    for index, params in enumerate(track):
        encoder.step = 7 if 12 <= index < 16 else 4
        reference: Any = "last"
        if index in (5, 16):
            reference = None
        elif index > 16:
            reference = (2**32 - 4 + 16) % 2**32  # the keyframe, confirmed
        face = standing(placed(params, index), index)  # whose body `rc+offset` does not carry
        frames.append(encoder.encode(face, reference=reference))
    return frames


def stream(tables: Tables, *, body: bool = False) -> list[dict[str, str | int | None]]:
    """The golden frames in the form of the golden file, with what they decode to, exactly."""
    decoder = RcDecoder(tables, offset=True, body=body)
    out: list[dict[str, str | int | None]] = []
    for frame in golden_frames(tables, body=body):
        face = decoder.decode(frame)
        assert face.offset is not None
        assert (face.body is None) != body
        more = () if face.body is None else (face.body,)
        vector = np.concatenate([face.vector(), face.offset, *more]).astype("<f4")
        out.append({
            "sequence": frame.sequence, "reference": frame.reference,
            "payload": frame.payload.hex(), "values": vector.tobytes().hex(),
        })  # fmt: skip
    return out


def _peeked(reader: FractionReader) -> int:
    """What the next `peek` will say."""
    return (reader._above << TOTAL_BITS) // reader._width


def dissection(tables: Tables, index: int) -> str:
    """The rows of docs/wire-format.md about golden frame `index`, predicted from the one before."""
    frames = golden_frames(tables)
    decoder = RcDecoder(tables, offset=True)
    for frame in frames[:index]:
        decoder.decode(frame)
    before = decoder._history.get(frames[index - 1].sequence, frames[index].sequence)
    reader = FractionReader(frames[index].payload)
    at, step = _peeked(reader), read_step(reader, before.step)
    lines = [f"step    {at:>20}  0+30722        {step:>5}"]
    shapes = Shapes(tables, 1, step)
    awaited = expected(tables, before, 1, 52)
    for k in range(52):
        shape, low = shapes.next()
        at = _peeked(reader)
        starts = tables.starts[shape]
        residual = read_residual(reader, tables, shapes)
        symbol = sum(s <= at for s in starts) - 1
        share = f"{starts[symbol]}+{starts[symbol + 1] - starts[symbol]}"
        number = awaited[k] + residual * STEPS[step]
        lines.append(
            f"{k:>4}  {before.numbers[k]:>7} {awaited[k]:>7}  {shape:>2} {low}"
            f"  {at:>5}  {share:<12} {residual:>5} {number:>8}"
        )
    reader.finish()
    return "\n".join(lines)


def main() -> None:
    """Write the files."""
    from conference.codec_tables import learn

    track = synthetic_track(1, 600)
    vectors = np.stack([p.vector() for p in track]).astype(np.float64)
    places = np.array([placed(p, i).offset for i, p in enumerate(track)], dtype=np.float64)
    metric = np.diag([20.0**2] * EXPRESSION_DIM + [100.0**2] * 3)
    tables = learn(vectors, places, np.arange(600) / 20.0, metric)
    arrays: dict[str, Any] = dict(to_sections(tables))
    np.savez_compressed(TABLES, **arrays)
    for path, body in ((STREAM, False), (BODY_STREAM, True)):
        write_stream(path, tables, body=body)


def write_stream(path: Path, tables: Tables, *, body: bool) -> None:
    """One golden file."""
    rows = ",\n".join(" " + json.dumps(row) for row in stream(tables, body=body))
    path.write_text("[\n" + rows + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
