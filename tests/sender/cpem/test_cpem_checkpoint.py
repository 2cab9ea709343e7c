"""Files that are not the checkpoint: one sentence each, and nothing in them runs."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from quic_transport.errors import LocalError
from sender.cpem import checkpoint
from sender.cpem.checkpoint import load_into, read_tensors
from sender.cpem.faceboxes import FBNet
from sender.cpem.resnet50 import PENet
from tests.sender.cpem.made_up import as_bgr, plain, save


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return (Path.touch, (self.target,))


def empty_net() -> FBNet:
    with torch.device("meta"):
        return FBNet()


def test_bomb_explodes_where_pickle_is_trusted(tmp_path: Path) -> None:
    """Otherwise the next test would prove nothing."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("form", ["pickle", "torch", "torch-legacy"])
def test_checkpoint_with_code_is_refused_and_runs_nothing(tmp_path: Path, form: str) -> None:
    path, ran = tmp_path / "evil.ckpt", tmp_path / "ran"
    content = {"conv1.weight": Bomb(ran)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    with pytest.raises(LocalError, match="not a PyTorch checkpoint of tensors alone"):
        read_tensors(path)
    assert not ran.exists()


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.999])
def test_cut_checkpoint_is_refused(nets: tuple[PENet, FBNet], tmp_path: Path, keep) -> None:
    whole = save(nets[1], tmp_path / "whole.pth").read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(LocalError, match="cut off"):
        read_tensors(path)


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><title>Dropbox</title>", b"\x80\x02.", b"PK"])
def test_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.ckpt"
    path.write_bytes(content)
    with pytest.raises(LocalError, match="download it again"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[torch.zeros(2)], {}, {"a": 3}, {3: torch.zeros(1)},
                                     {"state_dict": {"a": torch.zeros(1)}}])  # fmt: skip
def test_checkpoint_of_other_things_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(LocalError, match="tensors"):
        read_tensors(tmp_path / "other.ckpt")


def test_missing_and_huge_files_are_refused_unread(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(LocalError, match="cannot be read"):
        read_tensors(tmp_path / "no.ckpt")
    (tmp_path / "huge.ckpt").write_bytes(bytes(20))
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 19)
    monkeypatch.setattr(torch, "load", lambda *_a, **_k: pytest.fail("was read"))
    with pytest.raises(LocalError, match="which no checkpoint of this network has"):
        read_tensors(tmp_path / "huge.ckpt")


def broken(state: dict[str, torch.Tensor], how: str) -> dict[str, torch.Tensor]:
    state = dict(state)
    name = "loc.0.weight"
    if how == "missing":
        del state[name]
    elif how == "surplus":
        state["fc.weight"] = torch.zeros(3)
    elif how == "shape":
        state[name] = state[name][:-4]
    elif how == "whole numbers":
        state[name] = state[name].long()
    elif how == "sparse":
        state[name] = state[name].to_sparse()
    elif how == "not finite":
        state[name] = torch.full_like(state[name], float("nan"))
    return state


@pytest.mark.parametrize(
    ("how", "sentence"),
    [("missing", "1 tensors are missing, first loc.0.weight"),
     ("surplus", "1 tensors are not its, first 'fc.weight'"),
     ("shape", r"loc.0.weight has the shape \(80, 128, 3, 3\) instead of \(84, 128, 3, 3\)"),
     ("whole numbers", "loc.0.weight holds torch.int64"),
     ("sparse", "loc.0.weight holds"),
     ("not finite", "not finite")],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(
    nets: tuple[PENet, FBNet], tmp_path: Path, how: str, sentence: str
) -> None:
    path = tmp_path / "near.pth"
    torch.save(broken(nets[1].state_dict(), how), path)
    with pytest.raises(LocalError, match=sentence) as told:
        load_into(empty_net(), read_tensors(path), path, "FaceBoxes")
    assert str(path) in str(told.value)


def test_pe_net_checkpoint_is_not_taken_for_a_detector(made) -> None:
    with pytest.raises(LocalError, match="is no checkpoint of FaceBoxes"):
        load_into(empty_net(), read_tensors(made.checkpoint), made.checkpoint, "FaceBoxes")


@pytest.mark.parametrize("form", ["plain", "prefixed", "without counters", "half", "legacy"])
@torch.no_grad()
def test_checkpoint_that_fits_computes_the_same(
    nets: tuple[PENet, FBNet], tmp_path: Path, form: str
) -> None:
    state = {k: v.clone() for k, v in nets[1].state_dict().items()}
    if form == "prefixed":
        state = {f"module.{name}": value for name, value in state.items()}
    if form == "without counters":
        state = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if form == "half":
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    path = tmp_path / "good.pth"
    torch.save(state, path, _use_new_zipfile_serialization=form != "legacy")
    net = empty_net()
    load_into(net, read_tensors(path), path, "FaceBoxes")
    x = as_bgr(plain(128, 128, 100))
    slack = 0.05 if form == "half" else 0.0
    for ours, theirs in zip(net(x), nets[1](x), strict=True):
        assert torch.allclose(ours, theirs, atol=slack, rtol=0.0)
    assert not any(isinstance(m, nn.Module) and m.training for m in net.modules())
