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
TILE = 8  # lattice points per edge of a tile, whose rays follow each other
COVER = 4  # lattice points per edge of a cell for which near and far are known
MARGIN = 2.0  # steps before the nearest thing that the lattice around met, where its rays begin


@kernel
def cover(blocks, size, view, cells):  # type: ignore[no-untyped-def]
    """Between which distances something can be, for each cell of COVER × COVER lattice points.

    `blocks` int32 [B, 3] are the occupied cubes of `size` cube edges. Fills `cells` [rows,
    columns, 2] with (near, far); (NOTHING, 0) where nothing can be.
    """
    cells[:, :, 0], cells[:, :, 1] = NOTHING, 0.0
    rows, columns = cells.shape[0], cells.shape[1]
    lens, o, axes = view.intrinsics, view.origin, view.basis
    per_cell = np.float32(1.0 / (2 * COVER))
    zero, half = np.float32(0.0), np.float32(0.5)
    fx, fy = per_cell / lens[0], per_cell / lens[1]
    cx, cy = lens[2] * per_cell, lens[3] * per_cell
    r = half * np.sqrt(np.float32(3.0)) * size  # of the ball around a block
    for n in range(blocks.shape[0]):
        x = (np.float32(blocks[n, 0]) + half) * size - o[0]
        y = (np.float32(blocks[n, 1]) + half) * size - o[1]
        z = (np.float32(blocks[n, 2]) + half) * size - o[2]
        u = axes[0, 0] * x + axes[1, 0] * y + axes[2, 0] * z
        v = -(axes[0, 1] * x + axes[1, 1] * y + axes[2, 1] * z)
        ahead = -(axes[0, 2] * x + axes[1, 2] * y + axes[2, 2] * z)
        if ahead + r < zero:
            continue
        distance = np.sqrt(x * x + y * y + z * z)
        i0, j0 = np.int64(0), np.int64(0)
        i1, j1 = columns - 1, rows - 1
        if ahead - r > r:  # else so close to the camera that it may be anywhere
            front, back = ahead - r, ahead + r
            left = cx + fx * (u - r) / (front if u < r else back)
            right = cx + fx * (u + r) / (front if u > -r else back)
            top = cy + fy * (v - r) / (front if v < r else back)
            bottom = cy + fy * (v + r) / (front if v > -r else back)
            if right < zero or bottom < zero or left > columns or top > rows:
                continue
            i0, j0 = np.int64(max(left, zero)), np.int64(max(top, zero))
            i1, j1 = min(np.int64(right), i1), min(np.int64(bottom), j1)
        for j in range(j0, j1 + 1):
            for i in range(i0, i1 + 1):
                cells[j, i, 0] = min(cells[j, i, 0], distance - r)
                cells[j, i, 1] = max(cells[j, i, 1], distance + r)


