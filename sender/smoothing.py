"""Takes the tremble out of a tracked face without making it late.

The rule: causal, and no later at 15 or 60 frames per second than at 30. Each number is a low-pass
whose cutoff grows with the square of the distance between what is seen and what is believed:
within the tracker's noise it is slow, a blink or a turn passes almost at once. One-Euro opens its
low-pass by an estimated speed instead, and that estimate's own delay makes it later at equal
jitter (`conference.bench.jitter` compares them). Rotation is filtered on SO(3).
A call sends its output; a training set keeps what the tracker said (training corrects every
frame by itself), and held-out frames are scored with `sender.smoothed_track`.
Reference: Casiez, Roussel, Vogel 2012, "1€ Filter".
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.params import SCHEMAS, FaceParams, within_reach
from sender.extractor import Extractor, TrackedFace
from sender.face_choice import FaceTracks
from sender.frames import Frame
from sender.portrait_crop import crop_of, line_of_sight_turn

Float64 = NDArray[np.float64]

NOMINAL_S = 1 / 30  # the frame interval that the trembles are meant for
FASTEST = 2.0  # of NOMINAL_S over the interval: beyond 60 frames/s noise would open the low-pass


@dataclass(frozen=True, slots=True)
class Follow:
    """How one kind of number is followed."""

    cutoff_hz: float
    """Of the low-pass while the number stands still, Hz."""
    tremble: float
    """The distance at which the cutoff has doubled, in the number's unit: what a tracker's noise
    may do, about twice its standard deviation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothingSettings:
    """One `Follow` for each group of numbers; `SETTINGS` has those of trackers that differ."""

    expression: dict[str, Follow] = field(
        default_factory=lambda: {
            "": Follow(1.5, 0.025),
            "brow": Follow(1.0, 0.04),
            "eyeLook": Follow(1.5, 0.03),
            "eyeSquint": Follow(1.0, 0.04),
            "mouth": Follow(2.0, 0.02),
            "jaw": Follow(2.0, 0.02),
        }
    )
    """Coefficients by the beginning of their name, the longest that fits; "" fits all."""
    rotation: tuple[Follow, Follow, Follow] = (
        Follow(2.0, math.radians(0.7)),
        Follow(2.0, math.radians(0.5)),
        Follow(2.0, math.radians(0.3)),
    )
    """About the head's own x (pitch), y (yaw) and z (roll) axes, radians."""
    place: Follow = Follow(2.0, 0.003)
    """The portrait's middle in the picture, portrait widths."""
    size: Follow = Follow(2.0, 0.006)
    """The natural logarithm of the portrait's side."""
    coefficient_noise: float = 1.0
    """What this tracker's trembles of coefficients are as a share of the above."""
    angle_noise: float = 1.0
    """The same for the rotation."""
    forget_s: float = 0.25
    """After a gap longer than this nothing old is believed any more, seconds."""

    def of_expression(self, schema: str) -> tuple[Float64, Float64]:
        """Cutoffs and trembles of the schema's 46 numbers, [46] each."""
        groups = sorted(self.expression, key=len, reverse=True)
        follows = [
            self.expression[next(g for g in groups if name.startswith(g))]
            for name in SCHEMAS[schema]
        ]
        trembles = self.coefficient_noise * np.array([f.tremble for f in follows])
        return np.array([f.cutoff_hz for f in follows]), trembles


SETTINGS = {"facenet": SmoothingSettings(coefficient_noise=0.15, angle_noise=0.75)}
"""By the beginning of the extractor's name; the defaults are MediaPipe's."""


ALIGNED = SmoothingSettings(
    coefficient_noise=0.2,
    rotation=(
        Follow(4.0, math.radians(0.1)),
        Follow(4.0, math.radians(0.075)),
        Follow(4.0, math.radians(0.045)),
    ),
    place=Follow(4.0, 0.0004),
    size=Follow(4.0, 0.0008),
)
"""Of a tracker that lays the person onto the picture (sender.personal): what it trembles by is a
fraction of a pixel, and the avatar shows every pixel that is filtered away."""


def settings_of(name: str) -> SmoothingSettings:
    """How what the extractor called `name` says is smoothed."""
    found = (s for beginning, s in SETTINGS.items() if name.startswith(beginning))
    return next(found, SmoothingSettings())


