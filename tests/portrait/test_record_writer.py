"""The recorded file plays however it ends; the command's sentences."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from portrait.record import cli, stage, studio
from portrait.record.writer import ClipWriter, check_place
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop
from sender.source import FileSource
from sender.video import VideoError, read_video
from tests.sender.films import grey_frames, write_film

ROOT = Path(__file__).resolve().parents[2]
FILM = """
import os, resource, signal, sys
import numpy as np
from pathlib import Path
from portrait.record.writer import ClipWriter
from quic_transport.errors import LocalError
if sys.argv[2] == "full":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
writer = ClipWriter(Path(sys.argv[1]), 20)
rng = np.random.default_rng(0)
noise = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
try:
    for i in range(60 if sys.argv[2] == "kill" else 6000):
        writer.write(np.roll(noise, 7 * i, axis=1), i / 20)
except LocalError as error:
    sys.exit(f"{error}")
os.kill(os.getpid(), signal.SIGKILL)
"""


def film_in_a_process(path: Path, how: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'datasets'}"}
    return subprocess.run(
        [sys.executable, "-c", FILM, str(path), how], env=env, capture_output=True, text=True
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_writer_keeps_pictures_and_their_uneven_times(tmp_path: Path, suffix: str) -> None:
    times = [50.0, 50.04, 50.1, 50.13, 50.3]
    writer = ClipWriter(tmp_path / f"me{suffix}", 25)
    for image, at in zip(grey_frames(5, 66, 50), times, strict=True):
        assert writer.write(image, at)
    assert not writer.write(grey_frames(1, 66, 50)[0], 50.3)  # no later than the last
    writer.close()
    writer.close()
    frames = list(read_video(tmp_path / f"me{suffix}"))
    np.testing.assert_allclose([f.capture_time for f in frames], np.array(times) - 50, atol=1e-3)
    levels = [f.image.mean() for f in frames]
    np.testing.assert_allclose(levels, [20, 24, 28, 32, 36], atol=2)
    assert (writer.frames, writer.seconds) == (5, pytest.approx(0.3))


def test_writer_cuts_odd_sizes_and_refuses_another_size(tmp_path: Path) -> None:
    writer = ClipWriter(tmp_path / "me.mp4", 25)
    writer.write(np.zeros((51, 67, 3), np.uint8), 0.0)
    with pytest.raises(LocalError, match="changed its picture from 66x50 to 64x48"):
        writer.write(np.zeros((48, 64, 3), np.uint8), 0.1)
    writer.close()
    assert next(read_video(tmp_path / "me.mp4")).image.shape == (50, 66, 3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_writer_killed_leaves_a_file_that_plays(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"me{suffix}"
    assert film_in_a_process(path, "kill").returncode == -signal.SIGKILL
    frames = list(read_video(path, warn=lambda _: None))
    assert len(frames) >= 40  # of 60: at most the last second is lost


def test_writer_full_disk_is_a_sentence_and_keeps_the_film(tmp_path: Path) -> None:
    path = tmp_path / "me.mp4"
    done = film_in_a_process(path, "full")
    assert "is full" in done.stderr
    assert "were kept" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert len(list(read_video(path, warn=lambda _: None))) > 5


def test_writer_without_a_picture_leaves_no_file(tmp_path: Path) -> None:
    ClipWriter(tmp_path / "me.mp4", 25).close()
    assert not (tmp_path / "me.mp4").exists()


def test_check_place_refuses_in_sentences_and_touches_nothing(tmp_path: Path) -> None:
    old = tmp_path / "old.mp4"
    old.write_bytes(b"precious")
    for path, sentence in [
        (tmp_path / "me.avi", "must end in"),
        (old, "--force"),
        (tmp_path / "no" / "me.mp4", "does not exist"),
    ]:
        with pytest.raises(LocalError, match=sentence):
            check_place(path)
    check_place(old, replace=True)
    check_place(tmp_path / "new.mp4")
    assert old.read_bytes() == b"precious"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["old.mp4"]


def no_camera(setup: studio.Setup) -> None:
    raise VideoError("camera 0 cannot be opened: check that it is plugged in")


def test_command_without_camera_says_so_and_leaves_the_old_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "open_camera", no_camera)
    old = tmp_path / "me.mp4"
    old.write_bytes(b"precious")
    with pytest.raises(LocalError, match="camera 0 cannot be opened"):
        cli.main(["-o", str(old), "--force"])
    assert old.read_bytes() == b"precious"


def test_command_without_display_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write_film(tmp_path / "in.mp4", grey_frames(3), [0.0, 0.1, 0.2])
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(LocalError, match="--no-preview"):
        cli.main(["-o", str(tmp_path / "me.mp4"), "--camera", str(film)])
    assert not (tmp_path / "me.mp4").exists()


@pytest.mark.parametrize(
    "arguments", [["--seconds", "1"], ["--camera", "nothing.mp4"], ["--fps", "0"]]
)
def test_command_misused_is_a_sentence(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(LocalError):
        cli.main(["-o", str(tmp_path / "me.mp4"), "--no-preview", *arguments])


def test_command_wrong_size_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["-o", str(tmp_path / "me.mp4"), "--size", "huge"])


class Unwatched:
    """No tracker."""

    def __init__(self, models: Path | None) -> None:
        pass

    def look(self, frame: object) -> tuple[None, bool]:
        return None, False

    def close(self) -> None:
        pass


def test_command_films_a_clip_that_stands_in_and_names_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    scene = np.kron(rng.integers(60, 200, (6, 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    film = write_film(tmp_path / "in.mp4", [scene] * 110, [i / 10 for i in range(110)])
    clock = [0.0]

    def camera(setup: studio.Setup) -> FileSource:
        return FileSource(
            film, fps=setup.fps, now=lambda: clock[0],
            sleep=lambda s: clock.__setitem__(0, clock[0] + s),
        )  # fmt: skip

    monkeypatch.setattr(studio, "open_camera", camera)
    monkeypatch.setattr(studio, "Watcher", Unwatched)
    target = tmp_path / "me.mp4"
    assert cli.main(["-o", str(target), "--no-preview", "--seconds", "5"]) == 0
    said = capsys.readouterr().out
    assert f"next: facewire dataset build {target} -o {tmp_path / 'me'}/" in said
    assert "Turn your head slowly to your left" in said
    frames = list(read_video(target))
    assert frames[-1].capture_time == pytest.approx(5.0, abs=0.2)
    assert abs(frames[20].image.astype(int) - scene).mean() < 6  # no words, no mirror


class Keys:
    """What OpenCV's window would report: one key per call, then nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, codes: list[int]) -> None:
        self.codes, self.visible, self.shown = codes, 1.0, 0
        for name, call in {
            "namedWindow": lambda *a: None,
            "imshow": self.show,
            "waitKey": lambda *a: self.codes.pop(0) if self.codes else -1,
            "getWindowProperty": lambda *a: self.visible,
            "destroyWindow": lambda *a: None,
        }.items():
            monkeypatch.setattr(f"cv2.{name}", call)

    def show(self, title: str, image: np.ndarray) -> None:
        self.shown += 1


