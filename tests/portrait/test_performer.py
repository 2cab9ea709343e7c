"""The performer: who a seed is, what the coefficients move, what a picture's layers say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nerf.camera import Camera, head_pose, project
from portrait.performer.expression import displacement_table
from portrait.performer.person import Person
from portrait.performer.render import Picture, render
from portrait.performer.traits import draw_traits
from portrait.performer.visemes import shape
from quic_transport.errors import LocalError
from quic_transport.params import ARKIT46, FaceParams

CAMERA = Camera(350.0, 350.0, 96.0, 92.0, 192, 192)
FRONT = head_pose((0.0, 0.0, 0.0), 0.75)
NEUTRAL = np.zeros(46)


@pytest.fixture(scope="module")
def person() -> Person:
    return Person(7)


@pytest.fixture(scope="module")
def even() -> Person:
    """A person without glasses whose hair parts in the middle."""
    base = draw_traits(7)
    return Person(7, symmetric=True, traits=replace(base, glasses=False, hair_style="crop"))


def face(expression: NDArray[np.float64]) -> FaceParams:
    return FaceParams(expression.astype(np.float32), np.zeros(3, np.float32), 0.0)


def shoot(person: Person, expression: NDArray[np.float64] = NEUTRAL, **turn: float) -> Picture:
    angles = [np.radians(turn.get(k, 0.0)) for k in ("pitch", "yaw", "roll")]
    return render(person, face(expression), head_pose(angles, 0.75), CAMERA)


def mark(person: Person, expression: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    geometry = person.deform(expression.astype(np.float32))
    points: NDArray[np.float64] = person.landmarks(geometry)
    return points[person.landmark_names.index(name)]


def test_person_same_seed_gives_identical_picture(person: Person) -> None:
    again = Person(7)
    assert again.traits == person.traits
    a, b = shoot(person, yaw=10), shoot(again, yaw=10)
    assert np.array_equal(a.rgb, b.rgb)
    assert np.array_equal(a.classes, b.classes)
    assert np.array_equal(a.depth, b.depth)


def test_person_other_seed_gives_other_face(person: Person) -> None:
    other = Person(8)
    assert other.traits != person.traits
    assert np.abs(other.rest.points - person.rest.points).max() > 0.05
    assert (shoot(person).rgb != shoot(other).rgb).mean() > 0.5


def test_picture_masks_partition_and_every_part_is_seen(person: Person) -> None:
    classes = shoot(person, yaw=15).classes
    share = np.bincount(classes.ravel(), minlength=4) / classes.size
    assert len(share) == 4
    assert (share > (0.2, 0.1, 0.005, 0.05)).all()
    head = np.flatnonzero((classes == 1).any(axis=1))
    assert 0.45 < (head[-1] - head[0]) / CAMERA.height < 0.65


@settings(max_examples=8)
@given(st.floats(-70, 70), st.floats(-25, 25), st.floats(-20, 20), st.floats(0, 1))
def test_picture_matte_classes_and_depth_agree(
    yaw: float, pitch: float, roll: float, jaw: float
) -> None:
    picture = shoot(_SHARED, shape(jawOpen=jaw), yaw=yaw, pitch=pitch, roll=roll)
    assert np.isinf(picture.depth[picture.classes == 0]).all()
    seen = picture.depth[picture.classes > 0]
    assert seen.min() > 0.5
    assert seen.max() < 1.2
    assert set(np.unique(picture.matte)) <= {0, 64, 128, 191, 255}
    assert (picture.matte[picture.classes == 1] >= 64).all()  # a plurality of four samples
    assert (picture.matte[picture.classes != 1] <= 128).all()


_SHARED = Person(7)


def test_depth_of_nose_tip_matches_geometry(person: Person) -> None:
    picture = shoot(person)
    tip = mark(person, NEUTRAL, "nose_tip")
    x, y = project(tip[None], FRONT, CAMERA)[0]
    assert picture.depth[int(y), int(x)] == pytest.approx(0.75 - tip[2], abs=0.002)


@pytest.mark.parametrize("name", ARKIT46)
def test_each_coefficient_changes_the_picture(person: Person, name: str) -> None:
    mix = shape(jawOpen=0.25) if name == "mouthClose" else NEUTRAL  # it closes an open jaw
    one = mix.copy()
    one[ARKIT46.index(name)] = 1.0
    change = np.abs(shoot(person, one).rgb.astype(int) - shoot(person, mix).rgb).max(axis=-1)
    assert (change > 16).sum() >= 6


def test_left_and_right_coefficients_are_mirror_images(even: Person) -> None:
    moved, table = displacement_table()
    rest = even.rest.points
    mirrored = rest * (-1, 1, 1)
    pairs = [n for n in ARKIT46 if n.endswith("Left")]
    assert len(pairs) == 18
    for name in pairs:
        left = table[ARKIT46.index(name)]
        right = table[ARKIT46.index(name.replace("Left", "Right"))]
        assert left.sum(axis=0)[1:] == pytest.approx(right.sum(axis=0)[1:], abs=1e-3)
    for sign in (1, -1):  # the rest face itself: every vertex has a partner
        some = rest[:: 97 * 2] if sign > 0 else rest[moved[::501]]
        distance = np.abs(mirrored[None] - some[:, None]).sum(axis=-1).min(axis=1)
        assert distance.max() < 1e-6


@pytest.mark.parametrize("name", ["eyeBlink", "mouthSmile", "browOuterUp", "jaw", "eyeLookOut"])
def test_mirrored_expression_mirrors_landmarks_and_masks(even: Person, name: str) -> None:
    left = even.deform(shape(**{name + "Left": 0.9}).astype(np.float32))
    right = even.deform(shape(**{name + "Right": 0.9}).astype(np.float32))
    names = even.landmark_names
    partner = [
        names.index(n.replace("_left", "_*").replace("_right", "_left").replace("_*", "_right"))
        for n in names
    ]
    a, b = even.landmarks(left), even.landmarks(right)
    assert np.abs(a - b[partner] * (-1, 1, 1)).max() < 1e-5
    camera = replace(CAMERA, cx=96.0)
    classes = [render(even, g, FRONT, camera).classes == 1 for g in (left, right)]
    assert (classes[0] != classes[1][:, ::-1]).mean() < 0.004  # hair's strands are not symmetric


def test_blink_closes_the_lids_and_hides_the_iris(person: Person) -> None:
    camera = Camera(1500.0, 1500.0, 96.0, 160.0, 192, 128)  # both eyes
    open_ = render(person, face(NEUTRAL), FRONT, camera)
    shut = render(person, face(shape(eyeBlink=1.0)), FRONT, camera)
    for side in ("left", "right"):
        gap = mark(person, NEUTRAL, f"eye_upper_{side}") - mark(
            person, NEUTRAL, f"eye_lower_{side}"
        )
        assert 0.006 < gap[1] < 0.015
        closed = shape(eyeBlink=1.0)
        gap = mark(person, closed, f"eye_upper_{side}") - mark(person, closed, f"eye_lower_{side}")
        assert abs(gap[1]) < 1e-4
    bare = replace(person.traits, eye=(0.0, 0.9, 0.0), glasses=False)
    green = Person(7, traits=bare)

    def greenness(picture: Picture) -> int:
        r, g, b = (picture.rgb[..., i].astype(int) for i in range(3))
        return int(((g > r + 25) & (g > b + 25)).sum())

    assert greenness(render(green, face(NEUTRAL), FRONT, camera)) > 50
    assert greenness(render(green, face(shape(eyeBlink=1.0)), FRONT, camera)) == 0
    assert (open_.rgb != shut.rgb).any()


def test_eyes_look_where_they_are_told(person: Person) -> None:
    for name, axis, sign in (("eyeLookOutLeft", 0, 1), ("eyeLookInLeft", 0, -1),
                             ("eyeLookUpLeft", 1, 1), ("eyeLookDownLeft", 1, -1)):  # fmt: skip
        ahead = person.deform(shape(**{name: 1.0}).astype(np.float32)).eyes[0, 6:9]
        assert np.linalg.norm(ahead) == pytest.approx(1.0)
        assert sign * ahead[axis] > 0.3


def test_jaw_open_lowers_the_chin_and_parts_the_lips(person: Person) -> None:
    wide = shape(jawOpen=1.0)
    assert mark(person, wide, "chin")[1] < mark(person, NEUTRAL, "chin")[1] - 0.02
    parted = mark(person, wide, "lip_top_inner") - mark(person, wide, "lip_bottom_inner")
    assert parted[1] > 0.02
    still = mark(person, wide, "nose_tip") - mark(person, NEUTRAL, "nose_tip")
    assert np.abs(still).max() < 1e-3


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=46, max_size=46))
def test_lips_and_lids_never_pass_through_each_other(values: list[float]) -> None:
    e = np.array(values)
    for upper, lower in (
        ("lip_top_inner", "lip_bottom_inner"),
        ("eye_upper_left", "eye_lower_left"),
    ):
        assert mark(_SHARED, e, upper)[1] >= mark(_SHARED, e, lower)[1] - 1e-4


@pytest.mark.parametrize(
    ("turn", "axis", "sign"),
    [
        ({"yaw": 20.0}, 0, 1),
        ({"yaw": -20.0}, 0, -1),
        ({"pitch": 15.0}, 1, 1),
        ({"roll": 15.0}, 0, -1),
    ],
)
def test_pose_convention_holds_in_the_picture(
    person: Person, turn: dict[str, float], axis: int, sign: int
) -> None:
    """+yaw: nose to the image's right; +pitch: nose down; +roll: forehead to the image's left."""
    name = "forehead" if "roll" in turn else "nose_tip"
    k = person.landmark_names.index(name)
    moved = shoot(person, NEUTRAL, **turn).landmarks[k] - shoot(person).landmarks[k]
    assert sign * moved[axis] > 5


def test_body_stays_when_the_head_turns(person: Person) -> None:
    pose = head_pose(np.radians([0.0, 25.0, 0.0]), 0.75)
    body = np.eye(4)
    body[:3, 3] = (0.0, 0.0, -0.75)
    still = render(person, face(NEUTRAL), FRONT, CAMERA, body=body).classes == 3
    turned = render(person, face(NEUTRAL), pose, CAMERA, body=body).classes == 3
    assert (still != turned).sum() < 0.12 * still.sum()


def test_white_background_is_white_where_nobody_is(person: Person) -> None:
    picture = render(person, face(NEUTRAL), FRONT, CAMERA, white=True)
    corner = picture.rgb[:20, :20]
    assert (corner == 255).all()


def test_shape_unknown_coefficient_raises_value_error() -> None:
    with pytest.raises(ValueError, match="none of the 46"):
        shape(noseWiggle=1.0)


def test_deform_wrong_length_raises_value_error(person: Person) -> None:
    with pytest.raises((ValueError, LocalError), match="46"):
        person.deform(np.zeros(45, np.float32))
