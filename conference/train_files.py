"""The files that a training run keeps beside its avatar, and what happens when one cannot be kept.

The rule: each is written whole beside its place and renamed, so that whoever looks (or a process
that is killed) finds the new one or the one before; a file that cannot be written costs one
sentence, never the training.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from conference.terminal import announce


class RunFiles:
    """Of the run that makes one avatar."""

    def __init__(self, avatar: Path, say: Callable[[str], None] = announce) -> None:
        self._say = say
        self._failed: set[Path] = set()
        self.checkpoint = _beside(avatar, ".checkpoint.npz")
        """Where the run goes on."""
        self.preview = _beside(avatar, ".preview.png")
        """Held-out frames as filmed, and the head below."""
        self.plot = _beside(avatar, ".progress.png")
        """Held-out PSNR against seconds."""
        self.rows = _beside(avatar, ".progress.csv")
        """The numbers behind the plot."""

    def attempt(self, path: Path, write: Callable[[], None]) -> bool:
        """Whether `write` could write `path`; the first failure in a row is said."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write()
        except OSError as error:
            if path not in self._failed:
                self._failed.add(path)
                kept = "; the one before it stays" if path.is_file() else ""
                self._say(f"{path} cannot be written ({error.strerror or error}){kept}: "
                          "the training goes on")  # fmt: skip
            return False
        self._failed.discard(path)
        return True

    def put(self, path: Path, data: bytes) -> bool:
        """Write `data` as `attempt` does."""
        return self.attempt(path, lambda: write_whole(path, data))


def write_whole(path: Path, data: bytes) -> None:
    """The file with this content, or the one that was there; OSError if it cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_bytes(data)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def _beside(avatar: Path, ending: str) -> Path:
    stem = avatar.with_suffix("")
    return stem.with_name(stem.name + ending)
