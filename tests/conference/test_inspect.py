"""`facewire inspect` shows what is there and refuses what is not an avatar."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from conference.inspect import main
from quic_transport.errors import AvatarFileError, LocalError
from tests.conference.conftest import TinyPerson


def test_inspect_shows_description_sections_and_bounds(
    tiny: TinyPerson, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tiny.avatar)]) == 0
    out = capsys.readouterr().out
    for word in ("Tiny", "truth", "arkit46", "field.config", "mean.*", "yaw", "0.600 m"):
        assert word in out


def test_inspect_preview_draws_the_head(tiny: TinyPerson, tmp_path: Path) -> None:
    path = tmp_path / "new" / "face.png"
    assert main([str(tiny.avatar), "--preview", str(path), "--size", "48"]) == 0
    image = cv2.imread(str(path))
    assert image is not None
    assert image.shape == (48, 48, 3)
    assert image.min() < 250  # something stands before the white


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
