"""Reads published checkpoints: tensors by name, and nothing else.

The rule: a checkpoint is a file from elsewhere. torch's `weights_only` reader executes no code in
it; names and shapes must be exactly the network's, because a nearly fitting file would compute
nonsense without a word. Whatever is wrong ends in one sentence.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from quic_transport.errors import LocalError

MAX_BYTES = 1_000_000_000
"""Larger files are refused unread; the published ones have 96 MB and 4 MB."""
PREFIX = "module."  # which torch's DataParallel puts before every name
COUNTER = "num_batches_tracked"  # of batch normalisation; no inference needs it


def file_sha256(path: Path) -> str:
    """Hex digest of the file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a plain state dict; LocalError for any other file."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise LocalError(f"{path} cannot be read ({error.strerror}): check its name") from error
    if size > MAX_BYTES:
        raise LocalError(
            f"{path} has {size / 1e6:.0f} MB, which no checkpoint of this network has: name the "
            "file that the authors publish"
        )
    try:
        with warnings.catch_warnings():
            # Old storage classes and archives of other kinds are talked about; both end below.
            warnings.filterwarnings("ignore", module=r"torch(\.|$)")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the reader raises whatever a damaged file makes it meet
        raise LocalError(
            f"{path} is not a PyTorch checkpoint of tensors alone, or it was cut off: download it "
            "again and name the file itself, not an archive around it"
        ) from error
    if not isinstance(content, Mapping) or not content:
        raise LocalError(f"{path} holds no named tensors: name the published checkpoint")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LocalError(
                f"{path} holds more than named tensors (at {str(name)[:60]!r}): save the network's "
                "state_dict() alone"
            )
    if all(name.startswith(PREFIX) for name in content):
        content = {name[len(PREFIX) :]: value for name, value in content.items()}
    return dict(content)


def load_into(net: nn.Module, tensors: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Give `net`, built on the meta device, the tensors read from `path`; then it is ready.

    LocalError names the first thing that does not fit; `what` names the network.
    """
    expected = net.state_dict()
    counters = {name for name in expected if name.endswith(COUNTER)}
    missing = sorted(set(expected) - counters - set(tensors))
    surplus = sorted(set(tensors) - set(expected))
    if missing or surplus:
        names = (f"{len(missing)} tensors are missing, first {missing[0]}" if missing else
                 f"{len(surplus)} tensors are not its, first {surplus[0][:60]!r}")  # fmt: skip
        raise LocalError(f"{path} is no checkpoint of {what}: {names}")
    fitting: dict[str, Tensor] = {name: torch.zeros((), dtype=torch.long) for name in counters}
    for name in set(expected) - counters:
        value, shape = tensors[name], tuple(expected[name].shape)
        if tuple(value.shape) != shape:
            raise LocalError(
                f"{path} is no checkpoint of {what}: {name} has the shape {tuple(value.shape)} "
                f"instead of {shape}"
            )
        if value.layout != torch.strided or not value.is_floating_point():
            raise LocalError(f"{path} is no checkpoint of {what}: {name} holds {value.dtype}")
        fitting[name] = value.float().contiguous()
        if not bool(fitting[name].isfinite().all()):
            raise LocalError(f"{path} is damaged: {name} holds numbers that are not finite")
    net.load_state_dict(fitting, strict=True, assign=True)
    net.eval().requires_grad_(False)
