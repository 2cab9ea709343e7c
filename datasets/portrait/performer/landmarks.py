"""Named points of the face's surface, the truth's counterpart of a tracker's landmarks.

The rule: a landmark is one vertex of the skin, chosen by canonical coordinates, so it is the same
place on every person and moves with every coefficient.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from portrait.performer.head_mesh import JAW_RING, head_mesh, lip_bottom, lip_top


def _surface() -> dict[str, tuple[float, float]]:
    """Canonical (x, y) of the middle and the left (x > 0) points on the face's front."""
    at = {
        "forehead": (0.0, 7.4), "glabella": (0.0, 4.4), "nose_root": (0.0, 3.0),
        "nose_bridge": (0.0, 1.2), "nose_tip": (0.0, -1.05), "nose_base": (0.0, -2.3),
        "lip_top_outer": (0.0, float(lip_top(np.array(0.0)))),
        "lip_bottom_outer": (0.0, float(lip_bottom(np.array(0.0)))), "chin": (0.0, -7.9),
    }  # fmt: skip
    for k, x in enumerate((1.3, 2.2, 3.1, 3.9, 4.6)):
        at[f"brow_{k}_left"] = (x, (4.32, 4.62, 4.84, 4.78, 4.5)[k])
    at["nostril_wing_left"] = (1.45, -1.55)
    at["cheek_left"] = (4.2, -0.6)
    for k, x in enumerate((0.55, 1.5)):
        at[f"lip_top_outer_{k}_left"] = (x, float(lip_top(np.array(x))))
        at[f"lip_bottom_outer_{k}_left"] = (x, float(lip_bottom(np.array(x))))
    at["temple_left"] = (6.3, 5.5)
    at["forehead_side_left"] = (4.4, 7.4)
    return at


@cache
def landmark_vertices() -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Names [M] and vertices [M]. `*_left` is the person's left, x > 0."""
    mesh = head_mesh()
    grid = mesh.rows * mesh.columns
    canon, front = mesh.canon[:grid], np.cos(mesh.phi[:grid]) > 0
    index = np.arange(grid).reshape(mesh.rows, mesh.columns)
    found: dict[str, int] = {}

    def both(name: str, vertex: int) -> None:
        row, column = divmod(vertex, mesh.columns)
        found[name] = vertex
        if name.endswith("_left"):
            found[name[:-5] + "_right"] = int(index[row, mesh.columns - 1 - column])

    for name, (x, y) in _surface().items():
        d = (canon[:, 0] - x) ** 2 + (canon[:, 1] - y) ** 2 + 1e3 * ~front
        both(name, int(np.argmin(d)))
    ring = mesh.ring[index[:, 0]]
    phi = np.degrees(mesh.phi[index[0]])
    jaw_row = int(np.argmin(np.abs(ring - JAW_RING)))
    for k, angle in enumerate((0, 12, 24, 36, 50, 66, 82)):  # along the jaw's edge
        column = int(np.argmin(np.abs(phi - angle)))
        both("jaw_0" if k == 0 else f"jaw_{k}_left", int(index[jaw_row, column]))
    both(
        "ear_front_left",
        int(index[int(np.argmin(np.abs(ring - 8.0))), np.argmin(np.abs(phi - 82))]),
    )
    eye, mouth = mesh.eye_slits[0], mesh.mouth_slit
    other = mesh.eye_slits[1]
    n = len(eye) - 1
    for name, k, c in (("inner", 0, 0), ("outer", n, 0), ("upper", n // 2, 0), ("lower", n // 2, 1),
                       ("upper_in", n // 4, 0), ("upper_out", 3 * n // 4, 0),
                       ("lower_in", n // 4, 1), ("lower_out", 3 * n // 4, 1)):  # fmt: skip
        found[f"eye_{name}_left"] = int(eye[k, c])
        found[f"eye_{name}_right"] = int(other[n - k, c])
    m = len(mouth) - 1
    for name, k, c in (("mouth_corner_right", 0, 0), ("mouth_corner_left", m, 0),
                       ("lip_top_inner", m // 2, 0), ("lip_bottom_inner", m // 2, 1)):  # fmt: skip
        found[name] = int(mouth[k, c])
    return tuple(found), np.array(list(found.values()), dtype=np.int64)