def approach(
    distance: ArrayLike, alarm: ArrayLike, dt: float, cutoff_hz: ArrayLike, tremble: ArrayLike
) -> Float64:
    """How far to go towards what is seen at `distance` after `dt` seconds, elementwise; `alarm`
    is the distance that opens the low-pass."""
    opened = 1.0 + (np.asarray(alarm) / np.asarray(tremble)) ** 2
    reach = 2 * math.pi * dt * np.asarray(cutoff_hz) * opened
    return np.asarray(distance * reach / (1.0 + reach))


def rotation_log(rotation: Float64) -> Float64:
    """Axis times angle [3] of a rotation by less than 180°."""
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = rotation.tolist()
    cosine = min(1.0, max(-1.0, (xx + yy + zz - 1.0) / 2.0))
    angle = math.acos(cosine)
    f = 0.5 if angle < 1e-6 else angle / (2.0 * math.sin(angle))
    return np.array([f * (zy - yz), f * (xz - zx), f * (yx - xy)])


def rotation_exp(vector: Float64) -> Float64:
    """The rotation [3, 3] about `vector` by its length (Rodrigues)."""
    x, y, z = vector.tolist()
    angle = math.sqrt(x * x + y * y + z * z)
    a, b = 1.0, 0.5
    if angle >= 1e-6:
        a, b = math.sin(angle) / angle, (1.0 - math.cos(angle)) / (angle * angle)
    c = 1.0 - b * angle * angle
    return np.array([
        [c + b * x * x, b * x * y - a * z, b * x * z + a * y],
        [b * x * y + a * z, c + b * y * y, b * y * z - a * x],
        [b * x * z - a * y, b * y * z + a * x, c + b * z * z],
    ])  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class FaceState:
    """A face as the filter works on it."""

    expression: Float64
    """[46]"""
    rotation: Float64
    """[3, 3] head → portrait camera, along the line of sight."""
    place: Float64
    """[3] the portrait's middle, pixels, and the natural logarithm of its side in pixels."""

    def to(self, other: FaceState) -> tuple[Float64, Float64, Float64]:
        """The way to `other`: [46], [3] axis times angle, [3] portrait widths and log."""
        size = np.array([math.exp(-self.place[2]), math.exp(-self.place[2]), 1.0])
        turn = rotation_log(self.rotation.T @ other.rotation)
        return other.expression - self.expression, turn, (other.place - self.place) * size

    def moved(self, expression: Float64, turn: Float64, place: Float64) -> FaceState:
        """The inverse of `to`."""
        size = np.array([math.exp(self.place[2]), math.exp(self.place[2]), 1.0])
        return FaceState(
            self.expression + expression, self.rotation @ rotation_exp(turn),
            self.place + place * size,
        )  # fmt: skip


def state_of(face: TrackedFace) -> FaceState:
    """What is filtered of a tracked face."""
    return FaceState(
        face.params.expression.astype(np.float64),
        line_of_sight_turn(face.pose[:3, 3]) @ face.pose[:3, :3],
        np.array([face.crop.u, face.crop.v, math.log(face.crop.side)]),
    )


