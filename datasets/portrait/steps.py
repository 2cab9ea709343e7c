"""The paper's seven data-set steps, and the ledger of which are done.

    1 frames          decode, find the face, judge the clip, cut the portraits
    2 segmentation    background, head, neck, torso of every portrait
    3 background      the plate behind the person
    4 torso           torso images, and the person over the plate (ground truth)
    5 poses           one camera, a 4×4 matrix per frame, how well the landmarks fit
    6 expressions     the 46 numbers and their bounds
    7 training file   transforms.json, facts.npz and the report

The rule: a step's key is a hash of its version, its own inputs and the keys of the steps that it
needs. A step that is done under its key is not done again; one that was begun under it, or has
lost files, goes on with those that are there; under another key they are thrown away first. Files
appear complete (temporary name, then rename), so a kill at any moment leaves nothing half written.
Reference: the paper, "Nerf Model Training", 1-7.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LEDGER = "steps.json"
DONE, BEGUN = "done", "begun"


@dataclass(frozen=True, slots=True)
class Step:
    """One of the seven."""

    number: int
    """1..7, the paper's."""
    name: str
    """Its name in steps.json."""
    version: int
    """Raised when its results would change."""
    needs: tuple[str, ...]
    """Names of the steps whose results it reads."""
    outputs: tuple[str, ...]
    """The files and folders that it makes, relative to the set."""

    @property
    def title(self) -> str:
        """ "3/7 background", as progress shows it."""
        return f"{self.number}/{len(STEPS)} {self.name}"


FRAMES = Step(1, "frames", 1, (), ("tracks", "tracks.npz", "frames", "ori_imgs"))
SEGMENTATION = Step(
    2, "segmentation", 3, ("frames",), ("parsing", "matte", "person", "head_imgs")
)  # fmt: skip
BACKGROUND = Step(
    3, "background", 1, ("frames", "segmentation"),
    ("background.png", "plate.jpg", "background.json"),
)  # fmt: skip
TORSO = Step(
    4, "torso", 2, ("frames", "segmentation", "background"),
    ("torso_imgs", "gt_imgs", "body", "framing.json"),
)  # fmt: skip
POSES = Step(5, "poses", 1, ("frames",), ("poses.json", "reprojection.json"))
EXPRESSIONS = Step(6, "expressions", 1, ("frames",), ("expressions.npz",))
TRAINING_FILE = Step(
    7, "training file", 1, ("segmentation", "background", "torso", "poses", "expressions"),
    ("transforms.json", "max_46.txt", "min_46.txt", "bc.jpg", "facts.npz", "report.html"),
)  # fmt: skip
STEPS: tuple[Step, ...] = (
    FRAMES, SEGMENTATION, BACKGROUND, TORSO, POSES, EXPRESSIONS, TRAINING_FILE,
)  # fmt: skip


class Ledger:
    """steps.json of one folder: every step's key, state and what it noted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._records: dict[str, dict[str, Any]] = read_ledger(folder)

    def begin(self, step: Step, inputs: Mapping[str, Any]) -> bool:
        """Whether `step` has something left to do under these inputs.

        Where it has, its folders are there, and hold only what was made under the same key.
        """
        key = self._key(step, inputs)
        record = self._records.get(step.name, {})
        if record.get("key") != key:
            record = {"key": key, "version": step.version}
            for name in step.outputs:
                _remove(self.folder / name)
        elif record.get("state") == DONE and record.get("files") == self._files(step):
            return False
        for name in step.outputs:
            if "." not in name:
                (self.folder / name).mkdir(exist_ok=True)
        self._write(step, record | {"state": BEGUN})
        return True

    def finish(self, step: Step, seconds: float, **note: Any) -> None:
        """Mark `step` done, with what is worth knowing about it (JSON)."""
        done = {"state": DONE, "seconds": round(seconds, 2), "note": note}
        self._write(step, self._records[step.name] | done | {"files": self._files(step)})

    def note(self, step: Step) -> dict[str, Any]:
        """What `finish` noted, in this run or, for a step that goes on, before."""
        return dict(self._records[step.name].get("note", {}))

    def _files(self, step: Step) -> dict[str, int]:
        """How many files there are of each output."""
        paths = ((name, self.folder / name) for name in step.outputs)
        return {name: sum(1 for _ in path.iterdir()) if path.is_dir() else int(path.is_file())
                for name, path in paths}  # fmt: skip

    def _key(self, step: Step, inputs: Mapping[str, Any]) -> str:
        needs = [self._records[name]["key"] for name in step.needs]
        text = json.dumps([step.name, step.version, dict(inputs), needs], sort_keys=True,
                          default=str)  # fmt: skip
        return hashlib.sha256(text.encode()).hexdigest()

    def _write(self, step: Step, record: dict[str, Any]) -> None:
        self._records[step.name] = record
        temporary = self.folder / (LEDGER + ".tmp")
        temporary.write_text(json.dumps(self._records, indent=1), encoding="utf-8")
        temporary.replace(self.folder / LEDGER)


def read_ledger(folder: Path) -> dict[str, dict[str, Any]]:
    """Step name → record; empty where there is no readable ledger."""
    try:
        records = json.loads((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(records, dict) or not all(isinstance(r, dict) for r in records.values()):
        return {}
    return records


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
