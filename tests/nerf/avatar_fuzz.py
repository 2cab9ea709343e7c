"""Hostile avatar files, made to look right: `python -m tests.nerf.avatar_fuzz` writes the corpus.

The rule: a file is taken apart, one thing in it is changed, and every hash is made to fit again, so
that what is tested is the parser behind the hashes. The corpus is kept so that what was once found
stays found; each entry says what reading it must come to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nerf.config import FieldConfig
from nerf.weights import WeightsError, from_sections, is_drawable, to_sections
from quic_transport.avatar_container import HEAD, MAGIC, SECTION, SHORT_HASH_BYTES, SIZES
from quic_transport.avatar_file import AvatarFile, decode_avatar, decode_avatar_prefix
from quic_transport.errors import AvatarFileError
from tests.nerf.heads import random_head
from tests.quic_transport.strategies import AVATAR_META

CORPUS = Path(__file__).parent.parent / "golden" / "avatar_corpus.json"
TINY = FieldConfig(resolutions=(3, 5), log2_sizes=(8, 8), blended_levels=1, rank=2, hidden=8,
                   geometry=4)  # fmt: skip
MOST_MEMORY = 64 << 20  # bytes that reading any file of the corpus may take
STORED, ZLIB = 0, 1


@dataclass(frozen=True)
class Row:
    """One section as it lies in a file."""

    name: bytes
    dtype: int
    compression: int
    shape: tuple[int, ...]
    raw: int
    stored: bytes


def rows_of(avatar: AvatarFile) -> list[Row]:
    """The sections, uncompressed."""
    kinds = [np.dtype(c) for c in ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f2", "<f4")]
    return [
        Row(name.encode(), kinds.index(a.dtype), STORED, a.shape, a.nbytes, a.tobytes())
        for name, a in avatar.sections.items()
    ]


def assembled(rows: list[Row], meta: bytes | None = None, version: int = 2) -> bytes:
    """A file of these rows in which every hash fits."""
    meta = AVATAR_META.to_json() if meta is None else meta
    short = SHORT_HASH_BYTES if version == 2 else 0
    table = sum(SECTION.size + len(r.name) + 4 * len(r.shape) + SIZES.size + short for r in rows)
    at = HEAD.size + len(meta) + table + short
    body = HEAD.pack(MAGIC, version, len(rows), len(meta)) + meta
    for r in rows:
        body += SECTION.pack(len(r.name), r.dtype, r.compression, len(r.shape)) + r.name
        body += struct.pack(f"<{len(r.shape)}I", *r.shape) + SIZES.pack(at, len(r.stored), r.raw)
        body += hashlib.sha256(r.stored).digest()[:short]
        at += len(r.stored)
    body += hashlib.sha256(body).digest()[:short]
    body += b"".join(r.stored for r in rows)
    return body + hashlib.sha256(body).digest()


def tiny_rows() -> list[Row]:
    """A whole head in two kilobytes."""
    field = random_head(3, TINY)
    field.mean[np.arange(len(field.mean)) % 8 > 0] = 0
    field.tables[8:] = 0
    grid = np.zeros_like(field.occupancy)
    grid[20:40, 20:40, 20:40] = 1
    return rows_of(AvatarFile(AVATAR_META, to_sections(replace(field, occupancy=grid))))


def outcome(data: bytes) -> str:
    """What reading `data` comes to: "head", "no head" or "no avatar"; anything else raises.

    Its beginnings are read too, as a call does.
    """
    for size in (len(data) // 3, len(data) // 2, len(data)):
        try:
            prefix = decode_avatar_prefix(data[:size])
            if prefix is not None and is_drawable(prefix.avatar.sections):
                from_sections(prefix.avatar.sections)
        except (AvatarFileError, WeightsError):
            pass
    try:
        from_sections(decode_avatar(data).sections)
    except AvatarFileError:
        return "no avatar"
    except WeightsError:
        return "no head"
    return "head"


def memory(work: Callable[[], object]) -> int:
    """The most bytes that Python and numpy held at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def hostile() -> Iterator[tuple[str, bytes]]:
    """(what is wrong, file)."""
    rows = tiny_rows()
    names = [r.name.decode() for r in rows]

    def with_row(name: str, **changed: object) -> bytes:
        i = names.index(name)
        return assembled([*rows[:i], replace(rows[i], **changed), *rows[i + 1 :]])  # type: ignore[arg-type]

    def filled(name: str, content: bytes) -> bytes:
        return with_row(name, stored=content, raw=len(content), shape=(len(content),))

    def header(**changed: object) -> bytes:
        document = json.loads(rows[names.index("field.config")].stored)
        for key, value in changed.items():
            (document["field"] if key in document["field"] else document)[key] = value
        return filled("field.config", json.dumps(document).encode())

    yield "nothing wrong", assembled(rows)
    yield "version 1 with sections of version 2", assembled(rows, version=1)
    yield "no sections", assembled([])
    yield "two sections of one name", assembled([*rows, rows[0]])
    yield "sections in reverse", assembled(rows[::-1])
    yield "description that is not JSON", assembled(rows, b"{")
    yield "description nested deeply", assembled(rows, b"[" * 50_000)
    bomb = zlib.compress(bytes(1 << 22), 9)
    yield (
        "deflate bomb behind a small claim",
        with_row("occupancy.coded", compression=ZLIB, stored=bomb, raw=64, shape=(64,)),
    )
    yield (
        "deflate bomb that says so, 4 MB of occupancy",
        with_row("occupancy.coded", compression=ZLIB, stored=bomb, raw=1 << 22, shape=(1 << 22,)),
    )
    yield (
        "shape beyond all limits",
        with_row("mean.0.0", shape=(2**32 - 1,) * 4, raw=2**64 - 1, stored=b"x"),
    )
    yield (
        "empty shape beyond all limits",
        with_row("mean.0.0", shape=(0, 2**32 - 1, 2**32 - 1), raw=0, stored=b""),
    )
    yield "stream of ones", filled("mean.0.0", b"\xff" * 40)
    yield "stream of noise", filled("tables.0.0", bytes(np.random.default_rng(1).bytes(300)))
    yield "streams cut short", filled("mean.0.1", rows[names.index("mean.0.1")].stored[:5])
    yield "occupancy of one byte", filled("occupancy.coded", b"\x01")
    yield (
        "steps that are infinite",
        with_row("steps.0", stored=np.full((2, 3), np.inf, np.float32).tobytes()),
    )
    yield (
        "steps beyond range",
        with_row("steps.0", stored=np.full((2, 3), 1e30, np.float32).tobytes()),
    )
    yield (
        "network that is not a number",
        with_row("network.0", stored=b"\xff" * rows[names.index("network.0")].raw),
    )
    yield "largest levels there are", header(resolutions=[4096] * 32, log2_sizes=[22] * 32)
    yield "many layers", header(layers=5)
    yield "minus one layer", header(layers=-1)
    yield "a layer that is true", header(layers=True)
    yield "no layers, no tables", header(layers=0)
    yield "rank of a thousand", header(rank=1000)
    yield "rank that is text", header(rank="2")
    yield "resolution that is not finite", header(resolutions=[float("inf"), 2])
    yield "cube of no size", header(cube=[0, 0, 0, 0])
    yield "cube that is not a number", header(cube=[float("nan")] * 4)
    yield "cube of three", header(cube=[0, 0, 0])
    yield "field that is a list", header(field=[1, 2])
    yield "version from the future", header(version=99)
    yield "configuration nested deeply", filled("field.config", b"[" * 50_000)
    yield "configuration of another type", with_row("field.config", dtype=1)
    for name in ("field.config", "code.bounds", "occupancy.coded", "network.1", "steps.0",
                 "tables.0.0"):  # fmt: skip
        yield f"without {name}", assembled([r for r in rows if r.name.decode() != name])
    values = 63_000_000 // (4 * 2 + 4 * 2 * 1)
    side = 2 ** int(np.log2(values))
    yield (
        "much work for few bytes",
        header(resolutions=[400, 400], log2_sizes=[side.bit_length() - 1] * 2, blended_levels=1),
    )


def main() -> None:
    """Write the corpus."""
    entries = [
        {"what": what, "comes_to": outcome(data),
         "file": base64.b64encode(zlib.compress(data, 9)).decode()}
        for what, data in hostile()
    ]  # fmt: skip
    CORPUS.write_text(json.dumps(entries, indent=0) + "\n", encoding="utf-8")
    for entry in entries:
        print(f"{entry['comes_to']:>10}  {entry['what']}")


if __name__ == "__main__":
    main()
