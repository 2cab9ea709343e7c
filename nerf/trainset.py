"""The training set on disk: stabilised portraits, mattes and what was measured in each.

    DIR/head_imgs/<n>.jpg   the head over white          DIR/ori_imgs/<n>.jpg  the whole portrait
    DIR/matte/<n>.png       the head's opacity, 8 bit    DIR/ori_imgs/<n>.lms  landmarks, pixels
    DIR/parsing/<n>.png     head (0,0,255), neck (0,255,0), torso (255,0,0), rest white
    DIR/bc.jpg              white: what lies behind the head in head_imgs
    DIR/transforms.json     camera, frames[img_id, exp_ori[46], transform_matrix camera → head]
    DIR/max_46.txt, min_46.txt   extremes of the expressions over the training frames

The rule: the layout is NeRFBlendShape's; what it lacks stands in `matte/` and under the key
"facewire", so sets from elsewhere load here and ours load elsewhere. The first `train_count`
frames are for training, the rest (15 %) is held out.
Reference: NeRFBlendShape-code, nerf/provider.py and get_max.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nerf.camera import Camera, euler_angles, head_pose, invert_pose, portrait_camera

FORMAT_VERSION = 1
TRAIN_FRACTION = 0.85
HEAD_RGB = (0, 0, 255)  # how parsing/ marks the head
NECK_RGB = (0, 255, 0)
BODY_RGB = (255, 0, 0)
IMAGE_FOLDERS = ("head_imgs", "ori_imgs", "parsing", "matte")  # what every set of ours has


class TrainSetError(ValueError):
    """A folder is not a training set that can be used; the sentence says why."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainSet:
    """What transforms.json says, N frames in order of time."""

    folder: Path
    """Where the pictures lie."""
    camera: Camera
    """The portrait's camera at the stored size."""
    distance_m: float
    """Metres from the camera to the head's origin (median over frames for foreign sets)."""
    scale: float
    """Portrait widths per metre at that distance."""
    img_id: NDArray[np.int64]
    """[N] names of the pictures."""
    expression: NDArray[np.float32]
    """[N, 46]."""
    rotation: NDArray[np.float64]
    """[N, 3] (pitch, yaw, roll), radians, head → camera."""
    pose: NDArray[np.float64]
    """[N, 4, 4] head → camera, metres."""
    time: NDArray[np.float64]
    """[N] seconds from the source's first frame."""
    offset: NDArray[np.float64]
    """[N, 3] the portrait's place in the full picture (docs/conventions.md)."""
    train_count: int
    """The first this many frames are for training, the others are held out."""
    schema: str = "arkit46"
    """Names the 46 numbers."""
    extractor: str = "unknown"
    """Who measured them."""
    bounds: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    """(low [49], high [49]) of expression and rotation over the training frames."""
    frame_rate: float = 25.0
    """Median frames per second of the kept frames."""
    source: str = ""
    """File name of the video."""
    has_matte: bool = True
    """Whether matte/ exists; otherwise the opacity comes from parsing/."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Whatever else the maker wants to record (JSON), kept under "facewire"."""

    def __len__(self) -> int:
        return len(self.img_id)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """[N, 49] expression, then rotation."""
        return np.concatenate([self.expression, self.rotation.astype(np.float32)], axis=1)

    @property
    def train_indices(self) -> NDArray[np.int64]:
        """Positions of the training frames."""
        return np.arange(self.train_count)

    @property
    def test_indices(self) -> NDArray[np.int64]:
        """Positions of the held-out frames."""
        return np.arange(self.train_count, len(self))


def train_count_of(frames: int, fraction: float = TRAIN_FRACTION) -> int:
    """How many of `frames` are trained on: the first 85 %, at least one."""
    return max(1, int(frames * fraction + 1e-9))


