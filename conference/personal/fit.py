"""From a head in training and its pictures to a personal tracker, and back.

The rule: brightness comes from the real pictures at the refined poses, so that the tracker looks
for what a camera shows and not for what the field draws; only training frames are used.
Reference: sender.personal (the model), nerf.surface (its points).
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from conference.personal.sending import Pictures
from nerf.expression import BEYOND
from nerf.pose_correction import fit_correction
from nerf.surface import Surface, seen_surface, thinned
from nerf.train import Trainer
from quic_transport.params import within_reach
from quic_transport.seat import Seat
from sender.personal.align import Alignment, Look, align, sight
from sender.personal.model import FEATURES, SIZE_PX, PersonalModel, shifted
from sender.personal.motion import Motion, project
from sender.personal.rows import FACING

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]

VIEWS = 9  # training frames whose surfaces make up the points
GRID = 1 / 110  # of the training picture between rays
POINTS = 800
SLOPE_FLOOR = 0.004  # per pixel: also skin says something
RIDGE = 0.15  # of the appearance, relative to the features' own variance
MARGIN_PX = 28  # of the box beyond a head that looks ahead
SPREAD_FLOOR = 0.01
EXPRESSION_SHARE = 3.0  # of a coefficient's own standard deviation: how far it may be corrected
MOTION_FLOOR = (0.002, 0.0006)  # radians, metres: errors that the prior never rules out
MOTION_TRUST = 0.002
"""Of the information that the refined motions seem to give: refinement began at the tracker's own
poses and stays too near to them."""
MOST_FRAMES = 1500  # that the appearance is fitted to


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """What the general tracker measured in every frame, and what is believed by now."""

    rotation: Float64
    """[N, 3] (pitch, yaw, roll), radians, measured."""
    expression: Float64
    """[N, 46] measured."""
    motion: Float64
    """[N, 6] refined: `Motion` vectors."""
    refined: Float64
    """[N, 46] refined coefficients."""
    offset: Float64
    """[N, 3] where in its picture the head was."""

    def __len__(self) -> int:
        return len(self.rotation)


def motion_of_rigid(rigid: NDArray[np.float64], edge: float) -> Float64:
    """[6] of a trainer's rigid motion of the rays: the head moves the other way."""
    turn = Motion.of(np.concatenate([-rigid[:3], np.zeros(3)])).rotation
    return np.concatenate([-rigid[:3], -edge * (turn @ rigid[3:])])


def rigid_of_motion(motion: Float64, edge: float) -> Float64:
    """The inverse of `motion_of_rigid`."""
    turn = Motion.of(motion).rotation
    return np.concatenate([-motion[:3], -(turn.T @ motion[3:]) / edge])


def surface_of(trainer: Trainer) -> Surface:
    """Points of the trainer's head, seen from the most different of its frames."""
    n, footage = trainer.count, trainer.footage
    views = spread_out(footage.rotation[:n], VIEWS)
    trainer.engine.blend(trainer.codes.mean(axis=0).astype(np.float32))
    surfaces = []
    for view in views:
        inside, camera = _eroded(footage.alpha[view]), footage.lens(view)
        step = GRID * camera.width
        ys, xs = np.mgrid[0 : camera.height : step, 0 : camera.width : step]
        keep = inside[ys.astype(int), xs.astype(int)]
        xy = np.stack([xs[keep] + 0.5, ys[keep] + 0.5], axis=-1)
        surfaces.append(
            seen_surface(trainer.engine.density_at, trainer.field.cube, footage.pose(view), camera,
                         xy, trainer.rigid[view])
        )  # fmt: skip
    spacing = 0.003
    surface = thinned(surfaces, spacing)
    while len(surface) > 2 * POINTS:
        spacing *= 1.15
        surface = thinned(surfaces, spacing)
    return surface


