"""The folder that the export makes: two networks for ONNX Runtime and what belongs to them.

    fb_net.onnx   `image` uint8 [1, H, W, 3] RGB → `offsets` [1, P, 4], `scores` [1, P]
    pe_net.onnx   `crop` uint8 [1, 224, 224, 3] RGB → `identity` [1, 80], `expression` [1, 46],
                  `texture` [1, 80], `rotation` [1, 3], `light` [1, 27], `translation` [1, 3]
    model.json    format, schema, SHA-256 of the networks and of the checkpoints behind them

The rule: `model.json` is written last and names both networks' digests; without it, or with
another network beside it, the folder is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quic_transport.errors import LocalError
from sender.model_files import search_folders

FORMAT = "facewire-cpem/1"
SCHEMA = "fw46"
FB_NET, PE_NET, MANIFEST = "fb_net.onnx", "pe_net.onnx", "model.json"
MANIFEST_MAX_BYTES = 100_000
FOLDER = "cpem"
"""Name of the bundle's folder within a folder of models."""
REMEDY = "make it with: facewire export-cpem CHECKPOINT.ckpt"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder that was read and verified."""

    fb_net: bytes
    """The face detector, ONNX."""
    pe_net: bytes
    """The parameter network, ONNX."""
    manifest: Mapping[str, Any]
    """What model.json says."""

    @property
    def tracker_id(self) -> str:
        """Eight hex digits for the pair of checkpoints; exporting them again gives the same."""
        sources = self.manifest["checkpoint_sha256"]
        return hashlib.sha256(f"{sources[FB_NET]} {sources[PE_NET]}".encode()).hexdigest()[:8]


def find_bundle(models: Path | None = None) -> Path:
    """Where the bundle lies: `models` itself or its folder `cpem`; without `models` the folders
    in which the other trackers' models are looked for. LocalError, with the remedy, if nowhere.
    """
    folders = search_folders() if models is None else [models]
    places = [folder / FOLDER for folder in folders]
    if models is not None:
        places.insert(0, models)
    for place in places:
        if (place / MANIFEST).is_file():
            return place
    looked = "this machine" if models is None else str(models)
    raise LocalError(f"{looked} holds no exported CPEM tracker: {REMEDY}")


def write_bundle(
    folder: Path, networks: Mapping[str, bytes], manifest: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write the files so that an interrupted run leaves the old folder or a refused one."""
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in networks.items()}
    full = {"format": FORMAT, "schema": SCHEMA, **manifest, "sha256": digests}
    contents = {**networks, MANIFEST: (json.dumps(full, indent=1) + "\n").encode()}
    temporary: dict[str, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in contents.items():
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".new-", delete=False) as file:
                temporary[name] = Path(file.name)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary[name].chmod(0o644)
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in contents:  # the manifest is the last
            temporary[name].replace(folder / name)
    except OSError as error:
        raise LocalError(
            f"{folder} cannot be written ({error.strerror}): name a folder with "
            f"{sum(map(len, contents.values())) / 1e6:.0f} MB of room"
        ) from error
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)
    return tuple(folder / name for name in contents)


def read_bundle(folder: Path) -> Bundle:
    """The verified content of a folder; LocalError, with the remedy, for any other."""
    try:
        with (folder / MANIFEST).open("rb") as file:
            text = file.read(MANIFEST_MAX_BYTES)
    except OSError as error:
        raise LocalError(f"{folder} holds no exported CPEM tracker: {REMEDY}") from error
    try:
        manifest = json.loads(text)
        digests = {name: manifest["sha256"][name] for name in (FB_NET, PE_NET)}
        sources = {name: str(manifest["checkpoint_sha256"][name]) for name in digests}
        told = (manifest["format"], manifest["schema"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LocalError(f"{folder / MANIFEST} cannot be understood: {REMEDY}") from error
    if told != (FORMAT, SCHEMA):
        raise LocalError(
            f"{folder / MANIFEST} is of the format {str(told[0])[:40]!r}, this version reads "
            f"{FORMAT!r}: {REMEDY}"
        )
    networks = {}
    for name, digest in digests.items():
        try:
            networks[name] = (folder / name).read_bytes()
        except OSError as error:
            raise LocalError(f"{folder} lacks {name}: {REMEDY}") from error
        if hashlib.sha256(networks[name]).hexdigest() != digest:
            raise LocalError(f"{folder / name} is not the file of {MANIFEST}: {REMEDY}")
    return Bundle(networks[FB_NET], networks[PE_NET], {**manifest, "checkpoint_sha256": sources})
