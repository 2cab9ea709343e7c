"""A field's tables in layers: a coarse one that gives a picture, finer ones that correct it.

The rule: a layer codes what the layers before it have left over; a reader that has only some of
them, or only some grids of the last, still has a field. A grid is the warp's or a level's. Steps
follow from one price, the picture error that a bit must save, so that grids, tables and entries
share the bits as the eye would.
References: Sullivan & Wiegand 1998; Taubman & Marcellin 2002, ch. 8 (quality layers).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.config import FieldConfig
from nerf.table_coding import decode_tables, encode_tables, new_history

Float32 = NDArray[np.float32]
Section = NDArray[Any]

MAX_LAYERS = 4
THREADS = 4  # that unpack levels
MAX_CODED = 150_000_000  # values of all streams that hold anything: three layers of the paper's
COARSENESS = 4.0  # of steps against those of plain quantisation at the same price: most codes are
# then 0 or ±1, and entries that matter less than their level's best are left out (13 % smaller
# than at 2.2, 23 % than at 1.3, at equal PSNR)
PLAIN = float(np.sqrt(6 / np.log(2)))  # step² · importance / price where a bit halves the error
USUAL_SPREAD = 0.25  # of blend weights: nerf.expression scales them so
LEAST_SPREAD = 1e-3
FINEST = 127  # codes of the largest weights, where nothing is known of their importance
CLIP = 0.999  # quantile of |weight| that counts as largest there


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What the layers may cost and what they are judged by."""

    importance: Float32
    """[E, 4] as `nerf.importance` gives it."""
    spread: Float32
    """[B] root mean square of the blend weights."""
    prices: tuple[float, ...] = (1e-11, 1.2e-12, 1.5e-13)
    """Mean squared colour error (of 1) that one bit must save, layer by layer."""
    most_bytes: tuple[int | None, ...] = (220_000, None, None)
    """Of all layers up to each: a layer that would exceed it gets a higher price."""


@dataclass(frozen=True, slots=True, eq=False)
class Remainder:
    """What the layers so far have left over."""

    config: FieldConfig
    mean: Float32
    """[1, E, 4]"""
    tables: Float32
    """[B, Eb, 4]"""
    histories: tuple[NDArray[np.int32], ...]
    """Per grid, see `table_coding.new_history`."""


@dataclass(frozen=True, slots=True)
class Grid:
    """A part of the tables that is coded by itself."""

    name: str
    """In the sections' names: "warp", or the level's number."""
    part: slice
    """Its entries."""
    stride: int
    """Entries along a row of a dense grid, 0 of a hashed one."""
    blended: bool
    """Whether it has expression tables."""


def grids(config: FieldConfig) -> list[Grid]:
    """The grids of a field, as they lie in its tables."""
    offsets = config.offsets()
    out = [Grid("warp", slice(0, offsets[0]), config.warp + 1, True)] if config.warp else []
    for level, (res, size) in enumerate(zip(config.resolutions, config.level_sizes(), strict=True)):
        stride = res + 1 if (res + 1) ** 3 <= size else 0
        part = slice(offsets[level], offsets[level + 1])
        out.append(Grid(str(level), part, stride, level < config.blended_levels))
    return out


def whole(config: FieldConfig, mean: Float32, tables: Float32) -> Remainder:
    """Everything is left: `mean` [E, 4], `tables` [Eb, 4, B]."""
    return Remainder(
        config, np.ascontiguousarray(mean[None]), np.ascontiguousarray(tables.transpose(2, 0, 1)),
        tuple(new_history(g.part.stop - g.part.start) for g in grids(config)),
    )  # fmt: skip


def coded(config: FieldConfig, mean: Float32, tables: Float32,
          plan: Plan | None) -> list[dict[str, Section]]:  # fmt: skip
    """The sections of every layer. Without a plan one layer in 8 bits."""
    rest = whole(config, mean, tables)
    if plan is None:
        return [_layer(rest, 0, _steps_by_size(rest), None, 0.0)[0]]
    out: list[dict[str, Section]] = []
    total = 0
    for index, (price, most) in enumerate(zip(plan.prices, plan.most_bytes, strict=True)):
        room = None if most is None else most - total
        sections, rest = _priced(rest, index, plan, price, room)
        out.append(sections)
        total += size_of(sections)
    return out


def size_of(sections: Mapping[str, Section]) -> int:
    """Bytes of the sections' arrays."""
    return sum(array.nbytes for array in sections.values())


def _priced(rest: Remainder, index: int, plan: Plan, price: float,
            room: int | None) -> tuple[dict[str, Section], Remainder]:  # fmt: skip
    """A layer at `price`, or at the least higher one at which it has at most `room` bytes."""

    def at(p: float) -> tuple[dict[str, Section], Remainder]:
        return _layer(rest, index, _steps_by_price(rest.config, plan, p), plan, p)

    made = at(price)
    if room is None or size_of(made[0]) <= room:
        return made
    low, high = price, price
    while size_of(made[0]) > room:
        low, high = high, 2 * high
        if high > 1e6 * price:
            return made  # an empty layer: there is no room for anything
        made = at(high)
    for _ in range(4):
        middle = float(np.sqrt(low * high))
        trial = at(middle)
        if size_of(trial[0]) <= room:
            made, high = trial, middle
        else:
            low = middle
    return made


