"""What a training run begins with: a training set, a device, the pictures and a trainer.

The rule: nothing is lost here, whatever happens: a training set that is half built goes on where it
was, and what cannot be used is refused before a step is taken.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from conference.terminal import announce
from conference.train_request import TrainRequest
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from nerf.train import Trainer, TrainSettings
    from nerf.trainset import TrainSet

EXACT = "truth"  # the tracker whose poses refinement would only shake, as it would those that a
# personal tracker finds (a few visits a frame, each a step of a quarter of a degree)
THREADS = 2  # a step is a few thousand small calls: more threads wait for Python's lock (0.72 M
# samples per second on one, 1.03 on two, 0.80 on three, 0.57 on four)


def training_set_of(request: TrainRequest) -> Path:
    """The training set's folder; built from the video where the source is one."""
    source = request.source
    if source.is_dir():
        return source
    if not source.exists():
        raise LocalError(f"{source} does not exist: give a training set's folder or a video")
    folder = request.output.with_suffix(".dataset")
    if (folder / "transforms.json").is_file():
        announce(f"training set kept from before: {folder} (delete it to build it again)")
        return folder
    from portrait.build import build_dataset
    from portrait.options import BuildOptions
    from portrait.progress import stage_progress
    from portrait.tracks import Selection

    announce(f"building the training set {folder} from {source}")
    options = BuildOptions(
        extractor=request.extractor, models=request.models,
        selection=Selection(0.0, float("inf"), 1, None), force=False,
    )  # fmt: skip
    try:
        with stage_progress() as progress:
            build_dataset(source, folder, options, progress)
    except KeyboardInterrupt:
        announce(f"interrupted: what is built so far is kept in {folder}.partial, and the same "
                 "command goes on there")  # fmt: skip
        raise
    return folder


def pick_device(wanted: str) -> str:
    """`wanted`, with auto resolved; LocalError where CUDA is asked for and not there."""
    if wanted == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "cuda":
        raise LocalError("no CUDA device is usable by this torch: use --device cpu")
    return "cpu"


def open_trainer(request: TrainRequest, trainset: TrainSet, settings: TrainSettings) -> Trainer:
    """A trainer at its first step, with the pictures of the set."""
    from conference.personal.fitting import PersonalFitting
    from conference.seat import positions_of
    from conference.train_memory import room_for
    from nerf.batch_size import out_of_memory
    from nerf.cpu.pool import WorkerPool, available_threads
    from nerf.train import Footage, Trainer
    from nerf.trainset import TrainSetError, detail_boxes, load_images

    size = settings.size if request.size is None else request.size
    threads = request.threads or min(THREADS, available_threads())
    try:
        room = room_for(len(trainset), size, request.output.parent, announce)
        rgb, alpha = load_images(trainset, size, range(len(trainset)), into=room)
        footage = Footage(
            rgb, alpha, trainset.rotation, trainset.expression,
            trainset.camera.resized(size, size), trainset.distance_m,
            detail_boxes(trainset, size), positions_of(trainset),
        )  # fmt: skip
        settings = replace(settings, size=size, holdout=1 - trainset.train_count / len(trainset))
        if trainset.extractor == EXACT or PersonalFitting.fits(trainset):
            settings = replace(settings, pose_rate=0.0)
        trainer = Trainer(footage, settings, WorkerPool(threads), pick_device(request.device),
                          request.backend)  # fmt: skip
    except (TrainSetError, ValueError) as error:
        raise LocalError(str(error)) from error
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        raise LocalError(
            f"there is not enough memory to begin with {len(trainset)} pictures of {size} px: "
            "close other programs, or use a smaller --size"
        ) from error
    if request.steps is not None:
        trainer.settings = replace(trainer.settings, steps=request.steps)
    return trainer
