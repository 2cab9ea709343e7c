"""A training run on a ball whose every pixel is known."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nerf.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from nerf.cpu.pool import WorkerPool
from nerf.metrics import psnr
from nerf.pose_correction import fit_correction
from nerf.pose_refinement import PoseRefinement
from nerf.ray_draw import RayDraw
from nerf.train import PRESETS, Footage, Trainer, TrainSettings, train_count
from tests.nerf.heads import SMALL, ball_footage

SETTINGS = TrainSettings(config=SMALL, steps=400, size=48, samples=4000, hull_frames=12)


@pytest.fixture(scope="module")
def trained() -> Trainer:
    trainer = Trainer(ball_footage(), SETTINGS, WorkerPool(2))
    while not trainer.done:
        trainer.step()
    trainer.finish()
    return trainer


def test_held_out_frames_look_like_the_ball(trained: Trainer) -> None:
    held = np.arange(trained.count, len(trained.footage))
    assert len(held) == 4
    assert trained.score(held, corrected=False).psnr_whole > 24.0  # a white picture scores 12


def test_the_expression_moves_what_it_moved_in_training(trained: Trainer) -> None:
    green = []
    for value in (0.05, 0.95):
        e = np.full(46, 0.1, np.float32)
        e[0] = value
        footage = trained.footage
        middle = replace(footage, expression=np.repeat(e[None], len(footage), 0),
                         rotation=np.zeros((len(footage), 3)))  # fmt: skip
        probe = copy.copy(trained)
        probe.footage = middle
        shown = probe.render(0).rgb
        green.append(float(shown[22:26, 22:26, 1].mean()))
    assert green[1] - green[0] > 40  # the spot's green runs from 36 to 220 over these values


def test_what_the_head_shows_under_a_turn_is_learned() -> None:
    """The ball lies in a room: whoever turns to the lamp gets brighter all over."""
    footage = ball_footage(40)
    light = 0.6 + footage.rotation[:, 1]  # yaw is within 0.4 rad
    alpha = footage.alpha[..., None] / 255.0
    lit = footage.rgb * (light[:, None, None, None] * alpha + 1 - alpha)
    room = replace(footage, rgb=np.rint(lit).astype(np.uint8))
    held = {}
    for turned in (False, True):
        trainer = Trainer(room, replace(SETTINGS, turned=turned), WorkerPool(1))
        while not trainer.done:
            trainer.step()
        trainer.finish()
        held[turned] = trainer.score(np.arange(trainer.count, 40), corrected=False).psnr_whole
    assert held[True] > held[False] + 2.0


def test_the_occupancy_ends_as_a_ball(trained: Trainer) -> None:
    share = float(trained.field.occupancy.mean())
    ball = 4 / 3 * np.pi * (0.08 / trained.field.cube.edge) ** 3
    assert 0.05 * ball < share < 4 * ball


def test_a_run_repeats_bit_for_bit() -> None:
    weights = []
    for _ in range(2):
        trainer = Trainer(ball_footage(8), replace(SETTINGS, steps=20), WorkerPool(1))
        while not trainer.done:
            trainer.step()
        weights.append(trainer.field.mean.copy())
    np.testing.assert_array_equal(weights[0], weights[1])


def test_training_never_looks_at_held_out_frames() -> None:
    weights = []
    for poison in (False, True):
        footage = ball_footage(12)
        if poison:
            held = slice(train_count(12, SETTINGS.holdout), None)
            for array in (footage.rgb, footage.alpha, footage.rotation, footage.expression):
                array[held] = 1
        trainer = Trainer(footage, replace(SETTINGS, steps=70), WorkerPool(1))
        while not trainer.done:
            trainer.step()
        trainer.finish()
        weights.append(trainer.field.mean.copy())
    np.testing.assert_array_equal(weights[0], weights[1])


def test_a_wrong_pose_is_pulled_back(trained: Trainer) -> None:
    footage = trained.footage
    wrong = footage.rotation.copy()
    wrong[3] += [0.0, 0.06, 0.0]
    trainer = copy.copy(trained)
    trainer.footage = replace(footage, rotation=wrong)
    trainer.settings = replace(SETTINGS, steps=10**6, pose_start=0.0, table_rate=0.0,
                               expression_rate=0.0, network_rate=0.0)  # fmt: skip
    trainer.refinement = PoseRefinement(trained.count)
    trainer.rays_of = RayDraw(trainer.footage, trained.count, trained.field.cube, 0.0)
    before = trained.rigid[3].copy()
    for _ in range(120):
        trainer._order = [3, 3]  # the second keeps the mean over frames from being taken out
        trainer.step(progress=0.6)
    # a turn to the right on screen by mistake is undone by turning the rays the other way
    assert trainer.rigid[3, 1] - before[1] == pytest.approx(0.06, abs=0.03)


def test_a_checkpoint_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def fresh() -> Trainer:
        return Trainer(ball_footage(8), replace(SETTINGS, steps=30), WorkerPool(1))

    straight, first, second = fresh(), fresh(), fresh()
    for _ in range(30):
        straight.step()
    for _ in range(17):
        first.step()
    save_checkpoint(first, tmp_path / "c.npz", {"spent": 1.5})
    assert load_checkpoint(second, tmp_path / "c.npz") == ({"spent": 1.5}, {})
    while not second.done:
        second.step()
    np.testing.assert_array_equal(second.field.mean, straight.field.mean)


def test_a_damaged_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(ball_footage(8), replace(SETTINGS, steps=30), WorkerPool(1))
    save_checkpoint(trainer, tmp_path / "c.npz", {})
    data = (tmp_path / "c.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(trainer, tmp_path / "cut.npz")
    other = Trainer(ball_footage(8), replace(SETTINGS, seed=1), WorkerPool(1))
    with pytest.raises(CheckpointError, match=r"other settings.*\(seed 0, now 1\)"):
        load_checkpoint(other, tmp_path / "c.npz")
    others = ball_footage(8)
    others.rotation[0] += 0.01
    with pytest.raises(CheckpointError, match="another training set"):
        load_checkpoint(Trainer(others, SETTINGS, WorkerPool(1)), tmp_path / "c.npz")


def test_the_papers_preset_is_the_papers() -> None:
    paper = PRESETS["paper"]
    assert paper.config.rank == 46
    assert paper.config.blended_levels == paper.config.levels == 16
    assert (paper.table_rate, paper.betas, paper.milestones) == (1e-3, (0.9, 0.99), (40, 100))
    footage = ball_footage(6)
    small = replace(paper, config=SMALL, samples=500)
    trainer = Trainer(footage, small, WorkerPool(1))
    assert trainer.settings.steps == 200 * trainer.count
    assert trainer.step().samples > 0


def test_correction_recovers_a_linear_relation_and_leaves_noise_alone() -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([np.ones((400, 1)), rng.standard_normal((400, 9))], axis=1)
    truth = rng.standard_normal(10)
    y = np.stack([x @ truth + 0.01 * rng.standard_normal(400), rng.standard_normal(400)], axis=1)
    found = fit_correction(x, y)
    np.testing.assert_allclose(found[0], truth, atol=0.05)
    assert np.abs(found[1]).max() < 0.25
    assert fit_correction(x[:1], y[:1]).shape == (2, 10)


def test_empty_mattes_are_refused() -> None:
    footage = ball_footage(4)
    blank = Footage(footage.rgb, np.zeros_like(footage.alpha), footage.rotation,
                    footage.expression, footage.camera, footage.distance)  # fmt: skip
    with pytest.raises(ValueError, match="no head"):
        Trainer(blank, SETTINGS, WorkerPool(1))


def test_a_head_that_is_still_fog_is_not_cut_away_at_the_end() -> None:
    trainer = Trainer(ball_footage(8), SETTINGS, WorkerPool(1))
    for _ in range(30):
        trainer.step()
    before = [seen(trainer, i) for i in range(trainer.count)]
    trainer.finish()
    after = [seen(trainer, i) for i in range(trainer.count)]
    assert np.mean(after) > np.mean(before) - 0.3  # with voxels shut by what one step absorbs: 1 dB


def seen(trainer: Trainer, frame: int) -> float:
    shown = trainer.render(frame, rigid=trainer.rigid[frame]).rgb
    return psnr(shown, trainer.footage.rgb[frame])
