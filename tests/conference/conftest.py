"""A person of a few kilobytes: an untrained avatar and a short clip whose truth is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest

from nerf.camera import head_pose
from nerf.config import FieldConfig
from nerf.expression import fit_expression_code
from nerf.field import Cube, new_field
from nerf.weights import to_sections
from quic_transport.avatar_file import AvatarFile, AvatarMeta, save_avatar
from quic_transport.params import ParamBounds

FPS, SECONDS, SIZE, DISTANCE = 20, 6, 96, 0.6


@dataclass(frozen=True)
class TinyPerson:
    """Files of the tiny person."""

    avatar: Path
    clip: Path


def truth_tracks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """time [N], expression [N, 46] and rotation [N, 3] of the clip."""
    time = np.arange(FPS * SECONDS) / FPS
    expression = 0.5 + 0.5 * np.sin(3.0 * time[:, None] + np.arange(46))
    rotation = np.stack([0.1 * np.sin(time), 0.3 * np.cos(time), 0.0 * time], axis=1)
    return time, expression.astype(np.float32), rotation


def write_clip(path: Path) -> None:
    """A square that moves; the truth beside it."""
    time, expression, rotation = truth_tracks()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for i in range(len(time)):
            image = np.full((SIZE, SIZE, 3), 200, np.uint8)
            image[20:60, 10 + i % 40 : 40 + i % 40] = (180, 120, 100)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    np.savez(
        path.with_name(path.stem + ".truth.npz"),
        time=time, expression=expression,
        pose=np.stack([head_pose(r, DISTANCE) for r in rotation]),
        focal_px=np.float64(1.5 * SIZE), width=np.int64(SIZE), height=np.int64(SIZE),
        landmarks=np.zeros((len(time), 5, 2), np.float32),
    )  # fmt: skip


def tiny_avatar() -> AvatarFile:
    """A grey ball of fog where the head would be."""
    _, expression, rotation = truth_tracks()
    config = FieldConfig(
        resolutions=(8, 16), log2_sizes=(9, 9), blended_levels=1, rank=4, hidden=8, geometry=4
    )
    code = fit_expression_code(expression, config.rank)
    cube = Cube((0.0, 0.0, 0.0), 0.3)
    field = new_field(config, code, cube, np.random.default_rng(1))
    g = field.occupancy.shape[0]
    axis = (np.arange(g) + 0.5) / g - 0.5
    ball = sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")) < 0.3**2
    field = replace(field, occupancy=ball.astype(np.uint8))
    vectors = np.concatenate([expression, rotation], axis=1).astype(np.float32)
    meta = AvatarMeta(
        name="Tiny", schema="arkit46", extractor="truth", bounds=ParamBounds.of(vectors),
        distance_m=DISTANCE, portrait_scale=2.6, size_px=64, frame_rate=float(FPS),
        created="2026-01-01", provenance={"preset": "none"},
    )  # fmt: skip
    return AvatarFile(meta, to_sections(field))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyPerson:
    """The tiny person's files."""
    folder = tmp_path_factory.mktemp("tiny")
    save_avatar(folder / "tiny.fwa", tiny_avatar())
    write_clip(folder / "tiny.mp4")
    return TinyPerson(folder / "tiny.fwa", folder / "tiny.mp4")
