"""What an avatar says about itself: schema, bounds, framing, provenance. JSON on disk.

The rule: this is all that a sender and a hello need to know of an avatar, so it is read without
touching the weights; `meta_from_json` fed arbitrary bytes raises only `AvatarFileError`.
Reference: docs/wire-format.md, "Avatar file".
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any

from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.params import SCHEMAS, ParamBounds

MAX_TEXT = 4096  # characters of any string
MAX_PROVENANCE = 256  # entries
MAX_SIZE_PX = 8192
MAX_NUMBER = 10**18  # of an integer in the provenance
MAX_OFFSET = 100.0  # portrait widths, or logarithm of a size: nothing that a camera shows

Fact = str | int | float


@dataclass(frozen=True, slots=True, eq=False)
class AvatarMeta:
    """The description of one avatar."""

    name: str
    """Who or what it shows, for people to read."""

    schema: str
    """Id of the schema that names its 46 expressions, a key of `params.SCHEMAS`."""

    extractor: str
    """Name of the parameter extractor that it was trained with, e.g. `mediapipe`."""

    bounds: ParamBounds
    """Range of the 49 parameters over the training frames; the codec quantises between them."""

    distance_m: float
    """Distance D of the portrait camera from the head's origin, metres, > 0."""

    portrait_scale: float
    """Portrait widths per metre at that distance, > 0 (docs/conventions.md: 2.6)."""

    size_px: int
    """Width and height of the training portraits, pixels."""

    frame_rate: float
    """Frames per second of the training video, > 0."""

    created: str
    """When it was trained, ISO 8601."""

    provenance: Mapping[str, Fact]
    """How it was trained, in named facts: preset, steps, seconds, quality, …"""

    rest: tuple[float, float, float] | None = None
    """The usual offset of the training frames (docs/conventions.md), by which a receiver knows from
    where the camera saw the head; None in avatars that were learned as if every head sat in the
    middle of its picture."""

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        for field in ("name", "schema", "extractor", "created"):
            _check_text(getattr(self, field), field)
        if self.schema not in SCHEMAS:
            known = ", ".join(sorted(SCHEMAS))
            raise LocalError(f"schema {self.schema!r} is not known here (known: {known})")
        if not isinstance(self.bounds, ParamBounds):
            raise LocalError(f"bounds must be ParamBounds, not {type(self.bounds).__name__}")
        for field in ("distance_m", "portrait_scale", "frame_rate"):
            value = _number(getattr(self, field), field)
            if value <= 0:
                raise LocalError(f"{field} must be positive, not {value}")
            set_(self, field, float(value))
        size = _number(self.size_px, "size_px")
        if not isinstance(size, int) or not 1 <= size <= MAX_SIZE_PX:
            raise LocalError(f"size_px must be a whole number in 1 .. {MAX_SIZE_PX}, not {size}")
        set_(self, "size_px", size)
        try:
            datetime.fromisoformat(self.created)
        except ValueError:
            raise LocalError(f"created must be an ISO 8601 date, not {self.created!r}") from None
        set_(self, "provenance", _checked_facts(self.provenance))
        if self.rest is not None:
            set_(self, "rest", _checked_rest(self.rest))

    def to_json(self) -> bytes:
        """UTF-8 JSON; the same description always gives the same bytes."""
        document = {
            "name": self.name,
            "schema": self.schema,
            "extractor": self.extractor,
            "bounds": {"low": self.bounds.low.tolist(), "high": self.bounds.high.tolist()},
            "distance_m": self.distance_m,
            "portrait_scale": self.portrait_scale,
            "size_px": self.size_px,
            "frame_rate": self.frame_rate,
            "created": self.created,
            "provenance": dict(self.provenance),
        }
        if self.rest is not None:
            document["rest"] = list(self.rest)
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()


def meta_from_json(data: bytes) -> AvatarMeta:
    """The description in `data`; unknown keys are ignored, so later versions may add some."""
    try:
        document = json.loads(data.decode())  # NaN and Infinity are refused with the fields
    except (ValueError, RecursionError) as error:
        raise AvatarFileError(f"the avatar's metadata is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise AvatarFileError("the avatar's metadata is not a JSON object")
    fields = AvatarMeta.__slots__
    missing = [field for field in fields if field not in document and field != "rest"]
    if missing:
        raise AvatarFileError(f"the avatar's metadata lacks {', '.join(missing)}")
    values: dict[str, Any] = {field: document.get(field) for field in fields}
    try:
        values["bounds"] = _bounds_from_json(values["bounds"])
        return AvatarMeta(**values)
    except LocalError as error:  # what would be our mistake in memory is the file's on disk
        raise AvatarFileError(f"the avatar's metadata is not valid: {error}") from None


def _bounds_from_json(value: Any) -> ParamBounds:
    sides: list[list[int | float]] = []
    for side in ("low", "high"):
        numbers = value.get(side) if isinstance(value, dict) else None
        if not isinstance(numbers, list):
            raise LocalError("bounds must hold the lists `low` and `high`")
        sides.append([_number(number, f"bounds.{side}") for number in numbers])
    return ParamBounds(sides[0], sides[1])  # type: ignore[arg-type]  # converted and checked there


def _number(value: object, field: str) -> int | float:
    """A finite number as a plain int or float (numpy's scalars count), not a bool."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        if abs(int(value)) > MAX_NUMBER:
            raise LocalError(f"{field} is too large")
        return int(value)
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    shown = value if isinstance(value, Real) else type(value).__name__
    raise LocalError(f"{field} must be a finite number, not {shown}")


def _checked_rest(value: object) -> tuple[float, float, float]:
    if not isinstance(value, list | tuple) or len(value) != 3:
        raise LocalError("rest must be three numbers")
    right, down, size = (float(_number(v, "rest")) for v in value)
    if max(abs(right), abs(down), abs(size)) > MAX_OFFSET:
        raise LocalError(f"rest must lie within ±{MAX_OFFSET:g}")
    return right, down, size


def _check_text(value: object, field: str) -> str:
    """A short, printable string: no control characters, no lone surrogates, no escapes."""
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise LocalError(f"{field} must be a printable string of at most {MAX_TEXT} characters")
    return value


def _checked_facts(value: object) -> Mapping[str, Fact]:
    if not isinstance(value, Mapping) or len(value) > MAX_PROVENANCE:
        raise LocalError(f"provenance must be a mapping of at most {MAX_PROVENANCE} facts")
    facts: dict[str, Fact] = {}
    for key, fact in value.items():
        _check_text(key, "a key of provenance")
        field = f"provenance[{key!r}]"
        if isinstance(fact, str):
            facts[key] = _check_text(fact, field)
        else:
            facts[key] = _number(int(fact) if isinstance(fact, bool) else fact, field)
    return MappingProxyType(facts)
