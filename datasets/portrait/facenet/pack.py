"""A pack of labelled face crops: the one format that the face networks are trained on.

    DIR/crops.bin     the crops as JPEG or PNG files, one after another
    DIR/labels.npz    `offsets` [N + 1] into crops.bin; `landmarks` [N, 478, 2] in crop pixels, NaN
                      without a face; `blendshapes` [N, 52] by `blendshape_names`; `matrix`
                      [N, 4, 4] head → camera of the whole picture, cm; `no_face` [N]; `clip` [N]
                      into `clip_names`; optional: `camera` [N, 3], the whole picture's focal
                      length and principal point in crop pixels, NaN where it is not known

The rule: a pack is read whole and never written to; a crop shows 1.8 × the face's box. Labels are
those of MediaPipe FaceLandmarker in IMAGE mode (63° vertical field of view).
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46

CROP_PX = 144
"""Side of a stored crop, pixels."""
BOX_SCALE = 1.8
"""Side of the crop over the longer side of the landmarks' box."""
POINTS = 478
KEYS = ("offsets", "landmarks", "blendshapes", "blendshape_names", "matrix", "no_face", "clip",
        "clip_names")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Labelled crops in memory."""

    images: NDArray[np.uint8]
    """[N, 144, 144, 3] RGB."""
    landmarks: NDArray[np.float32]
    """[N, 478, 2] crop pixels; NaN where there is no face."""
    expression: NDArray[np.float32]
    """[N, 46] `ARKIT46` in 0..1; 0 where there is no face."""
    matrix: NDArray[np.float32]
    """[N, 4, 4] head → camera, centimetres."""
    camera: NDArray[np.float32]
    """[N, 3] focal length and principal point (x, y) in crop pixels; NaN where not known."""
    no_face: NDArray[np.bool_]
    """[N] whether the crop shows no face."""
    person: NDArray[np.int32]
    """[N] index of the person (of the clip, where names do not tell more)."""
    people: tuple[str, ...]
    """Names by that index."""

    def __len__(self) -> int:
        return len(self.images)


# Clips that show the same person, by a pattern in their names (`M030_*` and so on).
SAME_PERSON = (r"(M030|W009|W011|M003|M024|M026|W015|W023|W036)_", r"(000001|000002)_",
               r"(d\d+)\.mp4", r"(May|biden|musk|kim|dafoe|sun|dili)\b")  # fmt: skip


def person_of(clip: str) -> str:
    """A name for who is seen in a clip: a shared pattern in the file's name, else the file."""
    if found := re.search(SAME_PERSON[0], clip):
        return found.group(1)
    return clip


def read_pack(folder: Path) -> Pack:
    """The pack in `folder`; LocalError, with the reason, if it cannot be read."""
    import cv2

    try:
        data = np.fromfile(folder / "crops.bin", np.uint8)
        with np.load(folder / "labels.npz", allow_pickle=False) as archive:
            missing = [k for k in KEYS if k not in archive.files]
            if missing:
                raise LocalError(f"{folder / 'labels.npz'} lacks {', '.join(missing)}")
            z = {k: archive[k] for k in KEYS}
            z["camera"] = (
                archive["camera"] if "camera" in archive.files
                else np.full((len(z["clip"]), 3), np.nan)
            )  # fmt: skip
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise LocalError(f"{folder} is no pack of labelled crops ({error})") from error
    offsets = z["offsets"]
    count = len(offsets) - 1
    images = np.zeros((count, CROP_PX, CROP_PX, 3), np.uint8)
    for i in range(count):
        picture = cv2.imdecode(data[offsets[i] : offsets[i + 1]], cv2.IMREAD_COLOR)
        if picture is None or picture.shape != images.shape[1:]:
            raise LocalError(f"crop {i} of {folder} is not a picture of {CROP_PX}×{CROP_PX} px")
        images[i] = picture[..., ::-1]
    names = [str(n) for n in z["blendshape_names"]]
    columns = [names.index(n) for n in ARKIT46]
    people = [person_of(str(n)) for n in z["clip_names"]]
    unique = sorted(set(people))
    by_clip = np.array([unique.index(p) for p in people], np.int32)
    return Pack(
        images=images,
        landmarks=z["landmarks"].astype(np.float32),
        expression=np.nan_to_num(z["blendshapes"].astype(np.float32)[:, columns]),
        matrix=z["matrix"].astype(np.float32),
        camera=z["camera"].astype(np.float32),
        no_face=z["no_face"].astype(bool),
        person=by_clip[z["clip"]],
        people=tuple(unique),
    )


