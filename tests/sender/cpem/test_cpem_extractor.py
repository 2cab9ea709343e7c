"""The extractor: well-formed faces from pictures, by the exported networks alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from quic_transport.errors import LocalError
from quic_transport.params import SCHEMAS
from sender.cpem.bundle import FB_NET, PE_NET, write_bundle
from sender.cpem.crops import square_of
from sender.cpem.extractor import CpemExtractor, detector_size
from sender.cpem.resnet50 import split_outputs
from sender.frames import Frame
from sender.portrait_crop import crop_of
from tests.sender.cpem.made_up import BRIGHT, DARK, as_rgb, plain

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def extractor(made) -> CpemExtractor:
    return CpemExtractor(made.folder)


def frame(height: int, width: int, level: int, time: float = 2.5) -> Frame:
    return Frame(7, time, plain(height, width, level, seed=20))


@pytest.mark.parametrize(("size", "faces"), [((128, 128), 1), ((480, 640), 2), ((700, 300), 2)])
def test_faces_are_well_formed(extractor: CpemExtractor, size: tuple[int, int], faces: int) -> None:
    height, width = size
    found = extractor.extract(frame(height, width, BRIGHT))
    assert len(found) == faces
    assert found[0].crop.side >= found[-1].crop.side
    for face in found:
        p = face.params
        assert p.expression.shape == (46,) == (len(SCHEMAS[extractor.schema]),)
        assert 0.0 <= p.expression.min() < p.expression.max() <= 1.0
        assert p.capture_time == 2.5
        assert 0.5 < face.confidence <= 1.0
        crop, rotation, offset = crop_of(face.pose, face.focal_px, width, height)
        assert crop == face.crop
        np.testing.assert_allclose(p.rotation, rotation, atol=1e-6)
        assert p.offset is not None
        np.testing.assert_allclose(p.offset, offset, atol=1e-5)
        assert 0.01 < face.distance_m < 20.0
        assert face.landmarks.shape == (2, 2)
        assert (face.landmarks[0] < face.landmarks[1]).all()


@torch.no_grad()
def test_numbers_are_the_networks_for_the_square_around_the_box(
    made, extractor: CpemExtractor
) -> None:
    seen = frame(128, 128, BRIGHT)
    face = extractor.extract(seen)[0]
    square = square_of(face.landmarks.reshape(4))
    wanted = split_outputs(made.pe_net(as_rgb(square.cut(seen.image))))
    np.testing.assert_allclose(face.params.expression, wanted["expression"][0], atol=2e-3)


def test_dark_picture_has_no_face(extractor: CpemExtractor) -> None:
    assert extractor.extract(frame(128, 128, DARK)) == []
    assert extractor.extract(frame(480, 640, DARK)) == []


def test_frames_are_read_for_themselves(extractor: CpemExtractor) -> None:
    one, other = frame(240, 320, BRIGHT), frame(300, 200, BRIGHT - 20)
    first = extractor.extract(one)[0]
    extractor.extract(other)
    again = extractor.extract(one)[0]
    np.testing.assert_array_equal(first.params.vector(), again.params.vector())
    np.testing.assert_array_equal(first.pose, again.pose)


@pytest.mark.parametrize("shape", [(1, 1), (3, 500), (17, 2)])
def test_tiny_pictures_do_not_fail(extractor: CpemExtractor, shape: tuple[int, int]) -> None:
    assert len(extractor.extract(frame(*shape, BRIGHT))) <= 2


def test_answers_that_are_no_head_are_left_out(made, monkeypatch) -> None:
    broken = CpemExtractor(made.folder)
    real = broken._pe_net

    class Behind:
        def run(self, outputs, inputs):
            expression, rotation, translation = real.run(outputs, inputs)
            return expression, rotation, translation + np.array([0, 0, 40], np.float32)

    monkeypatch.setattr(broken, "_pe_net", Behind())
    assert broken.extract(frame(128, 128, BRIGHT)) == []


def test_name_tells_the_checkpoints_and_stays_the_same(made, extractor: CpemExtractor) -> None:
    other = CpemExtractor(made.folder)
    assert other.name == extractor.name
    assert other.name.startswith("cpem-")
    assert len(other.name) == len("cpem-") + 8
    other.close()


def test_folder_without_an_export_is_told(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="facewire export-cpem"):
        CpemExtractor(tmp_path)
    with pytest.raises(LocalError, match="facewire export-cpem"):
        CpemExtractor(tmp_path / "nowhere")


def test_folder_with_networks_of_another_kind_is_told(made, tmp_path: Path) -> None:
    detector = (made.folder / FB_NET).read_bytes()
    sources = {"checkpoint_sha256": {FB_NET: "1", PE_NET: "2"}}
    write_bundle(tmp_path, {FB_NET: detector, PE_NET: detector}, sources)
    with pytest.raises(LocalError, match="networks of another kind"):
        CpemExtractor(tmp_path)


@pytest.mark.parametrize(
    ("width", "height", "wanted"),
    [(640, 360, (303, 540)), (1920, 1080, (303, 540)), (300, 200, (200, 300)),
     (1080, 1920, (360, 202)), (1, 9000, (360, 1))],
)  # fmt: skip
def test_detector_never_looks_at_more_than_its_limit(width, height, wanted) -> None:
    assert detector_size(width, height, (360, 540)) == wanted


def test_extractor_loads_no_torch() -> None:
    code = (
        "import sys, sender.cpem.extractor, sender.cpem.cli; "
        "print([m for m in ('torch', 'onnx', 'onnxscript') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.strip() == "[]"
