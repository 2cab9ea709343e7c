"""`facewire inspect` shows what is there and refuses what is not an avatar."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from conference.inspect import main
from quic_transport.avatar_file import AvatarFile, encode_avatar, load_avatar, save_avatar
from quic_transport.errors import AvatarFileError, LocalError
from tests.conference.conftest import TinyPerson

PICTURE = np.full((8, 8, 3), (200, 10, 30), np.uint8)


def with_sections(path: Path, source: Path, **changed: np.ndarray) -> Path:
    """The avatar at `source` with more sections, or others."""
    avatar = load_avatar(source)
    save_avatar(path, replace(avatar, sections={**avatar.sections, **changed}))
    return path


def test_inspect_shows_description_parts_and_bounds(
    tiny: TinyPerson, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny.avatar)]) == 0
    out = capsys.readouterr().out
    for word in ("Tiny", "truth", "arkit46", "head: networks", "layer 0, mean", "bits per weight",
                 "rank 4", "yaw", "0.600 m", "--preview"):  # fmt: skip
        assert word in out
    assert "field.config" not in out
    assert main([str(tiny.avatar), "--sections"]) == 0
    assert "mean.*.*" in capsys.readouterr().out


def test_parts_that_are_private_or_unknown_are_shown(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)
    odd = {"personal.x": noise, "who.knows": noise, "mean": noise[:9], "tables": noise[:9]}
    path = with_sections(tmp_path / "a.fwa", tiny.avatar, **odd)
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "5 kB, the personal tracker, stay here" in out
    assert "who.knows" in out


def test_inspect_preview_draws_the_head_in_three_views(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "face.png"
    assert main([str(tiny.avatar), "--preview", str(path), "--size", "48"]) == 0
    assert str(path) in capsys.readouterr().out
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (48, 3 * 48, 3)
    for view in np.split(image, 3, axis=1):
        assert view.min() < 250  # something stands before the white


def test_a_head_that_cannot_be_drawn_shows_the_picture_in_its_file(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"field.config": np.zeros(3, np.uint8)}
    path, out = tmp_path / "a.fwa", tmp_path / "face.png"
    with_sections(path, tiny.avatar, **broken, preview=PICTURE)
    assert main([str(path), "--preview", str(out)]) == 0
    assert "not a head that can be drawn here" in capsys.readouterr().out.replace("\n", " ")
    image = cv2.imread(str(out))
    assert image is not None
    assert (image[..., ::-1] == PICTURE).all()
    with_sections(path, tiny.avatar, **broken, preview=PICTURE[..., 0])
    with pytest.raises(AvatarFileError, match="cannot be drawn"):
        main([str(path), "--preview", str(out)])


def test_inspect_damaged_file_is_one_sentence(tiny: TinyPerson, tmp_path: Path) -> None:
    data = bytearray(tiny.avatar.read_bytes())
    data[len(data) // 2] ^= 1
    broken = tmp_path / "broken.fwa"
    broken.write_bytes(data)
    with pytest.raises(AvatarFileError, match=r"broken\.fwa: .*damaged"):
        main([str(broken)])


def test_inspect_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no avatar file"):
        main([str(tmp_path / "nobody.fwa")])


def test_an_avatar_without_any_sections_is_shown(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "empty.fwa"
    path.write_bytes(encode_avatar(AvatarFile(load_avatar(tiny.avatar).meta, {})))
    assert main([str(path), "--sections"]) == 0
    assert "arkit46" in capsys.readouterr().out


def test_senseless_size_is_refused_before_anything_is_shown(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LocalError, match="--size must lie in"):
        main([str(tiny.avatar), "--preview", str(tmp_path / "x.png"), "--size", "5"])
    assert capsys.readouterr().out == ""


def test_the_usual_place_is_told_in_words(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    avatar, path = load_avatar(tiny.avatar), tmp_path / "a.fwa"
    for rest, words in ((None, "an older avatar"),
                        ((-0.26, -0.13, -0.5), "10 cm left of and 5 cm above")):  # fmt: skip
        save_avatar(path, replace(avatar, meta=replace(avatar.meta, rest=rest)))
        assert main([str(path)]) == 0
        assert words in capsys.readouterr().out
