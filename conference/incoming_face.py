"""The peer's head: from its avatar, or the beginning of it, to something that can be drawn.

The rule: nobody is told that we are ready before the head is loaded, warm and fits what the
sender announced; what is wrong with an avatar ends the call with a sentence for both sides.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from conference.arriving import ArrivingAvatar, Completion
from conference.terminal import Interrupt, StatusLine
from quic_transport.avatar_file import AvatarFile, decode_avatar
from quic_transport.codec import PROFILES, Terms
from quic_transport.errors import AvatarFileError, LocalError
from quic_transport.offer import Offer, Reason
from receiver.head import Head, open_head

if TYPE_CHECKING:
    from conference.exchange import Exchange
    from conference.incoming import ReceiveOptions

T = TypeVar("T")


class IncomingFace:
    """The peer's head, ready to be drawn."""

    head: Head
    offer: Offer

    def __init__(
        self, options: ReceiveOptions, exchange: Exchange, interrupt: Interrupt, status: StatusLine
    ) -> None:
        self.options = options
        self.exchange = exchange
        self.interrupt = interrupt
        self.status = status
        self.completion: Completion | None = None

    def prepare(self) -> bool:
        """Get the avatar, check it, load it and warm it up; False if the call ended first."""
        offer = self.exchange.call.peer.offer
        if offer is None:
            self.exchange.call.refuse(Reason.ROLES, "the caller sends no face")
            raise LocalError("the caller sends no face: nothing can be drawn")
        self.offer = offer
        self.status.say(f"{offer.name} calls")
        arriving = ArrivingAvatar(self.exchange.call.avatar_beginning)
        while self.exchange.avatar is None:
            if self.interrupt.requested or self.exchange.over:
                return False
            if (first := self._enough(arriving)) is not None:
                self._load(first)
                self.completion = Completion(self._take_over)
                return not self.exchange.over
            self.exchange.wait(lambda: self.exchange.avatar is not None, 0.2)
            progress, now = self.exchange.progress, time.monotonic()
            if progress is not None and self.status.due(now):
                share = 100 * progress.done / progress.total
                self.status.show(f"receiving the head of {offer.name}: {share:.0f} %", now)
        data = self.exchange.avatar.data
        self._load(self._checked(lambda: decode_avatar(data)))
        return not self.exchange.over

    def look_for_rest(self) -> None:
        """If the head was begun with less than all of its file: take over what came since."""
        if self.completion is not None and self.exchange.avatar is not None:
            self.completion.begin(self.exchange.avatar.data)
            self.completion.check()

    def _enough(self, arriving: ArrivingAvatar) -> AvatarFile | None:
        progress = self.exchange.progress
        if self.options.reference is not None:
            return None  # what is measured is the whole head
        first = self._checked(lambda: arriving.enough(progress))
        if first is not None and progress is not None:
            self.status.say(f"{self.offer.name} is drawn from the first "
                            f"{progress.done / 1e3:.0f} kB, the rest of "
                            f"{progress.total / 1e3:.0f} follows")  # fmt: skip
        return first

    def _checked(self, read: Callable[[], T]) -> T:
        """What `read` gives; a damaged avatar ends the call with a sentence for both sides."""
        try:
            return read()
        except AvatarFileError as error:
            self.exchange.call.refuse(Reason.AVATAR, f"your avatar cannot be used: {error}")
            raise

    def _drawn_from(self, avatar: AvatarFile) -> Head:
        o = self.options
        return open_head(avatar, o.size, o.threads, o.background, o.device, o.backend)

    def _take_over(self, avatar: AvatarFile) -> None:
        """The whole head in place of its beginning; on a thread of its own."""
        head = self._checked(lambda: self._drawn_from(avatar))
        if head.shape != self.head.shape:
            return  # what is being filmed cannot change its size
        head.warm_up()
        if self._fps > 0:
            head.keep(self._fps)
        self.head = head

    def _load(self, avatar: AvatarFile) -> None:
        self._checked(lambda: self._open(avatar))
        meta = avatar.meta
        mismatch = self.offer.mismatch(meta.schema, meta.extractor, meta.bounds)
        if mismatch is not None:
            self.exchange.call.refuse(Reason.BOUNDS, mismatch)
            raise AvatarFileError(f"the call was refused: {mismatch}")
        self.status.show("warming up the renderer", time.monotonic())
        self.head.warm_up()
        if self._fps > 0:
            self.head.keep(self._fps)

    @property
    def _fps(self) -> float:
        """The frame rate for which quality is given up; 0: none is."""
        if self.options.fps is not None:
            return self.options.fps
        return 0.0 if self.options.reference is not None else self.offer.fps

    def _open(self, avatar: AvatarFile) -> None:
        terms = Terms(self.offer.bounds, avatar.sections)
        self.decoder = PROFILES[self.offer.profile].decoder(terms)
        wish = self.options.background
        self.head = self._drawn_from(avatar)
        if wish is not None and not self.head.whole:
            self.status.say(f"the avatar of {self.offer.name} is a head alone: shown on white")
