"""Avatar sizes: what is written is small enough, in order, and still the same person."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import facewire
from conference import avatar_size, repack
from conference.avatar_size import (
    PREVIEW,
    PREVIEW_PX,
    STORED,
    Views,
    head_of,
    in_order,
    stored,
)
from nerf.field import HeadField
from nerf.renderer import HeadRenderer
from nerf.weights import is_drawable
from quic_transport.avatar_file import (
    AvatarFile,
    decode_avatar,
    decode_avatar_prefix,
    encode_avatar,
    load_avatar,
    public_bytes,
    save_avatar,
)
from quic_transport.errors import AvatarFileError, LocalError
from tests.conference.conftest import tiny_avatar
from tests.nerf.heads import random_head

META = replace(tiny_avatar().meta, distance_m=0.6)
NOISE = np.random.default_rng(0).integers(0, 256, 9000, dtype=np.uint8)
OTHERS = {"personal.points": NOISE, "plate.picture": NOISE[:2000], "codec.rc": NOISE[:500],
          "who.knows": NOISE[:100]}  # fmt: skip


@pytest.fixture(autouse=True)
def few_views(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a ball."""
    monkeypatch.setattr(avatar_size, "VIEWS", 8)


@pytest.fixture(scope="module")
def field() -> HeadField:
    """A ball of random weights, large enough to be worth shrinking."""
    head = random_head()
    g = head.occupancy.shape[0]
    axis = (np.arange(g) + 0.5) / g - 0.5
    ball = sum(a**2 for a in np.meshgrid(axis, axis, axis, indexing="ij")) < 0.3**2
    return replace(head, occupancy=ball.astype(np.uint8))


