"""A contact sheet of a clip: the tracker's landmarks on the frames, the teacher's beside them.

The rule: half of the frames are spread evenly, half are the worst ones: missed, astray, or with
the largest landmark error; in a clip without a face, those that show one. Green is the tracker,
magenta the teacher; sheets stay with the user.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from conference.bench.agreement import degrees_between, landmark_error
from conference.bench.teacher import FACE_SHARE
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.bench.teacher import Labels
    from conference.bench.track_run import Match, Sighting

TILE = 320
COLUMNS = 6
EACH = 6  # even ones, and worst ones
GREEN, MAGENTA, WHITE = (40, 230, 40), (230, 40, 230), (255, 255, 255)
Image = NDArray[np.uint8]


def draw_sheet(clip: Path, seen: Sighting, labels: Labels, match: Match, path: Path) -> None:
    """Write the sheet, a JPEG; LocalError if it cannot be written."""
    import cv2

    from sender.video import read_video

    chosen = chosen_rows(seen, labels, match)
    by_frame = {int(labels.index[row]): row for row in chosen}
    tiles = {
        by_frame[f.index]: draw_tile(f.image, by_frame[f.index], seen, labels, match)
        for f in read_video(clip, warn=lambda _: None)
        if f.index in by_frame
    }
    made = [tiles[row] for row in chosen if row in tiles]
    made += [np.zeros((TILE, TILE, 3), np.uint8)] * (-len(made) % COLUMNS)
    lines = [np.concatenate(made[i : i + COLUMNS], axis=1) for i in range(0, len(made), COLUMNS)]
    ok, data = cv2.imencode(
        ".jpg", np.concatenate(lines)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88]
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.tobytes() if ok else b"")
    except OSError as error:
        raise LocalError(f"cannot write {path}: {error.strerror}; name another place") from error


def chosen_rows(seen: Sighting, labels: Labels, match: Match) -> list[int]:
    """Rows of the labels: even ones, then the worst of the others."""
    count = len(labels.index)
    even = sorted(set(np.linspace(0, count - 1, EACH).round().astype(int).tolist()))
    bad = badness(seen, labels, match)
    bad[even] = -1.0
    worst: list[int] = []
    for row in np.argsort(-bad, kind="stable"):
        if len(worst) < EACH and bad[row] >= 0 and all(abs(row - w) > 5 for w in worst):
            worst.append(int(row))
    return even + sorted(worst)


def badness(seen: Sighting, labels: Labels, match: Match) -> NDArray[np.float64]:
    """[N] by row: landmark error in %, or degrees; 1000 more where one sees a face alone."""
    out = np.zeros(len(labels.index))
    if len(match.rows):
        said = np.array([face.landmarks for face in match.faces])
        if said.shape[1:] == match.person.landmarks.shape[1:]:
            out[match.rows] = landmark_error(said, match.person.landmarks[match.rows])
        else:
            out[match.rows] = degrees_between(
                np.array([face.pose[:3, :3] for face in match.faces]),
                match.person.pose[match.rows, :3, :3],
            )
    wanted = np.logical_or.reduce([p.found for p in labels.people])
    found = np.array([i < len(seen.faces) and bool(seen.faces[i]) for i in labels.index])
    out[(found if labels.share < FACE_SHARE else wanted != found)] += 1000.0
    return out


def draw_tile(image: Image, row: int, seen: Sighting, labels: Labels, match: Match) -> Image:
    """The neighbourhood of the face with both trackers' points, TILE px wide."""
    import cv2

    frame = int(labels.index[row])
    faces = seen.faces[frame] if frame < len(seen.faces) else []
    said = [face.landmarks for face in faces]
    wanted = [p.landmarks[row] for p in labels.people if p.found[row]]
    height, width = image.shape[:2]
    if row in match.rows:
        shown = match.person.landmarks[row]
    else:
        shown = (said or wanted or [np.array([[0, 0], [width, height]])])[0]
    low, high = shown.min(axis=0), shown.max(axis=0)
    side = float((high - low).max()) * (1.5 if said or wanted else 1.0)
    scale = TILE / max(side, 1.0)
    shift = np.array([TILE / 2, TILE / 2]) - scale * (low + high) / 2
    affine = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    tile = cv2.warpAffine(image, affine, (TILE, TILE), flags=cv2.INTER_AREA)
    for group, colour in ((wanted, MAGENTA), (said, GREEN)):
        for landmarks in group:
            for x, y in scale * landmarks + shift:
                cv2.circle(tile, (round(x * 8), round(y * 8)), 8, colour, -1, cv2.LINE_AA, 3)
    text = f"{frame}" + ("" if said else " NONE") + ("" if wanted else " teacher none")
    if row in match.rows:
        k = int(np.searchsorted(match.rows, row))
        apart = degrees_between(match.faces[k].pose[None, :3, :3], match.person.pose[[row], :3, :3])
        text += f" {apart[0]:.1f} deg"
    cv2.putText(tile, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, WHITE, 1, cv2.LINE_AA)
    return np.asarray(tile, dtype=np.uint8)
