"""The server's identity, the user's folders and the avatar cache: files, whole and private."""

from __future__ import annotations

import hashlib
import stat
import threading
from pathlib import Path

import pytest

from quic_transport.avatar_cache import AvatarCache
from quic_transport.certs import FILE_NAME, load_identity, make_identity
from quic_transport.errors import LocalError
from quic_transport.folders import cache_folder, config_folder

DATA = b"an avatar" * 100
ID = hashlib.sha256(DATA).hexdigest()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_identity_is_made_once_and_private(tmp_path: Path) -> None:
    first = load_identity(tmp_path / "config")
    assert len(first.fingerprint) == 32
    assert mode(first.path) == 0o600
    assert mode(first.path.parent) == 0o700
    assert load_identity(tmp_path / "config") == first
    assert [p.name for p in (tmp_path / "config").iterdir()] == [FILE_NAME]


def test_identity_that_others_could_read_is_made_private_again(tmp_path: Path) -> None:
    path = load_identity(tmp_path).path
    path.chmod(0o644)
    load_identity(tmp_path)
    assert mode(path) == 0o600


def test_two_processes_that_make_an_identity_at_once_agree(tmp_path: Path) -> None:
    prints: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: prints.append(load_identity(tmp_path).fingerprint))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(prints) == 8
    assert len(set(prints)) == 1


def test_damaged_identity_is_one_sentence(tmp_path: Path) -> None:
    good, other = make_identity(), make_identity()
    cut = good.index(b"-----BEGIN PRIVATE")
    for bad in (b"", b"nonsense", good[:200], good[:cut], good[:cut] + other[cut:], b"\xff" * 99):
        (tmp_path / FILE_NAME).write_bytes(bad)
        with pytest.raises(LocalError, match="delete it"):
            load_identity(tmp_path)


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="FACEWIRE_CONFIG"):
        load_identity(tmp_path / "file" / "config")
    with pytest.raises(LocalError, match="FACEWIRE_CACHE"):
        AvatarCache(tmp_path / "file" / "cache").store(ID, DATA)


def test_folders_follow_the_platform() -> None:
    home = {"HOME": "/home/me"}
    assert config_folder({"FACEWIRE_CONFIG": "/x", **home}) == Path("/x")
    assert cache_folder({"FACEWIRE_CACHE": "/y", **home}) == Path("/y")
    assert config_folder(home, "linux") == Path("/home/me/.config/facewire")
    assert cache_folder({"XDG_CACHE_HOME": "/c", **home}, "linux") == Path("/c/facewire")
    assert cache_folder({"XDG_CACHE_HOME": "c", **home}, "linux") == Path(
        "/home/me/.cache/facewire"
    )
    assert cache_folder(home, "darwin") == Path("/home/me/Library/Caches/facewire")
    assert config_folder({"APPDATA": "/r", **home}, "win32") == Path("/r/facewire")


def test_cache_returns_only_what_has_the_hash(tmp_path: Path) -> None:
    cache = AvatarCache(tmp_path / "avatars")
    assert cache.load(ID) is None
    cache.store_partial(ID, DATA[:10])
    assert cache.load_partial(ID) == DATA[:10]
    cache.store(ID, DATA)
    assert cache.load(ID) == DATA
    assert cache.load_partial(ID) == b""
    (path,) = (tmp_path / "avatars").iterdir()
    assert mode(path) == 0o600
    path.write_bytes(DATA[:-1] + b"?")
    assert cache.load(ID) is None
    assert not path.exists()


@pytest.mark.parametrize("avatar_id", ["../../etc/passwd", "A" * 64, "", "0" * 63])
def test_cache_takes_no_other_names_than_hashes(tmp_path: Path, avatar_id: str) -> None:
    with pytest.raises(LocalError):
        AvatarCache(tmp_path).load(avatar_id)


def test_cache_stores_nothing_under_a_wrong_name(tmp_path: Path) -> None:
    with pytest.raises(LocalError):
        AvatarCache(tmp_path).store("0" * 64, DATA)
    assert list(tmp_path.iterdir()) == []