def test_window_keys_and_closing(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys(monkeypatch, [ord("q"), 27, 32, ord("x")])
    window = stage.Window()
    assert [window.key() for _ in range(5)] == ["q", "q", " ", "", ""]
    keys.visible = 0.0
    assert window.key() == "q"


def test_film_ended_by_a_key_keeps_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = np.full((48, 64, 3), 120, np.uint8)
    film = write_film(tmp_path / "in.mp4", [scene] * 90, [i / 10 for i in range(90)])
    clock = [0.0]
    monkeypatch.setattr(studio, "display_available", lambda: True)
    monkeypatch.setattr(studio, "Watcher", Unwatched)
    monkeypatch.setattr(
        studio, "open_camera",
        lambda setup: FileSource(film, fps=30, now=lambda: clock[0],
                                 sleep=lambda s: clock.__setitem__(0, clock[0] + s)),
    )  # fmt: skip
    keys = Keys(monkeypatch, [32] + [-1] * 50 + [ord("q")])  # space skips the wait
    made = studio.film(studio.Setup(target=tmp_path / "me.mp4", seconds=60.0))
    assert not made.complete
    assert not made.interrupted
    assert keys.shown == 52
    assert made.frames == pytest.approx(52 - 30, abs=1)  # the countdown takes 3 s
    assert len(list(read_video(tmp_path / "me.mp4"))) == made.frames


class OneFace:
    """An extractor that always sees the same face."""

    name, schema = "one", "arkit46"

    def extract(self, frame: Frame) -> list[TrackedFace]:
        params = FaceParams(np.full(46, 0.5), np.radians([1.0, 2.0, 3.0]), frame.capture_time)
        crop, marks = PortraitCrop(60, 50, 80), np.array([[40, 20], [80, 70]], np.float32)
        small = replace(crop, side=20.0)
        return [TrackedFace(params, np.eye(4), 100.0, marks, c, 1.0) for c in (crop, small)]

    def close(self) -> None:
        pass


def test_watcher_tells_where_the_face_is_and_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "open_extractor", lambda **options: OneFace())
    watcher = studio.Watcher(None)
    frame = Frame(0, 5.0, np.zeros((100, 200, 3), np.uint8))
    for _ in range(500):
        face, tracked = watcher.look(frame)
        if tracked:
            break
        time.sleep(0.01)
    assert face is not None
    assert face.box == pytest.approx((0.2, 0.2, 0.4, 0.7))
    assert face.rotation_deg == pytest.approx((1, 2, 3))
    assert (face.height_px, face.others, face.expression[0]) == (50.0, 0, 0.5)
    late = Frame(1, 5.0 + 2 * studio.FRESH_S, frame.image)
    assert watcher.look(late) == (None, False)
    watcher.close()


def test_watcher_without_models_leaves_the_prompts_to_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(**options: object) -> None:
        raise LocalError("no model")

    monkeypatch.setattr(studio, "open_extractor", missing)
    watcher = studio.Watcher(None)
    assert watcher.look(Frame(0, 0.0, np.zeros((4, 4, 3), np.uint8))) == (None, False)
    watcher.close()


def test_camera_is_asked_for_the_size_and_files_stand_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[int, float] = {}

    class Camera:
        def __init__(self, number: int) -> None:
            asked[-1] = number

        def set(self, what: int, value: float) -> None:
            asked[what] = value

        def isOpened(self) -> bool:
            return False

        def release(self) -> None:
            pass

    monkeypatch.setattr("cv2.VideoCapture", Camera)
    with pytest.raises(VideoError, match="camera 3"):
        studio.open_camera(studio.Setup(target=tmp_path / "x.mp4", camera="3", size=(640, 480)))
    assert (asked[-1], asked[cv2.CAP_PROP_FRAME_WIDTH]) == (3, 640)
    assert asked[cv2.CAP_PROP_FRAME_HEIGHT] == 480
    film = write_film(tmp_path / "in.mp4", grey_frames(3), [0.0, 0.1, 0.2])
    source = studio.open_camera(studio.Setup(target=tmp_path / "x.mp4", camera=str(film)))
    assert isinstance(source, FileSource)
