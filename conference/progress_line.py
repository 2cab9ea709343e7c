"""The line that shows how a training run goes, and when it will be over.

The rule: a bar on a terminal, a plain line every ten seconds elsewhere; both say the same.
"""

from __future__ import annotations

from conference.train_eta import in_words


class ProgressLine:
    """A rich bar on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, what: str = "training", done: str = "avatar") -> None:
        """`what` is under way, and leads to `done`."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn(what), BarColumn(), TextColumn("{task.description}"),
            console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._plain = not console.is_terminal
        self._console = console
        self._task = self._bars.add_task("", total=1.0)
        self._next = 0.0
        self._what, self._done = what, done
        self.score: float | None = None
        """PSNR in dB of a few held-out frames, when it was last taken."""

    def __enter__(self) -> ProgressLine:
        self._bars.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bars.stop()

    def show(self, progress: float, step: int | None, spent: float,
             left: float | None = None) -> None:  # fmt: skip
        """Bring the line up to date; `step` is None where there are no steps to be counted, `left`
        are the seconds until it is all over, None where nobody knows."""
        if self._plain and spent < self._next:
            return
        parts = [] if step is None else [f"step {step}"]
        parts.append(f"{spent:.0f} s")
        if self.score is not None:
            parts.append(f"held-out PSNR {self.score:.2f} dB")
        if left is not None:
            parts.append(f"{self._done} in about {in_words(left)}")
        text = ", ".join(parts)
        if self._plain:
            self._next = spent + 10.0
            self._console.print(f"{self._what} {100 * progress:3.0f} %: {text}", soft_wrap=True)
        else:
            self._bars.update(self._task, completed=progress, description=text)
