"""Where a set is made, and how it comes to its place.

The rule: a set is made beside its target and renamed, and what was at the target goes only after
that. One process at a time makes it: the lock is the system's own (flock), so it ends with its
process however that ends; where the system has no flock, nobody is refused.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from portrait.steps import LEDGER, STEPS
from quic_transport.errors import LocalError

LOCK = "lock"
OWN = (LEDGER, *(name for step in STEPS for name in step.outputs))


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Hold `folder`; LocalError where another process does. The file is gone afterwards."""
    path = folder / LOCK
    with path.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except BlockingIOError as error:
            raise LocalError(
                f"another build is at work in {folder}: wait for it, or choose another -o"
            ) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def refuse_occupied(out: Path, force: bool) -> None:
    """LocalError where `out` is a file, or a folder with content that may not be replaced."""
    if out.is_file():
        raise LocalError(f"{out} is a file: name a folder for the training set with -o")
    if out.is_dir() and any(out.iterdir()) and not force:
        raise LocalError(f"{out} is not empty: choose another -o, or replace it with --force")


def take_over(out: Path, partial: Path) -> None:
    """Begin with the files of the set that is to be replaced: linked where that works."""
    for name in OWN:
        source = out / name
        if source.is_dir():
            shutil.copytree(source, partial / name, copy_function=_link)
        elif source.is_file():
            partial.mkdir(parents=True, exist_ok=True)
            _link(str(source), str(partial / name))


def _link(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target


def publish(partial: Path, out: Path) -> None:
    """Put the finished set in its place; what was there goes only after that."""
    old = None
    if out.exists():
        old = out.with_name(out.name + ".old")
        if old.exists():
            shutil.rmtree(old)
        out.rename(old)
    partial.rename(out)
    if old is not None:
        shutil.rmtree(old)