@pytest.fixture(scope="module")
def full(field: HeadField, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its avatar in full precision."""
    path = tmp_path_factory.mktemp("size") / "full.fwa"
    save_avatar(path, stored(META, field, OTHERS, Views.to_expect(field, META), size="full"))
    return path


def test_full_keeps_every_weight_and_all_other_parts(full: Path, field: HeadField) -> None:
    avatar = load_avatar(full)
    again = head_of(avatar)
    np.testing.assert_array_equal(again.mean, field.mean)
    np.testing.assert_array_equal(again.tables, field.tables)
    for name, array in OTHERS.items():
        np.testing.assert_array_equal(avatar.sections[name], array)
    assert avatar.sections[PREVIEW].shape == (PREVIEW_PX, PREVIEW_PX, 3)
    assert avatar.sections[PREVIEW].min() < 200  # somebody is there


def test_default_is_much_smaller_and_says_how_near_its_pictures_are(
    full: Path, field: HeadField
) -> None:
    still = np.tile(field.code.mean, (20, 1))
    views = Views.of_training(field.code, still, np.zeros((20, 3)))
    avatar = stored(META, field, OTHERS, views, threads=1)
    assert len(encode_avatar(avatar)) < 0.7 * full.stat().st_size
    assert 40 < float(avatar.meta.provenance[STORED]) < 90
    for name, array in OTHERS.items():
        np.testing.assert_array_equal(avatar.sections[name], array)


def test_parts_lie_in_the_order_of_their_worth(field: HeadField) -> None:
    views = Views.to_expect(field, META)
    avatar = stored(META, field, OTHERS, views, threads=1)
    names = list(avatar.sections)
    wanted = [PREVIEW, "codec.rc", "field.config", "mean.0.0", "tables.0.1", "plate.picture",
              "who.knows", "steps.1", "steps.2", "personal.points"]  # fmt: skip
    assert [name for name in names if name in wanted] == wanted
    assert list(in_order({name: avatar.sections[name] for name in sorted(names)})) != sorted(names)
    data = public_bytes(avatar)
    first = next(n for n in range(0, len(data), 500) if _drawable(data[:n]))
    assert first < 0.8 * len(data)
    assert not any(name.startswith("personal.") for name in _sections(data))


def _sections(data: bytes) -> list[str]:
    prefix = decode_avatar_prefix(data)
    return [] if prefix is None else list(prefix.avatar.sections)


def _drawable(data: bytes) -> bool:
    prefix = decode_avatar_prefix(data)
    return prefix is not None and is_drawable(prefix.avatar.sections)


@pytest.mark.parametrize("most", [27_000, 33_000])
def test_repack_keeps_to_what_may_travel(
    full: Path, tmp_path: Path, most: int, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "less.fwa"
    argv = [str(full), "-o", str(out), "--max-mb", str(most / 1e6), "--threads", "1"]
    assert repack.main(argv) == 0
    assert "travel in a call" in capsys.readouterr().out
    less = load_avatar(out)
    assert 0.8 * most < len(public_bytes(less)) <= most
    np.testing.assert_array_equal(less.sections["personal.points"], NOISE)
    head_of(less)


def test_repacking_twice_adds_up_what_was_lost(full: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "once.fwa", tmp_path / "twice.fwa"
    for source, target in ((full, once), (once, twice)):
        assert repack.main([str(source), "-o", str(target), "--max-mb", "0.03",
                            "--threads", "1"]) == 0  # fmt: skip
    first, second = (float(load_avatar(p).meta.provenance[STORED]) for p in (once, twice))
    assert second < first


def test_small_is_a_megabyte_where_the_rest_leaves_room(field: HeadField) -> None:
    rng = np.random.default_rng(0)
    plate = {"plate.picture": rng.integers(0, 256, 920_000, dtype=np.uint8)}
    views = Views.to_expect(field, META)
    avatar = stored(META, field, plate, views, size="small", threads=1)
    assert len(public_bytes(avatar)) <= 1_000_000
    plate = {"plate.picture": rng.integers(0, 256, 990_000, dtype=np.uint8)}
    with pytest.raises(LocalError, match=r"1\.00 MB.*alone has 1\.0\d MB"):
        stored(META, field, plate, views, size="small", threads=1)


def test_a_head_that_has_learned_nothing_yet_can_be_read_again(
    field: HeadField, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables fit into so few bytes that they look like a bomb."""
    monkeypatch.setattr("nerf.weights.FREE_FLOATS", 1000)
    monkeypatch.setattr("nerf.weights.FLOATS_PER_BYTE", 3)
    blank = replace(field, mean=1e-4 * field.mean, tables=0 * field.tables)
    avatar = stored(META, blank, {}, Views.to_expect(blank, META), threads=1)
    head_of(load_back(avatar))


def load_back(avatar: AvatarFile) -> AvatarFile:
    return decode_avatar(encode_avatar(avatar))


def test_misuse_is_one_sentence(full: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "x.fwa")
    with pytest.raises(LocalError, match="--max-mb"):
        repack.main([str(full), "-o", out, "--max-mb", "0"])
    with pytest.raises(LocalError, match="--threads"):
        repack.main([str(full), "-o", out, "--threads", "0"])
    before = full.read_bytes()
    with pytest.raises(LocalError, match="is the avatar itself"):
        repack.main([str(full), "-o", str(full.parent / "." / full.name)])
    assert full.read_bytes() == before
    with pytest.raises(LocalError, match="no avatar file"):
        repack.main([str(tmp_path / "nobody.fwa"), "-o", out])
    headless = tmp_path / "headless.fwa"
    save_avatar(headless, AvatarFile(META, {}))
    with pytest.raises(AvatarFileError, match="cannot be drawn"):
        repack.main([str(headless), "-o", out])
    with pytest.raises(LocalError, match="no avatar size"):
        stored(META, random_head(), {}, Views(np.zeros((1, 3), np.float32), np.zeros((1, 3))),
               size="tiny")  # fmt: skip
    assert not Path(out).exists()
    assert facewire.COMMANDS  # the table loads


def test_previews_show_the_mean_face_of_training(field: HeadField) -> None:
    """However low a personal tracker's corrections reach."""
    head = HeadRenderer(field, META.distance_m, META.portrait_scale, 1)
    usual = field.code.mean[: field.code.coefficients]
    mean, lowest = (head.render_portrait(e, (0, 0, 0), 48).rgb for e in (usual, field.code.low))
    assert (mean != lowest).any()
    np.testing.assert_array_equal(avatar_size.portraits(field, META, 48, [0.0], 1)[0], mean)
