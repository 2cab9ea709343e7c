"""A bench's numbers as a table and as JSON.

The rule: a row has a stable name, a value and a unit, and a file says with which command, commit
and hardware it was made; docs/benchmarks.md lists the names.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Row:
    """One number."""

    name: str
    """Stable, dotted: bench.subject.quantity."""
    value: float
    """The number."""
    unit: str
    """ms, kbps, dB, … or empty."""


def commit() -> str | None:
    """The checkout's commit, with a + where files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True,
                              text=True, check=True).stdout.strip()  # fmt: skip
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=here, check=True,
                               capture_output=True, text=True).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")


def hardware() -> str:
    """Processor, cores that may be used, system."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    from nerf.cpu.pool import available_threads

    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"{model}, {available_threads()} cores, {platform.system()}{load}"


def document(command: Sequence[str], rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON document of a bench run."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        known: str | None = version("facewire")
    except PackageNotFoundError:
        known = None
    return {
        "commit": commit(),
        "version": known,
        "command": shlex.join(["facewire", "bench", *command]),
        "hardware": hardware(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "rows": [asdict(row) for row in rows],
    }


def print_table(title: str, header: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A plain table on standard output, first column left, the others right."""
    columns = list(zip(header, *lines, strict=True))
    widths = [max(map(len, column)) for column in columns]
    print(f"\n{title}")
    for line in [header, *lines]:
        cells = [c.ljust(w) if i == 0 else c.rjust(w)
                 for i, (c, w) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        print("  " + "  ".join(cells).rstrip())
