"""Where a run's pictures are kept: memory, a file, or nowhere."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conference import train_memory
from conference.train_memory import BYTES, LEAST_SIZE, REST, free_memory, largest_size, room_for
from quic_transport.errors import LocalError

Usage = namedtuple("Usage", "total used free")


def test_pictures_that_fit_are_kept_in_memory_without_a_word(tmp_path: Path) -> None:
    said: list[str] = []
    rgb, alpha = room_for(4, 64, tmp_path, said.append, free=REST + BYTES * 4 * 64 * 64)
    assert (rgb.shape, alpha.shape, said) == ((4, 64, 64, 3), (4, 64, 64), [])
    assert rgb.base is None


def test_pictures_that_do_not_fit_lie_in_a_file_that_has_no_name(tmp_path: Path) -> None:
    said: list[str] = []
    rgb, alpha = room_for(4, 64, tmp_path / "new", said.append, free=REST + 4 * 4 * 64 * 63)
    rgb[:], alpha[:] = 7, 9
    assert (int(rgb.min()), int(alpha.max())) == (7, 9)
    assert (rgb.shape, alpha.shape) == ((4, 64, 64, 3), (4, 64, 64))
    assert list((tmp_path / "new").iterdir()) == []
    assert len(said) == 1
    assert "kept in a file" in said[0]


def test_memory_that_numpy_does_not_get_leads_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def empty(*args: object) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "empty", empty)
    said: list[str] = []
    rgb, _ = room_for(2, 64, tmp_path, said.append, free=1 << 40)
    assert rgb.shape == (2, 64, 64, 3)
    assert len(said) == 1


def test_room_nowhere_is_one_sentence_with_a_size_that_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_memory.shutil, "disk_usage", lambda _: Usage(1, 1, 10_000))
    with pytest.raises(LocalError) as error:
        room_for(1000, 512, tmp_path, print, free=REST + 500_000_000)
    text = str(error.value)
    assert "1000 pictures of 512 px take 1.0 GB, and 1.6 GB of memory are free" in text
    assert "--size 352 would fit" in text
    assert "\n" not in text


@given(st.integers(1, 10_000), st.integers(-(10**9), 10**11))
def test_the_size_that_fits_fits_and_the_next_one_does_not(count: int, free: int) -> None:
    size = largest_size(count, free)
    if size is None:
        assert BYTES * count * LEAST_SIZE**2 > free
    else:
        assert BYTES * count * size**2 <= free < BYTES * count * (size + 32) ** 2


def test_the_system_says_how_much_is_free_or_nothing() -> None:
    free = free_memory()
    assert free is None or free > 1_000_000
