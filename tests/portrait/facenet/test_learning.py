"""The loss, the batches, the export and a whole (very short) training run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from portrait.facenet import cli
from portrait.facenet.batches import GROUP, Sampler
from portrait.facenet.eight_bit import LIMITS, differences
from portrait.facenet.export import FB_FILE, PE_FILE, export_fb, export_pe
from portrait.facenet.loss import pe_loss
from portrait.facenet.material import Material, read_material
from portrait.facenet.net import FbNet, PeNet
from portrait.facenet.run import calibration
from portrait.facenet.train import TrainPlan, coefficient_weights, landmark_basis, rate_at
from quic_transport.errors import LocalError
from sender.facenet.crop import FaceCrop
from sender.facenet.detector import FaceDetector
from sender.facenet.reader import FaceReader
from tests.portrait.facenet.packs import names_of_both_kinds, write_pack

Outputs = tuple[torch.Tensor, ...]


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("packs")
    people = [*names_of_both_kinds(6, 2), "performer_1", "performer_2"]
    return [write_pack(folder / "one", people, each=12)]


@pytest.fixture(scope="module")
def material(packs: list[Path]) -> Material:
    return read_material(packs)


def perfect(label: torch.Tensor) -> Outputs:
    return (
        label[:, :956].reshape(-1, 478, 2), label[:, 956:1002], label[:, 1002:1008],
        label[:, 1008:1010], label[:, 1010], torch.full((len(label),), 20.0), label[:, :4],
    )  # fmt: skip


def loss_of(outputs: Outputs, label: torch.Tensor) -> dict[str, float]:
    ones, zeros = torch.ones(len(label)), torch.zeros(len(label))
    return pe_loss(outputs, label, ones, zeros, 8, torch.full((46,), 0.1), torch.zeros(2, 46))[1]


def test_loss_of_perfect_answers_is_none() -> None:
    label = torch.rand(16, 1011)
    parts = loss_of(perfect(label), label)
    assert max(parts.values()) < 1e-4


def test_loss_within_a_person_forgives_a_constant_offset() -> None:
    label = torch.rand(16, 1011)
    outputs = list(perfect(label))
    outputs[1] = outputs[1] + 0.3
    parts = loss_of(tuple(outputs), label)
    assert parts["expression"] > 0.5
    assert parts["within"] < 1e-4


def test_loss_does_not_count_what_rows_without_a_face_say() -> None:
    label = torch.rand(16, 1011)
    outputs = list(perfect(label))
    face = torch.ones(16)
    face[8:] = 0
    outputs[5] = torch.where(face > 0, 20.0, -20.0)
    for k in (0, 1, 2, 3, 4):
        outputs[k] = torch.where(face.reshape(-1, *[1] * (outputs[k].ndim - 1)) > 0, outputs[k], 9)
    parts = pe_loss(
        tuple(outputs), label, face, torch.zeros(16), 8, torch.ones(46), torch.zeros(2, 46)
    )[1]
    assert max(parts.values()) < 1e-4


def test_batches_stand_in_groups_of_one_person(material: Material) -> None:
    sampler = Sampler(material.real, material.performers, material.empty, material.mirror, 20)
    batch = sampler.draw(np.random.default_rng(0), 64)
    assert batch.face.reshape(-1, GROUP).std(axis=1).max() == 0
    assert batch.performer.reshape(-1, GROUP).std(axis=1).max() == 0
    assert 0 < batch.performer.sum() < 32
    assert (batch.face == 0).sum() == GROUP
    assert not batch.label[batch.face == 0].any()
    assert np.abs(batch.label[batch.face == 1][:, :956]).max() < 1.5


def test_landmark_basis_explains_the_landmarks(material: Material) -> None:
    mean, basis = landmark_basis(material.real, material.mirror, 12, np.random.default_rng(0))
    assert mean.shape == (956,)
    gram = basis @ basis.T
    assert np.abs(gram - np.diag(np.diag(gram))).max() < 1e-4  # orthogonal
    assert (np.diff(np.diag(gram)) < 1e-6).all()  # the strongest first


def test_coefficient_weights_count_lively_ones_less_each(material: Material) -> None:
    faces = material.real
    faces.expression[:, 0] = 0.0
    weight = coefficient_weights(faces)
    assert weight.sum() == pytest.approx(4.0, rel=1e-5)
    assert weight[0] > 0


def test_rate_rises_then_falls() -> None:
    plan = TrainPlan()
    rates = [rate_at(x, plan) for x in np.linspace(0, 1, 101)]
    assert rates[0] < 0.1 * plan.rate
    assert max(rates) == pytest.approx(plan.rate, rel=0.01)
    assert rates[-1] == pytest.approx(plan.rate_end, rel=0.05)


def shaken(net: torch.nn.Module) -> torch.nn.Module:
    """`net` with batch statistics as after training."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return net.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PeNet, FbNet]:
    folder = tmp_path_factory.mktemp("onnx")
    torch.manual_seed(0)
    pe = shaken(PeNet(torch.randn(956) * 0.2, torch.randn(64, 956) * 0.01))
    fb = shaken(FbNet())
    assert isinstance(pe, PeNet)
    assert isinstance(fb, FbNet)
    export_pe(pe, folder / PE_FILE, {"people": 3})
    export_fb(fb, folder / FB_FILE, {})
    return folder, pe, fb


