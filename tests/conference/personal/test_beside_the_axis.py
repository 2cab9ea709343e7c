"""A head that leaves the middle of its camera's picture: seen from elsewhere, not turned."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from conference.personal.fit import Tracked, fit_model
from conference.seat import offset_in
from quic_transport.seat import Seat
from sender.personal.align import Look, align
from sender.personal.extractor import placed
from sender.personal.model import PersonalModel, from_sections, to_sections
from tests.conference.personal.painted import ball_surface
from tests.sender.ball import CENTRE, DISTANCE, SCALE, picture

SEAT = Seat(DISTANCE, SCALE, (0.0, 0.0, -0.5))
FAR = (np.array([0.5, 0.1, -0.5]), np.array([-0.5, -0.2, -0.3]), np.array([0.1, 0.4, -0.75]))
TURN = np.array([0.05, -0.1, 0.02])


def said() -> np.ndarray:
    return np.full(46, 0.1)


@cache
def model() -> PersonalModel:
    """Fitted to a ball that was filmed all over the picture, near and far."""
    n = 60
    t = np.linspace(0, 9, n)
    rotation = np.stack([0.1 * np.sin(t), 0.2 * np.sin(1.7 * t), 0.04 * np.cos(t)], axis=1)
    offset = np.stack([0.6 * np.sin(1.1 * t), 0.3 * np.cos(0.7 * t), 0.2 * np.sin(2 * t) - 0.5],
                      axis=1)  # fmt: skip
    shown = [picture(r, said(), offset=o, seat=SEAT)[0]
             for r, o in zip(rotation, offset, strict=True)]  # fmt: skip
    every = np.tile(said(), (n, 1))
    tracked = Tracked(rotation, every, np.zeros((n, 6)), every, offset)
    still = np.zeros((3, 49, len(ball_surface())), np.float32)
    return fit_model(ball_surface(), still, CENTRE, tracked, lambda i: shown[i], SEAT)


def test_it_is_aligned_as_well_as_in_the_middle_and_not_where_the_place_is_unknown() -> None:
    known: list[float] = []
    unknown: list[float] = []
    for offset in FAR:
        shown, _ = picture(TURN, said(), offset=offset, seat=SEAT)
        look = Look.at(shown, model().box)
        for out, told in ((known, offset), (unknown, None)):
            found = align(model(), look, TURN, said(), told)
            pose = found.motion.apply(np.eye(4), model().pivot)
            points = ball_surface().points
            moved = points @ pose[:3, :3].T + pose[:3, 3] - points
            out.append(1000 * float(np.sqrt((moved**2).sum(axis=1).mean())))
    assert max(known) < 2.0, (known, unknown)  # millimetres, depth included
    assert np.mean(unknown) > 3 * np.mean(known), (known, unknown)


def test_what_moved_is_sent_with_the_place_that_it_moved_to() -> None:
    """The offset and the rotation that are sent put the head where it is: 1 cm beside, turned."""
    own = FAR[0]
    truth = np.array([0.02, -0.03, 0.01, 0.01, -0.004, 0.006])
    shown, _ = picture(TURN, said(), truth, offset=own, seat=SEAT)
    found = align(model(), Look.at(shown, model().box), TURN, said(), own)
    square, angles = placed(model(), found.motion, TURN, own)
    offset = offset_in((square.u, square.v, square.side), own)
    again, _ = picture(angles, said(), offset=offset, seat=SEAT)
    side = square.side * 256
    moved = np.array([[256 / side, 0, 128 - square.u * 256 * 256 / side],
                      [0, 256 / side, 128 - square.v * 256 * 256 / side]])  # fmt: skip
    cut = cv2.warpAffine(shown, moved, (256, 256), flags=cv2.INTER_CUBIC)
    middle = np.s_[80:176, 80:176]
    assert np.abs(cut[middle].astype(int) - again[middle]).mean() < 2.5


def test_the_usual_place_travels_with_the_tracker_and_older_ones_have_none() -> None:
    sections = to_sections(model())
    again = from_sections(sections)
    assert again is not None
    assert again.seat == model().seat
    assert again.seat.rest == SEAT.rest
    older = {name: a for name, a in sections.items() if not name.endswith("rest")}
    found = from_sections(older)
    assert found is not None
    assert found.seat.rest is None