def spread_out(rotation: Float64, count: int) -> list[int]:
    """Frames: the one nearest the median, then always the one farthest from all chosen."""
    first = int(np.argmin(np.abs(rotation - np.median(rotation, axis=0)).sum(axis=1)))
    chosen = [first]
    far = np.linalg.norm(rotation - rotation[first], axis=1)
    while len(chosen) < min(count, len(rotation)):
        chosen.append(int(np.argmax(far)))
        far = np.minimum(far, np.linalg.norm(rotation - rotation[chosen[-1]], axis=1))
    return chosen


def fit_model(surface: Surface, shift: Float32, pivot: Float64, tracked: Tracked,
              pictures: Pictures, seat: Seat,
              threads: int = 1) -> PersonalModel:  # fmt: skip
    """The person's shades on the surface, which moves by `shift` [3, 46 + 3, K] metres per unit of
    each coefficient and radian, and what to expect of the general tracker."""
    box = box_of(surface, seat)
    frames = np.unique(np.linspace(0, len(tracked) - 1, min(MOST_FRAMES, len(tracked))).astype(int))
    mean, turn = tracked.expression.mean(axis=0), tracked.rotation.mean(axis=0)

    def features(rotation: Float64, expression: Float64) -> Float64:
        return np.column_stack([np.ones(len(rotation)), rotation, expression - mean])

    def seen(i: int) -> tuple[Float32, Float32, Float32]:
        look = Look.at(pictures(i), box)
        points = shifted(surface.points, shift, tracked.refined[i] - mean,
                         tracked.rotation[i] - turn)  # fmt: skip
        at = project(points, surface.normals, pivot, Motion.of(tracked.motion[i]),
                     *sight(seat, tracked.rotation[i], tracked.offset[i], SIZE_PX))  # fmt: skip
        visible = np.clip((at.facing - FACING[0]) / FACING[1], 0.0, 1.0)
        planes = look.sample(at.pixels)
        return planes[:, 0], (planes[:, 1:] ** 2).sum(axis=1), visible.astype(np.float32)

    shades = np.empty((len(frames), len(surface)), np.float32)
    weights = np.empty((len(frames), len(surface)), np.float32)
    slopes = np.zeros(len(surface))
    with ThreadPoolExecutor(threads) as pool:
        for k, (shade, slope, weight) in enumerate(pool.map(seen, frames.tolist())):
            shades[k], weights[k] = shade, weight
            slopes += weight * slope
    f = features(tracked.rotation[frames], tracked.refined[frames])
    appearance, spread = _shades_by_feature(f, shades, weights)
    keep = most_telling(spread, slopes / len(frames), weights.mean(axis=0))
    measured = features(tracked.rotation, tracked.expression)
    expected = fit_correction(measured, tracked.motion)
    error = tracked.motion - measured @ expected.T
    floor = np.repeat(MOTION_FLOOR, 3) ** 2
    moved = np.cov(error.T) + np.diag(floor)
    spread_e = tracked.expression.std(axis=0)
    return PersonalModel(
        points=surface.points[keep], shift=shift[:, :, keep], normals=surface.normals[keep],
        appearance=appearance[:, keep], spread=spread[keep], box=box,
        pivot=pivot.astype(np.float32), expression_mean=mean.astype(np.float32),
        rotation_mean=turn.astype(np.float32),
        expression_spread=(EXPRESSION_SHARE * spread_e + 1e-4).astype(np.float32),
        expression_range=correctable(tracked.expression),
        motion_map=expected.astype(np.float32),
        motion_information=(MOTION_TRUST * np.linalg.inv(moved)).astype(np.float32),
        misfit=np.array([1.0, 2.0], np.float32),
        camera=np.array([seat.distance_m, seat.scale], np.float32),
        rest=np.array(seat.rest or (), np.float32),
    )  # fmt: skip


