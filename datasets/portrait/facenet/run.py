"""One training run of the face networks: material → PE-Net → FB-Net → ONNX → judgement.

    DIR/settings.json                    what was asked for: a folder belongs to one run
    DIR/pe_net.checkpoint.pt, pe_net.pt  PE-Net on its way, and at its end
    DIR/fb_net.checkpoint.pt, fb_net.pt  FB-Net
    DIR/pe_net.onnx, fb_net.onnx         what the sender loads
    DIR/report.json, report.md           how good they are, by people never learnt from

The rule: a step whose result lies in the folder is not repeated, so that the same command goes on
where it was stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portrait.facenet.drawn import drawn
from portrait.facenet.eight_bit import CALIBRATION, Crops
from portrait.facenet.export import FB_FILE, PE_FILE, export_fb, export_pe
from portrait.facenet.judge import judge_detector, judged, onnx_reader
from portrait.facenet.material import Material, read_material
from portrait.facenet.net import SHAPE_DIM, FbNet, PeNet
from portrait.facenet.report import as_markdown, report_of
from portrait.facenet.train import Sampler, TrainPlan, landmark_basis, train
from portrait.facenet.train_fb import train_fb
from quic_transport.errors import LocalError
from sender.facenet.detector import FaceDetector

DRAWINGS = 1500
"""Drawn animals beside the empty pictures."""

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is asked for."""

    packs: list[Path]
    """Folders of labelled crops."""
    folder: Path
    """Where the run keeps everything."""
    minutes: float = 45.0
    """Wall time for PE-Net."""
    detector_minutes: float = 24.0
    """Wall time for FB-Net."""
    workers: int = 4
    """Processes for PE-Net."""
    seed: int = 0
    """Of everything random."""


def data_sha(packs: list[Path]) -> str:
    """SHA-256 over the packs' labels: which data a network has learnt from."""
    digest = hashlib.sha256()
    for folder in packs:
        try:
            digest.update(hashlib.sha256((folder / "labels.npz").read_bytes()).digest())
        except OSError as error:
            raise LocalError(f"{folder} is no pack of labelled crops ({error})") from error
    return digest.hexdigest()


def run(plan: RunPlan, report: Report = print) -> dict[str, Any]:
    """Do what is missing; the report."""
    import cv2
    import torch

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    sha = data_sha(plan.packs)
    _claim(plan, sha)
    if (done := _done(plan.folder)) is not None:
        return done
    report("reading the packs")
    material = read_material(plan.packs)
    _train_pe(plan, material, report)
    _train_fb(plan, material, report)
    report("exporting")
    facts = {"data_sha256": sha, **material.people}
    differences = {
        "pe_net": export_pe(load_pe(plan.folder / "pe_net.pt"), plan.folder / PE_FILE, facts,
                            calibration(material)),
        "fb_net": export_fb(load_fb(plan.folder / "fb_net.pt"), plan.folder / FB_FILE, facts),
    }  # fmt: skip
    report("judging by the people that were held out")
    judgement = judged(onnx_reader(plan.folder), material.held_out, material.mirror)
    found = judge_detector(FaceDetector(plan.folder), material.held_out, material.empty)
    bytes_ = {f: (plan.folder / f).stat().st_size for f in (PE_FILE, FB_FILE)}
    said = report_of(material.people, sha, _settings(plan, sha), judgement, found, bytes_,
                     differences)  # fmt: skip
    (plan.folder / "report.json").write_text(json.dumps(said, indent=1) + "\n")
    (plan.folder / "report.md").write_text(as_markdown(said))
    return said


def calibration(material: Material) -> Crops:
    """Crops as PE-Net learns from, to calibrate its 8-bit form on."""
    sampler = Sampler(material.real, material.performers, material.empty, material.mirror, 10)
    batch = sampler.draw(np.random.default_rng(0), CALIBRATION)
    return batch.picture, batch.place


def _done(folder: Path) -> dict[str, Any] | None:
    """The report of a run that is finished."""
    said = folder / "report.json"
    ends = [folder / "pe_net.pt", folder / "fb_net.pt"]
    if not said.exists() or not all(e.exists() for e in ends):
        return None
    if said.stat().st_mtime_ns < max(e.stat().st_mtime_ns for e in ends):
        return None  # somebody put other networks there
    return dict(json.loads(said.read_text()))


def load_pe(path: Path) -> PeNet:
    """PE-Net from a state dictionary; LocalError if it is none."""
    net = PeNet(*_zeros())
    _load(net, path)
    return net


def load_fb(path: Path) -> FbNet:
    """FB-Net from a state dictionary; LocalError if it is none."""
    net = FbNet()
    _load(net, path)
    return net


def _zeros() -> tuple[Any, Any]:
    import torch

    return torch.zeros(956), torch.zeros(SHAPE_DIM, 956)


def _load(net: Any, path: Path) -> None:
    import torch

    try:
        net.load_state_dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:
        raise LocalError(f"{path} is not a trained network of this version ({error})") from error


def _settings(plan: RunPlan, sha: str) -> dict[str, Any]:
    return {"data_sha256": sha, "minutes": plan.minutes, "detector_minutes": plan.detector_minutes,
            "seed": plan.seed}  # fmt: skip


def _claim(plan: RunPlan, sha: str) -> None:
    """Make the folder, or see that it belongs to this very run."""
    settings, path = _settings(plan, sha), plan.folder / "settings.json"
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_text(json.dumps(settings, indent=1) + "\n")
        known = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise LocalError(f"{plan.folder} cannot hold a training run ({error})") from error
    if known != settings:
        other = [k for k in settings if known.get(k) != settings[k]]
        raise LocalError(
            f"{plan.folder} holds a training run with another {', '.join(other)}: choose another "
            "-o, or delete that folder"
        )


def _train_pe(plan: RunPlan, material: Material, report: Report) -> None:
    import torch

    end = plan.folder / "pe_net.pt"
    if end.exists():
        return
    rng = np.random.default_rng(plan.seed)
    mean, basis = landmark_basis(material.real, material.mirror, SHAPE_DIM, rng)
    torch.manual_seed(plan.seed)
    net = PeNet(torch.from_numpy(mean), torch.from_numpy(basis))
    sampler = Sampler(material.real, material.performers, material.empty, material.mirror,
                      DRAWINGS)  # fmt: skip
    settings = TrainPlan(
        minutes=plan.minutes, workers=plan.workers, seed=plan.seed,
        checkpoint=plan.folder / "pe_net.checkpoint.pt",
    )  # fmt: skip
    train(net, sampler, settings, lambda text: report(f"PE-Net: {text.strip()}"))
    _finish(net, end)


def _train_fb(plan: RunPlan, material: Material, report: Report) -> None:
    import torch

    end = plan.folder / "fb_net.pt"
    if end.exists():
        return
    torch.manual_seed(plan.seed)
    net = FbNet()
    drawings = np.stack([drawn(k) for k in range(DRAWINGS)])
    empty = np.concatenate([material.empty, drawings])
    train_fb(net, material.real, material.performers, empty, plan.detector_minutes, plan.seed,
             report, plan.folder / "fb_net.checkpoint.pt")  # fmt: skip
    _finish(net, end)


def _finish(net: Any, end: Path) -> None:
    import torch

    part = end.with_suffix(".part")
    torch.save(net.state_dict(), part)
    part.replace(end)
