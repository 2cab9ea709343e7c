"""A head field as named arrays, the form in which it travels and is stored.

The rule: what is written is enough to rebuild the field and nothing else is (no optimiser state);
everything read is checked against the configuration before it is used. Tables are stored in 8 bits
per level and table with a scale each (0.02 dB, anchors of the decisions log), networks in 32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from nerf.config import FieldConfig
from nerf.expression import ExpressionCode
from nerf.field import OCCUPANCY_SIZE, Cube, HeadField

VERSION = 1
MAX_FLOATS = 200_000_000  # of all tables together: what a reader allocates for a stranger
CLIP = 0.999  # quantile of |weight| that the largest 8-bit code stands for


class WeightsError(ValueError):
    """The arrays are not a head field; the text says which and why."""


def to_sections(field: HeadField) -> dict[str, NDArray[np.generic]]:
    """The field as named arrays."""
    config = json.dumps(
        {
            "version": VERSION,
            "field": field.config.to_dict(),
            "cube": [*map(float, field.cube.center), float(field.cube.edge)],
        }
    )
    out: dict[str, NDArray[np.generic]] = {
        "field.config": np.frombuffer(config.encode(), np.uint8),
        "code.bounds": np.stack([field.code.low, field.code.high, field.code.mean]),
        "code.projection": field.code.projection,
        "pose.correction": field.correction,
        "occupancy": np.packbits(field.occupancy.ravel() > 0),
    }
    for i, matrix in enumerate(field.networks):
        out[f"network.{i}"] = matrix
    offsets = field.config.offsets()
    for level in range(field.config.levels):
        part = slice(offsets[level], offsets[level + 1])
        out[f"mean.{level}"], out[f"mean.{level}.scale"] = _to_8bit(field.mean[part, :, None])
        if level < field.config.blended_levels:
            codes, scales = _to_8bit(field.tables[part])
            out[f"tables.{level}"], out[f"tables.{level}.scale"] = codes, scales
    return out


def from_sections(sections: Mapping[str, NDArray[np.generic]]) -> HeadField:
    """The field of named arrays; WeightsError if they are not one."""

    def get(name: str, dtype: type[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
        if name not in sections:
            raise WeightsError(f"the head's section {name!r} is missing")
        array = sections[name]
        if array.dtype != dtype or array.shape != shape:
            raise WeightsError(
                f"the head's section {name!r} must be {np.dtype(dtype)} {shape}, "
                f"not {array.dtype} {array.shape}"
            )
        if array.dtype == np.float32 and not np.isfinite(array).all():
            raise WeightsError(f"the head's section {name!r} has values that are not finite")
        return array

    try:
        header = json.loads(bytes(np.asarray(sections["field.config"], np.uint8)).decode())
        if header["version"] != VERSION:
            raise WeightsError(f"head format {header['version']} is not known here (1 is)")
        config = FieldConfig.from_dict(header["field"])
        if config.entries * 4 + config.blended_entries * 4 * config.rank > MAX_FLOATS:
            raise WeightsError("the head's tables are larger than this program accepts")
        x, y, z, edge = (float(v) for v in header["cube"])
    except WeightsError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise WeightsError(f"the head's configuration cannot be read: {error}") from error
    if not (0.05 <= edge <= 2.0 and max(map(abs, (x, y, z))) <= 2.0):
        raise WeightsError("the head's cube is out of range")
    k = sections["code.projection"].shape[0] if "code.projection" in sections else 0
    low, high, mean = get("code.bounds", np.float32, (3, k))
    projection = _own(get("code.projection", np.float32, (k, config.rank)))
    code = ExpressionCode(_own(low), _own(high), _own(mean), projection)
    g, offsets = OCCUPANCY_SIZE, config.offsets()
    bits = get("occupancy", np.uint8, (g**3 // 8,))
    table = np.empty((config.entries, 4), np.float32)
    tables = np.empty((config.blended_entries, 4, config.rank), np.float32)
    for level, size in enumerate(config.level_sizes()):
        part = slice(offsets[level], offsets[level + 1])
        table[part] = _from_8bit(
            get(f"mean.{level}", np.int8, (size, 4, 1)),
            get(f"mean.{level}.scale", np.float32, (1,)),
        )[..., 0]
        if level < config.blended_levels:
            tables[part] = _from_8bit(
                get(f"tables.{level}", np.int8, (size, 4, config.rank)),
                get(f"tables.{level}.scale", np.float32, (config.rank,)),
            )
    networks = [
        _own(get(f"network.{i}", np.float32, shape))
        for i, shape in enumerate(config.network_shapes())
    ]
    return HeadField(
        config=config,
        code=code,
        cube=Cube((x, y, z), edge),
        mean=table,
        tables=tables,
        networks=networks,
        occupancy=np.unpackbits(bits.view(np.uint8)).reshape(g, g, g),
        correction=_own(get("pose.correction", np.float32, (6, 4 + k))),
    )


def _own(array: NDArray[np.generic]) -> NDArray[np.float32]:
    """A writable, contiguous float32 copy."""
    return np.array(array, dtype=np.float32, order="C")


def _to_8bit(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Signed codes [E, 4, B] of values and a scale [B] each table."""
    clip = np.quantile(np.abs(values), CLIP, axis=(0, 1))
    scale: NDArray[np.float32] = np.maximum(clip / 127, 1e-12).astype(np.float32)
    codes: NDArray[np.int8] = np.clip(np.rint(values / scale), -127, 127).astype(np.int8)
    return codes, scale


def _from_8bit(codes: NDArray[np.generic], scale: NDArray[np.generic]) -> NDArray[np.float32]:
    return codes.astype(np.float32) * scale.astype(np.float32)
