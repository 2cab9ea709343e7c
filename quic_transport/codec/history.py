"""The frames that both ends remember, by sequence number: what a new one may be predicted from.

The rule: at most RING frames, none more than RING - 1 behind the newest, so memory is bounded
whatever numbers a peer makes up. What is remembered of a frame is the profile's business.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from quic_transport.codec.profile import RING, SEQUENCE_MODULUS, Reference, sequence_distance
from quic_transport.errors import ReferenceLost

T = TypeVar("T")


class History(Generic[T]):
    """A ring of decoded frames."""

    def __init__(self) -> None:
        self._frames: dict[int, T] = {}
        self._newest: int | None = None  # of those remembered
        self._tried: int | None = None  # the newest that was asked for or put, remembered or not

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def broken(self) -> bool:
        """Whether the newest frame ever tried is not here."""
        return self._tried is None or self._tried not in self._frames

    def tried(self, sequence: int) -> None:
        """Frame `sequence` is about to be decoded."""
        if self._tried is None or sequence_distance(sequence, self._tried) > 0:
            self._tried = sequence

    def put(self, sequence: int, frame: T) -> None:
        """Remember a frame, unless it is too old; older ones fall out."""
        if self._newest is None or sequence_distance(sequence, self._newest) > 0:
            self._newest = sequence
            self._frames = {
                s: f for s, f in self._frames.items() if 0 < sequence_distance(sequence, s) < RING
            }
        if sequence_distance(self._newest, sequence) < RING:
            self._frames[sequence] = frame

    def get(self, reference: int, sequence: int) -> T:
        """What frame `sequence` is predicted from; ReferenceLost if it is not here."""
        frame = self._frames.get(reference)
        if frame is None:
            raise ReferenceLost(
                f"frame {sequence} is predicted from frame {reference}, which never came or is "
                "too old; a keyframe must follow"
            )
        if not 0 < sequence_distance(sequence, reference) < RING:
            raise ReferenceLost(f"frame {sequence} cannot be predicted from frame {reference}")
        return frame

    def find(self, reference: Reference, sequence: int) -> tuple[int, T] | None:
        """For an encoder about to code `sequence`: the number and the frame that `reference`
        means, or None if that is not here."""
        number = (sequence - 1) % SEQUENCE_MODULUS if reference == "last" else reference
        if number is None or number not in self._frames:
            return None
        if not 0 < sequence_distance(sequence, number) < RING:
            return None
        return number, self._frames[number]