class PackWriter:
    """Collects crops and writes a pack."""

    def __init__(self, names: Sequence[str], clips: Sequence[str]) -> None:
        """`names` of the blend shapes, `clips` in the order of their index."""
        self._names, self._clips = names, clips
        self._data: list[bytes] = []
        self._rows: dict[str, list[NDArray[np.generic]]] = {
            k: [] for k in ("landmarks", "blendshapes", "matrix", "camera", "no_face", "clip")
        }

    def __len__(self) -> int:
        return len(self._data)

    def add(self, image: NDArray[np.uint8], clip: int, landmarks: ArrayLike | None = None,
            blendshapes: ArrayLike | None = None, matrix: ArrayLike | None = None,
            camera: ArrayLike | None = None) -> None:  # fmt: skip
        """One crop [144, 144, 3] RGB; no face without `landmarks`."""
        import cv2

        ok, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 93])
        assert ok
        self._data.append(data.tobytes())
        nan = np.nan
        face = landmarks is not None
        values: dict[str, Any] = {
            "landmarks": landmarks if face else np.full((POINTS, 2), nan),
            "blendshapes": blendshapes if face else np.full(len(self._names), nan),
            "matrix": matrix if face else np.full((4, 4), nan),
            "camera": camera if face and camera is not None else np.full(3, nan),
            "no_face": not face, "clip": clip,
        }  # fmt: skip
        for key, value in values.items():
            self._rows[key].append(np.asarray(value))

    def write(self, folder: Path) -> Path:
        """Write the pack; OSError where the disk refuses."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "crops.bin").write_bytes(b"".join(self._data))
        types = {"landmarks": np.float16, "blendshapes": np.float16, "matrix": np.float32,
                 "camera": np.float32, "no_face": np.bool_, "clip": np.int16}  # fmt: skip
        rows: dict[str, Any] = {k: np.stack(v).astype(types[k]) for k, v in self._rows.items()}
        np.savez_compressed(
            folder / "labels.npz", allow_pickle=False,
            offsets=np.cumsum([0, *(len(d) for d in self._data)]),
            blendshape_names=np.array(list(self._names)), clip_names=np.array(list(self._clips)),
            **rows,
        )  # fmt: skip
        return folder


def crop_box(landmarks: ArrayLike) -> tuple[float, float, float]:
    """(left, top, side) of the square that a pack stores around landmarks [M, 2]."""
    p = np.asarray(landmarks, dtype=np.float64)
    low, high = p.min(axis=0), p.max(axis=0)
    side = float(BOX_SCALE * (high - low).max())
    centre = (low + high) / 2
    return float(centre[0] - side / 2), float(centre[1] - side / 2), side


def cut(image: NDArray[np.uint8], box: tuple[float, float, float]) -> NDArray[np.uint8]:
    """The square `box` of a picture at 144 px, black outside it; shrinking averages."""
    import cv2

    left, top, side = box
    step = max(1, int(np.ceil(side / CROP_PX - 0.01)))
    k = CROP_PX * step / side
    affine = np.array([[k, 0, -left * k + 0.5 * k - 0.5], [0, k, -top * k + 0.5 * k - 0.5]])
    big = cv2.warpAffine(image, affine, (CROP_PX * step,) * 2, flags=cv2.INTER_LINEAR)
    if step > 1:
        big = cv2.resize(big, (CROP_PX, CROP_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(big, dtype=np.uint8)