def bounds_of(
    expression: NDArray[np.float32], rotation: NDArray[np.float64], train_count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(low [49], high [49]) over the first `train_count` frames."""
    v = np.concatenate([expression, rotation.astype(np.float32)], axis=1)[:train_count]
    return v.min(axis=0), v.max(axis=0)


def write_trainset(trainset: TrainSet) -> None:
    """Write transforms.json, max_46.txt and min_46.txt into `trainset.folder`.

    The pictures are written by whoever makes them; transforms.json is written last and at once,
    so a folder that has one is complete.
    """
    low, high = trainset.bounds or bounds_of(
        trainset.expression, trainset.rotation, trainset.train_count
    )
    camera = trainset.camera
    frames = [
        {
            "img_id": int(trainset.img_id[i]),
            "exp_ori": [float(x) for x in trainset.expression[i]],
            "transform_matrix": invert_pose(trainset.pose[i]).tolist(),
            "rotation": [float(x) for x in trainset.rotation[i]],
            "offset": [float(x) for x in trainset.offset[i]],
            "time": float(trainset.time[i]),
        }
        for i in range(len(trainset))
    ]
    own = {
        **trainset.extra,
        "version": FORMAT_VERSION,
        "schema": trainset.schema,
        "extractor": trainset.extractor,
        "distance_m": trainset.distance_m,
        "scale": trainset.scale,
        "bounds": {"low": [float(x) for x in low], "high": [float(x) for x in high]},
        "source": trainset.source,
        "frame_rate": trainset.frame_rate,
        "train_frames": trainset.train_count,
    }
    document = {
        "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy,
        "h": camera.height, "w": camera.width, "facewire": own, "frames": frames,
    }  # fmt: skip
    folder = trainset.folder
    np.savetxt(folder / "max_46.txt", high[:46])
    np.savetxt(folder / "min_46.txt", low[:46])
    temporary = folder / "transforms.json.tmp"
    temporary.write_text(json.dumps(document, indent=1), encoding="utf-8")
    temporary.replace(folder / "transforms.json")


def read_trainset(folder: Path) -> TrainSet:
    """Read a folder of ours or of NeRFBlendShape's; TrainSetError with a sentence otherwise."""
    path = folder / "transforms.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainSetError(
            f"{folder} is not a finished training set (no readable transforms.json): "
            "make one with `facewire dataset build`"
        ) from error
    except ValueError as error:
        raise TrainSetError(f"{path} is not valid JSON ({error}): build the set again") from error
    try:
        return _parse(folder, document)
    except TrainSetError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise TrainSetError(
            f"{path} does not describe a training set ({type(error).__name__}: {error}): "
            "build it again"
        ) from error


def _parse(folder: Path, document: dict[str, Any]) -> TrainSet:
    own = document.get("facewire", {})
    if own.get("version", FORMAT_VERSION) > FORMAT_VERSION:
        raise TrainSetError(f"{folder} was written by a newer facewire: update this one")
    frames = document["frames"]
    if not frames:
        raise TrainSetError(f"{folder} holds no frames: build it again")
    camera = Camera(
        float(document["fx"]), float(document.get("fy", document["fx"])),
        float(document["cx"]), float(document["cy"]),
        int(document["w"]), int(document["h"]),
    )  # fmt: skip
    pose = np.stack([invert_pose(f["transform_matrix"]) for f in frames])
    if pose.shape[1:] != (4, 4) or not np.isfinite(pose).all():
        raise ValueError("transform_matrix must be 4×4 finite numbers")
    expression = np.array([f["exp_ori"] for f in frames], dtype=np.float32)
    if expression.ndim != 2 or expression.shape[1] != 46 or not np.isfinite(expression).all():
        raise ValueError(f"exp_ori must be 46 finite numbers, not {expression.shape}")
    n = len(frames)
    rate = float(own.get("frame_rate", 25.0))
    distance = float(own.get("distance_m", np.median(np.linalg.norm(pose[:, :3, 3], axis=1))))
    rotation = np.array([f.get("rotation") or euler_angles(p[:3, :3])
                         for f, p in zip(frames, pose, strict=True)], dtype=np.float64)  # fmt: skip
    bounds = own.get("bounds")
    train_count = int(own.get("train_frames", train_count_of(n)))
    if not 0 < train_count <= n:
        raise ValueError(f"train_frames {train_count} of {n}")
    if bounds is None:
        low, high = bounds_of(expression, rotation, train_count)
    else:
        low, high = (np.array(bounds[k], dtype=np.float32) for k in ("low", "high"))
    written = {"version", "schema", "extractor", "distance_m", "scale", "bounds", "source",
               "frame_rate", "train_frames"}  # fmt: skip
    return TrainSet(
        folder=folder,
        camera=camera,
        distance_m=distance,
        scale=float(own.get("scale", camera.fx / camera.width / distance)),
        img_id=np.array([int(f["img_id"]) for f in frames]),
        expression=expression,
        rotation=rotation,
        pose=pose,
        time=np.array([f.get("time", i / rate) for i, f in enumerate(frames)], dtype=np.float64),
        offset=np.array([f.get("offset", (0.0, 0.0, 0.0)) for f in frames], dtype=np.float64),
        train_count=train_count,
        schema=str(own.get("schema", "arkit46" if own else "unknown")),
        extractor=str(own.get("extractor", "unknown")),
        bounds=(low, high),
        frame_rate=rate,
        source=str(own.get("source", "")),
        has_matte=(folder / "matte").is_dir(),
        extra={k: v for k, v in own.items() if k not in written},
    )


