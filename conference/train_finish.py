"""The end of a training run: last look, scores, body and room, the avatar, and what is said.

The rule: the avatar comes first. A Ctrl-C here leaves out what takes long and goes straight to the
file; memory or a picture that is missing costs that part alone; and until the file is there, the
checkpoint stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.terminal import announce
from conference.train_avatar import Sections, learn_whole, write_avatar
from conference.train_curve import Point, draw, to_csv
from conference.train_files import RunFiles
from conference.train_look import Looks
from conference.train_report import Scores, Trained, facts_of, scores_of, sentences
from nerf.batch_size import out_of_memory
from nerf.cpu.pool import WorkerPool, available_threads
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.full_frame import PictureScore

Judge = Callable[[Trained], dict[str, float]]


class _Ending:
    """What there is of the result so far."""

    def __init__(self, run: Trained, files: RunFiles, points: list[Point],
                 judge: Judge | None) -> None:  # fmt: skip
        self.run, self.files, self.points, self.judge = run, files, points, judge
        self.judged: dict[str, float] = {}
        self.scores: Scores = {}
        self.sections: Sections = {}
        self.picture: PictureScore | None = None

    def look(self) -> None:
        """Preview and plot as they stay."""
        run = self.run
        point, picture = Looks(run.trainer, run.trainset, run.fitting).take(run.seconds, fine=True)
        self.files.put(self.files.preview, png(picture))
        if point is not None:
            self.points.append(point)
            self.files.put(self.files.rows, to_csv(self.points))
            self.files.put(self.files.plot, draw(self.points, run.request.output.stem,
                                                 run.request.seconds))  # fmt: skip

    def score(self) -> None:
        """Held-out frames."""
        self.scores = scores_of(self.run)
        self.judged = self.judge(self.run) if self.judge is not None else {}

    def whole(self) -> None:
        """Body and room."""
        try:
            self.sections, self.picture = learn_whole(self.run)
        except LocalError as error:  # a picture is missing: the head is there all the same
            announce(f"the avatar stays a head: {error}")


def finish(run: Trained, files: RunFiles, points: list[Point], interrupted: bool,
           judge: Judge | None = None) -> bool:  # fmt: skip
    """Make and write the avatar of a run whose steps are taken; True if nothing was interrupted.
    `judge` adds numbers of the caller's own to what the avatar says of itself."""
    if run.request.threads is None:  # a step is best on few threads, a picture on all
        run.trainer.pool = WorkerPool(available_threads())
    ending = _Ending(run, files, points, judge)
    skipped = False
    try:
        run.trainer.finish(corrected=run.fitting is None)
        for stage, what in ((ending.look, "preview"), (ending.whole, "body and room"),
                            (ending.score, "scores")):  # fmt: skip
            try:
                stage()
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                announce(f"memory ran out: the avatar goes without its {what}")
    except KeyboardInterrupt:
        interrupted = skipped = True
    if skipped:
        announce("interrupted: the avatar is written without what was not ready yet")
    try:
        facts = facts_of(run, ending.scores, ending.picture)
        facts.update(ending.judged)
        size = write_avatar(run, ending.sections, facts)
    except KeyboardInterrupt:
        announce("interrupted before the avatar was written: the same command with --resume "
                 "writes it")  # fmt: skip
        return False
    except (MemoryError, LocalError, RuntimeError) as error:
        if not isinstance(error, LocalError) and not out_of_memory(error):
            raise
        raise LocalError(
            f"{error or 'memory ran out'}; what was learned is in {files.checkpoint}: the same "
            "command with --resume writes the avatar"
        ) from error
    for sentence in sentences(run, ending.scores, ending.picture, size):
        announce(sentence)
    announce(f"look at {files.preview} and {files.plot}" if points else f"look at {files.preview}")
    if interrupted:
        announce("interrupted: the avatar above works as it is; the same command with --resume "
                 "goes on")  # fmt: skip
    else:
        files.checkpoint.unlink(missing_ok=True)
    return not interrupted


def png(picture: NDArray[np.uint8]) -> bytes:
    """RGB [H, W, 3] as a file."""
    import cv2

    done, data = cv2.imencode(".png", picture[..., ::-1])
    if not done:
        raise LocalError("a preview could not be made")
    return bytes(data)
