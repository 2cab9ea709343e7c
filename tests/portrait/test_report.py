"""The page: self-contained, well formed, small; its plots and pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portrait.report import write_report
from portrait.report_coverage import coverage_counts, coverage_map, range_bars, used_share
from portrait.report_pictures import (
    good_frames,
    marked,
    matte_frames,
    over_checker,
    spread_rows,
    worst_frames,
)
from portrait.report_plots import COLUMNS, curves, thinned, ticks, timeline
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46
from tests.portrait.clips import clip, good_facts, write_set

VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Checks that tags close in order, and gathers what the page refers to and says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.refers: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.refers += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with faults: left-out frames, blurred ones, a step of the light."""
    facts = good_facts(30.0)
    facts.reason[200:300] = "no face"
    facts.rotation[200:300] = facts.expression[200:300] = np.nan
    facts.picture[:] = -1
    facts.picture[facts.reason == ""] = np.arange(650)
    facts.sharpness[500:540] = 20.0
    facts.brightness[600:] = 160.0
    facts.rotation[560:640] = 0.0  # the light changes while the head is still
    return write_set(tmp_path_factory.mktemp("set") / "me", facts, source="<b>me & you</b>.mp4")


def test_report_is_one_self_contained_small_page(folder: Path) -> None:
    path = write_report(folder)
    text = path.read_text(encoding="utf-8")
    assert path == folder / "report.html"
    assert path.stat().st_size < 3_000_000
    page = Page(text)
    assert page.refers
    assert all(ref.startswith("data:image/jpeg;base64,") for ref in page.refers)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", text)
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    assert not list(folder.glob("*.tmp"))


def test_report_shows_pictures_plots_advice_and_counts(folder: Path) -> None:
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert page.tags.count("img") >= 12 + 5 + 2
    assert page.tags.count("svg") == 4 + 1 + 2 + 1  # curves, map, bars, left-out frames
    for words in (
        "650 of 750", "Only 26 s of usable face", "No face in 100 of 750 frames",
        "blurred: 25 % of the usual sharpness", "Light changed by +25 %", "no face: 100 frames",
        "What to film again", "Where the head was turned", "browDownLeft",
    ):  # fmt: skip
        assert words in page.words, words
    assert "<b>me & you</b>.mp4" in page.words  # escaped in the file, whole on the page


def test_report_of_foreign_numbers_without_error_or_names(tmp_path: Path) -> None:
    facts = good_facts(6.0)
    facts.error_px[:] = np.nan
    facts.expression[:] *= 5  # no [0, 1]
    object.__setattr__(facts, "schema", "fw46")
    page = Page(write_report(write_set(tmp_path / "me", facts)).read_text(encoding="utf-8"))
    assert "fw01" in page.words
    assert "Reprojection" not in page.words
    assert page.tags.count("svg") == 3 + 1 + 2


def test_report_missing_pictures_are_left_out_not_fatal(tmp_path: Path) -> None:
    made = write_set(tmp_path / "me", good_facts(6.0))
    for path in (made / "head_imgs").iterdir():
        path.unlink()
    page = Page(write_report(made).read_text(encoding="utf-8"))
    assert "Heads cut out" not in page.words
    assert "Good frames" in page.words


def test_report_of_no_set_or_damaged_facts_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="not a finished training set"):
        write_report(tmp_path)
    made = write_set(tmp_path / "me", good_facts(6.0))
    (made / "facts.npz").write_bytes(b"PK nonsense")
    with pytest.raises(LocalError, match="missing or damaged"):
        write_report(made)


def test_good_frames_are_spread_and_without_fault() -> None:
    facts = clip(sharpness=np.where(np.arange(1500) % 3 == 0, 20.0, 80.0))
    shown = good_frames(facts)
    assert len(shown) == 12
    assert all(s.row % 3 for s in shown)
    assert np.ptp(facts.rotation_deg[[s.row for s in shown], 1]) > 45
    assert [s.row for s in shown] == sorted(s.row for s in shown)


