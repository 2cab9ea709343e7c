"""Light and material of every pixel: skin, eyes, teeth, hair, cloth, and what is behind.

The rule: one kernel turns the rasteriser's samples into colour, classes, matte and depth. A pixel
whose four samples are one material is lit once at its centre, any other pixel sample by sample.
Lighting happens in the camera frame, in linear RGB.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EYE_UNIFORMS = 16
# lights, rows of `lights` [8, 3]: key direction, key colour, fill direction, fill colour,
# ambient from above, ambient from below, up, rim colour


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _tap(texture, u, v, wrap, out):  # type: ignore[no-untyped-def]
    """Bilinear sample of `texture` [h, w, c] at (u, v) into `out`; `wrap` repeats, else clamps."""
    h, w, channels = texture.shape
    x, y = u * w - 0.5, v * h - 0.5
    fx, fy = np.floor(x), np.floor(y)
    tx, ty = x - fx, y - fy
    x0, y0 = int(fx), int(fy)
    x1, y1 = x0 + 1, y0 + 1
    if wrap:
        x0, x1, y0, y1 = x0 % w, x1 % w, y0 % h, y1 % h
    else:
        x0, x1 = min(max(x0, 0), w - 1), min(max(x1, 0), w - 1)
        y0, y1 = min(max(y0, 0), h - 1), min(max(y1, 0), h - 1)
    for c in range(channels):
        top = texture[y0, x0, c] * (1 - tx) + texture[y0, x1, c] * tx
        low = texture[y1, x0, c] * (1 - tx) + texture[y1, x1, c] * tx
        out[c] = top * (1 - ty) + low * ty


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _eye_colour(d, uniforms, iris, out):  # type: ignore[no-untyped-def]
    """Albedo of an eyeball in direction `d` from its centre, and how glossy it is (out[3])."""
    u = d[0] * uniforms[0] + d[1] * uniforms[1] + d[2] * uniforms[2]
    v = d[0] * uniforms[3] + d[1] * uniforms[4] + d[2] * uniforms[5]
    w = d[0] * uniforms[6] + d[1] * uniforms[7] + d[2] * uniforms[8]
    r = np.sqrt(u * u + v * v) if w > 0 else 1.0
    white = 0.60 - 0.16 * abs(d[0])
    out[0], out[1], out[2] = white * 1.0, white * 0.93, white * 0.89
    rim = 0.495
    if r < rim + 0.04:
        q = r / rim
        spoke = 0.5 + 0.5 * np.sin(np.arctan2(v, u) * 37.0 + 6.0 * np.sin(q * 9.0))
        tone = (0.72 + 0.55 * spoke * q) * (1.25 - 0.35 * q) + 0.5 * max(0.0, -v / rim) * 0.5
        ring = 1.0 - 0.80 * min(max((q - 0.80) / 0.20, 0.0), 1.0)
        pupil = min(max((r - 0.165) / 0.030, 0.0), 1.0)
        edge = min(max((r - rim + 0.035) / 0.06, 0.0), 1.0)
        for c in range(3):
            inner = iris[c] * tone * ring * pupil + 0.003
            out[c] = inner * (1 - edge) + out[c] * edge
    # the upper lid and its lashes shade the ball
    across = d[0] * 0.90
    span = max(1.0 - across * across, 0.0) ** 0.62
    height = np.arctan2(d[1], d[2])
    gap = uniforms[9] * span + uniforms[11] - height
    shade = min(max(gap / 0.30, 0.0), 1.0)
    shade = 0.38 + 0.62 * shade
    low = height - (uniforms[11] - uniforms[10] * span)
    shade *= 0.75 + 0.25 * min(max(low / 0.12, 0.0), 1.0)
    for c in range(3):
        out[c] *= shade
    out[3] = shade


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _light(material, n, view, albedo, gloss, lights, shadow, out):  # type: ignore[no-untyped-def]
    """Linear RGB of a surface with unit normal `n` seen along unit `view` (towards the eye)."""
    kl = n[0] * lights[0, 0] + n[1] * lights[0, 1] + n[2] * lights[0, 2]
    fl = n[0] * lights[2, 0] + n[1] * lights[2, 1] + n[2] * lights[2, 2]
    up = 0.5 + 0.5 * (n[0] * lights[6, 0] + n[1] * lights[6, 1] + n[2] * lights[6, 2])
    nv = n[0] * view[0] + n[1] * view[1] + n[2] * view[2]
    hx, hy, hz = lights[0, 0] + view[0], lights[0, 1] + view[1], lights[0, 2] + view[2]
    hn = 1.0 / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-9)
    nh = max(0.0, (n[0] * hx + n[1] * hy + n[2] * hz) * hn)
    fresnel = (1.0 - max(nv, 0.0)) ** 4
    spec, rim = 0.0, 0.0
    soft_r, soft_g, soft_b = 0.15, 0.15, 0.15
    if material == 0:
        soft_r, soft_g, soft_b = 0.46, 0.30, 0.26
        spec = gloss * (0.085 * nh**14 + 0.075 * nh**48) * shadow
        rim = 0.05 * fresnel
    elif material == 1 or material == 2:
        soft_r, soft_g, soft_b = 0.5, 0.45, 0.45
        spec = gloss * (1.6 * nh**420 + 0.10 * nh**40)
    elif material == 3 or material == 4:
        soft_r, soft_g, soft_b = 0.4, 0.4, 0.4
        spec = 0.4 * albedo[0] * nh**60 * shadow
    elif material == 5:
        soft_r, soft_g, soft_b = 0.3, 0.3, 0.3
        spec = gloss * (0.05 * nh**9 + 0.10 * nh**34) * shadow
        rim = 0.035 * fresnel
    elif material == 6:
        rim = 0.02 * fresnel
    else:
        spec = 0.5 * nh**80 + 0.1 * fresnel
    for c in range(3):
        soft = soft_r if c == 0 else (soft_g if c == 1 else soft_b)
        key = max(0.0, (kl + soft) / (1.0 + soft))
        # light that entered the skin beside the shadow's edge leaks red
        lit = shadow if material != 0 else shadow ** (0.8 if c == 0 else 1.0)
        fill = max(0.0, (fl + 0.4) / 1.4)
        ambient = lights[5, c] + (lights[4, c] - lights[5, c]) * up
        out[c] = albedo[c] * (lights[1, c] * key * lit + lights[3, c] * fill + ambient)
        out[c] += spec * lights[1, c] + rim * lights[7, c]


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _surface(t, px, py, screen, points, normals, triangles, materials, uv, colour, skin, strands,
             weave, hair, iris, eyes, lights, shade_map, shade_frame, n, view, albedo, tap, out):  # type: ignore[no-untyped-def]  # fmt: skip
    """Linear RGB of triangle `t` at sample position (px, py) into `out`."""
    i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    x0, y0, x1, y1 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1]
    x2, y2 = screen[k, 0], screen[k, 1]
    inv = 1.0 / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
    l0 = ((x1 - px) * (y2 - py) - (x2 - px) * (y1 - py)) * inv
    l1 = ((x2 - px) * (y0 - py) - (x0 - px) * (y2 - py)) * inv
    l0, l1 = min(max(l0, 0.0), 1.0), min(max(l1, 0.0), 1.0)
    l2 = max(1.0 - l0 - l1, 0.0)
    b0, b1, b2 = l0 * screen[i, 2], l1 * screen[j, 2], l2 * screen[k, 2]
    s = 1.0 / (b0 + b1 + b2)
    b0, b1, b2 = b0 * s, b1 * s, b2 * s
    length, far = 0.0, 0.0
    for c in range(3):
        n[c] = b0 * normals[i, c] + b1 * normals[j, c] + b2 * normals[k, c]
        view[c] = -(b0 * points[i, c] + b1 * points[j, c] + b2 * points[k, c])
        albedo[c] = b0 * colour[i, c] + b1 * colour[j, c] + b2 * colour[k, c]
        length += n[c] * n[c]
        far += view[c] * view[c]
    material = materials[t]
    shadow = 1.0
    if shade_map.shape[0] > 1:
        shadow = _shadow(view, shade_map, shade_frame)
    length, far = 1.0 / np.sqrt(length + 1e-12), 1.0 / np.sqrt(far)
    facing = 0.0
    for c in range(3):
        n[c] *= length
        view[c] *= far
        facing += n[c] * view[c]
    if facing < 0.0 and material >= 3:
        for c in range(3):
            n[c] = -n[c]
    u = b0 * uv[i, 0] + b1 * uv[j, 0] + b2 * uv[k, 0]
    v = b0 * uv[i, 1] + b1 * uv[j, 1] + b2 * uv[k, 1]
    gloss = 1.0
    if material == 0:
        _tap(skin, u, v, False, tap)
        for c in range(3):
            albedo[c] *= tap[c]
        gloss = tap[3]
    elif material == 1 or material == 2:
        e = material - 1
        d = 1.0 / np.sqrt(albedo[0] ** 2 + albedo[1] ** 2 + albedo[2] ** 2 + 1e-12)
        n2 = (albedo[0] * d, albedo[1] * d, albedo[2] * d)
        _eye_colour(n2, eyes[e], iris, tap)
        for c in range(3):
            albedo[c] = tap[c]
        gloss = tap[3]
    elif material == 3 or material == 4:
        open_ = eyes[0, 13]
        for c in range(3):
            albedo[c] *= open_
    elif material == 5:
        _tap(strands, u, v, True, tap)
        dark = albedo[0]
        for c in range(3):
            albedo[c] = hair[c] * dark * tap[0]
        gloss = tap[1]
        bend = 0.30 * (tap[1] - 0.7)
        n[1] += bend
    elif material == 6:
        _tap(weave, u, v, True, tap)
        for c in range(3):
            albedo[c] *= tap[0]
    _light(material, n, view, albedo, gloss, lights, shadow, out)


@njit(nogil=True, cache=True, fastmath=True, inline="always")
def _shadow(view, shade_map, frame):  # type: ignore[no-untyped-def]
    """How much of the key light reaches the point -`view` (camera frame), 0..1.

    `frame` [4, 3]: two axes and the direction of the light map in samples per metre, its origin.
    """
    size = shade_map.shape[0]
    x, y, z = -view[0] - frame[3, 0], -view[1] - frame[3, 1], -view[2] - frame[3, 2]
    a = x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2] + 0.5 * size
    b = x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2] + 0.5 * size
    depth = x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]
    if a < 3 or b < 3 or a > size - 4 or b > size - 4:
        return 1.0
    total = 0.0
    i, j = int(np.floor(a - 0.5)), int(np.floor(b - 0.5))
    ta, tb = a - 0.5 - i, b - 0.5 - j
    for dj in range(-1, 3):
        wj = 1.0 - tb if dj == -1 else (tb if dj == 2 else 1.0)
        for di in range(-1, 3):
            wi = 1.0 - ta if di == -1 else (ta if di == 2 else 1.0)
            over = shade_map[j + dj, i + di] - depth
            lit = 1.0 - min(max((over - 0.006) / 0.012, 0.0), 1.0)
            total += wi * wj * lit
    return 0.25 + 0.75 * total / 9.0


@njit(nogil=True, cache=True, fastmath=True)
def light_map(points, triangles, casts, frame, out):  # type: ignore[no-untyped-def]
    """Largest height towards the light per cell of `out` [n, n], from vertices spread as cells."""
    size = out.shape[0]
    out[:] = -1e3
    for t in range(triangles.shape[0]):
        if not casts[t]:
            continue
        xs0 = xs1 = xs2 = ys0 = ys1 = ys2 = zs0 = zs1 = zs2 = 0.0
        for corner in range(3):
            p = triangles[t, corner]
            x, y, z = (points[p, 0] - frame[3, 0], points[p, 1] - frame[3, 1],
                       points[p, 2] - frame[3, 2])  # fmt: skip
            a = x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2] + 0.5 * size
            b = x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2] + 0.5 * size
            d = x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]
            if corner == 0:
                xs0, ys0, zs0 = a, b, d
            elif corner == 1:
                xs1, ys1, zs1 = a, b, d
            else:
                xs2, ys2, zs2 = a, b, d
        area = (xs1 - xs0) * (ys2 - ys0) - (xs2 - xs0) * (ys1 - ys0)
        if area == 0.0:
            continue
        left = max(int(np.ceil(min(xs0, xs1, xs2) - 0.5)), 0)
        right = min(int(np.floor(max(xs0, xs1, xs2) - 0.5)), size - 1)
        top = max(int(np.ceil(min(ys0, ys1, ys2) - 0.5)), 0)
        bottom = min(int(np.floor(max(ys0, ys1, ys2) - 0.5)), size - 1)
        inv = 1.0 / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                px, py = x + 0.5, y + 0.5
                l0 = ((xs1 - px) * (ys2 - py) - (xs2 - px) * (ys1 - py)) * inv
                l1 = ((xs2 - px) * (ys0 - py) - (xs0 - px) * (ys2 - py)) * inv
                l2 = 1.0 - l0 - l1
                if l0 >= 0 and l1 >= 0 and l2 >= 0:
                    out[y, x] = max(out[y, x], l0 * zs0 + l1 * zs1 + l2 * zs2)


@njit(nogil=True, cache=True, fastmath=True)
def resolve(ids, nearest, screen, points, normals, triangles, materials, labels, uv, colour, skin,
            strands, weave, hair, iris, eyes, lights, shade_map, shade_frame, background, gamma,
            rgb, classes, matte, depth):  # type: ignore[no-untyped-def]  # fmt: skip
    """Colour [H, W, 3] uint8, classes [H, W] uint8, head matte [H, W] uint8, depth [H, W] m."""
    height, width = classes.shape
    n, view, albedo = np.empty(3), np.empty(3), np.empty(3)
    tap, out, total = np.empty(4), np.empty(3), np.empty(3)
    counts = np.zeros(4, np.int64)
    top = gamma.shape[0] - 1
    for y in range(height):
        for x in range(width):
            first = ids[2 * y, 2 * x]
            alike = True
            counts[:] = 0
            for s in range(4):
                t = ids[2 * y + s // 2, 2 * x + s % 2]
                counts[labels[t] if t >= 0 else 0] += 1
                if (t < 0) != (first < 0) or (t >= 0 and materials[t] != materials[first]):
                    alike = False
            label = 0
            for c in range(1, 4):
                if counts[c] > counts[label]:
                    label = c
            classes[y, x] = label
            matte[y, x] = (counts[1] * 255 + 2) // 4
            w, m = 0.0, 0
            for s in range(4):
                t = ids[2 * y + s // 2, 2 * x + s % 2]
                if t >= 0 and labels[t] == label:
                    w += nearest[2 * y + s // 2, 2 * x + s % 2]
                    m += 1
            depth[y, x] = m / w if m > 0 else np.inf
            total[:] = 0.0
            shots = 1 if alike else 4
            share = 1.0 / shots
            for s in range(shots):
                t = ids[2 * y + s // 2, 2 * x + s % 2]
                if t < 0:
                    for c in range(3):
                        total[c] += share * background[y, x, c]
                    continue
                px = 2 * x + (1.0 if alike else s % 2 + 0.5)
                py = 2 * y + (1.0 if alike else s // 2 + 0.5)
                _surface(t, px, py, screen, points, normals, triangles, materials, uv, colour,
                         skin, strands, weave, hair, iris, eyes, lights, shade_map, shade_frame,
                         n, view, albedo, tap, out)  # fmt: skip
                for c in range(3):
                    total[c] += share * min(out[c], 1.5)
            for c in range(3):
                value = max(0.0, total[c])
                rgb[y, x, c] = gamma[min(int(value * 0.5 * top), top)]
