"""`facewire bench fullframe CLIP=AVATAR...`: whole pictures beside what was filmed, frame by frame.

The rule: every held-out frame of the clip itself, read anew, against the picture that a receiver
draws from what a live sender with this avatar's tracker sends for it; and how much of that error
lies on the head, on the body and in the room. Tremble is the mean second difference
in time of the pixels around the person's outline: a mask whose edge flickers has more than the
source. What the body's own numbers are worth is shown beside it: guessed from the head, as sent,
and fitted to each picture without a codec or a filter behind; and what they cost.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from conference.bench.results import Row, document, print_table
from conference.terminal import announce
from quic_transport.errors import LocalError

if TYPE_CHECKING:
    from conference.bench.fullframe_body import Bodies
    from nerf.trainset import TrainSet
    from receiver.full_frame import FullFrame, Renderer

SHEET = 6  # pictures on the contact sheet
MEASURES = ("psnr", "ssim", "psnr head", "psnr body", "psnr room", "psnr plate alone", "tremble",
            "source tremble", "body and composite ms", "body and room kB")  # fmt: skip
UNITS = {"ssim": "", "tremble": "grey levels", "source tremble": "grey levels",
         "body and composite ms": "ms", "body and room kB": "kB"}  # fmt: skip

GUESSED, SENT, FITTED = "guessed", "sent", "fitted"
BODY_MEASURES = tuple(f"{name} {way}" for name in ("psnr", "psnr body", "tremble")
                      for way in (GUESSED, SENT, FITTED))  # fmt: skip
BODY_COSTS = ("kbps chain", "kbps confirmed", "kbps alone", "measuring ms")
UNITS |= {name: "grey levels" for name in BODY_MEASURES if name.startswith("tremble")}
UNITS |= {name: name.split()[0] if name.startswith("kbps") else "ms" for name in BODY_COSTS}

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Seen:
    """Sums over the frames of one clip."""

    rows: list[list[float]]
    """PSNR, SSIM, PSNR of head, body, room and of the plate alone, for each frame."""
    tremble: list[tuple[float, float]]
    """Mean second difference in time around the outline, grey levels: shown, source."""
    costs: list[float]
    """Milliseconds of all but the head's rays, for each frame."""
    ways: dict[str, list[tuple[float, float]]]
    """PSNR of whole and body for each frame, and"""
    trembles: dict[str, list[float]]
    """tremble, with the body's numbers guessed, sent and fitted."""


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="facewire bench fullframe",
        description="held-out frames of clips, whole, beside what their avatars' receivers draw",
    )
    add = p.add_argument
    add("avatars", nargs="+", metavar="CLIP=SET=AVATAR", help="a video, its training set, its .fwa")
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="table, films, sheets")
    add("--frames", type=int, metavar="N", help="of each clip at most, from the first held out")
    add("--threads", type=int, metavar="N", help="of the renderer")
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Run the bench."""
    args = parse(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, float]] = {}
    for text in args.avatars:
        parts = text.split("=")
        if len(parts) != 3:
            raise LocalError(f"write CLIP=SET=AVATAR, not {text!r}")
        clip, folder, avatar = (Path(part) for part in parts)
        announce(f"{clip.name}")
        found[clip.stem] = judged(clip, folder, avatar, args)
    rows = [Row(f"fullframe.{clip}.{name.replace(' ', '_')}", value, UNITS.get(name, "dB"))
            for clip, scores in found.items() for name, value in scores.items()]  # fmt: skip
    path = args.output / "fullframe.json"
    path.write_text(json.dumps(document(["fullframe", *argv], rows), indent=1), encoding="utf-8")
    print_table("held-out frames, whole picture: dB unless said otherwise", ["clip", *MEASURES],
                [[clip, *(f"{s[name]:.4f}" if name == "ssim" else f"{s[name]:.2f}"
                          for name in MEASURES)] for clip, s in found.items()])  # fmt: skip
    bodies = {clip: s for clip, s in found.items() if BODY_COSTS[0] in s}
    if bodies:
        names = (*BODY_MEASURES, *BODY_COSTS)
        print_table("the body's own numbers: guessed, as sent, fitted to each picture",
                    ["clip", *names],
                    [[clip, *(f"{s[name]:.3f}" if name.startswith("kbps") else f"{s[name]:.2f}"
                              for name in names)] for clip, s in bodies.items()])  # fmt: skip
    announce(f"{path}")
    return 0


def judged(clip: Path, folder: Path, path: Path, args: argparse.Namespace) -> dict[str, float]:
    """The scores of one clip; its film and contact sheet are written."""
    from conference.bench.fullframe_body import bodies_of
    from conference.full_frame import open_pictures
    from conference.seat import seat_of_avatar
    from nerf.renderer import load_head
    from nerf.trainset import read_trainset
    from quic_transport.avatar_file import load_avatar
    from sender.personal.model import from_sections

    avatar = load_avatar(path)
    sections = dict(avatar.sections)
    renderer = load_head(sections, avatar.meta.distance_m, avatar.meta.portrait_scale, args.threads)
    seat = seat_of_avatar(avatar.meta)
    full = open_pictures(sections, renderer, seat)
    if full is None:
        raise LocalError(f"{path} is a head alone: train it again from a set with whole pictures")
    trainset = read_trainset(folder)
    tracker = from_sections(sections)
    last = None
    if args.frames is not None:
        last = min(len(trainset), trainset.train_count + args.frames) - 1
    bodies = bodies_of(clip, trainset, sections, tracker, last)
    fulls = {GUESSED: full}
    if bodies is not None:
        others = (open_pictures(sections, renderer, seat) for _ in range(2))
        fulls |= {way: other for way, other in zip((SENT, FITTED), others, strict=True) if other}
    seen = Seen([], [], [], {way: [] for way in fulls}, {way: [] for way in fulls})
    pairs = list(drawn(clip, trainset, fulls, bodies, tracker, seen, last))
    if not pairs:
        raise LocalError(f"{clip} has no held-out frames of {folder}")
    write_film(pairs, args.output / f"{clip.stem}.mp4", trainset.frame_rate)
    write_sheet(pairs, args.output / f"{clip.stem}.png")
    means = np.mean(seen.rows, axis=0).tolist()
    tremble = np.mean(seen.tremble, axis=0).tolist() if seen.tremble else [0.0, 0.0]
    size = sum(a.nbytes for name, a in sections.items() if name.startswith(("torso.", "plate.")))
    values = [*means, *tremble, float(np.median(seen.costs)), size / 1000]
    scores = dict(zip(MEASURES, values, strict=True))
    if bodies is not None:
        for way in fulls:
            whole, body = (float(x) for x in np.mean(seen.ways[way], axis=0))
            scores |= {f"psnr {way}": whole, f"psnr body {way}": body}
            scores[f"tremble {way}"] = float(np.mean(seen.trembles[way] or [0.0]))
        scores |= dict(zip(BODY_COSTS, (*bodies.kbps, bodies.measuring_ms), strict=True))
    return scores


def drawn(clip: Path, trainset: TrainSet, fulls: dict[str, FullFrame], bodies: Bodies | None,
          model: Any, seen: Seen,
          last: int | None) -> Iterator[tuple[Image, Image]]:  # fmt: skip
    """Source and picture of every held-out frame; what is measured goes into `seen`."""
    from conference.bench.fullframe_body import picture_of, standing
    from conference.full_frame import held_out
    from nerf.camera import head_pose
    from sender.video import read_video

    source_frame = trainset.extra.get("source_frame")
    if source_frame is None:
        raise LocalError(f"{trainset.folder} does not say which frames of the clip it has")
    frames = read_video(clip, warn=lambda _: None)
    what = SENT if bodies is not None else GUESSED
    timed = Once(fulls[what].renderer)
    for full in fulls.values():
        full.renderer = timed
    last_three: list[tuple[int, Image, dict[str, Image]]] = []
    for k, (i, guessed) in enumerate(held_out(trainset, model, last)):
        wanted = int(source_frame[i])
        raw = picture_of(frames, wanted)
        if raw is None:
            return
        raw = fulls[what].framing.cut(raw)
        faces = {GUESSED: guessed}
        if bodies is not None:
            faces |= {SENT: standing(guessed, bodies.sent[k]),
                      FITTED: standing(guessed, bodies.fitted[k])}  # fmt: skip
        timed.forget()
        pose, shown = head_pose(guessed.rotation, trainset.distance_m), {}
        for way, face in faces.items():
            begun = time.perf_counter()
            picture = fulls[way].draw(face, pose)
            if way == what:
                seen.costs.append(1000 * (time.perf_counter() - begun - timed.seconds))
            shown[way] = np.ascontiguousarray(picture[..., :3])
        head, body = parts(fulls[what], trainset, i)
        seen.rows.append(measured(raw, shown[what], head, body, fulls[what].background[..., :3]))
        for way, picture in shown.items():
            seen.ways[way].append((psnr_of(picture, raw), psnr_of(picture, raw, body)))
        last_three = [*last_three[-2:], (wanted, raw, shown)]
        if [number for number, _, _ in last_three] == [wanted - 2, wanted - 1, wanted]:
            where = outline(head | body)
            for way in shown:
                seen.trembles[way].append(tremble_of([s[way] for _, _, s in last_three], where))
            seen.tremble.append((seen.trembles[what][-1],
                                 tremble_of([r for _, r, _ in last_three], where)))  # fmt: skip
        yield raw, shown[what]


class Once:
    """A renderer that draws each head once, and says how long that took."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self._last: Any = None
        self.portrait_scale = renderer.portrait_scale
        self.seconds = 0.0

    def forget(self) -> None:
        """The next head is another one."""
        self._last = None

    def render_portrait(self, *args: Any, **named: Any) -> Any:
        """As the renderer."""
        begun = time.perf_counter()
        if self._last is None:
            self._last = self._renderer.render_portrait(*args, **named)
        self.seconds = time.perf_counter() - begun
        return self._last

    def warm_up(self, size: int) -> None:
        """As the renderer."""
        self._renderer.warm_up(size)

    def set_stride(self, stride: float) -> None:
        """As the renderer."""
        self._renderer.set_stride(stride)