def test_worst_frames_mix_the_kinds_and_name_them() -> None:
    error, sharp, light = np.ones(1500), np.full(1500, 80.0), np.full(1500, 100.0)
    error[[100, 102, 700]], sharp[900], light[1200] = (9.0, 12.0, 5.0), 20.0, 130.0
    shown = worst_frames(clip(error_px=error, sharpness=sharp, brightness=light))
    assert [s.row for s in shown] == [102, 900, 1200, 700]  # 100 is the moment of 102
    assert [s.caption for s in shown] == [
        "0:04, tracking off by 12.0 px (usually 1.0)", "0:36, blurred: 25 % of the usual sharpness",
        "0:48, 30 % brighter than usual", "0:28, tracking off by 5.0 px (usually 1.0)",
    ]  # fmt: skip
    assert worst_frames(clip()) == []


def test_matte_frames_hold_the_extremes_once() -> None:
    facts = clip()
    shown = {s.caption.split(",")[0]: s.row for s in matte_frames(facts)}
    assert shown["furthest left"] == facts.rotation_deg[:, 1].argmax()  # +yaw: the person's left
    assert shown["furthest up"] == facts.rotation_deg[:, 0].argmin()
    assert len(set(shown.values())) == len(shown)


def test_spread_rows_prefers_far_rows_and_stops_at_copies() -> None:
    features = np.array([[0.0], [0.1], [5.0], [5.0], [-4.0]])
    assert set(spread_rows(features, 3)) == {1, 2, 4}
    assert len(spread_rows(np.zeros((5, 2)), 3)) == 1
    assert spread_rows(np.zeros((0, 2)), 3) == []


def test_over_checker_shows_checks_only_where_nothing_is() -> None:
    rgb = np.full((40, 40, 3), 255, np.uint8)
    rgb[10:30, 10:30] = (200, 100, 50)
    alpha = np.zeros((40, 40), np.uint8)
    alpha[10:30, 10:30] = 255
    out = over_checker(rgb, alpha)
    assert (out[10:30, 10:30] == (200, 100, 50)).all()
    assert set(np.unique(out[:10])) == {120, 200}


