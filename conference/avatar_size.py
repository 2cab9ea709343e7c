"""How large an avatar file may be, and in which order its parts lie.

The rule: bits go where a call would see them: every size is the same field, priced by the
pictures that it makes of this person, and what makes the first picture lies first. The parts that
are not the head's tables are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quic_transport.avatar_file import AvatarFile, AvatarMeta, public_bytes
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.params import EXPRESSION_DIM

if TYPE_CHECKING:
    from nerf.expression import ExpressionCode
    from nerf.field import HeadField

SIZES = ("small", "default", "full")
SMALL_BYTES = 1_000_000  # of everything that a peer gets
VIEWS = 160  # pictures behind the importance of table entries: three seconds
ELSEWHERE = 0.25  # share of the views that look from where no training frame did
FREE_TURN = (20.0, 45.0, 5.0)  # pitch, yaw, roll: degrees to either side
COMPARED = 9  # pictures of the stored head with those of the trained one
LEAST_BYTES = 4000  # of all layers: with less it is nobody
FIRST_BYTES = 220_000  # of the tables' first layer: with all else a first picture needs 300 kB
PREVIEW = "preview"
"""The section with the face as a picture, uint8 [H, W, 3] RGB."""
PREVIEW_PX = 96
STORED = "psnr stored"
"""The fact that says how near pictures of the stored head are to those of the trained one, dB."""

FIRST = ("codec.", "field.", "code.", "pose.", "occupancy", "network.", "steps.0", "mean.0.",
         "tables.0.")  # fmt: skip
SCENE = ("torso.", "plate.")
HEAD = (*FIRST[1:], "steps.", "mean", "tables")
LAST = ("personal.",)


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """Pictures that a call will show."""

    codes: NDArray[np.float32]
    """[N, B], blend weights."""
    rotations: NDArray[np.float64]
    """[N, 3], radians."""

    @staticmethod
    def of_training(code: ExpressionCode, expressions: ArrayLike, rotations: ArrayLike) -> Views:
        """Some of the training frames: coefficients [N, k], angles [N, 3]."""
        e, r = np.asarray(expressions, np.float32), np.asarray(rotations, np.float64)
        some = np.unique(np.linspace(0, len(e) - 1, VIEWS).astype(int))
        turned = _and_from_elsewhere(r[some])
        return Views(code(code.face(e[some], turned)), turned)

    @staticmethod
    def to_expect(field: HeadField, meta: AvatarMeta) -> Views:
        """What a finished avatar says of its person is enough: measured on macron, 0.006 dB less
        at equal size than with the training frames."""
        from nerf.importance import usual_views

        turn = slice(EXPRESSION_DIM, EXPRESSION_DIM + 3)
        low, high = meta.bounds.low[turn], meta.bounds.high[turn]
        codes, rotations = usual_views(field, low, high, VIEWS)
        return Views(codes, _and_from_elsewhere(rotations))


def _and_from_elsewhere(rotations: NDArray[np.float64]) -> NDArray[np.float64]:
    """These turns [N, 3], and some as a viewer may turn the head: without them, what the training
    video never showed is thrown away."""
    turned = rotations.copy()
    some = slice(None, None, round(1 / ELSEWHERE))
    rng = np.random.default_rng(0)
    turned[some] = rng.uniform(-1.0, 1.0, turned[some].shape) * np.radians(FREE_TURN)
    return turned


def stored(meta: AvatarMeta, field: HeadField, others: Mapping[str, NDArray[np.generic]],
           views: Views, *, size: str = "default", most_bytes: int | None = None,
           threads: int | None = None, report: Callable[[str], None] = lambda _: None,
           ) -> AvatarFile:  # fmt: skip
    """The avatar of `field` with the other sections as they are, a preview added; `most_bytes` is
    the most that a peer may get, for "small" `SMALL_BYTES` by default."""
    from nerf.weights import WeightsError, to_sections

    if size not in SIZES:
        raise LocalError(f"there is no avatar size {size!r}: choose {', '.join(SIZES)}")
    kept = {name: array for name, array in others.items() if not name.startswith(HEAD)}
    kept = {PREVIEW: preview(field, meta, threads), **kept}
    if size == "full":
        return AvatarFile(meta, in_order({**kept, **to_sections(field, exact=True)}))
    report("looking which weights make the picture")
    plan = _plan(meta, field, views, threads)
    most = SMALL_BYTES if most_bytes is None and size == "small" else most_bytes
    if most is not None:
        nothing = to_sections(field, replace(plan, prices=(1e6,) * len(plan.prices)))
        around = len(public_bytes(AvatarFile(meta, in_order({**kept, **nothing})))) + 64
        if most - around < LEAST_BYTES:
            raise LocalError(
                f"the avatar cannot have {most / 1e6:.2f} MB: what is not the head's tables "
                f"alone has {around / 1e6:.2f} MB"
            )
        room = most - around
        plan = replace(plan, most_bytes=(min(FIRST_BYTES, room), *[room] * (len(plan.prices) - 1)))
    head = to_sections(field, plan)
    try:
        lost = 10 ** (-agreement(field, head, views, meta, threads) / 10)
    except WeightsError:  # so little is learned yet that a reader would not believe the file
        head = to_sections(field)
        lost = 10 ** (-agreement(field, head, views, meta, threads) / 10)
    if STORED in meta.provenance:  # the field was stored and read once already
        lost += 10 ** (-float(meta.provenance[STORED]) / 10)
    facts = dict(meta.provenance) | {STORED: round(float(-10 * np.log10(lost)), 2)}
    return AvatarFile(replace(meta, provenance=facts), in_order({**kept, **head}))


def in_order(sections: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """What is worth having first lies first; docs/wire-format.md, "Avatar file"."""

    def rank(name: str) -> int:
        if name == PREVIEW:
            return 0
        for k, beginnings in enumerate((FIRST[:1], FIRST[1:], SCENE)):
            if name.startswith(beginnings):
                return 1 + k
        return 6 if name.startswith(LAST) else 5 if name.startswith(HEAD) else 4

    return {name: sections[name] for name in sorted(sections, key=rank)}  # equals stay in order


def preview(field: HeadField, meta: AvatarMeta, threads: int | None = None,
            px: int = PREVIEW_PX) -> NDArray[np.uint8]:  # fmt: skip
    """The usual face from the front."""
    return portraits(field, meta, px, [0.0], threads)[0]


def portraits(field: HeadField, meta: AvatarMeta, px: int, yaws: list[float],
              threads: int | None = None) -> list[NDArray[np.uint8]]:  # fmt: skip
    """The usual face, uint8 [px, px, 3] over white, turned by each of `yaws`, degrees: the mean of
    the training frames. The least of every coefficient is no face: a personal tracker corrects them
    to below what they mean."""
    from nerf.renderer import HeadRenderer

    head = HeadRenderer(field, meta.distance_m, meta.portrait_scale, threads, "cpu")
    usual = field.code.mean[: field.code.coefficients]
    try:
        return [
            head.render_portrait(usual, (0.0, 0.0, 0.0), px, view=(0.0, np.radians(yaw), 0.0)).rgb
            for yaw in yaws
        ]
    finally:
        head.close()


def agreement(field: HeadField, head: Mapping[str, NDArray[np.generic]], views: Views,
              meta: AvatarMeta, threads: int | None = None) -> float:  # fmt: skip
    """PSNR in dB of pictures of the sections `head` against those of `field`: some of `views` at
    256 pixels."""
    from nerf.camera import head_pose, portrait_camera
    from nerf.cpu.pool import WorkerPool
    from nerf.cpu.render import CpuRenderer
    from nerf.expression import ExpressionCode
    from nerf.metrics import psnr
    from nerf.weights import from_sections

    camera = portrait_camera(256, meta.distance_m, meta.portrait_scale)
    own = np.eye(field.config.rank, dtype=np.float32)  # blend weights are given as they are
    far = np.full(len(own), 1e3, np.float32)
    as_given = ExpressionCode(-far, far, 0 * far, own)
    still = np.zeros((6, 4 + len(own)), np.float32)
    pool = WorkerPool(threads)
    try:
        theirs, ours = (
            CpuRenderer(replace(f, code=as_given, correction=still), pool)
            for f in (field, from_sections(head))
        )
        found = []
        for i in np.linspace(0, len(views.codes) - 1, COMPARED).astype(int):
            pictures = []
            for renderer in (theirs, ours):
                renderer.set_expression(views.codes[i])
                pose = head_pose(views.rotations[i], meta.distance_m)
                pictures.append(renderer.render(pose, camera).rgb)
            found.append(psnr(pictures[1], pictures[0]))
        return float(np.mean(found))
    finally:
        pool.close()


def head_of(avatar: AvatarFile) -> HeadField:
    """The field in an avatar; AvatarFileError if there is none."""
    from nerf.weights import WeightsError, from_sections

    try:
        return from_sections(avatar.sections)
    except WeightsError as error:
        raise AvatarFileError(
            f"the avatar of {avatar.meta.name!r} cannot be drawn ({error}): train it again with "
            "this version of facewire"
        ) from error


def _plan(meta: AvatarMeta, field: HeadField, views: Views, threads: int | None):  # type: ignore[no-untyped-def]  # fmt: skip
    from nerf.cpu.pool import WorkerPool
    from nerf.importance import importance
    from nerf.layers import Plan

    pool = WorkerPool(threads)
    try:
        worth = importance(field, views.codes, views.rotations, meta.distance_m,
                           meta.portrait_scale, pool)  # fmt: skip
    finally:
        pool.close()
    spread = np.sqrt((views.codes.astype(np.float64) ** 2).mean(axis=0)).astype(np.float32)
    return Plan(worth, spread)
