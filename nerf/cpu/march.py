"""Occupancy-guided ray marching on the CPU.

The rule: samples lie on the lattice t0 + (k + 0.5)·dt of their ray whatever the occupancy, so a
change of the grid removes samples and moves none. A call emits at most `limit` samples a ray and
leaves each ray where to go on: early termination happens between calls.
Reference: instant-ngp's marcher (Müller et al. 2022, appendix E). Twin: nerf.reference.
"""

from __future__ import annotations

import numpy as np

from nerf.cpu.encode import kernel

COARSE = 4  # voxels per edge of a coarse block


@kernel
def clip_ray(origin, direction):  # type: ignore[no-untyped-def]
    """Where one ray enters and leaves the cube [0, 1]³; exit < entry if it misses."""
    near, far = np.float32(0.0), np.float32(1e9)
    for a in range(3):
        d = direction[a]
        if abs(d) < 1e-9:
            if origin[a] < 0.0 or origin[a] > 1.0:
                far = np.float32(-1.0)
            continue
        t0 = (np.float32(0.0) - origin[a]) / d
        t1 = (np.float32(1.0) - origin[a]) / d
        if t0 > t1:
            t0, t1 = t1, t0
        near = max(near, t0)
        far = min(far, t1)
    return near, far


@kernel
def clip_rays(origin, directions, entry, exit_):  # type: ignore[no-untyped-def]
    """Where rays from `origin` [3] along `directions` [R, 3] enter and leave the cube [0, 1]³.

    Fills `entry`, `exit_` [R]; a ray that misses gets exit < entry.
    """
    for r in range(directions.shape[0]):
        entry[r], exit_[r] = clip_ray(origin, directions[r])


@kernel
def _leave(x, y, z, dx, dy, dz, cells):  # type: ignore[no-untyped-def]
    """Distance along the ray from point (x, y, z) to the border of its cell, at least 0."""
    best = np.float32(1e9)
    for a in range(3):
        p = x if a == 0 else (y if a == 1 else z)
        d = dx if a == 0 else (dy if a == 1 else dz)
        if abs(d) > 1e-9:
            q = p * cells
            border = np.floor(q) + np.float32(1.0) if d > 0 else np.ceil(q) - np.float32(1.0)
            best = min(best, (border - q) / (d * cells))
    return max(best, np.float32(0.0))


@kernel
def walk(origin, direction, t0, end, k, dt, fine, coarse, limit, xyz, t_out, total):  # type: ignore[no-untyped-def]
    """The next samples, at most `limit`, of one ray that goes on from lattice index `k`.

    Written to `xyz` and `t_out` from index `total` on. Returns how many, and the index to go on
    from (-1 when the ray has left the cube).
    """
    g = fine.shape[0]
    gc = coarse.shape[0]
    gf = np.float32(g)
    gcf = np.float32(gc)
    inv_dt = np.float32(1.0) / dt
    ox, oy, oz = origin[0], origin[1], origin[2]
    dx, dy, dz = direction[0], direction[1], direction[2]
    n = 0
    while n < limit:
        t = t0 + (np.float32(k) + np.float32(0.5)) * dt
        if t >= end:
            k = -1
            break
        x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
        cx = min(max(np.int32(x * gcf), 0), gc - 1)
        cy = min(max(np.int32(y * gcf), 0), gc - 1)
        cz = min(max(np.int32(z * gcf), 0), gc - 1)
        if coarse[cx, cy, cz] == 0:
            k += max(np.int32(np.ceil(_leave(x, y, z, dx, dy, dz, gcf) * inv_dt)), 1)
            continue
        vx = min(max(np.int32(x * gf), 0), g - 1)
        vy = min(max(np.int32(y * gf), 0), g - 1)
        vz = min(max(np.int32(z * gf), 0), g - 1)
        if fine[vx, vy, vz] == 0:
            k += max(np.int32(np.ceil(_leave(x, y, z, dx, dy, dz, gf) * inv_dt)), 1)
            continue
        xyz[total, 0] = x
        xyz[total, 1] = y
        xyz[total, 2] = z
        t_out[total] = t
        total += 1
        n += 1
        k += 1
    return n, k


@kernel
def march(origin, directions, alive, start, cursor, exit_, dt, fine, coarse, limit,
          xyz, t_out, first, count):  # type: ignore[no-untyped-def]  # fmt: skip
    """Emit the next samples of the rays `alive` [A] and return how many, all rays together.

    `start` [R] is each ray's t0; `cursor` int32 [R] the lattice index it goes on from (updated; -1
    when the ray has left the cube); `fine` uint8 [G, G, G] and `coarse` [G/4]³ the occupancy.
    Fills `xyz` [S, 3], `t_out` [S], and per entry of `alive` `first` [A] and `count` [A].
    """
    total = 0
    for i in range(alive.shape[0]):
        r = alive[i]
        first[i] = total
        n, k = walk(origin, directions[r], start[r], exit_[r], cursor[r], dt, fine, coarse, limit,
                    xyz, t_out, total)  # fmt: skip
        cursor[r] = k
        count[i] = n
        total += n
    return total


def coarsen(fine: np.ndarray) -> np.ndarray:
    """The coarse level of an occupancy grid [G]³: a block of 4³ voxels is 1 where any voxel is."""
    g = fine.shape[0] // COARSE
    return np.ascontiguousarray(
        fine.reshape(g, COARSE, g, COARSE, g, COARSE).max(axis=(1, 3, 5)).astype(np.uint8)
    )


@kernel
def empty_radius(fine):  # type: ignore[no-untyped-def]
    """Uint8 [G, G, G]: how many voxels away, in the largest of the three directions, the nearest
    occupied voxel of `fine` is; 0 where it is occupied itself, at most 255."""
    g = fine.shape[0]
    out = np.empty((g, g, g), np.uint8)
    for sweep in range(2):  # forwards, then backwards: exact for this distance
        step = 1 if sweep == 0 else -1
        for i in range(g):
            x = i if sweep == 0 else g - 1 - i
            for j in range(g):
                y = j if sweep == 0 else g - 1 - j
                for k in range(g):
                    z = k if sweep == 0 else g - 1 - k
                    best = 255 if fine[x, y, z] == 0 else 0
                    if sweep == 1 and out[x, y, z] < best:
                        best = out[x, y, z]
                    for n in range(13):  # the neighbours that this sweep has passed already
                        a = x - step if n < 9 else x
                        b = y + step * (n // 3 - 1) if n < 9 else (y - step if n < 12 else y)
                        c = z + step * (n % 3 - 1) if n < 12 else z - step
                        inside = 0 <= a < g and 0 <= b < g and 0 <= c < g
                        if inside and out[a, b, c] + 1 < best:
                            best = out[a, b, c] + 1
                    out[x, y, z] = best
    return out
