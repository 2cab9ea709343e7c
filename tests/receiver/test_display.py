"""What is recorded can be played, also when the process was killed or the disk is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from quic_transport.errors import LocalError
from receiver.display import FolderSink, Picture, VideoSink, file_sink, window_available

SIZE = 64


def picture(index: int) -> Picture:
    rgb = np.full((SIZE, SIZE, 3), 255, np.uint8)
    rgb[:, : index % SIZE] = (200, 40, 40)
    return Picture(rgb, 1000.0 + index * 0.05)


def decoded(path: Path) -> list[float]:
    """Times of the frames that can be decoded."""
    with av.open(str(path)) as container:
        return [float(frame.time) for frame in container.decode(video=0)]


def test_video_sink_keeps_the_times_of_the_pictures(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "new" / "out.mp4", 20)
    indices = [0, 1, 2, 2, 5, 9, 30]  # a repeated instant is left out
    for index in indices:
        sink.show(picture(index))
    sink.close()
    expected = [i * 0.05 for i in sorted(set(indices))]
    assert decoded(tmp_path / "new" / "out.mp4") == pytest.approx(expected, abs=0.002)


def test_video_sink_colours_survive(tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.mp4", 20)
    rgb = np.zeros((SIZE, SIZE, 3), np.uint8)
    rgb[:] = (200, 60, 30)
    sink.show(Picture(rgb, 0.0))
    sink.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frame.astype(int) - rgb).max() <= 6


def test_video_sink_killed_process_leaves_a_playable_file(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
import numpy as np
from receiver.display import Picture, VideoSink
sink = VideoSink(Path({str(tmp_path / "out.mp4")!r}), 20)
rng = np.random.default_rng(0)
for i in range(100):
    rgb = np.full(({SIZE}, {SIZE}, 3), i, np.uint8)
    sink.show(Picture(rgb, i * 0.05))
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(decoded(tmp_path / "out.mp4")) >= 60  # all but the last second or so


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_video_sink_full_disk_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.symlink_to("/dev/full")

    def record() -> None:
        sink = VideoSink(path, 20)
        for index in range(200):
            sink.show(picture(index))
        sink.close()

    with pytest.raises(LocalError, match=r"cannot record to .*out\.mp4: No space left"):
        record()


def test_folder_sink_names_pictures_by_milliseconds(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "shots")
    for index in (0, 1, 21):
        sink.show(picture(index))
    names = sorted(path.name for path in (tmp_path / "shots").iterdir())
    assert names == ["00000000.png", "00000050.png", "00001050.png"]


def test_file_sink_is_chosen_by_suffix_and_bad_places_are_sentences(tmp_path: Path) -> None:
    assert isinstance(file_sink(tmp_path / "a.MP4", 20), VideoSink)
    assert isinstance(file_sink(tmp_path / "a", 20), FolderSink)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalError):
        file_sink(tmp_path / "file" / "sub", 20)
    with pytest.raises(LocalError):
        file_sink(tmp_path / "file" / "sub.mp4", 20)


@pytest.mark.skipif(sys.platform != "linux", reason="X11 and Wayland only")
def test_window_without_display_is_not_tried() -> None:
    assert not window_available({"PATH": os.environ.get("PATH", "")})
    assert not window_available({"DISPLAY": ":97", "PATH": os.environ.get("PATH", "")})
