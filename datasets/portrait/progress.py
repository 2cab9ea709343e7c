"""Progress bars of the build.

The rule: on a terminal they move; elsewhere each stage is one line when it begins.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from portrait.tracks import Progress


@contextmanager
def stage_progress() -> Iterator[Progress]:
    """A progress callback that shows one rich bar per stage."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    tasks: dict[str, TaskID] = {}
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:

        def show(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks and not console.is_terminal:
                print(stage, file=sys.stderr, flush=True)
            if stage not in tasks:
                for earlier in tasks.values():  # declared lengths lie: it ended where it ended
                    bars.update(earlier, total=bars.tasks[earlier].completed)
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        yield show
