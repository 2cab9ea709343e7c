"""Packs of crops, what their labels say, and who is learnt from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portrait.facenet.drawn import drawn
from portrait.facenet.labels import fitted_camera, mirror_order
from portrait.facenet.material import Material, read_material
from portrait.facenet.pack import CROP_PX, crop_box, cut, person_of, read_pack
from portrait.facenet.samples import MIRRORED_EXPRESSION, misplaced, nothing, sample
from portrait.facenet.windows import CELL_PX, LARGE, SMALL, WINDOW_PX, box_of, draw_windows
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46
from sender.facenet.crop import INPUT_PX, crop_around
from tests.portrait.facenet.packs import names_of_both_kinds, rigid_face, write_pack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    people = [*names_of_both_kinds(5, 2), "performer_1", "performer_2"]
    return write_pack(tmp_path_factory.mktemp("pack"), people)


@pytest.fixture(scope="module")
def material(folder: Path) -> Material:
    return read_material([folder])


def test_pack_gives_back_what_was_written(folder: Path) -> None:
    pack = read_pack(folder)
    assert pack.images.shape == (9 * 6 + 8, CROP_PX, CROP_PX, 3)
    assert pack.no_face.sum() == 8
    assert np.isnan(pack.landmarks[pack.no_face]).all()
    size = np.ptp(pack.landmarks[~pack.no_face], axis=1)
    assert np.allclose(size.max(axis=1), CROP_PX / 1.8, atol=0.2)
    assert pack.expression.shape == (62, 46)
    assert pack.expression[~pack.no_face].std() > 0.2
    assert len(pack.people) == 9


@pytest.mark.parametrize("harm", ["nothing", "no crops", "cut short", "a key less"])
def test_read_pack_of_something_else_says_so(folder: Path, tmp_path: Path, harm: str) -> None:
    if harm != "nothing":
        data, labels = (folder / n for n in ("crops.bin", "labels.npz"))
        (tmp_path / "crops.bin").write_bytes(data.read_bytes()[: 20 if harm == "cut short" else -1])
        (tmp_path / "labels.npz").write_bytes(labels.read_bytes())
    if harm == "no crops":
        (tmp_path / "crops.bin").unlink()
    if harm == "a key less":
        with np.load(folder / "labels.npz") as z:
            np.savez(tmp_path / "labels.npz", **{k: z[k] for k in z.files if k != "matrix"})
    with pytest.raises(LocalError, match=r"pack|lacks|not a picture"):
        read_pack(tmp_path)


def test_crop_box_and_cut_put_the_face_in_the_middle() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    image[60:100, 200:250] = 255
    points = np.array([[200, 60], [250, 60], [200, 100], [250, 100]])
    seen = cut(image, crop_box(points))[..., 0] > 128
    y, x = np.nonzero(seen)
    assert (x.min() + x.max() + 1) / 2 == pytest.approx(CROP_PX / 2, abs=1)
    assert (y.min() + y.max() + 1) / 2 == pytest.approx(CROP_PX / 2, abs=1)
    assert x.max() - x.min() + 1 == pytest.approx(CROP_PX / 1.8, abs=2)


def test_person_of_joins_clips_of_one_person() -> None:
    assert person_of("M030_happy") == person_of("M030_sad")
    assert person_of("alice") != person_of("bob")


def test_cameras_are_found_from_the_face_alone(folder: Path) -> None:
    pack = read_pack(folder)
    rows = np.flatnonzero(~pack.no_face)
    camera, residual = fitted_camera(
        rigid_face(), pack.landmarks[rows].astype(float), pack.matrix[rows].astype(float)
    )
    assert np.abs(camera - pack.camera[rows]).max() < 1.5
    assert residual.max() < 0.3


def test_mirror_order_is_its_own_inverse() -> None:
    order = mirror_order(rigid_face())
    assert (order[order] == np.arange(478)).all()
    assert order[33] == 32


def test_material_keeps_people_apart(material: Material) -> None:
    assert material.people["people"] == 5
    assert material.people["held_out_people"] == 2
    assert material.people["performers"] == 2
    assert not set(material.real.person) & set(material.held_out.person)
    assert len(material.empty) == 8
    assert material.performers is not None
    assert len(material.performers) == 12


def test_material_without_cameras_says_what_to_add(folder: Path, tmp_path: Path) -> None:
    with np.load(folder / "labels.npz") as z:
        rest = {k: z[k] for k in z.files if k != "camera"}
    np.savez(tmp_path / "labels.npz", **rest)
    (tmp_path / "crops.bin").write_bytes((folder / "crops.bin").read_bytes())
    with pytest.raises(LocalError, match="facewire facenet performers"):
        read_material([tmp_path])


def test_sample_labels_follow_the_crop(material: Material) -> None:
    """The moved crop's landmarks, put back into the picture, are where they were."""
    faces, rng = material.real, np.random.default_rng(3)
    for i in range(6):
        picture, place, label = sample(faces, i, None, material.mirror)
        crop = crop_around(faces.landmarks[i].astype(float))
        back = crop.to_picture(label[:956].reshape(478, 2))
        assert np.allclose(back, faces.landmarks[i], atol=1e-3)
        assert picture.shape == (INPUT_PX, INPUT_PX, 3)
        moved = sample(faces, i, rng, material.mirror)
        assert moved[2][956:1002].sum() == pytest.approx(label[956:1002].sum(), abs=1e-3)
        assert np.abs(moved[1][:2]).max() < np.abs(place[:2]).max() + 0.7


def test_mirrored_expression_swaps_left_and_right() -> None:
    for k, name in enumerate(ARKIT46):
        partner = ARKIT46[MIRRORED_EXPRESSION[k]]
        assert sorted((name.replace("Left", "*").replace("Right", "*"),)) == sorted(
            (partner.replace("Left", "*").replace("Right", "*"),)
        )
        assert (partner == name) == ("Left" not in name and "Right" not in name)


def test_negatives_are_pictures_of_the_right_size(material: Material) -> None:
    rng = np.random.default_rng(0)
    assert misplaced(material.real, 0, rng).shape == (INPUT_PX, INPUT_PX, 3)
    assert nothing(material.empty[0], rng).shape == (INPUT_PX, INPUT_PX, 3)
    assert (drawn(5) == drawn(5)).all()
    assert (drawn(5) != drawn(6)).any()


def test_windows_mark_the_cells_of_faces_of_this_level(material: Material) -> None:
    w = draw_windows(material.real, None, material.empty, np.random.default_rng(2), 120)
    with_face = w.target[:, 0].sum(axis=(1, 2)) > 0
    assert 0.3 < with_face.mean() < 0.8
    for target in w.target[with_face]:
        rows, columns = np.nonzero(target[0])
        x = CELL_PX * (columns + 0.5 + target[1, rows, columns])
        y = CELL_PX * (rows + 0.5 + target[2, rows, columns])
        assert np.ptp(x) < 1e-3  # all cells say the same place
        assert np.ptp(y) < 1e-3
        assert -6 < x[0] < WINDOW_PX + 6
        size = 40 * np.exp(target[3, rows[0], columns[0]])
        assert SMALL <= size <= LARGE


def test_box_of_is_the_landmarks_box() -> None:
    points = np.array([[10, 20], [40, 30], [20, 80]], np.float32)
    assert box_of(points) == (25.0, 50.0, 60.0)
