"""Which pixels get a ray of their own: every second one, and more where the picture changes.

The rule: rays go through every second pixel of every second row first (the lattice). A cell of
four pixels between lattice points is interpolated (Catmull-Rom) where the 4 × 4 lattice points
around it agree within `CONTRAST`, is background where they saw nothing, and else has rays of its
own: edges, eyes, teeth, hair. Nothing is ever blurred that has structure at twice a pixel.
Twin: tests/nerf/test_cpu_lattice.py.
"""

from __future__ import annotations

import numpy as np

from nerf.cpu.encode import kernel
from nerf.cpu.stream import NOTHING, UNTOUCHED

CONTRAST = 20.0 / 255.0  # of colour or opacity over 4 × 4 lattice points, i.e. 7 × 7 pixels
TILE = 8  # lattice points (cells) per edge of a tile
MARGIN = 2.0  # steps before the nearest thing that the lattice around met, where its rays begin


@kernel
def cover_tiles(blocks, size, view, near):  # type: ignore[no-untyped-def]
    """How near something can be, for each tile of the picture: `near` [rows, columns], NOTHING
    where nothing can be.

    `blocks` int32 [B, 3] are the occupied cubes of `size` cube edges; a tile is 2·TILE pixels.
    """
    near[:] = NOTHING
    rows, columns = near.shape
    per_tile = np.float32(1.0 / (2 * TILE))
    inverse, o, axes = view.intrinsics, view.origin, view.basis
    radius = np.float32(0.5) * np.sqrt(np.float32(3.0)) * size
    for n in range(blocks.shape[0]):
        left, right, top, bottom = NOTHING, -NOTHING, NOTHING, -NOTHING
        behind = False
        for corner in range(8):
            x = (blocks[n, 0] + np.float32(corner & 1)) * size - o[0]
            y = (blocks[n, 1] + np.float32((corner >> 1) & 1)) * size - o[1]
            z = (blocks[n, 2] + np.float32(corner >> 2)) * size - o[2]
            ahead = -(axes[0, 2] * x + axes[1, 2] * y + axes[2, 2] * z)
            behind = behind or ahead < size
            across = (axes[0, 0] * x + axes[1, 0] * y + axes[2, 0] * z) / ahead
            down = -(axes[0, 1] * x + axes[1, 1] * y + axes[2, 1] * z) / ahead
            u = (across / inverse[0] + inverse[2]) * per_tile
            v = (down / inverse[1] + inverse[3]) * per_tile
            left, right = min(left, u), max(right, u)
            top, bottom = min(top, v), max(bottom, v)
        x = (blocks[n, 0] + np.float32(0.5)) * size - o[0]
        y = (blocks[n, 1] + np.float32(0.5)) * size - o[1]
        z = (blocks[n, 2] + np.float32(0.5)) * size - o[2]
        distance = np.sqrt(x * x + y * y + z * z) - radius
        if behind:  # so close to the camera that its outline means nothing
            left, right, top, bottom, distance = -NOTHING, NOTHING, -NOTHING, NOTHING, np.float32(0)
        i0, i1 = np.int32(max(left, np.float32(0))), np.int32(min(right, np.float32(columns - 1)))
        j0, j1 = np.int32(max(top, np.float32(0))), np.int32(min(bottom, np.float32(rows - 1)))
        if right < 0 or bottom < 0:
            continue
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                near[j, i] = min(near[j, i], distance)


