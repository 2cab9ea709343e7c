"""A head field as named arrays, the form in which it travels and is stored.

The rule: what is written is enough to rebuild the field and nothing else is (no optimiser state);
everything read is checked against the configuration before it is used, and so is the work that
unpacking it would be. Three forms are read: coded in layers (`nerf.layers`; what is written, a
beginning of it makes a field too), exact (32 bits, to be coded later), and the 8-bit tables of
version 1. Names lie in the order in which they are worth sending.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.bit_grid import decode_grid, encode_grid
from nerf.config import FieldConfig
from nerf.expression import ANGLES, ExpressionCode
from nerf.field import OCCUPANCY_SIZE, Cube, HeadField
from nerf.layers import MAX_CODED, MAX_LAYERS, Plan, coded, decoded, grids, work

VERSION = 4
MOST_WARP = 1e4  # WARP_UNITs that a face may move a point: cells must fit whole numbers
MAX_FLOATS = 64_000_000  # of all tables together: what a reader allocates for a stranger (the
# paper's own field has 46 million)
FREE_FLOATS = 16_000_000  # of which so many may be claimed by any file, and more only by one with
FLOATS_PER_BYTE = 1024  # a byte of table for so many (the paper's field in its first layer: 200)

Section = NDArray[Any]
Sections = Mapping[str, Section]


class WeightsError(ValueError):
    """The arrays are not a head field; the text says which and why."""


def to_sections(field: HeadField, plan: Plan | None = None, *,
                exact: bool = False) -> dict[str, Section]:  # fmt: skip
    """The field as named arrays: by default tables in 8 bits, with a `plan` as small as its prices
    make them, `exact` in 32 bits."""
    layers = [] if exact else coded(field.config, field.mean, field.tables, plan)
    config = json.dumps(
        {
            "version": VERSION,
            "field": field.config.to_dict(),
            "cube": [*map(float, field.cube.center), float(field.cube.edge)],
            "layers": len(layers),
            "angles": field.code.angles,
        }
    )
    grid = np.frombuffer(encode_grid(field.occupancy), np.uint8)
    out: dict[str, Section] = {
        "field.config": np.frombuffer(config.encode(), np.uint8),
        "code.bounds": np.stack([field.code.low, field.code.high, field.code.mean]),
        "code.projection": field.code.projection,
        "pose.correction": field.correction,
        "occupancy.coded": grid,
    }
    kind = np.float32 if exact else np.float16
    for i, matrix in enumerate(field.networks):
        out[f"network.{i}"] = matrix.astype(kind)
    if exact:
        return out | {"mean": field.mean, "tables": field.tables}
    for layer in layers:
        out |= layer
    return out


def from_sections(sections: Sections) -> HeadField:
    """The field of named arrays; WeightsError if they are not one. Of a field in layers, those
    after the first may be missing."""
    read = _Reader(sections)
    header = read.header()
    try:
        version, layers = header["version"], header.get("layers", 0)
        if version not in range(1, VERSION + 1):
            raise WeightsError(f"head format {version} is not known here (1 to {VERSION} are)")
        config = FieldConfig.from_dict(header["field"])
        floats = config.entries * 4 + config.blended_entries * 4 * config.rank
        held = sum(a.nbytes for n, a in sections.items() if n.startswith(("mean", "tables")))
        if floats > min(MAX_FLOATS, max(FREE_FLOATS, FLOATS_PER_BYTE * held)):
            raise WeightsError("the head's tables are larger than this program accepts of its file")
        if type(layers) is not int or not 0 <= layers <= MAX_LAYERS:
            raise WeightsError(f"a head has at most {MAX_LAYERS} layers")
        angles = header.get("angles", 0)  # heads before version 3 learned without
        if type(angles) is not int or angles not in (0, ANGLES):
            raise WeightsError(f"a face has no angles or {ANGLES}")
        x, y, z, edge = (float(v) for v in header["cube"])
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WeightsError(f"the head's configuration cannot be read: {error}") from error
    if not (0.05 <= edge <= 2.0 and max(map(abs, (x, y, z))) <= 2.0):
        raise WeightsError("the head's cube is out of range")
    shape = np.shape(sections.get("code.projection", 0))
    k = shape[0] if len(shape) == 2 else 0
    if k < angles:
        raise WeightsError("the head's code has fewer numbers than angles")
    low, high, mean = read.floats("code.bounds", (3, k))
    code = ExpressionCode(low.copy(), high.copy(), mean.copy(),
                          read.floats("code.projection", (k, config.rank)), angles)  # fmt: skip
    networks = [
        read.floats(f"network.{i}", shape) for i, shape in enumerate(config.network_shapes())
    ]
    g = OCCUPANCY_SIZE
    if version == 1:
        bits = read.array("occupancy", np.uint8, (g**3 // 8,))
        occupancy = np.unpackbits(bits).reshape(g, g, g)
        table, tables = _version_1(read, config)
    else:
        occupancy = decode_grid(read.array("occupancy.coded", np.uint8, None), g)
        table, tables = (
            _layered(read, config, layers) if layers else (
                read.floats("mean", (config.entries, 4)),
                read.floats("tables", (config.blended_entries, 4, config.rank)),
            )
        )  # fmt: skip
    if config.warp and not farthest_warp(config, code, table, tables) <= MOST_WARP:
        raise WeightsError("the head's warp is out of range")
    return HeadField(
        config=config, code=code, cube=Cube((x, y, z), edge), mean=table, tables=tables,
        networks=networks, occupancy=occupancy,
        correction=read.floats("pose.correction", (6, 4 + code.coefficients)),
    )  # fmt: skip


def farthest_warp(config: FieldConfig, code: ExpressionCode, mean: NDArray[np.float32],
                  tables: NDArray[np.float32]) -> float:  # fmt: skip
    """The farthest that any face the code lets through could move a point, in WARP_UNITs."""
    n = config.warp_entries
    away = np.maximum(np.abs(code.low - code.mean), np.abs(code.high - code.mean))
    with np.errstate(over="ignore", invalid="ignore"):
        weights = away.astype(np.float64) @ np.abs(code.projection).astype(np.float64)  # [B]
        reach = np.abs(mean[:n]) + np.abs(tables[:n]) @ weights
    return float(reach.max())


def is_drawable(sections: Sections) -> bool:
    """Whether a beginning of an avatar's sections, in the order of `to_sections`, is enough for
    `from_sections`: all that comes before the second layer."""
    try:
        header = _Reader(sections).header()
        config = FieldConfig.from_dict(header["field"])
        if header.get("layers", 0):
            last = f"{'tables' if config.blended_levels == config.levels else 'mean'}.0."
            last += str(config.levels - 1)
        elif header["version"] == 1:
            return False  # nothing says where it ends: wait for all of it
        else:
            last = "tables"
    except (WeightsError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
        return False
    return last in sections


class _Reader:
    """Sections, each checked as it is taken."""

    def __init__(self, sections: Sections) -> None:
        self.sections = sections

    def header(self) -> dict[str, Any]:
        """The configuration's JSON object."""
        raw = self.array("field.config", np.uint8, None)
        try:
            header = json.loads(bytes(raw))
        except (ValueError, TypeError, RecursionError) as error:
            raise WeightsError(f"the head's configuration cannot be read: {error}") from error
        if not isinstance(header, dict):
            raise WeightsError("the head's configuration is not a JSON object")
        return header

    def array(self, name: str, dtype: type[np.generic], shape: tuple[int, ...] | None) -> Any:
        """A section of this type and shape (None: any length, one dimension)."""
        if name not in self.sections:
            raise WeightsError(f"the head's section {name!r} is missing")
        array = self.sections[name]
        fits = array.ndim == 1 if shape is None else array.shape == shape
        if array.dtype != dtype or not fits:
            raise WeightsError(
                f"the head's section {name!r} must be {np.dtype(dtype)} {shape or '[N]'}, "
                f"not {array.dtype} {array.shape}"
            )
        return array

    def floats(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A writable, contiguous float32 copy of a finite section in 32 or 16 bits."""
        half = name in self.sections and self.sections[name].dtype == np.float16
        array = self.array(name, np.float16 if half else np.float32, shape)
        if not np.isfinite(array).all():
            raise WeightsError(f"the head's section {name!r} has values that are not finite")
        return np.array(array, dtype=np.float32, order="C")


def _layered(read: _Reader, config: FieldConfig, layers: int) -> tuple[Any, Any]:
    made = grids(config)
    for grid in made:
        read.array(f"mean.0.{grid.name}", np.uint8, None)
        if grid.blended:
            read.array(f"tables.0.{grid.name}", np.uint8, None)
    for index in range(layers):
        if (name := f"steps.{index}") in read.sections or index == 0:
            steps = read.floats(name, (len(made), 1 + config.rank))
            if np.abs(steps).max() > 1e6:
                raise WeightsError(f"the head's section {name!r} is out of range")
    for name in read.sections:
        if name.startswith(("mean.", "tables.")):
            read.array(name, np.uint8, None)
    if work(config, layers, read.sections) > MAX_CODED:
        raise WeightsError("the head's tables are more work than this program accepts")
    return decoded(config, layers, read.sections)


def _version_1(read: _Reader, config: FieldConfig) -> tuple[Any, Any]:
    """Tables in 8 bits per level and table, with a scale each."""
    if config.warp:
        raise WeightsError("a head of version 1 has no warp")
    mean = np.empty((config.entries, 4), np.float32)
    tables = np.empty((config.blended_entries, 4, config.rank), np.float32)
    offsets = config.offsets()
    for level, size in enumerate(config.level_sizes()):
        part = slice(offsets[level], offsets[level + 1])
        codes = read.array(f"mean.{level}", np.int8, (size, 4, 1))[..., 0]
        mean[part] = codes * read.floats(f"mean.{level}.scale", (1,))
        if level < config.blended_levels:
            codes = read.array(f"tables.{level}", np.int8, (size, 4, config.rank))
            tables[part] = codes * read.floats(f"tables.{level}.scale", (config.rank,))
    return mean, tables
