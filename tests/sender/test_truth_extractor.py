"""The truth extractor: nearest entry by media time, sentences for what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nerf.camera import head_pose
from quic_transport.errors import LocalError
from sender.extractor import open_extractor
from sender.frames import Frame


def write_truth(video: Path, **changes: object) -> None:
    arrays: dict[str, Any] = {
        "time": np.array([0.0, 0.04, 0.08]), "expression": np.eye(3, 46),
        "pose": np.stack([head_pose((0, y, 0), 0.5) for y in (0.0, 0.1, 0.2)]),
        "focal_px": 200.0, "width": 160, "height": 120,
        "landmarks": np.zeros((3, 5, 2)),
    }  # fmt: skip
    arrays.update(changes)
    kept: dict[str, Any] = {name: value for name, value in arrays.items() if value is not None}
    np.savez(video.with_name(video.stem + ".truth.npz"), **kept)


def frame(media_time: float | None) -> Frame:
    return Frame(0, 123.0, np.zeros((120, 160, 3), np.uint8), media_time)


def test_extract_gives_the_entry_nearest_in_media_time(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.mp4")
    extractor = open_extractor("truth", source=str(tmp_path / "a.mp4"))
    (face,) = extractor.extract(frame(0.055))
    assert face.params.expression[1] == 1.0
    assert face.params.rotation[1] == pytest.approx(0.1)
    assert face.params.capture_time == 123.0
    assert (face.crop.u, face.crop.v) == (80.0, 60.0)


def test_extract_without_media_time_or_of_another_size_raises(tmp_path: Path) -> None:
    write_truth(tmp_path / "a.mp4")
    extractor = open_extractor("truth", source=str(tmp_path / "a.mp4"))
    with pytest.raises(LocalError, match="not on a camera"):
        extractor.extract(frame(None))
    with pytest.raises(LocalError, match="160×120"):
        extractor.extract(Frame(0, 0.0, np.zeros((60, 80, 3), np.uint8), 0.0))


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"pose": None}, "lacks pose"), ({"expression": np.eye(3, 40)}, "unexpected shapes"),
     ({"time": np.empty(0)}, "unexpected shapes")],
)  # fmt: skip
def test_open_bad_truth_raises_local_error(tmp_path: Path, changes, says: str) -> None:
    write_truth(tmp_path / "a.mp4", **changes)
    with pytest.raises(LocalError, match=says):
        open_extractor("truth", source=str(tmp_path / "a.mp4"))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 nothing", b"\x93NUMPY"])
def test_open_damaged_truth_raises_local_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.truth.npz").write_bytes(data)
    with pytest.raises(LocalError, match="damaged"):
        open_extractor("truth", source=str(tmp_path / "a.mp4"))