def parsed(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def test_curves_are_well_formed_and_stay_inside_the_axes() -> None:
    time = np.arange(5000) / 25
    values = 10 * np.sin(time)
    values[1000:1200] = np.nan
    drawing = parsed(curves("a < b", time, [("x", values)], unit="°", gone=time[50:60],
                            held_out_from=150.0))  # fmt: skip
    path = next(p.attrib["d"] for p in drawing.iter("path") if "c0" in p.attrib["class"])
    points = np.array([[float(x) for x in pair] for pair in re.findall(r"([\d.]+) ([\d.]+)", path)])
    assert path.count("M") == 2  # a gap lifts the pen
    assert len(points) <= 2 * COLUMNS
    assert points[:, 0].min() >= 52
    assert points[:, 0].max() <= 848
    assert np.ptp(points[:, 1]) > 100
    assert drawing.attrib["aria-label"] == "a < b"
    assert {"held", "gone"} <= {e.attrib.get("class") for e in drawing.iter()}


def test_curves_of_nothing_are_nothing() -> None:
    time = np.arange(10.0)
    assert curves("x", time, [("x", np.full(10, np.nan))]) == ""
    assert curves("x", np.empty(0), [("x", np.empty(0))]) == ""
    assert parsed(curves("x", np.zeros(1), [("x", np.ones(1))])) is not None


def test_thinned_keeps_the_peaks() -> None:
    values = np.zeros(10_000)
    values[[1234, 7777]] = 5.0, -3.0
    time, out = thinned(np.arange(10_000.0), values)
    assert len(out) <= 2 * COLUMNS
    assert (out.max(), out.min()) == (5.0, -3.0)
    assert (np.diff(time) > 0).all()


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_are_round_and_inside(low: float, reach: float) -> None:
    got = ticks(low, low + reach)
    assert 1 <= len(got) <= 12
    assert all(low - 1e-6 * reach <= t <= low + reach * (1 + 1e-5) for t in got)


def test_coverage_counts_every_frame_in_its_cell() -> None:
    counts, across, down = coverage_counts(np.array([0.0, 1.0, 44.0]), np.array([0.0, 0.0, -25.0]))
    assert counts.sum() == 3
    row, column = (int(np.searchsorted(e, 0.0)) - 1 for e in (down, across))
    assert counts[row, column] == 2
    assert counts.shape == (len(down) - 1, len(across) - 1)


def test_coverage_map_puts_the_persons_left_at_the_left() -> None:
    rotation = np.zeros((30, 3))
    rotation[:, 1] = 25.0
    full = [e for e in parsed(coverage_map(rotation)).iter("rect") if e.attrib["class"] == "full"]
    (title,) = (e.text for e in full[0].iter("title"))
    assert title == "25° left, 0°: 30 frames"
    middle = float(parsed(coverage_map(rotation)).attrib["viewBox"].split()[2]) / 2
    assert float(full[0].attrib["x"]) < middle


def test_used_share_and_bars_tell_used_from_unused() -> None:
    face = np.zeros((100, 46), np.float32)
    face[:30, 0] = 0.8
    used = used_share(face, "arkit46")
    assert used[0] == pytest.approx(0.3)
    assert used[1:].max() == 0
    assert used_share(10 * face - 3, "fw46")[0] == pytest.approx(0.3)
    bars = parsed(range_bars(ARKIT46, face, used))
    kinds = [e.attrib["class"] for e in bars.iter("rect") if e.attrib["class"] != "track"]
    assert kinds == ["used"] + ["unused"] * 45
    assert "never" in [e.text for e in bars.iter("text")]


def test_timeline_marks_each_reason_where_it_is() -> None:
    time = np.arange(100.0)
    reason = np.where(time >= 90, "turned away", "")
    drawing = parsed(timeline(time, reason, ["turned away"]))
    path = next(p.attrib["d"] for p in drawing.iter("path"))
    assert min(float(x) for x in re.findall(r"M([\d.]+)", path)) > 52 + 0.9 * 780


def test_report_shows_plate_classes_torso_and_composite_where_they_are(tmp_path: Path) -> None:
    made = write_set(tmp_path / "me", good_facts(6.0))
    assert "Background" not in Page(write_report(made).read_text(encoding="utf-8")).words
    portrait = cv2.imread(str(made / "ori_imgs" / "0.jpg"))
    assert portrait is not None
    for name in ("parsing", "torso_imgs", "gt_imgs"):
        (made / name).mkdir()
    for n in range(150):
        cv2.imwrite(str(made / "parsing" / f"{n}.png"), np.full_like(portrait, (255, 0, 0)))
        cv2.imwrite(str(made / "torso_imgs" / f"{n}.png"), np.dstack([portrait, portrait[..., 0]]))
        cv2.imwrite(str(made / "gt_imgs" / f"{n}.jpg"), portrait)
    cv2.imwrite(str(made / "background.png"), np.full((90, 160, 3), 90, np.uint8))
    cv2.imwrite(str(made / "plate.jpg"), np.full_like(portrait, 255))  # white: no plate
    (made / "background.json").write_text('{"inpainted": 0.384}')
    page = Page(write_report(made).read_text(encoding="utf-8"))
    assert "38 % were never seen" in page.words
    for kind in ("classes, furthest left", "neck and torso, ", "person over the plate, "):
        assert page.words.count(kind) >= 1, kind
    assert "the same, where the portrait is" not in page.words
    for path in (made / "torso_imgs").iterdir():
        path.write_bytes(b"damaged")
    (made / "background.json").write_text("[]")
    words = Page(write_report(made).read_text(encoding="utf-8")).words
    assert "neck and torso" not in words
    assert "background plate" in words


def test_doubtful_frames_carry_the_landmarks(tmp_path: Path) -> None:
    facts = good_facts(6.0)
    facts.error_px[70] = 9.0
    made = write_set(tmp_path / "me", facts, size=512)
    plain = write_report(made).read_bytes()
    (made / "ori_imgs" / "70.lms").write_text("256 256\n300.5 200\n")
    assert write_report(made).read_bytes() != plain
    (made / "ori_imgs" / "70.lms").write_text("256 256\n300.5\n")
    assert write_report(made).read_bytes() == plain
    picture = np.zeros((512, 512, 3), np.uint8)
    dotted = marked(picture, np.array([[100.0, 50.0], [9e9, -9e9]]))
    assert tuple(dotted[50, 100]) == (40, 220, 255)
    assert picture.max() == 0
