"""Model files: folders, download, pinning, offline."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from quic_transport.errors import LocalError
from sender import model_files
from sender.model_files import ModelFile, find_model

DATA = b"weights" * 100
MODEL = ModelFile("m.task", "https://example.org/m.task", hashlib.sha256(DATA).hexdigest(), 5000)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no other folder that could have the file."""
    monkeypatch.setenv("FACEWIRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("FACEWIRE_ASSETS", str(tmp_path / "assets"))
    return model_files.cache_folder()


def refuse(url: str):
    raise OSError("Network is unreachable")


def test_find_model_downloads_once_into_the_cache(cache: Path) -> None:
    path = find_model(MODEL, open_url=lambda url: io.BytesIO(DATA))
    assert path == cache / "m.task"
    assert path.read_bytes() == DATA
    assert find_model(MODEL, open_url=refuse) == path
    assert list(cache.iterdir()) == [path]


def test_find_model_prefers_the_assets_folder(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "assets" / "models"
    folder.mkdir(parents=True)
    (folder / "m.task").write_bytes(b"x")
    assert find_model(MODEL, open_url=refuse) == folder / "m.task"


def test_find_model_offline_says_what_to_do(cache: Path) -> None:
    with pytest.raises(LocalError, match=r"go online once, or download https://example\.org"):
        find_model(MODEL, open_url=refuse)


@pytest.mark.parametrize("data", [b"", DATA[:-1], DATA + b"!", b"z" * 100_000])
def test_find_model_wrong_download_is_refused_and_not_kept(cache: Path, data: bytes) -> None:
    with pytest.raises(LocalError, match="not the file that was expected"):
        find_model(MODEL, open_url=lambda url: io.BytesIO(data))
    assert not cache.exists() or not list(cache.iterdir())


def test_find_model_named_folder_without_it_raises_local_error(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"has no m\.task"):
        find_model(MODEL, tmp_path, open_url=lambda url: io.BytesIO(DATA))