def correctable(expression: Float64) -> Float32:
    """[2, 46] least and greatest value of corrected coefficients, of those measured [N, 46].

    The general tracker saturates (a closed mouth is 0, however firmly it is closed), the correction
    need not. Counted from what was measured: later turns of the training do not widen it again.
    """
    low, high = expression.min(axis=0), expression.max(axis=0)
    room = BEYOND * (high - low)
    return within_reach(np.stack([low - room, high + room])).astype(np.float32)


def box_of(surface: Surface, seat: Seat) -> Float32:
    """The part of the portrait in which a head that looks ahead lies, with a margin for turns."""
    still = Motion.of(np.zeros(6))
    at = project(surface.points, surface.normals, np.zeros(3), still,
                 *sight(seat, np.zeros(3), None, SIZE_PX)).pixels  # fmt: skip
    low, high = np.floor(at.min(axis=0)) - MARGIN_PX, np.ceil(at.max(axis=0)) + MARGIN_PX
    return np.clip(np.concatenate([low, high]), 0, SIZE_PX).astype(np.float32)


def _shades_by_feature(f: Float64, shades: Float32, weights: Float32) -> tuple[Float32, Float32]:
    """Ridge regression point by point, weighted by how well the point was seen: [F, K] and the
    standard deviation [K] that remains.

    All points' normal equations come out of one matrix product, weights by pairs of features.
    """
    n = len(shades)
    scale = np.maximum(f.std(axis=0), 0.02)
    scale[0] = 1.0
    z = (f / scale).astype(np.float32)
    w = weights + np.float32(1e-4)
    one, other = np.triu_indices(FEATURES)
    pairs = (w.T @ (z[:, one] * z[:, other])).astype(np.float64)  # [K, F (F + 1) / 2]
    normal = np.empty((w.shape[1], FEATURES, FEATURES))
    normal[:, one, other] = normal[:, other, one] = pairs
    penalty = RIDGE * n * np.eye(FEATURES)
    penalty[0, 0] = 1e-6
    normal += penalty * w.mean(axis=0)[:, None, None]
    told = ((w * shades).T @ z).astype(np.float64)  # [K, F]
    appearance = np.linalg.solve(normal, told[..., None])[..., 0].T  # [F, K]
    left = shades - z @ appearance.astype(np.float32)
    spread = np.sqrt((w * left**2).sum(axis=0) / w.sum(axis=0))
    found = (appearance / scale[:, None]).astype(np.float32)
    return found, np.sqrt(spread**2 + SPREAD_FLOOR**2).astype(np.float32)


def most_telling(spread: Float32, slopes: Float64, seen: Float32) -> NDArray[np.int64]:
    """Rows of the POINTS points that say most about where the head is: those that are seen, with
    steep colours (mean squared slope `slopes`) that are well explained."""
    worth = np.sqrt(slopes + seen * SLOPE_FLOOR**2) / spread
    return np.sort(np.argsort(-worth)[:POINTS])


def align_all(model: PersonalModel, tracked: Tracked, frames: NDArray[np.int64], pictures: Pictures,
              threads: int = 1) -> Iterator[tuple[int, Alignment]]:  # fmt: skip
    """The model laid onto every one of `frames`, each by itself, in their order."""

    def one(i: int) -> Alignment:
        return align(
            model, Look.at(pictures(i), model.box), tracked.rotation[i], tracked.expression[i],
            tracked.offset[i],
        )  # fmt: skip

    with ThreadPoolExecutor(threads) as pool:
        yield from zip(frames.tolist(), pool.map(one, frames.tolist()), strict=True)


def with_misfit(model: PersonalModel, misfits: list[float]) -> PersonalModel:
    """The model, knowing how well it fits its training frames."""
    p50, p95 = np.percentile(misfits, [50, 95])
    return replace(model, misfit=np.array([p50, p95], np.float32))


def _eroded(alpha: NDArray[np.uint8]) -> NDArray[np.bool_]:
    import cv2

    rim = max(1, alpha.shape[0] // 64)
    return np.asarray(cv2.erode(alpha, np.ones((2 * rim + 1, 2 * rim + 1), np.uint8)) > 200)
