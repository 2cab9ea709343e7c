"""How well a segmenter does: against exact labels of performers, and against another segmenter on
real clips, where no truth is known.

    python -m portrait.parsing.judge performers 900000 900012
    python -m portrait.parsing.judge people DIR                           (with real.npz)
    python -m portrait.parsing.judge clips CLIP... [--models FOLDER]      (needs MediaPipe)

The rule: pictures that are judged were never learnt from: performers of other seeds in their own
rooms, people of no pack.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sender.portrait_crop import PortraitCrop

PORTRAIT_PX = 512
NEAR_PX = 3.0  # outlines this near to each other (at 512 px) agree
STILL = 3.0  # mean change of a pixel, of 255, that counts as none

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def iou(one: Mask, two: Mask) -> float:
    """Intersection over union, 1 where both are empty."""
    either = int((one | two).sum())
    return 1.0 if either == 0 else int((one & two).sum()) / either


def outline(mask: Mask) -> Mask:
    """The mask's outermost pixels, not along the picture's border."""
    import cv2

    inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1)
    return np.asarray(mask & (inner == 0))


def outline_f(one: Mask, two: Mask, near: float) -> float:
    """F score of the outlines, `near` pixels apart at most."""
    import cv2

    a, b = outline(one), outline(two)
    if not a.any() or not b.any():
        return float(not a.any() and not b.any())
    from_a = cv2.distanceTransform((~a).astype(np.uint8), cv2.DIST_L2, 5)
    from_b = cv2.distanceTransform((~b).astype(np.uint8), cv2.DIST_L2, 5)
    precision, recall = float((from_b[a] <= near).mean()), float((from_a[b] <= near).mean())
    return 2 * precision * recall / max(1e-9, precision + recall)


def flicker(before: Image, after: Image, alpha_before: Float32, alpha_after: Float32) -> float:
    """Mean change of opacity, in thousandths, where the picture hardly changes."""
    import cv2

    change = cv2.blur(np.abs(after.astype(np.float32) - before).mean(axis=2), (5, 5))
    still = change < STILL
    return float(1000 * np.abs(alpha_after - alpha_before)[still].mean()) if still.any() else 0.0


def judge_performers(segmenter: Any, seeds: range, shots: int = 6) -> dict[str, float]:
    """Agreement with exact labels: performers in their rooms, portraits of 512 px."""
    from portrait.parsing.performers import framing, person_of
    from portrait.performer.performance import Score
    from portrait.performer.render import render

    rows = []
    for seed in seeds:
        rng = np.random.default_rng([0x10D6E, seed])
        person, score = person_of(seed, rng), Score(seed, 60.0, "talk")
        for _ in range(shots):
            camera, pose = framing(rng)
            params, _ = score.at(float(rng.uniform(0, 60)))
            picture = render(person, params, pose, camera)
            rows.append(judged(segmenter, picture.rgb, picture.classes))
    return {k: float(np.nanmean([r[k] for r in rows])) for k in rows[0]}


def judged(segmenter: Any, picture: Image, truth: Image) -> dict[str, float]:
    """IoU of the person and of each part (where the truth has it), outline F."""
    person = segmenter.person(picture, None, None) > 0.5
    near = NEAR_PX * picture.shape[0] / 512
    out = {"person": iou(person, truth > 0), "outline": outline_f(person, truth > 0, near)}
    if hasattr(segmenter, "classes"):
        classes = segmenter.classes(picture, None, None)
        for k, name in ((1, "head"), (2, "neck"), (3, "torso")):
            seen = (truth == k).sum() > 0.002 * truth.size
            out[name] = iou(classes == k, truth == k) if seen else float("nan")
    return out


def judge_people(segmenter: Any, folder: Path) -> dict[str, float]:
    """Agreement with the teacher on people who were held out, where the teacher can be trusted;
    the mean over pictures and that of the worst tenth."""
    with np.load(folder / "real.npz", allow_pickle=False) as z:
        rows = z["held_out"]
        images, alpha, trust = (z[k][rows] for k in ("images", "alpha", "trust"))
    scores = []
    for image, teacher, sure in zip(images, alpha, trust, strict=True):
        own = segmenter.person(image, None, None) > 0.5
        scores.append(iou(own & (sure > 127), (teacher > 127) & (sure > 127)))
    worst = np.sort(scores)[: max(1, len(scores) // 10)]
    return {"iou": float(np.mean(scores)), "worst_tenth": float(worst.mean()),
            "pictures": float(len(scores))}  # fmt: skip


def judge_clip(own: Any, other: Any, clip: Path, models: Path | None) -> dict[str, float]:
    """Agreement of two segmenters on a clip about once a second, and how much each flickers.
    What lies beyond the picture's edges does not count."""
    from sender.extractor import open_extractor
    from sender.video import probe, read_video

    every = max(1, round(probe(clip).frame_rate))
    extractor = open_extractor("mediapipe", models=models, source=str(clip))
    rows: list[tuple[float, float, float, float]] = []
    crop: PortraitCrop | None = None
    last: tuple[Image, Float32, Float32] | None = None
    for frame in read_video(clip):
        phase = frame.index % every
        if phase == 0:
            faces = extractor.extract(frame)
            crop = faces[0].crop if faces else None
        if crop is None or phase > 1:
            continue
        picture = crop.apply(frame.image, PORTRAIT_PX)
        inside = crop.apply(np.full(frame.image.shape[:2], 255, np.uint8), PORTRAIT_PX, 0) > 250
        a, b = (x.person(picture, None, None) * inside for x in (own, other))
        if phase == 0:
            last = picture, a, b
        elif last is not None:
            rows.append((iou(last[1] > 0.5, last[2] > 0.5),
                         outline_f(last[1] > 0.5, last[2] > 0.5, NEAR_PX),
                         flicker(last[0], picture, last[1], a),
                         flicker(last[0], picture, last[2], b)))  # fmt: skip
            last = None
    extractor.close()
    names = ("iou", "outline", "flicker", "other_flicker")
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) | {"frames": len(rows)}


def main() -> None:
    """Print one line per clip, or one for all performers."""
    from portrait.parsing.segmenter import ParsingSegmenter
    from portrait.segmentation import SelfieSegmenter

    p = argparse.ArgumentParser(description="judge the parsing network")
    p.add_argument("kind", choices=("performers", "people", "clips"))
    p.add_argument("what", nargs="+")
    p.add_argument("--models", type=Path)
    p.add_argument("--segmenter", choices=("parsing", "mediapipe"), default="parsing")
    a = p.parse_args()
    own: Any = ParsingSegmenter() if a.segmenter == "parsing" else SelfieSegmenter(a.models)
    if a.kind == "performers":
        first, last = (int(x) for x in a.what)
        print(_line("performers", judge_performers(own, range(first, last))))
        return
    for clip in map(Path, a.what):
        if a.kind == "people":
            print(_line(str(clip), judge_people(own, clip)))
            continue
        result = judge_clip(own, SelfieSegmenter(a.models), clip, a.models)
        print(_line(clip.stem, result), flush=True)


def _line(name: str, result: dict[str, float]) -> str:
    return f"{name}: " + ", ".join(f"{k} {v:.3f}" for k, v in result.items())


if __name__ == "__main__":
    main()