@kernel
def lattice_pixels(lattice, near, band, bands, rays):  # type: ignore[no-untyped-def]
    """The lattice points of the tiles band, band + bands, …, tile by tile, where something can be.

    Fills `rays.pixels` and `rays.near`; returns how many. Points in empty tiles of `near` are
    finished. Neighbours follow each other, so that they find what the last ray looked up.
    """
    n = 0
    rows, columns = lattice.shape[0], lattice.shape[1]
    down, across = near.shape
    for tile in range(band, down * across, bands):
        top, left = tile // across * TILE, tile % across * TILE
        nearest = near[tile // across, tile % across]
        for j in range(top, min(top + TILE, rows)):
            for i in range(left, min(left + TILE, columns)):
                if nearest == NOTHING:
                    point = lattice[j, i]
                    point[:] = 0.0
                    point[0], point[5] = 1.0, NOTHING
                else:
                    rays.pixels[n, 0], rays.pixels[n, 1] = 2 * i, 2 * j
                    rays.near[n] = nearest
                    n += 1
    return n


@kernel
def keep_lattice(rays, count, lattice):  # type: ignore[no-untyped-def]
    """Write what finished rays met into `lattice` [rows, columns, 6]."""
    for r in range(count):
        point, light = lattice[rays.pixels[r, 1] // 2, rays.pixels[r, 0] // 2], rays.light[r]
        for c in range(6):
            point[c] = light[c]


@kernel
def _between(a, b, c, d):  # type: ignore[no-untyped-def]
    """Catmull-Rom half way between b and c."""
    return np.float32(0.5625) * (b + c) - np.float32(0.0625) * (a + d)


@kernel
def _put(x, y, trans, c0, c1, c2, depth, background, edge, rgb, alpha, metres):  # type: ignore[no-untyped-def]
    """One finished pixel, over the background; outside the picture: nothing."""
    if x >= rgb.shape[1] or y >= rgb.shape[0]:
        return
    top, half = np.float32(255.0), np.float32(0.5)
    trans = min(max(trans, np.float32(0.0)), np.float32(1.0))
    rgb[y, x, 0] = np.uint8(
        min(max((c0 + trans * background[0]) * top + half, np.float32(0.0)), top)
    )
    rgb[y, x, 1] = np.uint8(
        min(max((c1 + trans * background[1]) * top + half, np.float32(0.0)), top)
    )
    rgb[y, x, 2] = np.uint8(
        min(max((c2 + trans * background[2]) * top + half, np.float32(0.0)), top)
    )
    opacity = np.float32(1.0) - trans
    alpha[y, x] = np.uint8(opacity * top + half)
    metres[y, x] = depth / opacity * edge if opacity > half else np.float32(0.0)


@kernel
def put_rays(rays, count, background, edge, rgb, alpha, metres):  # type: ignore[no-untyped-def]
    """Finished rays into the picture: `rgb` [H, W, 3], `alpha` [H, W] uint8, `metres` [H, W]."""
    for r in range(count):
        p = rays.light[r]
        _put(rays.pixels[r, 0], rays.pixels[r, 1], p[0], p[1], p[2], p[3], p[4], background, edge,
             rgb, alpha, metres)  # fmt: skip


@kernel
def _spread(lattice, i, j, contrast):  # type: ignore[no-untyped-def]
    """By how much the 4 × 4 lattice points around a cell differ, in the channel in which they
    differ most; -1 where all of them are clear. Not more exact than to tell if above `contrast`."""
    top, bottom = max(j - 1, 0), min(j + 3, lattice.shape[0])
    left, right = max(i - 1, 0), min(i + 3, lattice.shape[1])
    clear = True
    for b in range(top, bottom):
        for a in range(left, right):
            clear = clear and lattice[b, a, 0] > UNTOUCHED
    if clear:
        return np.float32(-1.0)
    spread = np.float32(0.0)
    for c in range(4):
        low, high = lattice[j, i, c], lattice[j, i, c]
        for b in range(top, bottom):
            for a in range(left, right):
                low, high = min(low, lattice[b, a, c]), max(high, lattice[b, a, c])
        spread = max(spread, high - low)
        if spread > contrast:
            break
    return spread


@kernel
def _interpolate(lattice, i, j, across, mid):  # type: ignore[no-untyped-def]
    """The three points of a cell between lattice points into `mid` [3, 5]: right, below, both."""
    last_i, last_j = lattice.shape[1] - 1, lattice.shape[0] - 1
    i0, i2, i3 = max(i - 1, 0), min(i + 1, last_i), min(i + 2, last_i)
    j0, j2, j3 = max(j - 1, 0), min(j + 1, last_j), min(j + 2, last_j)
    for c in range(5):
        for k in range(4):
            b = j0 if k == 0 else (j if k == 1 else (j2 if k == 2 else j3))
            across[k] = _between(lattice[b, i0, c], lattice[b, i, c], lattice[b, i2, c],
                                 lattice[b, i3, c])  # fmt: skip
        mid[0, c] = across[1]
        mid[1, c] = _between(lattice[j0, i, c], lattice[j, i, c], lattice[j2, i, c],
                             lattice[j3, i, c])  # fmt: skip
        mid[2, c] = _between(across[0], across[1], across[2], across[3])


@kernel
def _nearest(lattice, i, j):  # type: ignore[no-untyped-def]
    """The least distance at which the 4 × 4 lattice points around a cell met something."""
    best = NOTHING
    for b in range(max(j - 1, 0), min(j + 3, lattice.shape[0])):
        for a in range(max(i - 1, 0), min(i + 3, lattice.shape[1])):
            best = min(best, lattice[b, a, 5])
    return best


@kernel
def settle_cells(lattice, band, bands, contrast, margin, background, edge, rgb, alpha, metres,
                 rays):  # type: ignore[no-untyped-def]  # fmt: skip
    """Finish the cells of the tiles band, band + bands, … as far as the lattice tells.

    Writes every pixel that is background, a lattice point or interpolated; lists the others in
    `rays`, tile by tile, to begin `margin` before what was met around, and returns how many.
    """
    h, w = alpha.shape
    columns, rows = (w + 1) // 2, (h + 1) // 2
    wide, high = (columns + TILE - 1) // TILE, (rows + TILE - 1) // TILE
    n = 0
    one, zero = np.float32(1.0), np.float32(0.0)
    mid, across = np.empty((3, 5), np.float32), np.empty(4, np.float32)
    for tile in range(band, wide * high, bands):
        top, left = tile // wide * TILE, tile % wide * TILE
        for j in range(top, min(top + TILE, rows)):
            for i in range(left, min(left + TILE, columns)):
                spread = _spread(lattice, i, j, contrast)
                if spread < zero:
                    for k in range(4):
                        _put(2 * i + (k & 1), 2 * j + (k >> 1), one, zero, zero, zero, zero,
                             background, edge, rgb, alpha, metres)  # fmt: skip
                    continue
                p = lattice[j, i]
                _put(2 * i, 2 * j, p[0], p[1], p[2], p[3], p[4], background, edge, rgb, alpha,
                     metres)  # fmt: skip
                if spread <= contrast:
                    _interpolate(lattice, i, j, across, mid)
                    for k in range(1, 4):
                        q = mid[k - 1]
                        _put(2 * i + (k & 1), 2 * j + (k >> 1), q[0], q[1], q[2], q[3], q[4],
                             background, edge, rgb, alpha, metres)  # fmt: skip
                    continue
                near = _nearest(lattice, i, j) - margin
                for k in range(1, 4):
                    x, y = 2 * i + (k & 1), 2 * j + (k >> 1)
                    if x < w and y < h:
                        rays.pixels[n, 0], rays.pixels[n, 1], rays.near[n] = x, y, near
                        n += 1
    return n