def _steps_by_price(config: FieldConfig, plan: Plan, price: float) -> Float32:
    """Steps [grids, 1 + B]: mean table, then expression tables."""
    made = grids(config)
    steps = np.zeros((len(made), 1 + config.rank), np.float32)
    for row, grid in zip(steps, made, strict=True):
        weights = plan.importance[grid.part].astype(np.float64)
        typical = (weights**2).sum() / max(weights.sum(), 1e-30)  # of what matters
        row[0] = COARSENESS * PLAIN * np.sqrt(price / max(typical, 1e-30))
        row[1:] = row[0] / np.maximum(plan.spread, LEAST_SPREAD)
    return steps


def _steps_by_size(rest: Remainder) -> Float32:
    """Steps [grids, 1 + B] for 8 bits."""
    made = grids(rest.config)
    steps = np.zeros((len(made), 1 + rest.config.rank), np.float32)
    for row, grid in zip(steps, made, strict=True):
        row[0] = np.quantile(np.abs(rest.mean[:, grid.part]), CLIP) / FINEST
        if grid.blended:
            size = np.quantile(np.abs(rest.tables[:, grid.part]), CLIP, axis=(1, 2))
            row[1:] = size / FINEST
    return np.maximum(steps, 1e-12)


def _layer(rest: Remainder, index: int, steps: Float32, plan: Plan | None,
           price: float) -> tuple[dict[str, Section], Remainder]:  # fmt: skip
    config = rest.config
    mean, tables = rest.mean.copy(), rest.tables.copy()
    histories = [h.copy() for h in rest.histories]
    spread = np.ones(config.rank, np.float32) if plan is None else plan.spread
    scale = np.maximum(spread, LEAST_SPREAD).astype(np.float32)[:, None, None]
    streams: dict[str, tuple[bytes, float]] = {}  # and by how much they mend the picture
    for grid, history, step in zip(grids(config), histories, steps, strict=True):
        part, stride = grid.part, grid.stride
        worth = np.ones_like(mean[0, part]) if plan is None else plan.importance[part]
        data, codes = encode_tables(mean[:, part], step[:1], worth, price, stride, history)
        before = mean[:, part].copy()
        mean[:, part] -= codes * step[0]
        gain = float((worth * (before**2 - mean[:, part] ** 2)).sum())
        streams[f"mean.{index}.{grid.name}"] = data, gain
        if not grid.blended:
            continue
        before = tables[:, part] * scale  # a table counts as much as its blend weights are large
        data, codes = encode_tables(
            before, step[1:] * scale[:, 0, 0], worth, price, stride, history
        )
        tables[:, part] -= codes * step[1:, None, None]
        gain = float((worth * (before**2 - (tables[:, part] * scale) ** 2)).sum())
        streams[f"tables.{index}.{grid.name}"] = data, gain
    sections: dict[str, Section] = {f"steps.{index}": steps}
    for name in streams if index == 0 else _by_gain(streams):
        sections[name] = np.frombuffer(streams[name][0], np.uint8)
    return sections, replace(rest, mean=mean, tables=tables, histories=tuple(histories))


def _by_gain(streams: Mapping[str, tuple[bytes, float]]) -> list[str]:
    """The names in the order in which a byte mends most, a grid's mean before its tables."""
    waiting, order = list(streams), []
    while waiting:
        ready = [n for n in waiting if n.replace("tables", "mean") == n
                 or n.replace("tables", "mean") in order]  # fmt: skip
        best = max(ready, key=lambda n: streams[n][1] / (len(streams[n][0]) + 1))
        order.append(best)
        waiting.remove(best)
    return order


def decoded(config: FieldConfig, layers: int,
            sections: Mapping[str, Section]) -> tuple[Float32, Float32]:  # fmt: skip
    """Mean [E, 4] and tables [Eb, 4, B] of the sections that are there; those of the first layer
    must be. Steps are float32 [grids, 1 + B] and streams uint8 [N]: the caller has checked."""
    mean = np.zeros((config.entries, 4), np.float32)
    tables = np.zeros((config.blended_entries, 4, config.rank), np.float32)

    def fill(row: int, grid: Grid) -> None:
        part, name = grid.part, grid.name
        history = new_history(part.stop - part.start)
        for index in range(layers):
            stream, steps = sections.get(f"mean.{index}.{name}"), sections.get(f"steps.{index}")
            if stream is None or steps is None:
                return
            mean[part] += decode_tables(stream, 1, grid.stride, history)[0] * steps[row, 0]
            if not grid.blended:
                continue
            stream = sections.get(f"tables.{index}.{name}")
            if stream is None:
                return
            codes = decode_tables(stream, config.rank, grid.stride, history)
            for b in range(config.rank if stream.size else 0):
                tables[part, :, b] += codes[b] * steps[row, 1 + b]

    with ThreadPoolExecutor(THREADS) as threads:  # the kernels let go of Python's lock
        jobs = reversed(list(enumerate(grids(config))))
        for done in [threads.submit(fill, row, grid) for row, grid in jobs]:
            done.result()
    return mean, tables


def work(config: FieldConfig, layers: int, sections: Mapping[str, Section]) -> int:
    """Values that `decoded` would look at."""
    total = 0
    for grid in grids(config):
        size = grid.part.stop - grid.part.start
        for index in range(layers):
            for kind, count in (("mean", 1), ("tables", config.rank)):
                stream = sections.get(f"{kind}.{index}.{grid.name}")
                total += 4 * size * count if stream is not None and stream.size else 0
    return total
