"""Rays as a stream: chunks of samples, whichever rays they belong to, through all stages.

The rule: a queue of rays is walked front to back; each ray gives a few samples to the chunk, and
after shading it is finished or goes to the end of the queue, so nothing is shaded behind the skin
and a chunk never leaves the core's cache. One call follows all rays of a band, without Python.
What transmittance is left at the cutoff takes the colour seen so far, not the background's.
Reference: instant-ngp's marcher (Müller et al. 2022, appendix E). Twin: nerf.reference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nerf.cpu.encode import kernel
from nerf.cpu.lookup import displace, look_up
from nerf.cpu.march import clip_ray
from nerf.cpu.shade import shade
from nerf.cpu.vectors import ROWS, float_of_bits
from nerf.field import DENSITY_LIMIT, DENSITY_SHIFT

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

CHUNK = 256  # samples: their features take 32 kB, the first cache
VISIT = 2  # samples that a ray gives to a chunk before the next ray's turn
RAREST = np.float32(np.exp(-DENSITY_LIMIT - DENSITY_SHIFT))  # e^-raw at the largest density
NOTHING = np.float32(1e9)  # distance at which a ray that saw nothing met something
UNTOUCHED = np.float32(0.998)  # transmittance above which a ray has met nothing
THIN = np.float32(np.exp(-DENSITY_SHIFT))


class Field(NamedTuple):
    """One expression's field as the kernels read it."""

    table: Float32
    """[E, 4], blended, aligned to 16 bytes."""
    warp: int
    """Cells per edge of the warp's grid; 0: none."""
    offsets: NDArray[np.int64]
    """[L + 1]"""
    resolutions: NDArray[np.int64]
    """[L]"""
    radius: NDArray[np.uint8]
    """[G, G, G], as `nerf.cpu.march.empty_radius`."""
    weights: Float32
    """As `nerf.cpu.shade.Matrices`, and so on."""
    shapes: NDArray[np.int64]
    density_layer: int
    to_density: Float32
    to_color: Float32


class View(NamedTuple):
    """What all rays of a picture share."""

    intrinsics: Float32
    """1/fx, 1/fy, cx, cy."""
    origin: Float32
    """[3], cube coordinates."""
    basis: Float32
    """[3, 3], the camera's axes as columns, cube coordinates."""
    step: np.float32
    """Between samples, cube edges."""
    cutoff: np.float32
    """Transmittance at which a ray ends."""


class Rays(NamedTuple):
    """A band's rays, before and after."""

    pixels: Int32
    """[R, 2] (x, y)"""
    near: Float32
    """[R], distance before which nothing is worth a look."""
    far: Float32
    """[R], distance behind which there is nothing."""
    directions: Float32
    """[R, 3], unit."""
    start: Float32
    """[R], distance at which the lattice of samples begins."""
    exit: Float32
    """[R], distance at which the ray leaves the cube."""
    cursor: Int32
    """[R], lattice index to go on from, -1 at the end."""
    light: Float32
    """[R, 6]: transmittance, red, green, blue, sum of w·t, and where the first thing was met."""
    queue: Int32
    """[R]"""
    first: Int32
    """[R], a ray's first sample in the chunk."""
    taken: Int32
    """[R], its samples in the chunk."""


class Chunk(NamedTuple):
    """Room for the samples under way."""

    xyz: Float32
    """[CHUNK, 3]"""
    t: Float32
    """[CHUNK]"""
    features: Float32
    """[CHUNK, L·4]"""
    hidden: Float32
    """[2, ROWS, width]"""
    answers: Float32
    """[CHUNK, 4], as `nerf.cpu.shade.shade`."""


def new_rays(count: int) -> Rays:
    """Room for `count` rays."""
    lengths, numbers = np.empty((4, count), np.float32), np.empty((4, count), np.int32)
    return Rays(
        pixels=np.empty((count, 2), np.int32), near=lengths[0], far=lengths[3],
        directions=np.empty((count, 3), np.float32), start=lengths[1], exit=lengths[2],
        cursor=numbers[0], light=np.empty((count, 6), np.float32), queue=numbers[1],
        first=numbers[2], taken=numbers[3],
    )  # fmt: skip


