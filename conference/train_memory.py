"""Room for a training run's pictures: memory, else a file beside the avatar, else a sentence.

The rule: what would not fit is known before it is asked for, because a system that has promised
too much ends processes without a word. The file has no name (it is gone with the process, however
that ends) and its space is claimed before a picture is written to it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quic_transport.errors import LocalError

REST = 1 << 30  # bytes that training wants besides the pictures
SPARE = 1 << 28  # bytes of a disk that are left free
LEAST_SIZE = 64
BYTES = 4  # of a pixel: colour and opacity

Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def room_for(count: int, size: int, folder: Path, say: Callable[[str], None],
             free: int | None = None) -> Pictures:  # fmt: skip
    """Empty pictures uint8 [count, size, size, 3] and opacities [count, size, size]; `free` bytes
    of memory are there (by default what the system says). LocalError if there is room nowhere."""
    wanted = BYTES * count * size * size
    free = free_memory() if free is None else free
    if free is None or wanted + REST <= free:
        try:
            return (np.empty((count, size, size, 3), np.uint8),
                    np.empty((count, size, size), np.uint8))  # fmt: skip
        except MemoryError:
            free = free or 0
    short = (f"{count} pictures of {size} px take {_giga(wanted)}, and {_giga(free)} of memory "
             "are free")  # fmt: skip
    fits = largest_size(count, free - REST)
    remedy = f"; --size {fits} would fit" if fits else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rgb, alpha = _on_disk(count, size, wanted, folder)
    except OSError as error:
        raise LocalError(
            f"{short}, and {folder} has no room for them either "
            f"({error.strerror or error}){remedy}: free some, or use a smaller --size"
        ) from None
    say(f"{short}: they are kept in a file in {folder} while training lasts, which may be "
        f"slower{remedy}")  # fmt: skip
    return rgb, alpha


def _on_disk(count: int, size: int, wanted: int, folder: Path) -> Pictures:
    """Pictures in a file without a name; OSError where there is no space for it."""
    if shutil.disk_usage(folder).free < wanted + SPARE:
        raise OSError(28, "No space left on device")
    with tempfile.TemporaryFile(dir=folder, prefix="facewire-", suffix=".pictures") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, wanted)
        else:
            file.truncate(wanted)
        whole = np.asarray(np.memmap(file, np.uint8, "r+", shape=(wanted,)))
    cut = 3 * count * size * size
    return whole[:cut].reshape(count, size, size, 3), whole[cut:].reshape(count, size, size)


def largest_size(count: int, free: int) -> int | None:
    """The largest size, a multiple of 32, with which `count` pictures take at most `free` bytes."""
    size = int((max(free, 0) / (BYTES * max(count, 1))) ** 0.5) // 32 * 32
    return size if size >= LEAST_SIZE else None


def free_memory() -> int | None:
    """Bytes that this process may still take without pushing anything out; None where the system
    does not say."""
    known = [n for n in (_of_system(), _of_group()) if n is not None]
    return min(known) if known else None


def _of_system() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _of_group() -> int | None:
    """What a container's limit leaves (control groups, version 2 or 1)."""
    for folder, limit, used, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
         "total_inactive_file"),
    ):  # fmt: skip
        try:
            most = int((Path(folder) / limit).read_text())
            taken = int((Path(folder) / used).read_text())
            lines = (Path(folder) / "memory.stat").read_text().splitlines()
            spare = next((int(x.split()[1]) for x in lines if x.startswith(cache + " ")), 0)
        except (OSError, ValueError):  # no such group, or "max"
            continue
        return max(0, most - taken + spare)
    return None


def _giga(count: int) -> str:
    return f"{max(count, 0) / 1e9:.1f} GB"
