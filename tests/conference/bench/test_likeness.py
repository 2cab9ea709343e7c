"""The likeness bench: the user's own way for every clip, and what it reads off the avatar."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conference.bench import likeness
from quic_transport.errors import LocalError

SCORES = {
    f"{measure} {kind}": value + shift
    for kind, shift in (("generic tracker", 0.0), ("personal tracker", 2.0), ("pose by pose", 3.0))
    for measure, value in (("psnr", 29.0), ("psnr head", 26.0), ("psnr rimless", 30.0),
                           ("ssim", 0.9))
}  # fmt: skip


def test_scores_are_read_from_the_avatar() -> None:
    found = likeness.scores_in(SCORES, "a.mp4")
    assert found["personal psnr"] == 31.0
    assert found["ceiling psnr rimless"] == 33.0


def test_an_avatar_without_a_personal_tracker_is_said_to_be_one() -> None:
    with pytest.raises(LocalError, match="too short for a personal tracker"):
        likeness.scores_in({"psnr generic tracker": 29.0}, "a.mp4")


def test_table_shows_gains_and_their_mean() -> None:
    one = likeness.scores_in(SCORES, "a")
    two = {**one, "personal psnr": 30.0}
    lines = likeness.table({"a": one, "b": two})
    assert [line[-1] for line in lines] == ["+2.00", "+1.00", "+1.50"]
    assert lines[0][2] == "31.00 / 32.00, 2.9000"


def test_clips_that_fail_are_named_and_the_others_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(args: object, clip: Path) -> dict[str, float]:
        if clip.stem == "bad":
            raise LocalError("no face in it")
        return likeness.scores_in(SCORES, clip.name)

    monkeypatch.setattr(likeness, "scores_of", scores)
    assert likeness.main(["bad.mp4", "good.mp4", "-o", str(tmp_path)]) == 1
    out = capsys.readouterr()
    assert "bad.mp4: no face in it" in out.out + out.err
    rows = json.loads((tmp_path / "likeness.json").read_text())["rows"]
    assert {"name": "likeness.good.personal_psnr", "value": 31.0, "unit": "dB"} in rows
    with pytest.raises(LocalError, match="no clip"):
        likeness.main(["bad.mp4", "-o", str(tmp_path)])


def test_an_interrupted_clip_ends_the_bench_and_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conference import train

    seen: list[list[str]] = []

    def interrupted(command: list[str]) -> int:
        seen.append(command)
        (tmp_path / "a.fwa").write_bytes(b"what there is so far")
        (tmp_path / "a.checkpoint.npz").write_bytes(b"")
        return 130

    (tmp_path / "a.dataset").mkdir()
    (tmp_path / "a.dataset" / "transforms.json").write_text("{}")
    monkeypatch.setattr(train, "main", interrupted)
    for _ in range(2):
        assert likeness.main(["a.mp4", "-o", str(tmp_path)]) == 130
    assert ["--resume" in command for command in seen] == [False, True]
