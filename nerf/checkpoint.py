"""A training run on disk, so that it survives an interruption or a power cut.

The rule: plain arrays in one .npz, written beside and renamed (whenever the process ends, there is
the new one or the one before it), loaded without executing code; what shapes the run (settings,
footage) is in it, and another run's checkpoint is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nerf.train import Trainer


class CheckpointError(ValueError):
    """The checkpoint is damaged or belongs to another run."""


def settings_of(trainer: Trainer) -> str:
    """What must be equal for a run to go on, as JSON: the settings, but not their length."""
    settings: dict[str, Any] = asdict(trainer.settings)
    settings.pop("steps")
    return json.dumps(settings, sort_keys=True, default=str)


def frames_of(trainer: Trainer) -> str:
    """A digest of what the tracker said of the frames, which must be equal as well."""
    digest = hashlib.sha256(np.ascontiguousarray(trainer.footage.expression).tobytes())
    digest.update(np.ascontiguousarray(trainer.footage.rotation).tobytes())
    return digest.hexdigest()


def refuse_others(path: Path, arrays: Mapping[str, np.ndarray], trainer: Trainer) -> None:
    """CheckpointError, with what differs, where `arrays` are not of a run like `trainer`'s."""
    if str(arrays["frames"]) != frames_of(trainer):
        raise CheckpointError(f"{path} belongs to a run with another training set")
    then, now = json.loads(str(arrays["settings"])), json.loads(settings_of(trainer))
    other = [name for name in sorted({*then, *now}) if then.get(name) != now.get(name)]
    if other:
        told = ", ".join(f"{name} {then.get(name)}, now {now.get(name)}" for name in other)
        raise CheckpointError(
            f"{path} belongs to a run with other settings, or another facewire ({told})"
        )


def save_checkpoint(
    trainer: Trainer, path: Path, facts: dict[str, float],
    extra: Mapping[str, np.ndarray] | None = None,
) -> None:  # fmt: skip
    """Write the run's state; `facts` are numbers of the caller's own (seconds spent, …), `extra`
    arrays of its own. OSError where it cannot be written; the one before it stays."""
    trainer.engine.store()
    arrays: dict[str, np.ndarray] = {
        "settings": np.array(settings_of(trainer)),
        "frames": np.array(frames_of(trainer)),
        "facts": np.array(json.dumps(facts)),
        "rng": np.array(json.dumps(trainer.rng.bit_generator.state)),
        "mean": trainer.field.mean,
        "tables": trainer.field.tables,
        "occupancy": trainer.field.occupancy,
        "density": trainer.occupancy.density,
        "correction": trainer.field.correction,
        **{f"network{i}": w for i, w in enumerate(trainer.field.networks)},
        **{f"trainer_{k}": np.asarray(v) for k, v in trainer.state().items()},
        **{f"engine_{k}": np.asarray(v) for k, v in trainer.engine.state().items()},
        **{f"extra_{k}": v for k, v in (extra or {}).items()},
    }
    part = path.with_name(path.name + ".part")
    try:
        with open(part, "wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def load_checkpoint(trainer: Trainer, path: Path) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Put a fresh `trainer` where the checkpoint left off; its facts and extra arrays.
    CheckpointError if unfit."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        refuse_others(path, arrays, trainer)
        state = {k[8:]: v for k, v in arrays.items() if k.startswith("trainer_")}
        engine = {k[7:]: v for k, v in arrays.items() if k.startswith("engine_")}
        trainer.field.mean[:] = arrays["mean"]
        trainer.field.tables[:] = arrays["tables"]
        trainer.field.correction[:] = arrays["correction"]
        for i, weight in enumerate(trainer.field.networks):
            weight[:] = arrays[f"network{i}"]
        trainer.occupancy.density[:] = arrays["density"]
        trainer.load_state(state)
        trainer.engine.load_state(engine)
        trainer.engine.set_occupancy(arrays["occupancy"])
        trainer.rng.bit_generator.state = json.loads(str(arrays["rng"]))
        extra = {k[6:]: v for k, v in arrays.items() if k.startswith("extra_")}
        return dict(json.loads(str(arrays["facts"]))), extra
    except CheckpointError:
        raise
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path} is damaged ({error})") from error
