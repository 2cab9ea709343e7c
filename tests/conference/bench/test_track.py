"""The judge of trackers, on a clip and labels that the test makes itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import facewire
import sender.extractor
from conference.bench import teacher
from conference.bench.overlay import chosen_rows
from conference.bench.teacher import (
    Face,
    Labels,
    Person,
    chosen_frames,
    key_of,
    read_labels,
    teacher_labels,
    told_apart,
    write_labels,
)
from conference.bench.track_run import Sighting, costs, matched, moments_of
from nerf.camera import head_pose
from quic_transport.errors import LocalError
from quic_transport.params import FaceParams
from sender.extractor import TrackedFace
from sender.frames import Frame
from sender.portrait_crop import PortraitCrop

COUNT, SIZE = 90, 96
TIME = np.arange(COUNT) / 20
EXPRESSION = (0.5 + 0.4 * np.sin(2 * TIME[:, None] + np.arange(46))).astype(np.float32)
POSE = np.array([head_pose((0.1 * math.sin(t), 0.2 * math.cos(t), 0.0), 0.6) for t in TIME])
CLOUD = np.random.default_rng(4).uniform(-15, 15, (478, 2)).astype(np.float32)


def points(frame: int) -> np.ndarray:
    """[478, 2]: a cloud that wanders through the picture."""
    middle = np.array([48 + 20 * math.sin(TIME[frame]), 48], np.float32)
    return np.asarray(CLOUD + middle, dtype=np.float32)


def person(found: np.ndarray, shift: float = 0.0) -> Person:
    return Person(
        found, np.array([points(i) + np.float32(shift) for i in range(COUNT)]),
        np.zeros((COUNT, 478), np.float32), np.zeros((COUNT, 52), np.float32), EXPRESSION, POSE,
        found,
    )  # fmt: skip


def labels(found: np.ndarray | None = None) -> Labels:
    """One person; everywhere, or where `found`."""
    there = np.ones(COUNT, bool) if found is None else found
    people = (person(there), person(np.zeros(COUNT, bool)))
    return Labels(np.arange(COUNT), TIME, COUNT, (SIZE, SIZE), people)


def face(frame: int, landmarks: np.ndarray | None = None) -> TrackedFace:
    """What a perfect tracker says."""
    still = np.zeros(3, np.float32)
    params = FaceParams(EXPRESSION[frame], still, TIME[frame], still)
    marks = points(frame) if landmarks is None else landmarks
    return TrackedFace(params, POSE[frame], 78.0, marks, PortraitCrop(48.0, 48.0, 60.0), 1.0)


class Known:
    """A tracker that knows the clip: it needs `slow` bright frames before it sees a face."""

    name, schema = "known", "arkit46"

    def __init__(self, slow: int = 1) -> None:
        self._slow, self._bright = slow, 0
        self.seen: list[Frame] = []

    def extract(self, frame: Frame) -> list[TrackedFace]:
        self.seen.append(frame)
        self._bright = self._bright + 1 if frame.image[..., 0].mean() > 150 else 0
        return [face(frame.index)] if self._bright >= self._slow else []

    def close(self) -> None:
        pass


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a bright clip, a dark one, their labels, and the trackers of this test."""
    (tmp_path / "face_landmarker.task").write_bytes(b"not looked into")
    nothing = labels(np.zeros(COUNT, bool))
    for name, level, known in (("bright", 200, labels()), ("dark", 40, nothing)):
        path = tmp_path / f"{name}.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=20)
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for _ in range(COUNT):
                image = np.full((SIZE, SIZE, 3), level, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
        key = key_of(path, tmp_path / "face_landmarker.task")
        write_labels(tmp_path / f"{name}-{key}.npz", known)
    monkeypatch.setattr(sender.extractor, "open_extractor", lambda *_, **__: Known())
    return tmp_path


def bench(lab: Path, *more: str) -> int:
    return facewire.main(["bench", "track", "--models", str(lab), "--cache", str(lab), *more])


def test_perfect_tracker_agrees_and_everything_is_written(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [lab / "track.md", lab / "track.json"]
    flags = [x for f in files for x in ("--out", str(f))]
    clips = [str(lab / "bright.mp4"), str(lab / "dark.mp4")]
    assert bench(lab, *clips, "--extractor", "known", "--pictures", str(lab / "p"), *flags) == 0
    made = json.loads(files[1].read_text(encoding="utf-8"))
    rows = {row["name"]: row["value"] for row in made["rows"]}
    assert all(math.isfinite(v) for v in rows.values())
    assert rows["track.bright.known.r"] == pytest.approx(1)
    assert rows["track.all.known.r_blink"] == pytest.approx(1)
    assert rows["track.bright.known.mae_raw"] == pytest.approx(0, abs=1e-6)
    assert rows["track.bright.known.rotation_p95"] == pytest.approx(0, abs=1e-6)
    assert rows["track.bright.known.presence"] == 1
    assert rows["track.bright.known.delay_max"] == 1
    assert rows["track.bright.known.empty_found"] == 0
    assert rows["track.dark.known.false_presence"] == 0
    assert "track.dark.known.r" not in rows
    assert made["command"].startswith("facewire bench track")
    page = files[0].read_text(encoding="utf-8")
    assert page.count("\n| jawOpen | 1 | 1.00 |") == 1
    assert "## known: clips without a face" in page
    assert (lab / "p" / "bright.jpg").read_bytes()[:2] == b"\xff\xd8"
    assert "1 clips: median r 1.000" in capsys.readouterr().out


def test_bright_clip_without_a_face_is_all_false_presence(lab: Path) -> None:
    path, key = lab / "bright.mp4", key_of(lab / "bright.mp4", lab / "face_landmarker.task")
    write_labels(lab / f"bright-{key}.npz", labels(np.arange(COUNT) < 40))
    assert bench(lab, str(path), "--out", str(lab / "t.json")) == 0
    made = json.loads((lab / "t.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row["value"] for row in made["rows"]}
    assert rows["track.bright.facenet.false_presence"] == 1
    assert rows["track.bright.facenet.teacher_false"] == pytest.approx(40 / COUNT)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["none.mp4"], "no video at"), (["bright.mp4", "--out", "x.csv"], ".json or .md"),
     (["bright.mp4", "bright.mp4"], "same name")],
)  # fmt: skip
def test_wrong_arguments_are_one_sentence(
    lab: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    made = [str(lab / a) if a.endswith("mp4") else a for a in arguments]
    assert bench(lab, *made) == 1
    assert sentence in capsys.readouterr().err


def test_unreadable_clip_is_left_out_and_alone_an_error(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (lab / "broken.mp4").write_bytes(b"no video")
    assert bench(lab, str(lab / "broken.mp4"), str(lab / "dark.mp4")) == 0
    assert "left out: broken.mp4" in capsys.readouterr().out
    assert bench(lab, str(lab / "broken.mp4")) == 1
    assert "none of the clips" in capsys.readouterr().err


def test_matched_finds_losses_strays_and_the_person_who_is_followed() -> None:
    faces = [[face(i)] for i in range(COUNT)]
    faces[20:25] = [[]] * 5
    faces[50] = [face(50, points(50) + 60)]
    match = matched(faces, labels())
    assert match.losses == 2
    assert match.stray == pytest.approx(1 / COUNT)
    assert match.presence == pytest.approx(1 - 6 / COUNT)
    assert len(match.rows) == COUNT - 6
    both = labels()
    always = np.ones(COUNT, bool)
    people = (person(always, shift=70), person(always))
    two = Labels(both.index, TIME, COUNT, both.size, people)
    match = matched(faces, two)
    assert match.person is two.people[1]
    assert matched([[]] * COUNT, labels()).presence == 0


def test_costs_counts_the_frames_until_the_face_is_found_again() -> None:
    bright = np.full((SIZE, SIZE, 3), 200, np.uint8)
    moments = [[Frame(i, i / 20, bright, i / 20) for i in range(k, k + 10)] for k in (0, 40)]
    opened: list[Known] = []

    def open_tracker() -> Known:
        opened.append(Known(slow=3))
        return opened[-1]

    cost = costs(moments, open_tracker)
    assert cost.delays.tolist() == [3, 3]
    assert cost.empty_found == 0
    assert len(cost.acquiring_ms) == 2
    assert len(cost.tracking_ms) >= 2 * (10 - 3)
    times = [frame.capture_time for frame in opened[0].seen]
    assert times == sorted(set(times))
    never = costs(moments, lambda: Known(slow=99))
    assert np.isinf(never.delays).all()
    assert len(never.tracking_ms) == 0


def test_moments_lie_where_the_face_is_seen_throughout() -> None:
    seen = (np.arange(COUNT) < 35) | (np.arange(COUNT) >= 50)
    spans = moments_of(labels(seen))
    assert len(spans) == 6
    assert all(seen[list(span)].all() for span in spans)
    assert spans[-1].stop == COUNT
    assert moments_of(labels(np.arange(COUNT) % 9 > 0)) == []
    assert len(moments_of(labels(np.zeros(COUNT, bool)))) == 6  # without a face: anywhere


@given(st.integers(0, 20_000), st.integers(1, 900), st.integers(1, 60))
def test_chosen_frames_are_runs_spread_over_the_clip(count: int, most: int, run: int) -> None:
    index = chosen_frames(count, most, run)
    assert np.array_equal(index, np.unique(index))
    if count <= most:
        assert len(index) == count
        return
    assert 0 < len(index) <= most
    assert index[0] == 0
    assert index[-1] < count
    if count > 2 * run and most >= 2 * run:
        assert index[-1] == count - 1
        assert np.mean(np.diff(index) == 1) >= 1 - (most // run) / len(index)


def made_face(x: float, size: float) -> Face:
    marks = (CLOUD / 30 * size + np.array([x, 50])).astype(np.float32)
    zeros = np.zeros(478, np.float32)
    return Face(marks, zeros, np.zeros(52, np.float32), np.zeros(46, np.float32), np.eye(4), True)


def test_people_keep_their_column_when_the_other_becomes_larger() -> None:
    left, right = made_face(50, 30), made_face(150, 40)
    assert told_apart([right, left], [None, None]) == [right, left]
    places = [left.place, right.place]
    grown = made_face(55, 60)
    assert told_apart([grown, right], places) == [grown, right]
    assert told_apart([right], places) == [None, right]
    stranger = made_face(400, 80)
    assert told_apart([stranger, right], places) == [stranger, right]
    assert told_apart([], places) == [None, None]


def test_labels_are_kept_whole_found_again_and_remade_when_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video, model = tmp_path / "a.mp4", tmp_path / "face_landmarker.task"
    video.write_bytes(b"one")
    model.write_bytes(b"net")
    calls = []

    def label(*_: object) -> Labels:
        calls.append(1)
        return labels()

    monkeypatch.setattr(teacher, "_label", label)

    def ask() -> Labels:
        return teacher_labels(video, cache=tmp_path / "c", models=tmp_path)

    first, again = ask(), ask()
    assert len(calls) == 1
    for name in Person.__slots__:
        assert np.array_equal(getattr(first.people[0], name), getattr(again.people[0], name))
    assert (again.frames, again.size, again.share) == (COUNT, (SIZE, SIZE), 1.0)
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(kept.read_bytes()[:5000])
    ask()
    assert len(calls) == 2
    video.write_bytes(b"two")
    ask()
    assert len(calls) == 3
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="--cache"):
        teacher_labels(video, cache=tmp_path / "file" / "c", models=tmp_path)


def test_labels_of_unexpected_shapes_are_refused(tmp_path: Path) -> None:
    wrong = labels()
    write_labels(tmp_path / "x.npz", Labels(wrong.index[:-1], TIME, COUNT, wrong.size,
                                            wrong.people))  # fmt: skip
    with pytest.raises(ValueError, match="shapes"):
        read_labels(tmp_path / "x.npz")


def test_sheet_shows_the_worst_frames_beside_even_ones() -> None:
    faces = [[face(i)] for i in range(COUNT)]
    faces[31] = []
    faces[62] = [face(62, points(62) + 4)]
    known = labels()
    rows = chosen_rows(Sighting("arkit46", faces, []), known, matched(faces, known))
    assert rows[:6] == [0, 18, 36, 53, 71, 89]
    assert {31, 62} <= set(rows[6:])


@pytest.mark.assets
def test_teacher_agrees_with_the_extractor_of_the_same_network(assets: Path) -> None:
    pytest.importorskip("mediapipe")
    from conference.bench.teacher_eyes import Eyes
    from sender.mediapipe_extractor import MediaPipeExtractor
    from sender.video import read_video

    eyes = Eyes(assets / "models" / "face_landmarker.task")
    tracker = MediaPipeExtractor(assets / "models")
    try:
        for frame in read_video(assets / "videos" / "trump_10s_512.mp4"):
            if frame.index == 3:
                break
            (mine,), (theirs,) = eyes.look(frame.image), tracker.extract(frame)
            assert mine.expression == pytest.approx(theirs.params.expression, abs=1e-5)
            assert mine.pose == pytest.approx(theirs.pose, abs=1e-5)
            assert mine.landmarks == pytest.approx(theirs.landmarks, abs=1e-3)
        small = next(read_video(assets / "videos" / "hard_small_face_duda_10s_1080p.mp4"))
        (found,) = eyes.look(small.image)
        assert 120 < found.place[2] < 260  # only a tile shows it
    finally:
        eyes.close()
        tracker.close()