def new_chunk(levels: int, width: int) -> Chunk:
    """Room for a chunk of a field with `levels` levels and layers up to `width` wide."""
    return Chunk(
        np.empty((CHUNK, 3), np.float32), np.empty(CHUNK, np.float32),
        np.zeros((CHUNK, 4 * levels), np.float32), np.zeros((2, ROWS, width), np.float32),
        np.empty((CHUNK, 4), np.float32),
    )  # fmt: skip


@kernel
def start_rays(rays, count, view):  # type: ignore[no-untyped-def]
    """Set up a ray for each of the first `count` pixels; returns how many enter the cube, which
    are then the queue."""
    kept = 0
    half = np.float32(0.5)
    b, at, origin, step = view.basis, view.intrinsics, view.origin, view.step
    pixels, directions, light, queue = rays.pixels, rays.directions, rays.light, rays.queue
    near, far, start, end, cursor = rays.near, rays.far, rays.start, rays.exit, rays.cursor
    for r in range(count):
        u = (np.float32(pixels[r, 0]) + half - at[2]) * at[0]
        v = (at[3] - np.float32(pixels[r, 1]) - half) * at[1]
        dx = b[0, 0] * u + b[0, 1] * v - b[0, 2]
        dy = b[1, 0] * u + b[1, 1] * v - b[1, 2]
        dz = b[2, 0] * u + b[2, 1] * v - b[2, 2]
        scale = np.float32(1.0) / np.sqrt(dx * dx + dy * dy + dz * dz)
        directions[r, 0], directions[r, 1], directions[r, 2] = dx * scale, dy * scale, dz * scale
        entry, leave = clip_ray(origin, directions[r])
        start[r], end[r] = entry, min(leave, far[r])
        cursor[r] = max(np.int32((near[r] - entry) / step), np.int32(0))
        light[r, 0], light[r, 1], light[r, 2] = 1.0, 0.0, 0.0
        light[r, 3], light[r, 4], light[r, 5] = 0.0, 0.0, NOTHING
        if leave > max(entry, near[r]):
            queue[kept] = r
            kept += 1
    return kept


@kernel
def fill(rays, lo, hi, view, radius, chunk):  # type: ignore[no-untyped-def]
    """Samples of the rays queue[lo:hi], at most VISIT each, as many rays as surely fit the chunk.

    They are the lattice points t0 + (k + 0.5)·step in occupied voxels, as `nerf.cpu.march.march`
    finds them. VISIT points are looked at together and each is written, but only an occupied one
    is kept: no branch to guess wrong. Returns the number of samples and the index of the first ray
    not taken.
    """
    g = radius.shape[0]
    cells, last = np.float32(g), np.int32(g - 1)
    scale = np.float32(1.0) / cells
    voxels = radius.reshape(g * g * g)
    half, zero, one = np.float32(0.5), np.int32(0), np.float32(1.0)
    ox, oy, oz = view.origin[0] * cells, view.origin[1] * cells, view.origin[2] * cells
    step = view.step
    queue, directions, cursor = rays.queue, rays.directions, rays.cursor
    starts, exits, first, taken = rays.start, rays.exit, rays.first, rays.taken
    xyz, distance = chunk.xyz, chunk.t
    total = np.int64(0)
    room = distance.shape[0] - VISIT
    while lo < hi and total <= room:
        r = queue[lo]
        dx, dy, dz = directions[r, 0] * cells, directions[r, 1] * cells, directions[r, 2] * cells
        per_voxel = one / (max(abs(dx), abs(dy), abs(dz)) * step)
        start, end, k = starts[r], exits[r], cursor[r]
        begin = total
        while total == begin:
            t = start + (np.float32(k) + half) * step
            if t >= end:
                break
            empty = np.uint8(0)
            for _ in range(VISIT):
                x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
                vx = min(max(np.int32(x), zero), last)
                vy = min(max(np.int32(y), zero), last)
                vz = min(max(np.int32(z), zero), last)
                empty = voxels[np.uint32((vx * g + vy) * g + vz)]
                xyz[total, 0], xyz[total, 1], xyz[total, 2] = x * scale, y * scale, z * scale
                distance[total] = t
                total += np.int64(empty == 0) & np.int64(t < end)
                t += step
            k += np.int32(VISIT)
            k += max(np.int32((np.float32(empty) - one) * per_voxel) - np.int32(1), zero)
        cursor[r] = k if t < end else np.int32(-1)
        first[lo], taken[lo] = begin, total - begin
        lo += 1
    return total, lo


