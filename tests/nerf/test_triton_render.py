"""Triton's pictures are the reference's; kernels run in the interpreter where there is no GPU.

Tolerances (interpreter; a GPU has yet to confirm them): fp32 and fp16 one step of 255.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from nerf.camera import Camera, head_pose, portrait_camera
from nerf.config import FieldConfig
from nerf.cpu.render import Rendered
from nerf.field import HeadField
from nerf.torch_backend import TorchRenderer
from tests.nerf.heads import SMALL, random_head
from tests.nerf.triton_here import triton_device

DEVICE = triton_device()

from nerf.gpu.renderer import BatchRenderer, Launch, TritonRenderer  # noqa: E402
from nerf.gpu.views import View  # noqa: E402

LAUNCH = Launch(block=128, tile=8, grain=1) if DEVICE == "cpu" else Launch()
STEPS = 24
EXPRESSION = np.random.default_rng(2).random(46)
POSE = head_pose((0.1, -0.3, 0.05), 0.5)
AWAY = POSE.copy()
AWAY[2, 3] = 5.0  # behind the camera
SKY = (0.2, 0.5, 1.0)
DEEP = FieldConfig(resolutions=(5, 9, 14, 23, 30), log2_sizes=(12, 9, 9, 9, 9), warp=0,
                   blended_levels=5, rank=2, hidden=24, density_layers=2, color_layers=2,
                   geometry=20)  # fmt: skip


def holey(seed: int = 0, config: FieldConfig = SMALL) -> HeadField:
    field = random_head(seed, config)
    field.occupancy = (np.random.default_rng(seed).random((16, 16, 16)) < 0.3).astype(np.uint8)
    field.occupancy[:4] = 0  # a whole layer of blocks to jump over
    return field


def camera(size: int) -> Camera:
    return portrait_camera(size, 0.5, 2.6)


def reference(field: HeadField, size: int) -> Rendered:
    """Every lattice point of every ray, no early end."""
    renderer = TorchRenderer(field, "cpu", steps=STEPS)
    renderer.set_expression(EXPRESSION)
    return renderer.render(POSE, camera(size), SKY)


@pytest.mark.parametrize(("config", "precision"), [
    (SMALL, torch.float32), (SMALL, torch.float16), (DEEP, torch.float32), (DEEP, torch.float16),
])  # fmt: skip
def test_picture_equals_the_reference(config: FieldConfig, precision: torch.dtype) -> None:
    field = holey(0, config)
    ours = TritonRenderer(field, DEVICE, steps=STEPS, precision=precision, launch=LAUNCH,
                          cutoff=1e-6)  # fmt: skip
    ours.set_expression(EXPRESSION)
    a, b = ours.render(POSE, camera(9), SKY), reference(field, 9)
    assert b.alpha.max() > 200
    assert b.alpha.min() == 0
    # a sample on a voxel's border may fall on either side
    assert np.mean(np.abs(a.rgb.astype(int) - b.rgb) > 1) < 0.005
    assert np.mean(np.abs(a.alpha.astype(int) - b.alpha) > 1) < 0.005
    # fp16: where half of the light passes, depth is shown or not
    assert np.mean(np.abs(a.depth - b.depth) > 1e-3) < (
        0.005 if precision == torch.float32 else 0.02
    )


def test_rays_end_where_nothing_shows_through() -> None:
    field = holey()
    pictures = [TritonRenderer(field, DEVICE, steps=STEPS, launch=LAUNCH, cutoff=c).render(
        POSE, camera(9), SKY) for c in (1e-6, 0.05)]  # fmt: skip
    assert pictures[1].samples < 0.9 * pictures[0].samples
    off = pictures[1].alpha.astype(int) - pictures[0].alpha
    assert 0 <= off.min() < off.max() <= np.ceil(0.05 * 255)  # the rest counts as seen
    assert np.abs(pictures[0].rgb.astype(int) - pictures[1].rgb).max() <= np.ceil(0.05 * 255)


def test_many_heads_and_views_in_one_launch_equal_single_pictures() -> None:
    fields = [holey(0), holey(1)]
    other = head_pose((0.0, 0.4, 0.0), 0.5)
    views = [View(EXPRESSION, POSE, camera(4), SKY, avatar=0),
             View(EXPRESSION, other, camera(4), SKY, avatar=1),
             View(EXPRESSION, other, camera(4), SKY, avatar=0)]  # fmt: skip
    batch = BatchRenderer(fields, DEVICE, steps=STEPS, launch=LAUNCH)
    together = batch.render_batch(views)
    for view, picture in zip(views, together, strict=True):
        alone = batch.render_batch([view])[0]
        np.testing.assert_array_equal(alone.rgb, picture.rgb)
        np.testing.assert_array_equal(alone.depth, picture.depth)
        assert alone.samples == picture.samples
    assert len({p.rgb.tobytes() for p in together}) == 3


def test_a_frame_may_be_submitted_while_another_is_under_way() -> None:
    batch = BatchRenderer([holey()], DEVICE, steps=STEPS, launch=LAUNCH)
    views = [View(e * EXPRESSION, POSE, camera(5), SKY) for e in (0.2, 1.0)]
    alone = [batch.render_batch([v])[0] for v in views]
    first, second = batch.submit(views[:1]), batch.submit(views[1:])
    for frame, wanted in ((first, alone[0]), (second, alone[1])):
        np.testing.assert_array_equal(batch.collect(frame)[0].rgb, wanted.rgb)


def test_looking_away_shows_the_background_alone() -> None:
    ours = TritonRenderer(holey(), DEVICE, steps=STEPS, launch=LAUNCH)
    picture = ours.render(AWAY, camera(5), SKY)
    assert picture.samples == 0
    assert (picture.rgb == np.rint(np.array(SKY) * 255)).all()
    assert not picture.alpha.any()
    assert not picture.depth.any()
    one = ours.batch.memory()
    for size in range(3, 10):  # the memory of old sizes is given back
        assert ours.render(AWAY, camera(size), SKY).rgb.shape == (size, size, 3)
    assert ours.batch.memory() < 4.1 * one


def test_sizes_share_their_room() -> None:
    launch = dataclasses.replace(LAUNCH, grain=8)
    batch = BatchRenderer([holey()], DEVICE, steps=STEPS, launch=launch)
    wide = Camera(8.0, 8.0, 3.0, 1.0, 7, 3)
    a, b = batch.render_batch([View(EXPRESSION, POSE, wide), View(EXPRESSION, POSE, camera(5))])
    room = batch.memory()
    tight = BatchRenderer([holey()], DEVICE, steps=STEPS, launch=LAUNCH)
    for picture, own in ((a, wide), (b, camera(5))):
        alone = tight.render_batch([View(EXPRESSION, POSE, own)])[0]
        assert picture.rgb.shape == (own.height, own.width, 3)
        np.testing.assert_array_equal(picture.rgb, alone.rgb)
        np.testing.assert_array_equal(picture.alpha, alone.alpha)
        np.testing.assert_array_equal(picture.depth, alone.depth)
    batch.render_batch([View(EXPRESSION, AWAY, camera(6)), View(EXPRESSION, AWAY, camera(8))])
    assert batch.memory() == room  # neither memory nor a graph for a head that came nearer
    batch.render_batch([View(EXPRESSION, AWAY, camera(9))] * 2)
    assert batch.memory() > room


def test_unequal_heads_are_refused() -> None:
    with pytest.raises(ValueError, match="same configuration"):
        BatchRenderer([holey(), holey(0, dataclasses.replace(SMALL, hidden=8))], DEVICE)
    batch = BatchRenderer([holey()], DEVICE)
    with pytest.raises(ValueError, match="no view"):
        batch.submit([])
