"""Torso over background, head over both: two passes over a picture's pixels.

The rule: all colours are multiplied by their opacity, 8 bits, so that each layer goes over the one
below by Porter and Duff's "over" alone. A kernel does the rows it is given and needs no GIL.
Twin: `TorsoLayer.reference` in plain numpy.
"""

from __future__ import annotations

import numpy as np

from nerf.cpu.encode import kernel


@kernel
def torso_over(picture, cover, first, last, texture, nodes, cell, top, margin, side,
               k, x, y):  # type: ignore[no-untyped-def]  # fmt: skip
    """The torso over the rows first … last − 1 of `picture` [H, W, 4]; its opacity goes into
    `cover` [H, W].

    `texture` [h, w, 4] uint8; `nodes` [gh, gw, 5] displacement (portrait widths of `side` pixels)
    and shades (of 255); `cell` pixels from node to node; the texture's first row is the picture's
    `top`, its column `margin` the picture's first. Pixel p shows what lies at k·p + (x, y).
    """
    width = picture.shape[1]
    gh, gw = nodes.shape[0], nodes.shape[1]
    th, tw = texture.shape[0], texture.shape[1]
    half, one = np.float32(0.5), np.float32(1.0)
    line = np.empty((gw, 5), np.float32)
    full = np.float32(255.0)
    for row in range(first, last):
        py = np.float32(k) * (row + half) + np.float32(y) - np.float32(top)
        at = py / np.float32(cell)
        near = np.floor(at + half)
        t = at - near
        w0, w1 = half * (half - t) ** 2, np.float32(0.75) - t * t
        w2 = half * (half + t) ** 2
        i = int(near)
        i0, i1, i2 = min(max(i - 1, 0), gh - 1), min(max(i, 0), gh - 1), min(max(i + 1, 0), gh - 1)
        for j in range(gw):
            for c in range(5):
                line[j, c] = w0 * nodes[i0, j, c] + w1 * nodes[i1, j, c] + w2 * nodes[i2, j, c]
        for column in range(width):
            px = np.float32(k) * (column + half) + np.float32(x)
            at = px / np.float32(cell)
            near = np.floor(at + half)
            t = at - near
            v0, v1 = half * (half - t) ** 2, np.float32(0.75) - t * t
            v2 = half * (half + t) ** 2
            j = int(near)
            j0, j1 = min(max(j - 1, 0), gw - 1), min(max(j, 0), gw - 1)
            j2 = min(max(j + 1, 0), gw - 1)
            dx = v0 * line[j0, 0] + v1 * line[j1, 0] + v2 * line[j2, 0]
            dy = v0 * line[j0, 1] + v1 * line[j1, 1] + v2 * line[j2, 1]
            sx = px + np.float32(margin) - half + dx * np.float32(side)
            sy = py - half + dy * np.float32(side)
            sx = min(max(sx, np.float32(0.0)), np.float32(tw - 1))
            sy = min(max(sy, np.float32(0.0)), np.float32(th - 1))
            x0, y0 = int(sx), int(sy)
            x1, y1 = min(x0 + 1, tw - 1), min(y0 + 1, th - 1)
            fx, fy = sx - x0, sy - y0
            q00, q01 = (one - fx) * (one - fy), fx * (one - fy)
            q10, q11 = (one - fx) * fy, fx * fy
            a = (q00 * texture[y0, x0, 3] + q01 * texture[y0, x1, 3]
                 + q10 * texture[y1, x0, 3] + q11 * texture[y1, x1, 3])  # fmt: skip
            if a < half:
                continue
            share = a / full
            cover[row, column] = np.uint8(a + half)
            for c in range(3):
                shade = v0 * line[j0, 2 + c] + v1 * line[j1, 2 + c] + v2 * line[j2, 2 + c]
                value = (q00 * texture[y0, x0, c] + q01 * texture[y0, x1, c]
                         + q10 * texture[y1, x0, c] + q11 * texture[y1, x1, c])  # fmt: skip
                value = min(max(value + shade * share, np.float32(0.0)), a)
                below = picture[row, column, c]
                picture[row, column, c] = np.uint8(value + (one - share) * below + half)
            below = picture[row, column, 3]
            picture[row, column, 3] = np.uint8(a + (one - share) * below + half)


@kernel
def head_over(picture, cover, rgb, alpha, soft, x0, y0,
              first, last):  # type: ignore[no-untyped-def]  # fmt: skip
    """A head [h, w, 3] (times its opacity `alpha` [h, w]) whose corner lies at (x0, y0) of
    `picture` [H, W, 4], over the picture's rows first … last − 1.

    Where the torso covers what is below, as `cover` [H, W] says, the opacity is no more than
    `soft` [h, w], which fades further inside: the two show the same skin there, and no seam.
    """
    height, width = rgb.shape[0], rgb.shape[1]
    left, right = max(0, -x0), min(width, picture.shape[1] - x0)
    full, half = np.float32(255.0), np.float32(0.5)
    for row in range(max(first, y0), min(last, y0 + height)):
        for column in range(left, right):
            opacity = np.float32(alpha[row - y0, column])
            if opacity == 0:
                continue
            over = cover[row, x0 + column] / full
            a = opacity - over * max(np.float32(0.0), opacity - soft[row - y0, column])
            share, through = a / opacity, np.float32(1.0) - a / full
            for c in range(3):
                below = picture[row, x0 + column, c]
                value = share * rgb[row - y0, column, c] + through * below + half
                picture[row, x0 + column, c] = np.uint8(min(value, full))
            below = picture[row, x0 + column, 3]
            picture[row, x0 + column, 3] = np.uint8(min(a + through * below + half, full))