@kernel
def lattice_pixels(lattice, cells, band, bands, rays):  # type: ignore[no-untyped-def]
    """The lattice points of the tiles band, band + bands, …, tile by tile, where something can be.

    Fills `rays.pixels`, `rays.near` and `rays.far`; returns how many. Points in empty cells of
    `cover` are finished. Neighbours follow each other, so that they find what the last ray looked
    up.
    """
    n = 0
    pixels, nears, fars = rays.pixels, rays.near, rays.far
    rows, columns = lattice.shape[0], lattice.shape[1]
    down, across = (rows + TILE - 1) // TILE, (columns + TILE - 1) // TILE
    for tile in range(band, down * across, bands):
        top, left = tile // across * TILE, tile % across * TILE
        for j in range(top, min(top + TILE, rows)):
            for i in range(left, min(left + TILE, columns)):
                near, far = cells[j // COVER, i // COVER, 0], cells[j // COVER, i // COVER, 1]
                if far == 0.0:
                    for c in range(1, 5):
                        lattice[j, i, c] = 0.0
                    lattice[j, i, 0], lattice[j, i, 5] = 1.0, NOTHING
                else:
                    pixels[n, 0], pixels[n, 1] = 2 * i, 2 * j
                    nears[n], fars[n] = near, far
                    n += 1
    return n


@kernel
def keep_lattice(rays, count, lattice):  # type: ignore[no-untyped-def]
    """Write what finished rays met into `lattice` [rows, columns, 6]."""
    pixels, light = rays.pixels, rays.light
    for r in range(count):
        for c in range(6):
            lattice[pixels[r, 1] // 2, pixels[r, 0] // 2, c] = light[r, c]


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
    pixels, light = rays.pixels, rays.light
    for r in range(count):
        _put(pixels[r, 0], pixels[r, 1], light[r, 0], light[r, 1], light[r, 2], light[r, 3],
             light[r, 4], background, edge, rgb, alpha, metres)  # fmt: skip


@kernel
def spreads(lattice, top, left, extremes, out):  # type: ignore[no-untyped-def]
    """By how much the 4 × 4 lattice points around each cell of a tile differ, in the channel in
    which they differ most, into `out` [TILE, TILE]; -1 where all of them are clear. At a border
    the 4 × 4 points next to it count.

    Rows first, then columns: `extremes` [TILE + 3, TILE, 8] is room for the least and the greatest
    values of four neighbours in a row.
    """
    rows, columns = lattice.shape[0], lattice.shape[1]
    down, across = min(TILE, rows - top), min(TILE, columns - left)
    first = min(max(top - 1, 0), rows - 4)
    for y in range(first, min(max(top + down - 2, 0), rows - 4) + 4):
        for i in range(across):
            x = min(max(left + i - 1, 0), columns - 4)
            for c in range(4):
                v0, v1 = lattice[y, x, c], lattice[y, x + 1, c]
                v2, v3 = lattice[y, x + 2, c], lattice[y, x + 3, c]
                extremes[y - first, i, c] = min(min(v0, v1), min(v2, v3))
                extremes[y - first, i, 4 + c] = max(max(v0, v1), max(v2, v3))
    for j in range(down):
        y = min(max(top + j - 1, 0), rows - 4) - first
        for i in range(across):
            clear, most = np.float32(1.0), np.float32(0.0)
            for c in range(4):
                low = min(min(extremes[y, i, c], extremes[y + 1, i, c]),
                          min(extremes[y + 2, i, c], extremes[y + 3, i, c]))  # fmt: skip
                high = max(max(extremes[y, i, 4 + c], extremes[y + 1, i, 4 + c]),
                           max(extremes[y + 2, i, 4 + c], extremes[y + 3, i, 4 + c]))  # fmt: skip
                most = max(most, high - low)
                if c == 0:
                    clear = low
            out[j, i] = np.float32(-1.0) if clear > UNTOUCHED else most


@kernel
def _empty(cells, top, left):  # type: ignore[no-untyped-def]
    """Whether nothing can be in a tile, nor next to it."""
    for b in range(max(top - 1, 0) // COVER, min((top + TILE + 1) // COVER + 1, cells.shape[0])):
        for a in range(
            max(left - 1, 0) // COVER, min((left + TILE + 1) // COVER + 1, cells.shape[1])
        ):
            if cells[b, a, 1] > 0.0:
                return False
    return True


@kernel
def _clear_tile(top, left, background, rgb, alpha, metres):  # type: ignore[no-untyped-def]
    """Background in every pixel of a tile."""
    half, most = np.float32(0.5), np.float32(255.0)
    c0, c1, c2 = (
        background[0] * most + half,
        background[1] * most + half,
        background[2] * most + half,
    )
    for y in range(2 * top, min(2 * (top + TILE), alpha.shape[0])):
        for x in range(2 * left, min(2 * (left + TILE), alpha.shape[1])):
            rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2] = np.uint8(c0), np.uint8(c1), np.uint8(c2)
            alpha[y, x] = 0
            metres[y, x] = 0.0


@kernel
def _interpolate(lattice, i, j, across, mid):  # type: ignore[no-untyped-def]
    """The three points of a cell between lattice points into `mid` [3, 6]: right, below, both.

    `across` [4, 6] is room for the points to the right of four lattice rows.
    """
    last_i, last_j = lattice.shape[1] - 1, lattice.shape[0] - 1
    i0, i2, i3 = max(i - 1, 0), min(i + 1, last_i), min(i + 2, last_i)
    j0, j2, j3 = max(j - 1, 0), min(j + 1, last_j), min(j + 2, last_j)
    for k in range(4):
        b = j0 if k == 0 else (j if k == 1 else (j2 if k == 2 else j3))
        for c in range(6):
            across[k, c] = _between(lattice[b, i0, c], lattice[b, i, c], lattice[b, i2, c],
                                    lattice[b, i3, c])  # fmt: skip
    for c in range(6):
        mid[0, c] = across[1, c]
        mid[1, c] = _between(lattice[j0, i, c], lattice[j, i, c], lattice[j2, i, c],
                             lattice[j3, i, c])  # fmt: skip
        mid[2, c] = _between(across[0, c], across[1, c], across[2, c], across[3, c])


@kernel
def _nearest(lattice, i, j):  # type: ignore[no-untyped-def]
    """The least distance at which the 4 × 4 lattice points around a cell met something."""
    best = NOTHING
    for b in range(max(j - 1, 0), min(j + 3, lattice.shape[0])):
        for a in range(max(i - 1, 0), min(i + 3, lattice.shape[1])):
            best = min(best, lattice[b, a, 5])
    return best


@kernel
def _farthest(cells, i, j):  # type: ignore[no-untyped-def]
    """The greatest distance at which rays through the cell right of and below a lattice point can
    meet something."""
    j1, i1 = min((j + 1) // COVER, cells.shape[0] - 1), min((i + 1) // COVER, cells.shape[1] - 1)
    j0, i0 = j // COVER, i // COVER
    return max(max(cells[j0, i0, 1], cells[j0, i1, 1]), max(cells[j1, i0, 1], cells[j1, i1, 1]))


@kernel
def settle_cells(lattice, cells, band, bands, contrast, margin, background, edge, rgb, alpha,
                 metres, rays):  # type: ignore[no-untyped-def]  # fmt: skip
    """Finish the cells of the tiles band, band + bands, … as far as the lattice tells.

    Writes every pixel that is background, a lattice point or interpolated; lists the others in
    `rays`, tile by tile, to begin `margin` before what was met around, and returns how many.
    """
    h, w = alpha.shape
    columns, rows = (w + 1) // 2, (h + 1) // 2
    wide, high = (columns + TILE - 1) // TILE, (rows + TILE - 1) // TILE
    n = 0
    pixels, nears, fars = rays.pixels, rays.near, rays.far
    one, zero = np.float32(1.0), np.float32(0.0)
    mid, across = np.empty((3, 6), np.float32), np.empty((4, 6), np.float32)
    extremes = np.empty((TILE + 3, TILE, 8), np.float32)
    apart = np.empty((TILE, TILE), np.float32)
    for tile in range(band, wide * high, bands):
        top, left = tile // wide * TILE, tile % wide * TILE
        if _empty(cells, top, left):
            _clear_tile(top, left, background, rgb, alpha, metres)
            continue
        spreads(lattice, top, left, extremes, apart)
        for j in range(top, min(top + TILE, rows)):
            for i in range(left, min(left + TILE, columns)):
                spread = apart[j - top, i - left]
                if spread < zero:
                    for k in range(4):
                        _put(2 * i + (k & 1), 2 * j + (k >> 1), one, zero, zero, zero, zero,
                             background, edge, rgb, alpha, metres)  # fmt: skip
                    continue
                _put(2 * i, 2 * j, lattice[j, i, 0], lattice[j, i, 1], lattice[j, i, 2],
                     lattice[j, i, 3], lattice[j, i, 4], background, edge, rgb, alpha,
                     metres)  # fmt: skip
                if spread <= contrast:
                    _interpolate(lattice, i, j, across, mid)
                    for k in range(1, 4):
                        _put(2 * i + (k & 1), 2 * j + (k >> 1), mid[k - 1, 0], mid[k - 1, 1],
                             mid[k - 1, 2], mid[k - 1, 3], mid[k - 1, 4], background, edge, rgb,
                             alpha, metres)  # fmt: skip
                    continue
                near, far = _nearest(lattice, i, j) - margin, _farthest(cells, i, j)
                for k in range(1, 4):
                    x, y = 2 * i + (k & 1), 2 * j + (k >> 1)
                    if x < w and y < h:
                        pixels[n, 0], pixels[n, 1] = x, y
                        nears[n], fars[n] = near, far
                        n += 1
    return n
