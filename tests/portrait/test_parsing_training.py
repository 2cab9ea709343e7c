"""Training the parsing network: labels, samples, loss, resuming, export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from portrait.neckline import JAW_LINE
from portrait.parsing import train as training
from portrait.parsing.data import TARGETS, Sources, read_sources, sample
from portrait.parsing.label import inside_of, trust_of
from portrait.parsing.net import CLASSES, ParsingNet, opacity, parameters
from portrait.parsing.parts import CHEEKS, CHIN, EYES, FOREHEAD, HEAD, NECK, OVAL, TORSO, UNKNOWN
from portrait.parsing.parts import parts_of as tell_parts
from portrait.parsing.train import TrainPlan, load_average, parsing_loss, train
from quic_transport.errors import LocalError

SKIN, HAIR, CLOTH, WALL = (200, 150, 120), (40, 30, 25), (30, 60, 160), (180, 180, 175)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def face(long_hair: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(picture, landmarks, opacity) of a drawn head on a neck and shoulders, 144 px."""
    import cv2

    image = np.full((144, 144, 3), WALL, np.uint8)
    alpha = np.zeros((144, 144), np.uint8)
    for canvas, hair, cloth, skin in ((image, HAIR, CLOTH, SKIN), (alpha, 1, 1, 1)):
        if long_hair:
            cv2.rectangle(canvas, (36, 50), (108, 144), hair, -1)
        cv2.ellipse(canvas, (72, 50), (36, 40), 0, 0, 360, hair, -1)
        cv2.rectangle(canvas, (58, 80), (86, 125), skin, -1)
        left = 46 if long_hair else 20
        cv2.rectangle(canvas, (left, 118), (144 - left, 144), cloth, -1)
        cv2.ellipse(canvas, (72, 62), (28, 36), 0, 0, 360, skin, -1)
    points = np.tile(np.array([72, 62], np.float32), (478, 1))
    turn = np.linspace(0, 2 * np.pi, len(OVAL), endpoint=False)
    points[list(OVAL)] = np.stack([72 + 28 * np.sin(turn), 62 - 36 * np.cos(turn)], -1)
    points[EYES[0]], points[EYES[1]] = (60, 55), (84, 55)
    points[FOREHEAD], points[CHIN] = (72, 26), (72, 98)
    points[list(CHEEKS)] = (72, 70)
    assert set(JAW_LINE) <= set(OVAL)
    return image, points.astype(np.float32), alpha.astype(np.float32)


def test_parts_follow_jaw_and_colour() -> None:
    parts = tell_parts(*face(long_hair=False))
    assert parts[20, 72] == parts[60, 72] == HEAD
    assert parts[108, 72] == NECK
    assert parts[135, 72] == parts[135, 30] == TORSO
    assert parts[98, 72] in (UNKNOWN, HEAD)  # the jaw's line itself


def test_parts_hair_below_the_jaw_is_left_open() -> None:
    parts = tell_parts(*face(long_hair=True))
    assert parts[125, 40] == UNKNOWN
    assert parts[108, 72] == NECK
    assert parts[135, 72] == TORSO


