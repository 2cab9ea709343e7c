"""Which face is sent when there are several, or none for a while.

The rule: whoever is followed stays followed while they are in the picture, however large the
others are; a face that is missed for a moment is waited for, and nobody who was seen beside it
takes its place before `switch_s`. Who was alone and turns up elsewhere is the same person, back.
Faces are told apart by place and size alone. Pure: `now` is a parameter.

    SEARCHING ──a face that fits the wish──► TRACKING ◄──the same face again── LOST
        ▲                                       └────not seen in this frame────► │
        └──────────────────────not seen for `grace_s`────────────────────────────┘
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from quic_transport.errors import LocalError
from sender.extractor import TrackedFace
from sender.portrait_crop import PortraitCrop

WISHES = ("largest", "left", "right")
NEAR = 0.2  # portrait widths: two sightings this close are the same face at any time
SPEED = 2.5  # portrait widths per second (about 1 m/s) that a head may move unseen
FAR = 1.2  # portrait widths: nobody is recognised further away than this
FORGET_S = 2.0  # a place where nobody was seen for so long is forgotten


def apart(one: PortraitCrop, other: PortraitCrop) -> float:
    """How unlike two sightings are: portrait widths between them, plus the log of their sizes."""
    size = math.sqrt(one.side * other.side)
    return math.hypot(one.u - other.u, one.v - other.v) / size + abs(
        math.log(one.side / other.side)
    )


@dataclass(slots=True)
class Sighting:
    """Where one person was seen last."""

    crop: PortraitCrop
    """The face's square."""
    at: float
    """Seconds, when."""

    def reach(self, now: float) -> float:
        """How far away (`apart`) this person may be by `now`."""
        return min(FAR, NEAR + SPEED * (now - self.at))


class FaceTracks:
    """Gives each face a number that it keeps from frame to frame."""

    def __init__(self) -> None:
        self._known: dict[int, Sighting] = {}
        self._next = 0

    @property
    def known(self) -> set[int]:
        """The numbers of those whose place is remembered."""
        return set(self._known)

    def step(self, faces: Sequence[TrackedFace], now: float) -> list[int]:
        """The number of each of this frame's faces; the closest sightings are joined first."""
        known = {i: s for i, s in self._known.items() if 0.0 <= now - s.at <= FORGET_S}
        pairs = sorted(
            (way, i, k)
            for i, sighting in known.items()
            for k, face in enumerate(faces)
            if (way := apart(sighting.crop, face.crop)) <= sighting.reach(now)
        )
        numbers: dict[int, int] = {}
        for _, i, k in pairs:
            if k not in numbers and i not in numbers.values():
                numbers[k] = i
        for k in range(len(faces)):
            if k not in numbers:
                numbers[k], self._next = self._next, self._next + 1
        known |= {numbers[k]: Sighting(face.crop, now) for k, face in enumerate(faces)}
        self._known = known
        return [numbers[k] for k in range(len(faces))]


class Presence(Enum):
    """Where the choice stands."""

    SEARCHING = "searching"
    """Nobody to be sent is in the picture."""
    TRACKING = "tracking"
    """The followed face is in this frame."""
    LOST = "lost"
    """It was there a moment ago and is waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSettings:
    """How patient the choice is."""

    grace_s: float = 0.4
    """Seconds for which a missed face counts as lost only, not as gone."""
    switch_s: float = 1.0
    """Seconds that the followed face must be missing before somebody who was beside it is taken,
    >= grace_s; somebody new is taken after grace_s."""
    settle_s: float = 1.0
    """Seconds after a choice in which a newcomer that fits the wish better still takes over."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to become of one frame."""

    presence: Presence
    """Whether there is somebody to be sent."""
    face: TrackedFace | None
    """The followed face where it is in this frame."""


def check_wish(wish: str) -> str:
    """`wish` if it is "largest", "left", "right" or a number from 1; LocalError otherwise."""
    if wish in WISHES or (wish.isascii() and wish.isdigit() and int(wish) >= 1):
        return wish
    raise LocalError(
        f"there is no face {wish!r}: say largest, left, right, or a number (1 is the leftmost)"
    )


def fitting(faces: Sequence[TrackedFace], wish: str) -> int | None:
    """The index of the face that fits the wish best; None: too few faces for a number."""
    if not faces:
        return None
    if wish == "largest":
        return max(range(len(faces)), key=lambda k: faces[k].crop.side)
    order = sorted(range(len(faces)), key=lambda k: faces[k].crop.u)
    if wish in ("left", "right"):
        return order[0 if wish == "left" else -1]
    return order[int(wish) - 1] if int(wish) <= len(order) else None


class FaceChooser:
    """Follows one of the faces."""

    def __init__(self, wish: str = "largest", settings: ChoiceSettings | None = None) -> None:
        """`wish`: whom to follow where there is a choice, see `check_wish`; left and right are
        the picture's, as the tracker gets it."""
        self.settings = settings or ChoiceSettings()
        self._wish = check_wish(wish)
        self._tracks = FaceTracks()
        self._mine: int | None = None
        self._chosen_at = -math.inf
        self._seen_at = -math.inf  # the followed face
        self._most = 0  # faces seen at once since the choice
        self._beside: set[int] = set()  # whoever was seen together with the followed face

    def step(self, faces: Sequence[TrackedFace], now: float) -> Choice:
        """Whom to send of the faces of the frame that was captured at `now`, seconds."""
        if now < self._seen_at:  # another clock: whoever was known is not known any more
            self._mine, self._seen_at = None, -math.inf
        numbers = self._tracks.step(faces, now)
        if self._may_choose(numbers, now):
            best = fitting(faces, self._wish)
            if best is not None and numbers[best] != self._mine:
                self._mine, self._chosen_at, self._beside = numbers[best], now, set()
        if self._mine in numbers:
            self._seen_at = now
            self._most = max(len(faces), self._most if now > self._chosen_at else 0)
            self._beside = (self._beside & self._tracks.known) | set(numbers)
            return Choice(Presence.TRACKING, faces[numbers.index(self._mine)])
        waiting = now - self._seen_at < self.settings.grace_s
        return Choice(Presence.LOST if waiting else Presence.SEARCHING, None)

    def _may_choose(self, numbers: list[int], now: float) -> bool:
        if self._mine is None:
            return True
        if self._mine not in numbers:
            known = not self._beside.isdisjoint(numbers)
            patience = self.settings.switch_s if known else self.settings.grace_s
            return now - self._seen_at >= patience
        settling = now - self._chosen_at <= self.settings.settle_s
        return settling and len(numbers) > self._most
