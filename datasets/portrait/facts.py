"""facts.npz: what the build knows about every frame that it looked at, kept or not.

One row per looked-at frame, in order of time (N rows); what a frame without a face lacks is NaN:

    index       int64   [N]      the frame's number in the source
    time        float64 [N]      seconds from the source's first frame
    reason      <U32    [N]      why it was left out ("no face", "turned away", …); "" where kept
    picture     int64   [N]      name of its pictures in the set (head_imgs/<n>.jpg); -1 left out
    rotation    float64 [N, 3]   pitch, yaw, roll along the line of sight, radians
    expression  float32 [N, 46]
    distance_m  float64 [N]      metres from the camera to the head's origin
    crop        float64 [N, 3]   (u, v, side) of the portrait's square, pixels of the source
    size        int64   [N, 2]   width and height of the source's picture, pixels
    error_px    float64 [N]      reprojection error of the rigid landmarks, pixels of the source
    sharpness   float64 [N]      variance of the Laplacian in the face, grey 0..255, face as it is
                                 in a 256 px portrait
    brightness  float64 [N]      mean grey of the face, 0..255
    face_px     float64 [N]      height of the landmarks' box, pixels of the source
    top_cut     bool    [N]      the top of the head is beyond the picture
    mouth_open  bool    [N]      jawOpen of at least 0.5 (arkit46 only, else all false)
    blink       bool    [N]      both eyeBlinks of at least 0.45 (arkit46 only)
    schema, extractor, source    str, 0-dimensional

The rule: written once, at the end of a build; nothing here is needed to train.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.checks import Verdict
from portrait.tracks import Tracks
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46

FILE = "facts.npz"
MOUTH_OPEN, EYES_CLOSED = 0.5, 0.45
TOP_CUT = 0.12  # the portrait may reach this share of its side above the picture: no head does


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The arrays of facts.npz, as the module's docstring describes them."""

    index: NDArray[np.int64]
    time: NDArray[np.float64]
    reason: NDArray[np.str_]
    picture: NDArray[np.int64]
    rotation: NDArray[np.float64]
    expression: NDArray[np.float32]
    distance_m: NDArray[np.float64]
    crop: NDArray[np.float64]
    size: NDArray[np.int64]
    error_px: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    brightness: NDArray[np.float64]
    face_px: NDArray[np.float64]
    top_cut: NDArray[np.bool_]
    mouth_open: NDArray[np.bool_]
    blink: NDArray[np.bool_]
    schema: str
    extractor: str
    source: str

    def __len__(self) -> int:
        return len(self.time)


def facts_of(
    tracks: Tracks,
    verdict: Verdict,
    error_px: NDArray[np.float64],
    *,
    schema: str,
    extractor: str,
    source: str,
) -> Facts:
    """Everything about all N rows of `tracks`; `error_px` [N] is NaN where unknown."""
    picture = np.full(len(tracks), -1, dtype=np.int64)
    picture[verdict.rows] = np.arange(len(verdict.rows))
    expression = tracks.expression
    seen = tracks.seen
    with np.errstate(invalid="ignore"):
        top = tracks.crop[:, 1] - 0.5 * tracks.crop[:, 2] < -TOP_CUT * tracks.crop[:, 2]
        if schema == "arkit46":
            mouth = expression[:, ARKIT46.index("jawOpen")] >= MOUTH_OPEN
            eyes = [ARKIT46.index(n) for n in ("eyeBlinkLeft", "eyeBlinkRight")]
            blink = np.asarray((expression[:, eyes] >= EYES_CLOSED).all(axis=1))
        else:
            mouth = blink = np.zeros(len(tracks), dtype=bool)
    return Facts(
        index=tracks.index, time=tracks.time, reason=verdict.reason, picture=picture,
        rotation=tracks.rotation, expression=expression, distance_m=tracks.distance,
        crop=tracks.crop, size=tracks.size, error_px=np.asarray(error_px, dtype=np.float64),
        sharpness=tracks.sharpness, brightness=tracks.brightness, face_px=face_px(tracks),
        top_cut=top & seen, mouth_open=mouth, blink=blink, schema=schema, extractor=extractor,
        source=source,
    )  # fmt: skip


def face_px(tracks: Tracks) -> NDArray[np.float64]:
    """[N] height of the landmarks' box, pixels of the source; NaN without a face."""
    if tracks.landmarks.shape[1] == 0:
        return np.full(len(tracks), np.nan)
    y = tracks.landmarks[..., 1]
    return np.asarray((y.max(axis=1) - y.min(axis=1)) * tracks.crop[:, 2], dtype=np.float64)


def save_facts(folder: Path, facts: Facts) -> None:
    """Write `folder`/facts.npz, at once."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(facts, f.name)) for f in fields(Facts)}
    temporary = folder / "facts.tmp.npz"
    np.savez_compressed(temporary, **arrays)
    temporary.replace(folder / FILE)


def load_facts(folder: Path) -> Facts:
    """Read `folder`/facts.npz; LocalError where it is missing or damaged."""
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {f.name: archive[f.name] for f in fields(Facts)}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise LocalError(f"{path} is missing or damaged: build the training set again") from error
    values: dict[str, Any] = {k: str(v) if v.ndim == 0 else v for k, v in arrays.items()}
    return Facts(**values)