@kernel
def exponential(x):  # type: ignore[no-untyped-def]
    """e^x in float32 to 3e-7, for x held within ±80: a loop over it becomes vector code."""
    x = min(max(x, np.float32(-80.0)), np.float32(80.0))
    n = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    x = x - n * np.float32(0.693359375) + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * x + np.float32(1.3981999507e-3)
    p = p * x + np.float32(8.3334519073e-3)
    p = p * x + np.float32(4.1665795894e-2)
    p = p * x + np.float32(1.6666665459e-1)
    p = p * x + np.float32(5.0000001201e-1)
    p = p * x * x + x + np.float32(1.0)
    return p * float_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))


@kernel
def activate(answers, count, step):  # type: ignore[no-untyped-def]
    """Turn what `shade` gives into opacities over a step and colours, in place."""
    one = np.float32(1.0)
    flat = answers.reshape(answers.shape[0] * 4)
    for i in range(4 * count):
        flat[i] = exponential(-flat[i])
    for i in range(count):
        answers[i, 0] = one - exponential(-step * THIN / max(answers[i, 0], RAREST))
        answers[i, 1] = one / (one + answers[i, 1])
        answers[i, 2] = one / (one + answers[i, 2])
        answers[i, 3] = one / (one + answers[i, 3])


@kernel
def absorb(rays, lo, hi, kept, view, chunk):  # type: ignore[no-untyped-def]
    """Composite the chunk's samples of the rays queue[lo:hi].

    Rays that go on are written to the queue from `kept` on; returns `kept` moved on.
    """
    one = np.float32(1.0)
    cutoff = view.cutoff
    queue, first, taken, cursor = rays.queue, rays.first, rays.taken, rays.cursor
    light, answers, t = rays.light, chunk.answers, chunk.t
    for i in range(lo, hi):
        r = queue[i]
        left, c0, c1, c2 = light[r, 0], light[r, 1], light[r, 2], light[r, 3]
        d, met = light[r, 4], light[r, 5]
        for s in range(first[i], first[i] + taken[i]):
            w = left * answers[s, 0]
            left -= w
            if left < UNTOUCHED:
                met = min(met, t[s])
            c0 += w * answers[s, 1]
            c1 += w * answers[s, 2]
            c2 += w * answers[s, 3]
            d += w * t[s]
            if left < cutoff:
                break
        if left < cutoff:
            share = one / (one - left)
            c0, c1, c2, d = c0 * share, c1 * share, c2 * share, d * share
            left = np.float32(0.0)
        elif cursor[r] >= 0:
            queue[kept] = r
            kept += 1
        light[r, 0], light[r, 1], light[r, 2], light[r, 3] = left, c0, c1, c2
        light[r, 4], light[r, 5] = d, met
    return kept


@kernel
def trace(rays, count, view, field, chunk):  # type: ignore[no-untyped-def]
    """Follow the rays of the first `count` pixels to their ends, into `rays.light`; returns how
    many samples that took."""
    samples = 0
    waiting = start_rays(rays, count, view)
    while waiting > 0:
        lo, kept = 0, 0
        while lo < waiting:
            total, hi = fill(rays, lo, waiting, view, field.radius, chunk)
            displace(field.table, field.warp, chunk.xyz, total, chunk.answers)
            look_up(field.table, field.offsets, field.resolutions, chunk.xyz, total,
                    chunk.features)  # fmt: skip
            shade(chunk.features, total, field.weights, field.shapes, field.density_layer,
                  field.to_density, field.to_color, chunk.hidden, chunk.answers)  # fmt: skip
            activate(chunk.answers, total, view.step)
            kept = absorb(rays, lo, hi, kept, view, chunk)
            samples += total
            lo = hi
        waiting = kept
    return samples
