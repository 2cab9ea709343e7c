"""The line that shows how a training run goes.

The rule: a bar on a terminal, a plain line every ten seconds elsewhere.
"""

from __future__ import annotations


class ProgressLine:
    """A rich bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, what: str = "training") -> None:
        """`what` is under way."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn(what), BarColumn(), TextColumn("{task.description}"),
            TimeRemainingColumn(), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._plain = not console.is_terminal
        self._console = console
        self._task = self._bars.add_task("", total=1.0)
        self._next = 0.0
        self._what = what
        self.score: float | None = None
        """PSNR in dB of a few held-out frames, when it was last taken."""

    def __enter__(self) -> ProgressLine:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, progress: float, step: int | None, spent: float) -> None:
        """Bring the line up to date; `step` is None where there are no steps to be counted."""
        quality = "" if self.score is None else f", held-out PSNR {self.score:.2f} dB"
        count = "" if step is None else f"step {step}, "
        text = f"{count}{spent:.0f} s{quality}"
        if not self._plain:
            self._bars.update(self._task, completed=progress, description=text)
        elif spent >= self._next:
            self._next = spent + 10.0
            self._console.print(f"{self._what} {100 * progress:3.0f} %: {text}")