def parts(full: FullFrame, trainset: TrainSet, i: int) -> tuple[Mask, Mask]:
    """Where the source's head is, and elsewhere the torso of the last picture, [H, W] each."""
    from conference.full_frame_lesson import warped
    from portrait.pictures import read_grey

    place = full.framing.place(trainset.offset[i])
    matte = read_grey(trainset.folder / "matte" / f"{int(trainset.img_id[i])}.png")
    head = warped(matte, place, full.framing.size) > 127
    return head, (full.cover > 127) & ~head


def psnr_of(shown: Image, raw: Image, mask: Mask | None = None) -> float:
    """dB."""
    from nerf.metrics import psnr

    return float(psnr(shown, raw, mask))


def measured(raw: Image, shown: Image, head: Mask, body: Mask, plate: Image) -> list[float]:
    """PSNR and SSIM of the whole, PSNR of head, body and room, and of the plate alone."""
    from nerf.metrics import psnr, ssim

    regions = (psnr(shown, raw, mask) for mask in (head, body, ~(head | body)))
    return [psnr(shown, raw), ssim(shown, raw), *regions, psnr(plate, raw)]


def outline(person: Mask) -> Mask:
    """The surroundings of the person's border."""
    import cv2

    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    mask = person.astype(np.uint8)
    return np.asarray(cv2.dilate(mask, around) != cv2.erode(mask, around))


def tremble_of(three: list[Image], where: Mask) -> float:
    """Mean second difference of three pictures in a row, there."""
    before, now, after = (picture[where].astype(np.int16) for picture in three)
    return float(np.abs(after - 2 * now + before).mean())


def write_film(pairs: list[tuple[Image, Image]], path: Path, fps: float) -> None:
    """Source | shown."""
    from conference.demo_pictures import write_video

    write_video((np.concatenate(pair, axis=1) for pair in pairs), path, fps)


def write_sheet(pairs: list[tuple[Image, Image]], path: Path) -> None:
    """Rows of source and picture."""
    import cv2

    some = [pairs[i] for i in np.unique(np.linspace(0, len(pairs) - 1, SHEET).astype(int))]
    sheet = np.concatenate([np.concatenate(pair, axis=0) for pair in some], axis=1)
    cv2.imwrite(str(path), sheet[..., ::-1])
