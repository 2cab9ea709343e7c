"""Labels for real pictures: who is person, by a teacher; which part, by landmarks and colour.

    DIR/real.npz   `images` uint8 [N, 144, 144, 3]; `alpha` uint8 [N, 144, 144]; `trust` uint8
                   [N, 144, 144], 0 where the picture ends; `parts` uint8 [N, 144, 144]
                   (portrait.parsing.parts); `held_out` [N]; `empty` uint8 [M, 144, 144, 3]
                   pictures in which the teacher sees nobody

The rule: the teacher (MediaPipe's selfie segmenter) is run here only, never by those who use the
network. It is asked twice, the second time about the mirror image, and trusted where it agrees
with itself. Pictures come from a pack (portrait.facenet.pack); people are held out as there.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portrait.facenet.material import held_out
from portrait.facenet.pack import CROP_PX, Pack, read_pack
from portrait.parsing.parts import parts_of
from portrait.segmentation import SelfieSegmenter

PER_PERSON = 75
TEACHER_PX = 256
BLACK = 14  # what is darker in a whole row or column, from the border on, is no picture
DOUBT = 0.12  # difference between both answers, around a pixel, from which neither counts
MOST_DOUBT, AROUND_PX = 0.25, 9  # outlines always differ a little: they are thin, faults are not
UNSURE = 0.12  # pictures with more doubt than this are left out
NOBODY = 0.01  # mean opacity of a picture without a person

Float32 = NDArray[np.float32]
Image = NDArray[np.uint8]


def inside_of(image: Image) -> NDArray[np.bool_]:
    """[H, W] without the black margins of a crop that reaches over the picture's edge."""
    bright = image.max(axis=2)
    rows, columns = (
        np.percentile(bright, 98, axis=1) > BLACK,
        np.percentile(bright, 98, axis=0) > BLACK,
    )
    out = np.zeros(bright.shape, bool)
    if rows.any() and columns.any():
        (r0, r1), (c0, c1) = (np.flatnonzero(x)[[0, -1]] for x in (rows, columns))
        out[r0 + 1 : r1, c0 + 1 : c1] = True
        out[:, 0] = out[:, -1] = False
    return out


def ask(teacher: SelfieSegmenter, image: Image) -> tuple[Float32, Float32]:
    """Opacity and doubt, both [H, W] in 0..1."""
    import cv2

    big = cv2.resize(image, (TEACHER_PX, TEACHER_PX), interpolation=cv2.INTER_CUBIC)
    one = teacher.confidence(np.asarray(big, np.uint8))
    two = teacher.confidence(np.ascontiguousarray(big[:, ::-1]))[:, ::-1]
    size = (image.shape[1], image.shape[0])
    mean = cv2.resize((one + two) / 2, size, interpolation=cv2.INTER_AREA)
    doubt = cv2.resize(np.abs(one - two), size, interpolation=cv2.INTER_AREA)
    return np.asarray(mean, np.float32), np.asarray(doubt, np.float32)


def trust_of(doubt: Float32, inside: NDArray[np.bool_]) -> Float32:
    """[H, W] 0 outside the picture, else from just above 0 to 1."""
    import cv2

    around = cv2.blur(np.minimum(doubt, MOST_DOUBT), (AROUND_PX, AROUND_PX))
    return np.where(inside, np.clip(1 - around / DOUBT, 1 / 255, 1), 0).astype(np.float32)


def chosen(pack: Pack, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most PER_PERSON faces of each person."""
    rows = []
    for person in range(len(pack.people)):
        own = np.flatnonzero((pack.person == person) & ~pack.no_face)
        rows.append(rng.permutation(own)[:PER_PERSON])
    return np.sort(np.concatenate(rows))


def make(source: Path, folder: Path, models: Path | None) -> int:
    """Write `folder`/real.npz; the number of pictures with a person."""
    pack = read_pack(source)
    teacher = SelfieSegmenter(models)
    out: dict[str, list[Any]] = {k: [] for k in ("images", "alpha", "trust", "parts", "held_out")}
    rows = chosen(pack, np.random.default_rng(0))
    for done, i in enumerate(rows):
        image, inside = pack.images[i], inside_of(pack.images[i])
        alpha, doubt = ask(teacher, image)
        if doubt[inside].mean() > UNSURE or inside.mean() < 0.4:
            continue
        parts = parts_of(image, pack.landmarks[i], alpha)
        trust = trust_of(doubt, inside)
        out["images"].append(image)
        out["alpha"].append(np.round(alpha * 255).astype(np.uint8))
        out["trust"].append(np.round(trust * 255).astype(np.uint8))
        out["parts"].append(parts)
        out["held_out"].append(held_out(pack.people[pack.person[i]]))
        if done % 1000 == 999:
            print(f"{done + 1} of {len(rows)} pictures", flush=True)
    empty = [e for e in pack.images[pack.no_face] if ask(teacher, e)[0].mean() < NOBODY]
    teacher.close()
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"empty": np.stack(empty), **{k: np.stack(v) for k, v in out.items()}}
    np.savez(folder / "real.npz", allow_pickle=False, **arrays)
    return len(out["images"])


def main() -> None:
    """`python -m portrait.parsing.label PACK DIR [--models FOLDER]`."""
    p = argparse.ArgumentParser(description=f"label pictures of {CROP_PX} px for the parser")
    p.add_argument("pack", type=Path)
    p.add_argument("folder", type=Path)
    p.add_argument("--models", type=Path)
    a = p.parse_args()
    print(make(a.pack, a.folder, a.models), "pictures")


if __name__ == "__main__":
    main()
