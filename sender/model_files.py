"""Where the tracker's model files come from: a folder at hand, else one download, pinned.

The rule: a downloaded file is used only if its SHA-256 is the one written here; folders that the
user names are trusted. Order: `--models`, $FACEWIRE_ASSETS/models, ../shared/models next to the
checkout, the user's cache, the download into that cache.
Reference: MediaPipe model pages (Apache-2.0).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.request import urlopen

from quic_transport import folders
from quic_transport.errors import LocalError

DOWNLOAD_TIMEOUT_S = 30.0
_BASE = "https://storage.googleapis.com/mediapipe-models"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model that can be downloaded."""

    name: str
    """File name in every folder that is searched."""
    url: str
    """Its official address."""
    sha256: str
    """Hex digest that a download must have."""
    max_bytes: int
    """A download is cut off here."""


FACE_LANDMARKER = ModelFile(
    "face_landmarker.task",
    f"{_BASE}/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    8_000_000,
)
SELFIE_SEGMENTER = ModelFile(
    "selfie_segmenter.tflite",
    f"{_BASE}/image_segmenter/selfie_segmenter/float16/latest/selfie_segmenter.tflite",
    "191ac9529ae506ee0beefa6b2c945a172dab9d07d1e802a290a4e4038226658b",
    1_000_000,
)

Opener = Callable[[str], BinaryIO]


def _open_url(url: str) -> BinaryIO:
    return urlopen(url, timeout=DOWNLOAD_TIMEOUT_S)


def cache_folder() -> Path:
    """Where downloads are kept: in the user's cache folder, which FACEWIRE_CACHE moves."""
    return folders.cache_folder() / "models"


def search_folders() -> list[Path]:
    """The folders that are looked into when the user names none, in order."""
    found = []
    if assets := os.environ.get("FACEWIRE_ASSETS"):
        found.append(Path(assets) / "models")
    found.append(Path(__file__).resolve().parent.parent.parent / "shared" / "models")
    found.append(cache_folder())
    return found


def find_model(
    model: ModelFile, models: Path | None = None, *, open_url: Opener = _open_url
) -> Path:
    """The path of `model`; downloads it into the cache where no folder has it.

    LocalError, with the remedy, if `models` lacks it or the download fails.
    """
    if models is not None:
        if (models / model.name).is_file():
            return models / model.name
        raise LocalError(
            f"{models} has no {model.name}: download it from {model.url} into that folder"
        )
    for folder in search_folders():
        if (folder / model.name).is_file():
            return folder / model.name
    return _download(model, cache_folder(), open_url)


def _download(model: ModelFile, folder: Path, open_url: Opener) -> Path:
    manual = f"download {model.url} elsewhere and name its folder with --models"
    try:
        with open_url(model.url) as response:
            data = response.read(model.max_bytes + 1)
    except (OSError, ValueError) as error:  # URLError and timeouts are OSErrors
        raise LocalError(
            f"the tracker's model {model.name} is not on this machine and cannot be downloaded "
            f"({error}): go online once, or {manual}"
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != model.sha256:
        raise LocalError(
            f"the download of {model.name} is not the file that was expected (SHA-256 "
            f"{digest[:12]}… instead of {model.sha256[:12]}…): try again, or {manual}"
        )
    temporary = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
        temporary.replace(folder / model.name)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise LocalError(
            f"{model.name} cannot be stored in {folder} ({error}): {manual}"
        ) from error
    return folder / model.name
