"""The whole picture of a call: background, torso, head, in the framing of the sender's camera.

The rule: three layers, each over the one below, in the camera's picture; the head is drawn right
into it, pixel on pixel. A stream without the head's place shows it where it usually was. From
another viewpoint the head turns and the body stays: it has no other side (docs/full-frame.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nerf.camera import Camera, euler_angles
from nerf.cpu.pool import WorkerPool
from nerf.framing import Framing, Place, head_camera
from nerf.picture_code import PictureError, packed, unpacked
from nerf.torso import TorsoError, TorsoLayer, torso_from
from nerf.torso_kernels import head_over
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.params import BODY_DIM, FaceParams
from quic_transport.seat import Seat

PLATE = "plate."
PLATE_QUALITY = 82
BLUR = 0.03  # standard deviation of a blurred background, of the picture's longer side
ENLARGED = 0.9  # a head that may be drawn nearly as wide as it is shown is drawn so
SEAM = 0.016  # portrait widths: so far inwards the head's edge fades where the torso is below
INWARD = np.clip(2 * np.arange(256) - 255, 0, 255).astype(np.uint8)
"""Of an opacity that was averaged over a square: nothing at the edge, all of it SEAM inside."""
FOLLOW_S, EASE_S = 0.06, 0.4
"""Time constants with which the body follows what is sent of it, seconds, and goes back to the
guess where nothing is: steps of the codec's grid are not seen, and nothing jumps."""
APART_S = 1.0  # pictures that lie further apart have nothing to do with each other
FULL, HEAD = "full", "head"
FRAMES = (FULL, HEAD)

Image = NDArray[np.uint8]


class Rendered(Protocol):
    """What a renderer gives back."""

    @property
    def rgb(self) -> Image:
        """uint8 [h, w, 3], the head over the background."""

    @property
    def alpha(self) -> Image:
        """uint8 [h, w], how much of a pixel the head covers."""


class Renderer(Protocol):
    """What draws a head: `nerf.load_head` gives one."""

    @property
    def portrait_scale(self) -> float:
        """Portrait widths per metre."""

    def render_portrait(
        self, expression: ArrayLike, rotation: ArrayLike, size: int, view: ArrayLike | None = None,
        background: ArrayLike = ..., camera: Camera | None = None,
        position: ArrayLike | None = None,
    ) -> Rendered:  # fmt: skip
        """The head with this expression [46] that was tracked at `rotation` [3], turned as `view`
        [3, 3] on the screen, over a colour, by default white; `position` [3] is where its camera
        sees it (metres, camera axes), `camera` in place of the portrait's own."""

    def set_stride(self, stride: float) -> None:
        """Make the steps along rays this much longer than usual: faster and worse."""

    def warm_up(self, size: int) -> None:
        """Compile and fill caches, so that the next picture takes its usual time."""


class Stance:
    """How a drawn body stands, from picture to picture."""

    def __init__(self) -> None:
        self._body: NDArray[np.float64] = np.zeros(BODY_DIM)
        self._at = -math.inf

    def follow(self, params: FaceParams) -> NDArray[np.float64]:
        """[BODY_DIM] in the picture of these parameters, beside the guess."""
        passed = params.capture_time - self._at
        self._at = params.capture_time
        wanted = np.zeros(BODY_DIM) if params.body is None else params.body.astype(np.float64)
        share = 1.0
        if 0.0 <= passed <= APART_S:
            share = -math.expm1(-passed / (EASE_S if params.body is None else FOLLOW_S))
        self._body = self._body + share * (wanted - self._body)
        return self._body


