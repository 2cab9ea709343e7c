"""A head that is drawn while its avatar still arrives."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from conference import avatar_size
from conference.arriving import PATIENCE_S, ArrivingAvatar, first_picture
from conference.avatar_size import Views, stored
from conference.incoming import ReceiveOptions
from conference.incoming_face import IncomingFace
from conference.terminal import Interrupt, StatusLine
from quic_transport.avatar_file import AvatarFile, avatar_id, decode_avatar, public_bytes
from quic_transport.errors import AvatarFileError
from quic_transport.events import AvatarProgress, AvatarReceived
from quic_transport.params import EXPRESSION_DIM, FaceParams
from receiver.pose_control import View
from tests.conference.conftest import tiny_avatar
from tests.nerf.heads import random_head

PLATE = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8)


@pytest.fixture(scope="module")
def data() -> bytes:
    """What a peer gets of a random head with a background."""
    patch = pytest.MonkeyPatch()
    patch.setattr(avatar_size, "VIEWS", 8)
    meta, field = tiny_avatar().meta, random_head()
    views = Views.to_expect(field, meta)
    avatar = stored(meta, field, {"plate.picture": PLATE}, views, threads=1)
    patch.undo()
    return public_bytes(avatar)


def enough_at(data: bytes) -> int:
    """The bytes with which the whole picture can be drawn."""
    return next(n for n in range(0, len(data), 1000) if first_picture(data[:n]) is not None)


def test_a_beginning_is_enough_only_if_nothing_but_finer_layers_is_missing(data: bytes) -> None:
    at = enough_at(data)
    first = first_picture(data[:at])
    assert first is not None
    assert "plate.picture" in first.sections
    assert "mean.1.0" not in first.sections
    assert first_picture(b"") is None
    whole = first_picture(data)
    assert whole is not None
    assert list(whole.sections) == list(decode_avatar(data).sections)


class Slow:
    """A transfer whose clock and bytes the test moves."""

    def __init__(self, data: bytes, rate: float) -> None:
        self.data, self.rate, self.now, self.asked = data, rate, 100.0, 0
        self.arriving = ArrivingAvatar(self.beginning, lambda: self.now)

    def beginning(self) -> bytes:
        self.asked += 1
        return self.data[: int((self.now - 100.0) * self.rate)]

    def run(self) -> tuple[int, AvatarFile] | None:
        """Bytes and avatar when it is enough; None if it never is before the end."""
        while (done := int((self.now - 100.0) * self.rate)) < len(self.data):
            found = self.arriving.enough(AvatarProgress(done, len(self.data), sending=False))
            if found is not None:
                return done, found
            self.now += 0.05
        return None


def test_a_slow_transfer_is_used_from_its_beginning_and_looked_at_seldom(data: bytes) -> None:
    slow = Slow(data, rate=2000.0)
    found = slow.run()
    assert found is not None
    assert found[0] < enough_at(data) + 17_000
    assert slow.asked <= 6


def test_a_fast_transfer_is_awaited(data: bytes) -> None:
    fast = Slow(data, rate=len(data) / (0.9 * PATIENCE_S))
    assert fast.run() is None
    assert fast.asked == 0


def test_what_we_send_ourselves_is_no_progress(data: bytes) -> None:
    slow = Slow(data, rate=2000.0)
    slow.now += 30
    assert slow.arriving.enough(AvatarProgress(60_000, len(data), sending=True)) is None
    assert slow.arriving.enough(None) is None


class FakeExchange:
    """A call in which the avatar has come up to `done` bytes."""

    def __init__(self, data: bytes, done: int) -> None:
        avatar = decode_avatar(data)
        meta = avatar.meta
        self.data, self.done = data, done
        self.avatar: AvatarReceived | None = None
        self.over = False
        self.refused: list[Any] = []
        offer = SimpleNamespace(
            name=meta.name, bounds=meta.bounds, profile="eg0", fps=20.0, mismatch=lambda *_: None
        )
        self.call = SimpleNamespace(
            peer=SimpleNamespace(offer=offer), avatar_beginning=lambda: data[: self.done],
            refuse=lambda *why: self.refused.append(why),
        )  # fmt: skip

    @property
    def progress(self) -> AvatarProgress:
        self.done += 1
        return AvatarProgress(self.done, len(self.data), sending=False)

    def wait(self, *_: object) -> bool:
        return False


def test_the_whole_head_takes_over_when_it_is_there(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conference.arriving.PATIENCE_S", 0.0)
    exchange = FakeExchange(data, enough_at(data))
    options = ReceiveOptions(size=48, view=View(), threads=1)
    face = IncomingFace(options, exchange, Interrupt(), StatusLine())  # type: ignore[arg-type]
    assert face.prepare()
    params = FaceParams(np.full(EXPRESSION_DIM, 0.5, np.float32), np.zeros(3, np.float32), 0.0)
    pose = np.eye(4)
    first_head, first = face.head, face.head.draw(params, pose)
    face.look_for_rest()
    assert face.head is first_head  # nothing new has come
    exchange.avatar = AvatarReceived(avatar_id(data), data)
    face.look_for_rest()
    assert face.completion is not None
    face.completion.join()
    face.look_for_rest()
    assert face.head is not first_head
    whole = face.head.draw(params, pose)
    assert whole.shape == first.shape
    assert 0 < np.abs(whole.astype(int) - first).mean() < 20
    assert not exchange.refused


def test_a_damaged_beginning_ends_the_call_with_a_sentence(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conference.arriving.PATIENCE_S", 0.0)
    at = enough_at(data)
    broken = bytearray(data)
    broken[at - 5000] ^= 1
    exchange = FakeExchange(bytes(data), at)
    exchange.call.avatar_beginning = lambda: bytes(broken[:at])
    options = ReceiveOptions(size=48, view=View(), threads=1)
    face = IncomingFace(options, exchange, Interrupt(), StatusLine())  # type: ignore[arg-type]
    with pytest.raises(AvatarFileError, match="damaged"):
        face.prepare()
    assert "cannot be used" in exchange.refused[0][1]