def test_export_pe_says_what_torch_says(exported: tuple[Path, PeNet, FbNet]) -> None:
    folder, pe, _ = exported
    image = np.random.default_rng(1).integers(0, 256, (200, 240, 3), dtype=np.uint8)
    crop = FaceCrop(120, 100, 112, 0.0)
    reading = FaceReader(folder).read(image, crop)
    from sender.facenet.reader import PLACE_RANGE, focal_of

    place = np.clip(crop.place(focal_of(200), 240, 200), *PLACE_RANGE)
    picture = torch.from_numpy(crop.cut(image)).permute(2, 0, 1)[None] / 255.0
    with torch.no_grad():
        out = pe(picture, torch.tensor(place[None], dtype=torch.float32))
    assert np.allclose(reading.expression, out[1][0], atol=5e-3)
    assert np.allclose(crop.to_crop(reading.landmarks), out[0][0], atol=5e-3)
    assert np.allclose(reading.features, out[6][0], atol=2e-2)
    assert reading.presence == pytest.approx(float(torch.sigmoid(out[5][0])), abs=5e-3)


def test_export_pe_in_8_bits_says_nearly_the_same_with_a_third_less(
    exported: tuple[Path, PeNet, FbNet], material: Material, tmp_path: Path
) -> None:
    folder, pe, _ = exported
    crops = calibration(material)
    export_pe(pe, tmp_path / PE_FILE, {}, crops)
    data, small = (folder / PE_FILE).read_bytes(), (tmp_path / PE_FILE).read_bytes()
    assert len(small) < 0.85 * len(data)
    off = differences(data, small, crops, list(PeNet.OUTPUTS))
    assert all(0 < off[name] <= most for name, most in LIMITS.items())


def test_export_pe_stays_exact_where_8_bits_say_something_else(
    exported: tuple[Path, PeNet, FbNet], material: Material, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder, pe, _ = exported
    monkeypatch.setitem(LIMITS, "expression", 1e-9)
    export_pe(pe, tmp_path / PE_FILE, {"people": 3}, calibration(material))
    assert (tmp_path / PE_FILE).read_bytes() == (folder / PE_FILE).read_bytes()


@pytest.mark.parametrize("size", [(96, 96), (61, 130)])
def test_export_fb_takes_any_size(
    exported: tuple[Path, PeNet, FbNet], size: tuple[int, int]
) -> None:
    folder, _, fb = exported
    image = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    said = FaceDetector(folder)._session.run(None, {"picture": image[None]})[0]
    with torch.no_grad():
        wanted = fb(torch.from_numpy(image).permute(2, 0, 1)[None] / 255.0)
    assert said.shape == tuple(wanted.shape)
    assert np.allclose(said, wanted, atol=2e-2)


def test_export_is_small_tells_its_origin_and_casts_no_weights_at_run_time(
    exported: tuple[Path, PeNet, FbNet], tmp_path: Path
) -> None:
    folder, pe, _ = exported
    path = folder / PE_FILE
    assert path.stat().st_size < 2.3 * sum(p.numel() for p in pe.parameters())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "opened.onnx")
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )  # fmt: skip
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["schema"] == "arkit46"
    assert facts["people"] == "3"
    import onnx

    opened = onnx.load(str(tmp_path / "opened.onnx"))
    weights = {t.name for t in opened.graph.initializer}
    casts = [n for n in opened.graph.node if n.op_type == "Cast"]
    assert not [n for n in casts if n.input[0] in weights]
    assert not any(n.op_type == "BatchNormalization" for n in opened.graph.node)


def test_train_command_makes_networks_and_report_and_goes_on(
    packs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("portrait.facenet.run.DRAWINGS", 10)
    out = tmp_path / "run"
    command = ["train", "--faces", str(packs[0]), "-o", str(out), "--minutes", "0.02",
               "--detector-minutes", "0.02", "--workers", "1"]  # fmt: skip
    assert cli.main(command) == 0
    report = json.loads((out / "report.json").read_text())
    assert report["data"]["people"] == 6
    assert report["data"]["held_out_people"] == len(report["people"]) == 2
    assert len(report["coefficients"]) == 46
    assert (out / "report.md").read_text().startswith("# Training report")
    assert FaceReader(out).read(np.zeros((99, 99, 3), np.uint8), FaceCrop(50, 50, 40, 0))
    before = (out / PE_FILE).stat().st_mtime_ns
    capsys.readouterr()
    assert cli.main(command) == 0  # nothing is done again
    assert (out / PE_FILE).stat().st_mtime_ns == before
    assert "people it never saw" in capsys.readouterr().out
    with pytest.raises(LocalError, match="another minutes"):
        cli.main([*command[:6], "0.03", *command[7:]])
    assert cli.main(["export", str(out), "-o", str(tmp_path / "w")]) == 0
    assert (tmp_path / "w" / FB_FILE).exists()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["label", "nowhere.mp4", "-o", "x"], "no clip"),
        (["performers", "5", "5", "-o", "x"], "seeds go"),
        (["train", "--faces", "nowhere", "-o", "x"], "no pack"),
        (["export", "nowhere", "-o", "x"], "not a trained network"),
        (["train", "--faces", "x", "-o", "y", "--workers", "0"], "--workers"),
    ],
)  # fmt: skip
def test_commands_say_what_is_wrong(
    command: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LocalError, match=says):
        cli.main(command)
