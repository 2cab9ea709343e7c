"""The export: ONNX Runtime computes what PyTorch computes, or nothing is handed out."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from quic_transport.errors import LocalError
from sender.cpem import bundle, export
from sender.cpem.bundle import (
    FB_NET,
    MANIFEST,
    PE_NET,
    find_bundle,
    read_bundle,
    write_bundle,
)
from sender.cpem.cli import main
from sender.cpem.export import PEGraph, largest_difference
from sender.cpem.resnet50 import HEADS, Bottleneck, PENet, split_outputs
from sender.cpem.runtime import open_session
from tests.sender.cpem.made_up import BRIGHT, as_bgr, as_rgb, patchwork, plain


@torch.no_grad()
def test_exported_pe_net_equals_torch_on_other_pictures(made) -> None:
    session = open_session((made.folder / PE_NET).read_bytes(), PE_NET)
    answers = []
    for seed in (10, 11):
        picture = patchwork(224, 224, seed)
        got = session.run([name for _, name, _ in HEADS], {"crop": picture[None]})
        wanted = split_outputs(made.pe_net(as_rgb(picture)))
        for (_, name, dim), part in zip(HEADS, got, strict=True):
            assert part.shape == (1, dim)
            np.testing.assert_allclose(part, wanted[name].numpy(), rtol=1e-3, atol=1e-3)
        answers.append(np.concatenate(got, axis=1))
    assert np.abs(answers[0] - answers[1]).max() > 0.05  # they depend on the picture


@pytest.mark.parametrize("size", [(128, 128), (97, 203), (360, 480)])
@torch.no_grad()
def test_exported_fb_net_equals_torch_at_any_size(made, size: tuple[int, int]) -> None:
    session = open_session((made.folder / FB_NET).read_bytes(), FB_NET)
    picture = plain(*size, BRIGHT, 12)
    picture[:, :, 0] //= 2  # so that the order of the colours matters
    got = session.run(["offsets", "scores"], {"image": picture[None]})
    for ours, theirs in zip(got, made.fb_net(as_bgr(picture)), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-3)


def test_export_says_what_it_made_and_how_far_it_is_off(made) -> None:
    manifest = json.loads((made.folder / MANIFEST).read_text())
    assert manifest["schema"] == "fw46"
    for name, source in ((PE_NET, made.checkpoint), (FB_NET, made.faceboxes)):
        data = (made.folder / name).read_bytes()
        assert manifest["sha256"][name] == hashlib.sha256(data).hexdigest()
        assert (
            manifest["checkpoint_sha256"][name] == hashlib.sha256(source.read_bytes()).hexdigest()
        )
        assert 0 < manifest["largest_difference"][name] < 1e-3
        assert str(made.folder / name) in made.printed
        assert str(Path(__file__).parents[3]).encode() not in data  # no traces of this machine
    assert "largest difference to PyTorch" in made.printed
    assert sorted(p.name for p in made.folder.iterdir()) == [FB_NET, MANIFEST, PE_NET]


def test_networks_that_differ_are_refused(made) -> None:
    other = PENet()
    other.load_state_dict(made.pe_net.state_dict())
    other.eval().requires_grad_(False)
    block = other.get_submodule("layer2.0")
    assert isinstance(block, Bottleneck)
    block.conv1.stride, block.conv2.stride = (1, 1), (2, 2)
    picture = patchwork(224, 224, 13)[None]
    onnx_file = (made.folder / PE_NET).read_bytes()
    assert largest_difference(onnx_file, PEGraph(made.pe_net), [picture], PE_NET) < 1e-3
    with pytest.raises(LocalError, match="computes something else than PyTorch"):
        largest_difference(onnx_file, PEGraph(other), [picture], PE_NET)


def test_export_that_differs_writes_nothing(made, tmp_path: Path, monkeypatch) -> None:
    onnx_file = (made.folder / PE_NET).read_bytes()
    monkeypatch.setattr(export, "to_onnx", lambda *_a, **_k: onnx_file)
    monkeypatch.setattr(export, "TOLERANCE", 0.0)
    with pytest.raises(LocalError, match="nothing was written"):
        export.export_cpem(made.checkpoint, made.faceboxes, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_command_ends_in_a_sentence_for_a_file_that_is_none(made, tmp_path: Path) -> None:
    wrong = ["x.ckpt", "-o", str(tmp_path / "out"), "--faceboxes", str(made.faceboxes)]
    with pytest.raises(LocalError, match=r"x\.ckpt cannot be read"):
        main(wrong)
    assert not (tmp_path / "out").exists()


def test_bundle_is_found_among_models_and_where_downloads_are(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(bundle, "search_folders", lambda: [tmp_path / "lab", tmp_path / "cache"])
    with pytest.raises(LocalError, match="this machine holds no exported CPEM tracker"):
        find_bundle()
    cached = small(tmp_path / "cache" / "cpem")
    assert find_bundle() == cached
    lab = small(tmp_path / "lab" / "cpem")
    assert find_bundle() == lab
    assert find_bundle(cached) == find_bundle(cached.parent) == cached
    with pytest.raises(LocalError, match="facewire export-cpem"):
        find_bundle(tmp_path)


def small(folder: Path) -> Path:
    """A bundle of made-up bytes, quick to write."""
    sources = {"checkpoint_sha256": {FB_NET: "1", PE_NET: "2"}}
    write_bundle(folder, {FB_NET: b"one", PE_NET: b"two"}, sources)
    return folder


def test_bundle_is_read_as_written_and_can_be_replaced(tmp_path: Path) -> None:
    folder = small(tmp_path / "a" / "b")
    assert (read_bundle(folder).fb_net, read_bundle(folder).pe_net) == (b"one", b"two")
    again = {"checkpoint_sha256": {FB_NET: "1", PE_NET: "3"}}
    before = read_bundle(folder).tracker_id
    write_bundle(folder, {FB_NET: b"1", PE_NET: b"2"}, again)
    assert read_bundle(folder).pe_net == b"2"
    assert read_bundle(folder).tracker_id != before
    assert len(list(folder.iterdir())) == 3


@pytest.mark.parametrize("name", [FB_NET, PE_NET])
def test_bundle_with_a_changed_or_missing_network_is_refused(tmp_path: Path, name: str) -> None:
    folder = small(tmp_path)
    (folder / name).write_bytes(b"on")
    with pytest.raises(LocalError, match=f"{name} is not the file of model.json"):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(LocalError, match=f"lacks {name}"):
        read_bundle(folder)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b'{"sha256": {}}', b"[" * 90_000,
     b'{"format": "facewire-cpem/1", "schema": "fw46", "sha256": 3}'],
)  # fmt: skip
def test_bundle_with_a_broken_manifest_is_refused(tmp_path: Path, text: bytes) -> None:
    (small(tmp_path) / MANIFEST).write_bytes(text)
    with pytest.raises(LocalError, match="export-cpem"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("format", "facewire-cpem/2"), ("schema", "arkit46")])
def test_bundle_of_another_format_is_refused(tmp_path: Path, key: str, value: str) -> None:
    path = small(tmp_path) / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(LocalError, match="this version reads"):
        read_bundle(tmp_path)


def test_interrupted_replacement_leaves_a_folder_that_is_refused(
    tmp_path: Path, monkeypatch
) -> None:
    folder = small(tmp_path / "out")
    real = Path.replace
    moved: list[Path] = []

    def replace_once(self: Path, target: Path) -> Path:
        if moved:
            raise OSError(28, "No space left on device")
        moved.append(target)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace_once)
    with pytest.raises(LocalError, match="No space left"):
        small(folder)
    with pytest.raises(LocalError, match="holds no exported CPEM tracker"):
        read_bundle(folder)
    assert not list(folder.glob(".new-*"))


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LocalError, match="cannot be written"):
        small(tmp_path / "file")


def test_file_that_is_no_network_is_told() -> None:
    with pytest.raises(LocalError, match="cannot be loaded by ONNX Runtime"):
        open_session(b"nothing", PE_NET)
