"""The demo's own parts: what is kept, what is held out, what is put side by side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from conference.demo import Steps, parse, read_invite
from conference.demo_pictures import (
    BAR_PX,
    Column,
    recorded,
    side_by_side,
    source_portraits,
    write_contact_sheet,
    write_video,
)
from conference.heldout import cut_clip, cut_trainset
from conference.reference import ReferenceMeter
from nerf.camera import portrait_camera
from nerf.trainset import TrainSet, portrait_poses, read_trainset, write_trainset
from quic_transport.errors import LocalError
from receiver.display import Picture
from sender.frames import Frame
from sender.truth_extractor import TruthExtractor
from sender.video import read_video
from tests.conference.conftest import DISTANCE, FPS, TinyPerson, truth_tracks

PX = 32


@pytest.fixture
def trainset(tmp_path: Path) -> TrainSet:
    """Portraits of the tiny person, each with a grey of its own."""
    folder = tmp_path / "set"
    time, expression, rotation = truth_tracks()
    for name in ("head_imgs", "ori_imgs", "parsing", "matte"):
        (folder / name).mkdir(parents=True)
    for i in range(len(time)):
        grey = np.full((PX, PX, 3), i, np.uint8)
        for name in ("head_imgs", "ori_imgs"):
            cv2.imwrite(str(folder / name / f"{i}.jpg"), grey, [cv2.IMWRITE_JPEG_QUALITY, 100])
        cv2.imwrite(str(folder / "matte" / f"{i}.png"), np.full((PX, PX), 255, np.uint8))
        (folder / "ori_imgs" / f"{i}.lms").write_text("")
    made = TrainSet(
        folder=folder, camera=portrait_camera(PX, DISTANCE, 2.6), distance_m=DISTANCE, scale=2.6,
        img_id=np.arange(len(time)), expression=expression, rotation=rotation,
        pose=portrait_poses(rotation, DISTANCE), time=time, offset=np.zeros((len(time), 3)),
        train_count=100, extractor="truth", frame_rate=float(FPS),
    )  # fmt: skip
    write_trainset(made)
    return made


def test_heldout_clip_truth_and_set_are_the_same_instants(
    tiny: TinyPerson, trainset: TrainSet, tmp_path: Path
) -> None:
    clip, folder = tmp_path / "heldout.mp4", tmp_path / "heldout"
    start = cut_clip(tiny.clip, trainset, clip)
    cut_trainset(trainset.folder, start, folder)
    held = read_trainset(folder)
    assert start == pytest.approx(5.0)
    frames = list(read_video(clip))
    assert len(frames) == len(held) == 20
    times = [frame.capture_time for frame in frames]
    assert times == pytest.approx(list(held.time), abs=0.002)
    truth = TruthExtractor(clip)
    for row, frame in enumerate(frames):
        found = truth.extract(Frame(row, 0.0, frame.image, frame.media_time))[0]
        np.testing.assert_allclose(found.params.expression, held.expression[row], atol=1e-6)
    whole = list(read_video(tiny.clip))[100]
    assert np.abs(frames[0].image.astype(int) - whole.image).mean() < 3


def test_reference_meter_compares_each_picture_with_its_own_instant(trainset: TrainSet) -> None:
    meter = ReferenceMeter(trainset.folder, PX)
    meter.offer(Picture(np.zeros((PX, PX, 3), np.uint8), 1007.0))  # the origin is not known yet
    meter.set_origin(1000.0)
    portraits = source_portraits(trainset.folder, PX)
    for index in (3, 60):
        meter.offer(Picture(portraits.images[index], 1000.0 + index / FPS))
    meter.offer(Picture(portraits.images[9], 1000.0 + 9.4 / FPS))  # between two instants
    scores = meter.finish()
    assert scores["pictures measured"] == 2
    assert scores["PSNR whole, dB"] == 100.0
    assert scores["SSIM head"] == pytest.approx(1.0)


def test_reference_folder_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"--reference: .* not a finished training set"):
        ReferenceMeter(tmp_path, PX)


def column(start: float, shade: int) -> Column:
    time = start + np.arange(20) / 20
    return Column(time, [np.full((PX, PX, 3), shade + i, np.uint8) for i in range(20)])


def test_column_shows_the_last_picture_that_is_not_later() -> None:
    one = column(0.0, 0)
    assert [int(one.at(t)[0, 0, 0]) for t in (-1.0, 0.0, 0.045, 0.05, 0.51, 9.0)] == [
        0, 0, 0, 1, 10, 19,
    ]  # fmt: skip


def test_side_by_side_covers_what_all_columns_cover_and_plays(tmp_path: Path) -> None:
    columns = [column(0.0, 0), column(0.2, 100), column(0.1, 200)]
    frames = list(side_by_side(columns, 20))
    assert len(frames) == 15
    assert frames[0].shape == (PX + BAR_PX, 3 * PX, 3)
    middle = frames[0][BAR_PX + 5, [5, PX + 5, 2 * PX + 5], 0]
    assert middle.tolist() == [4, 100, 202]
    assert write_video(iter(frames), tmp_path / "out.mp4", 20) == 15
    played = recorded(tmp_path / "out.mp4", 3.0)
    assert played.time[[0, -1]] == pytest.approx([3.0, 3.7])
    write_contact_sheet(columns, tmp_path / "sheet.png")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet is not None
    assert sheet.shape == (BAR_PX + 6 * PX, 3 * PX, 3)


def run_steps(folder: Path, first: str, log: list[str]) -> None:
    """Two steps; the second uses what the first made."""
    steps = Steps(folder)
    for name, recipe in (("one", [first]), ("two", ["b"])):

        def work(name: str = name) -> None:
            log.append(name)
            (folder / name).write_text("made")

        steps.run(name, recipe, folder / name, work)


def test_steps_are_kept_until_they_or_what_they_build_on_change(tmp_path: Path) -> None:
    log: list[str] = []
    run_steps(tmp_path, "a", log)
    run_steps(tmp_path, "a", log)
    assert log == ["one", "two"]
    (tmp_path / "two").unlink()
    run_steps(tmp_path, "a", log)
    assert log == ["one", "two", "two"]
    run_steps(tmp_path, "changed", log)
    assert log[3:] == ["one", "two"]
    (tmp_path / "steps.json").write_text("[nonsense")
    run_steps(tmp_path, "changed", log)
    assert log[5:] == ["one", "two"]


def test_steps_interrupted_step_is_done_again(tmp_path: Path) -> None:
    def fail() -> None:
        (tmp_path / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Steps(tmp_path).run("one", ["a"], tmp_path / "half", fail)
    log: list[str] = []
    Steps(tmp_path).run("one", ["a"], tmp_path / "half", lambda: log.append("again"))
    assert log == ["again"]


@pytest.mark.parametrize("argv", [["--seconds", "1"], ["--budget", "0"]])
def test_demo_nonsense_flags_are_sentences(argv: list[str]) -> None:
    with pytest.raises(LocalError, match=argv[0]):
        parse(argv)


def test_demo_reads_the_invite_and_nothing_else() -> None:
    assert read_invite("invite: facewire://x\n") == "facewire://x"
    with pytest.raises(LocalError, match="did not start"):
        read_invite("")