def portrait_poses(rotation: NDArray[np.float64], distance_m: float) -> NDArray[np.float64]:
    """[N, 4, 4] head → camera poses of portraits: only the rotation varies."""
    return np.stack([head_pose(r, distance_m) for r in rotation])


def load_images(
    trainset: TrainSet, size: int, indices: Sequence[int] | NDArray[np.int64], threads: int = 4,
    into: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:  # fmt: skip
    """The head over white, uint8 [n, size, size, 3] RGB, and its opacity, uint8 [n, size, size].

    Shrunk by averaging. `indices` are positions in the set, not picture names; `into` are arrays
    to be filled and returned, new ones by default.
    """
    if into is None:
        into = (np.empty((len(indices), size, size, 3), dtype=np.uint8),
                np.empty((len(indices), size, size), dtype=np.uint8))  # fmt: skip
    rgb, alpha = into

    def load(slot: int) -> None:
        rgb[slot], alpha[slot] = _load_one(trainset, size, int(indices[slot]))

    with ThreadPoolExecutor(max_workers=threads) as pool:
        for _ in pool.map(load, range(len(indices))):
            pass
    return rgb, alpha


def _load_one(trainset: TrainSet, size: int, index: int) -> tuple[Any, Any]:
    import cv2

    name = int(trainset.img_id[index])
    bgr = _read(trainset.folder / "head_imgs" / f"{name}.jpg", cv2.IMREAD_COLOR)
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    if trainset.has_matte:
        alpha = _read(trainset.folder / "matte" / f"{name}.png", cv2.IMREAD_GRAYSCALE)
    else:  # foreign sets stand over their own background: put the head over white
        parsing = _read(trainset.folder / "parsing" / f"{name}.png", cv2.IMREAD_COLOR)
        head = np.all(parsing == HEAD_RGB[::-1], axis=-1)
        alpha = np.where(head, np.uint8(255), np.uint8(0))
        rgb = np.where(head[..., None], rgb, np.uint8(255))
    if rgb.shape[:2] != (size, size):
        rgb = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)
    return rgb, alpha


def _read(path: Path, flags: int) -> Any:
    import cv2

    image = cv2.imread(str(path), flags)
    if image is None:
        raise TrainSetError(f"{path} is missing or damaged: build the set again")
    return image


__all__ = [
    "TrainSet", "TrainSetError", "bounds_of", "load_images", "portrait_camera", "portrait_poses",
    "read_trainset", "train_count_of", "write_trainset",
]  # fmt: skip


LANDMARK_PARTS = {
    478: ((33, 133, 159, 145), (362, 263, 386, 374), (61, 291, 0, 17)),  # MediaPipe's mesh
    68: (tuple(range(36, 42)), tuple(range(42, 48)), tuple(range(48, 60))),  # iBUG
}
"""Landmarks around the eyes and the mouth, by how many there are in all."""


def detail_boxes(trainset: TrainSet, size: int) -> NDArray[np.int64] | None:
    """[N, 3, 4] boxes (x0, y0, x1, y1) of the eyes and the mouth in pictures of `size` px, from
    the set's landmarks; None where it has none that are known here."""
    out = np.empty((len(trainset), 3, 4), np.int64)
    scale = size / trainset.camera.width
    margin = 0.012 * size
    for row, name in enumerate(trainset.img_id):
        try:
            text = (trainset.folder / "ori_imgs" / f"{int(name)}.lms").read_text(encoding="ascii")
            points = np.array(text.split(), dtype=np.float64).reshape(-1, 2) * scale
        except (OSError, ValueError):
            return None
        parts = LANDMARK_PARTS.get(len(points))
        if parts is None or not np.isfinite(points).all():
            return None
        for k, part in enumerate(parts):
            around = points[list(part)]
            low = np.clip(np.floor(around.min(axis=0) - margin), 0, size - 1)
            high = np.clip(np.ceil(around.max(axis=0) + margin), low + 1, size)
            out[row, k] = *low, *high
    return out