class FullFrame:
    """Draws the pictures of one call. Not to be called from two threads at once."""

    def __init__(
        self,
        framing: Framing,
        torso: TorsoLayer | None,
        background: Image,
        renderer: Renderer,
        seat: Seat,
        threads: int | None = None,
    ) -> None:
        """`background`: uint8 [H, W, 4], colour times opacity, of the framing's size; `seat`: where
        the head sat when it was learned."""
        self.framing, self.torso = framing, torso
        self.background = background
        """What is behind the person."""
        self.opaque = bool((background[..., 3] == 255).all())
        """Whether nothing shines through."""
        self.renderer, self._seat = renderer, seat
        self._pool = WorkerPool(threads)
        rest = torso.drivers[0, 3:6] if torso is not None else np.zeros(3)
        self._rest = np.asarray(rest, dtype=np.float64)
        self.stance = Stance()
        self.head_px = 0
        """Draw the head no wider than this and enlarge it; 0: as it comes."""
        self.cover = np.zeros(framing.size[::-1], np.uint8)
        """[H, W] the opacity of the torso in the last picture."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return self.framing.size

    def draw(self, params: FaceParams, pose: ArrayLike) -> Image:
        """The picture, uint8 [H, W, 4] colour times opacity and opacity; the head is turned as
        `pose` [4, 4] says."""
        offset = self._rest if params.offset is None else params.offset.astype(np.float64)
        turn = np.asarray(pose, dtype=np.float64)[:3, :3]
        picture = self.background.copy()
        cover = np.zeros(picture.shape[:2], np.uint8)
        if self.torso is not None:
            cover = self.torso.over(picture, euler_angles(turn), offset, params.expression,
                                    self._pool, self.stance.follow(params))  # fmt: skip
        self.cover = cover
        place = self.framing.place(offset)
        if self._reaches(place):
            self._head_over(picture, cover, params, turn, place, self._seat.position(offset))
        return picture

    def _reaches(self, place: Place) -> bool:
        """Whether any of a head there is in the picture, and it is of a size that makes sense."""
        width, height = self.framing.size
        half = place.side / 2
        return (
            16 <= place.side <= 4 * max(width, height)
            and -half < place.u < width + half and -half < place.v < height + half
        )  # fmt: skip

    def _head_over(self, picture: Image, cover: Image, params: FaceParams,
                   turn: NDArray[np.float64], place: Place,
                   position: NDArray[np.float64]) -> None:  # fmt: skip
        import cv2

        camera, (x0, y0) = head_camera(place, position, self.renderer.portrait_scale)
        whole = (camera.width, camera.height)
        share = self.head_px / max(whole) if self.head_px else 1.0
        enlarged = share < ENLARGED
        if enlarged:
            camera = camera.resized(max(1, round(whole[0] * share)),
                                    max(1, round(whole[1] * share)))  # fmt: skip
        shown = self.renderer.render_portrait(
            params.expression, params.rotation, camera.width, view=turn,
            background=(0.0, 0.0, 0.0), camera=camera, position=position,
        )  # fmt: skip
        rgb, alpha = shown.rgb, shown.alpha
        if enlarged:
            rgb = np.asarray(cv2.resize(rgb, whole, interpolation=cv2.INTER_CUBIC))
            alpha = np.asarray(cv2.resize(alpha, whole, interpolation=cv2.INTER_CUBIC))
        reach = 2 * max(1, round(SEAM * place.side)) + 1
        soft = np.asarray(cv2.blur(alpha, (reach, reach), borderType=cv2.BORDER_REPLICATE))
        soft = np.asarray(cv2.LUT(soft, INWARD), np.uint8)
        bounds = np.linspace(0, len(picture), 2 * self._pool.threads + 1).astype(int).tolist()

        def work(band: int) -> None:
            head_over(picture, cover, rgb, alpha, soft, x0, y0, bounds[band], bounds[band + 1])

        self._pool.map(work, range(len(bounds) - 1))


def opaque(picture: Image) -> Image:
    """RGBA [H, W, 4] of RGB [H, W, 3]."""
    return np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])


def over_colour(picture: Image, colour: ArrayLike = (255, 255, 255)) -> Image:
    """uint8 [H, W, 3]: a picture [H, W, 4] over one colour; itself where it is opaque."""
    through = 255 - picture[..., 3:].astype(np.uint16)
    if not through.any():
        return np.ascontiguousarray(picture[..., :3])
    below = np.asarray(colour, np.uint16) * through // 255
    return np.minimum(picture[..., :3] + below, 255).astype(np.uint8)


def plate_sections(framing: Framing, plate: Image) -> dict[str, NDArray[Any]]:
    """The background plate as an avatar keeps it."""
    return {PLATE + "picture": packed(plate, PLATE_QUALITY), PLATE + "framing": framing.numbers()}


def plate_from(sections: Mapping[str, NDArray[Any]]) -> tuple[Framing, Image] | None:
    """The framing and the plate, uint8 [H, W, 3]; None where the avatar has none, and
    AvatarFileError where they are bad."""
    if PLATE + "framing" not in sections:
        return None
    try:
        framing = Framing.of_numbers(sections[PLATE + "framing"])
        return framing, unpacked(sections[PLATE + "picture"], framing.size, 3)
    except (ValueError, KeyError, PictureError) as error:
        raise AvatarFileError(f"the avatar's background is damaged ({error})") from error


def background_of(wish: str, plate: Image) -> Image:
    """uint8 [H, W, 4], colour times opacity: "plate", "blur", "none" (transparent), "#rrggbb", or
    the path of a picture, which is cut to fill the frame. LocalError for anything else."""
    height, width = plate.shape[:2]
    if wish == "plate":
        return opaque(plate)
    if wish == "none":
        return np.zeros((height, width, 4), np.uint8)
    if wish == "blur":
        import cv2

        sigma = BLUR * max(width, height)
        return opaque(np.asarray(cv2.GaussianBlur(plate, (0, 0), sigma), np.uint8))
    if wish.startswith("#"):
        try:
            if len(wish) != 7:
                raise ValueError
            colour = [int(wish[i : i + 2], 16) for i in (1, 3, 5)]
        except ValueError:
            raise LocalError(f"a colour is written like #336699, not {wish!r}") from None
        return opaque(np.full((height, width, 3), colour, np.uint8))
    return opaque(filling(wish, width, height))


def check_background(wish: str) -> None:
    """LocalError where `background_of` would not know what is meant."""
    background_of(wish, np.zeros((16, 16, 3), np.uint8))


def filling(path: str, width: int, height: int) -> Image:
    """The picture at `path`, as large as needed to fill the frame, cut evenly."""
    import cv2

    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise LocalError(f"--background {path} cannot be read ({error.strerror or error}): name "
                         "plate, blur, none, #rrggbb or a picture") from error  # fmt: skip
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise LocalError(f"--background {path} is not a picture: name a PNG, JPEG or WebP file")
    scale = max(width / image.shape[1], height / image.shape[0])
    w = max(width, math.ceil(image.shape[1] * scale - 1e-6))
    h = max(height, math.ceil(image.shape[0] * scale - 1e-6))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = cv2.resize(image, (w, h), interpolation=how)
    x, y = (w - width) // 2, (h - height) // 2
    return np.ascontiguousarray(image[y : y + height, x : x + width, ::-1], dtype=np.uint8)


def open_full_frame(sections: Mapping[str, NDArray[Any]], renderer: Renderer, seat: Seat,
                    background: str = "plate",
                    threads: int | None = None) -> FullFrame | None:  # fmt: skip
    """What draws the whole picture of an avatar; None where it has no plate."""
    found = plate_from(sections)
    if found is None:
        return None
    framing, plate = found
    try:
        torso = torso_from(sections, framing)
    except TorsoError as error:
        raise AvatarFileError(str(error)) from error
    return FullFrame(framing, torso, background_of(background, plate), renderer, seat,
                     threads)  # fmt: skip