def test_margins_of_a_crop_are_not_trusted() -> None:
    image = np.full((60, 60, 3), 120, np.uint8)
    image[:20] = 3
    inside = inside_of(image)
    assert not inside[:21].any()
    assert inside[25:55, 5:55].all()
    doubt = np.zeros((60, 60), np.float32)
    doubt[30:50, 30:50] = 1.0
    trust = trust_of(doubt, inside)
    assert (trust[~inside] == 0).all()
    assert (trust[inside] > 0).all()
    assert trust[40, 40] < 0.01
    assert trust[25, 10] == 1.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sources in which everybody looks alike."""
    import cv2

    out = tmp_path_factory.mktemp("sources")
    rows = [face(k % 2 == 0) for k in range(4)]
    np.savez(
        out / "real.npz", images=np.stack([r[0] for r in rows]),
        alpha=np.stack([(255 * r[2]).astype(np.uint8) for r in rows]),
        trust=np.full((4, 144, 144), 255, np.uint8), parts=np.stack([tell_parts(*r) for r in rows]),
        held_out=np.array([False, False, False, True]),
        empty=np.full((2, 144, 144, 3), 90, np.uint8),
    )  # fmt: skip
    cover = np.zeros((256, 256), np.uint8)
    cv2.ellipse(cover, (128, 128), (60, 90), 0, 0, 360, 255, -1)
    image = np.where(cover[..., None] > 0, np.uint8(60), np.uint8(255)) * np.ones(3, np.uint8)
    parts = np.zeros((128, 128, 3), np.uint8)
    parts[..., 0] = cover[::2, ::2]
    np.savez(out / "performers_1.npz", images=image[None], alpha=cover[None], parts=parts[None],
             seed=np.array([1]))  # fmt: skip
    return out


@pytest.fixture(scope="module")
def sources(folder: Path) -> Sources:
    return read_sources(folder)


def test_sources_keep_people_apart(folder: Path, tmp_path: Path) -> None:
    assert len(read_sources(folder).images) == 3
    assert len(read_sources(folder, held_out=True).images) == 1
    with pytest.raises(LocalError, match=r"lacks real\.npz"):
        read_sources(tmp_path)


def test_samples_are_consistent(sources: Sources) -> None:
    rng = np.random.default_rng(0)
    someone = 0
    for _ in range(60):
        picture, target = sample(sources, rng, 64)
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        assert target.shape == (32, 32, TARGETS)
        assert target.min() >= 0.0
        assert target.max() <= 1.001
        assert (target[..., :3].sum(axis=-1) <= target[..., 3] + 0.01).all()
        someone += int(target[..., 3].max() > 0.5)
    assert 40 <= someone < 60  # a few show nobody


def test_same_generator_same_sample(sources: Sources) -> None:
    one, two = (sample(sources, np.random.default_rng(5), 64) for _ in range(2))
    np.testing.assert_array_equal(one[0], two[0])
    np.testing.assert_array_equal(one[1], two[1])


def test_loss_prefers_the_truth_and_leaves_unknown_parts_alone() -> None:
    target = torch.zeros(1, 8, 8, TARGETS)
    target[..., 4] = 1.0
    target[:, 2:6, 2:6, 3] = 1.0
    target[:, 2:4, 2:6, 0] = 1.0  # the head is known, below it nothing is
    target[:, 2:4, 2:6, 5] = 1.0
    right = torch.full((1, CLASSES, 8, 8), -6.0)
    right[:, 0] = 6.0
    right[:, 0, 2:6, 2:6], right[:, 1, 2:6, 2:6] = -6.0, 6.0
    assert float(parsing_loss(right, target)[0]) < 0.01
    assert float(parsing_loss(right.roll(2, dims=3), target)[0]) > 1.0
    other = right.clone()
    other[:, 1, 4:6, 2:6], other[:, 3, 4:6, 2:6] = -6.0, 6.0  # torso where nobody knows
    assert float(parsing_loss(other, target)[0]) < 0.01


def test_network_has_the_promised_size_and_shape() -> None:
    net = ParsingNet().eval()
    assert 450_000 < parameters(net) < 700_000
    with torch.no_grad():
        logits = net(torch.rand(2, 3, 64, 128))
    assert logits.shape == (2, CLASSES, 32, 64)
    assert opacity(logits).shape == (2, 32, 64)


def test_training_goes_on_where_it_was_stopped(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "BATCH", 2)
    said: list[str] = []
    path = tmp_path / "checkpoint.pt"
    net = ParsingNet()
    first = train(net, sources, TrainPlan(0.004, path), said.append)
    assert first >= 0.004
    assert not any("going on" in text for text in said)
    again = ParsingNet()
    assert train(again, sources, TrainPlan(first + 0.002, path), said.append) > first
    assert any("going on" in text for text in said)
    stored = load_average(path)
    for one, two in zip(again.parameters(), stored.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    assert any(
        not torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True)
    )


@pytest.mark.filterwarnings("ignore")
def test_onnx_file_equals_the_torch_module(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from portrait.parsing.export import export
    from portrait.parsing.segmenter import ParsingSegmenter

    torch.manual_seed(0)
    net = ParsingNet().eval()
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    with torch.no_grad():
        logits = net(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
        expected = torch.softmax(logits, dim=1)[0].permute(1, 2, 0).numpy()
    assert export(net, tmp_path / "net.onnx") < 0.01
    got = ParsingSegmenter(tmp_path / "net.onnx").shares(picture)
    halved = got.reshape(128, 2, 128, 2, 4).mean(axis=(1, 3))
    assert np.abs(halved - expected).mean() < 0.01
    assert (tmp_path / "net.onnx").stat().st_size < 1_500_000