class Smoother:
    """Follows one person's face."""

    def __init__(self, schema: str = "arkit46", settings: SmoothingSettings | None = None) -> None:
        self.settings = settings or SmoothingSettings()
        s = self.settings
        groups = ((s.rotation, s.angle_noise), ((s.place, s.place, s.size), 1.0))
        self._follows = [
            s.of_expression(schema),
            *(
                (
                    np.array([f.cutoff_hz for f in group]),
                    np.array([noise * f.tremble for f in group]),
                )
                for group, noise in groups
            ),
        ]
        self._at = -math.inf
        self._seen: FaceState | None = None
        self._belief: FaceState | None = None

    def reset(self) -> None:
        """Believe nothing: the next face passes unchanged."""
        self._at = -math.inf

    def remembers(self, now: float) -> bool:
        """Whether a face at `now` would still be blended with what was seen before."""
        return 0.0 <= now - self._at <= self.settings.forget_s

    def step(self, face: TrackedFace, now: float) -> TrackedFace:
        """The face captured at `now`, seconds, without its tremble.

        Landmarks and confidence stay as they were measured. The first face, one after a gap, one
        from before the last (another clock) and one turned by a right angle at once pass as seen.
        """
        seen = state_of(face)
        belief = self.follow(seen, now)
        return face if belief is seen else self._face_of(belief, face)

    def follow(self, seen: FaceState, now: float) -> FaceState:
        """What is believed once `seen` was captured at `now`; `seen` itself where it passes."""
        old, before = self._belief, self._seen
        dt, known = now - self._at, self.remembers(now)
        self._at, self._seen, self._belief = now, seen, seen
        if old is None or before is None or not known:
            return seen
        if float(np.trace(old.rotation.T @ seen.rotation)) < 1.0:
            return seen
        # A fast camera's frames are short: what opens the low-pass is scaled to NOMINAL_S.
        per_frame = min(FASTEST, max(1.0, NOMINAL_S / max(dt, 1e-6)))
        ways, left, moved = old.to(seen), old.to(before), before.to(seen)
        steps = (
            approach(way, rest + step * per_frame, dt, *follow)
            for way, rest, step, follow in zip(ways, left, moved, self._follows, strict=True)
        )
        self._belief = old.moved(*steps)
        return self._belief

    def _face_of(self, belief: FaceState, face: TrackedFace) -> TrackedFace:
        """`face` with the numbers of `belief`: pose, crop and parameters fit each other."""
        u, v, side = belief.place[0], belief.place[1], math.exp(belief.place[2])
        t, focal, crop = face.pose[:3, 3], face.focal_px, face.crop
        depth = -t[2] * crop.side / side
        middle = (crop.u + focal * t[0] / t[2], crop.v - focal * t[1] / t[2])  # of the picture
        pose = np.eye(4)
        pose[:3, 3] = ((u - middle[0]) * depth / focal, (middle[1] - v) * depth / focal, -depth)
        pose[:3, :3] = line_of_sight_turn(pose[:3, 3]).T @ belief.rotation
        width, height = round(2 * middle[0]), round(2 * middle[1])
        scale = focal / (-t[2] * crop.side)  # portrait widths per metre
        crop, rotation, offset = crop_of(pose, focal, width, height, scale)
        params = FaceParams(
            within_reach(belief.expression).astype(np.float32),
            rotation.astype(np.float32),
            face.params.capture_time,
            None if face.params.offset is None else offset.astype(np.float32),
        )
        return replace(face, params=params, pose=pose, crop=crop)


EXACT = "truth"  # the extractor that does not tremble


def smoothed(extractor: Extractor) -> Extractor:
    """The extractor without its tremble; as it is where it is smoothed already, or exact."""
    if isinstance(extractor, SmoothedExtractor) or extractor.name == EXACT:
        return extractor
    return SmoothedExtractor(extractor, getattr(extractor, "smoothing", None))


def unsmoothed(extractor: Extractor) -> Extractor:
    """What the tracker itself says."""
    return extractor.inner if isinstance(extractor, SmoothedExtractor) else extractor


class SmoothedExtractor:
    """Any extractor with its tremble taken out, each person's face by itself."""

    def __init__(self, extractor: Extractor, settings: SmoothingSettings | None = None) -> None:
        """Takes the extractor's name: what is smoothed is still its measurement."""
        self.name = extractor.name
        self.schema = extractor.schema
        self.inner = extractor
        self._settings = settings or settings_of(extractor.name)
        self._tracks = FaceTracks()
        self._smoothers: dict[int, Smoother] = {}

    def warm_up(self, width: int, height: int) -> None:
        """Get the inner extractor ready for pictures of that size, where it can be."""
        warm_up = getattr(self.inner, "warm_up", None)
        if warm_up is not None:
            warm_up(width, height)

    def reset(self) -> None:
        """Forget everybody: the next faces pass as they are seen."""
        self._tracks, self._smoothers = FaceTracks(), {}

    def extract(self, frame: Frame) -> list[TrackedFace]:
        """The faces of the next frame, in the inner extractor's order."""
        faces, now = self.inner.extract(frame), frame.capture_time
        numbers = self._tracks.step(faces, now)
        self._smoothers = {
            i: s for i, s in self._smoothers.items() if i in numbers or s.remembers(now)
        }
        return [
            self._smoothers.setdefault(i, Smoother(self.schema, self._settings)).step(face, now)
            for i, face in zip(numbers, faces, strict=True)
        ]

    def close(self) -> None:
        """Close the inner extractor."""
        self.inner.close()
