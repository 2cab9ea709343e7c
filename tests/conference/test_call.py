"""A whole call in one process: both commands' own code over QUIC on loopback, in real time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from conference.exchange import Exchange
from conference.incoming import ReceiveOptions, Receiving, open_sink
from conference.incoming_face import IncomingFace
from conference.outgoing import OutgoingFace, Sending, SendOptions
from conference.statistics import CallReport, join_traces, print_report, report_json
from conference.terminal import Interrupt, StatusLine
from nerf.framing import Framing
from quic_transport.avatar_cache import AvatarCache
from quic_transport.avatar_file import (
    AvatarFile,
    avatar_id,
    decode_avatar,
    encode_avatar,
    load_avatar,
    read_avatar_bytes,
    save_avatar,
)
from quic_transport.certs import load_identity
from quic_transport.endpoint import Call, Party, connect, serve
from quic_transport.errors import AvatarFileError, FacewireError, LocalError
from quic_transport.offer import Offer
from receiver.display import VideoSink
from receiver.full_frame import plate_sections
from receiver.pose_control import View
from sender.extractor import Extractor, TrackedFace
from sender.frames import Frame
from tests.conference.conftest import TinyPerson


@dataclass
class Both:
    """What the two sides of a call came to."""

    sender: CallReport | None = None
    receiver: CallReport | None = None
    sender_failure: FacewireError | None = None
    receiver_failure: FacewireError | None = None
    errors: list[BaseException] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """What the sender's status line would have shown."""


class Watched(StatusLine):
    """A status line that is due at every look."""

    def __init__(self, sending: Sending, lines: list[str]) -> None:
        super().__init__()
        self.sending, self.lines = sending, lines

    def due(self, now: float) -> bool:
        self.lines.append(self.sending.line())
        return super().due(now)


@dataclass
class Line:
    """Both ends of a call over loopback."""

    caller: Call
    callee: Call


class LeavesThePicture:
    """A tracker that sees nobody for a while, by the time in the clip."""

    def __init__(self, inner: Extractor, start: float, stop: float) -> None:
        self.name, self.schema, self.inner = inner.name, inner.schema, inner
        self.start, self.stop = start, stop

    def extract(self, frame: Frame) -> list[TrackedFace]:
        away = self.start <= (frame.media_time or 0.0) < self.stop
        return [] if away else self.inner.extract(frame)

    def close(self) -> None:
        self.inner.close()


@contextmanager
def line(tmp_path: Path, offer: Offer, avatar: bytes) -> Iterator[Line]:
    receiving = Party(receives=True, cache=AvatarCache(tmp_path / "cache"))
    identity = load_identity(tmp_path / "identity")
    with serve("127.0.0.1", 0, party=receiving, identity=identity) as listener:
        caller = connect(listener.invite, party=Party(offer=offer, avatar=avatar))
        callee = listener.accept(timeout=10)
        assert callee is not None
        yield Line(caller, callee)


def run_call(
    tiny: TinyPerson, tmp_path: Path, *, seconds: float = 1.5, output: str = "out.mp4",
    during: Callable[[Line, Interrupt, Interrupt], None] | None = None,
    away: tuple[float, float] | None = None, whole: bool = False,
) -> Both:  # fmt: skip
    """Both ends until both have ended; `during` runs beside them; nobody is in the clip from
    `away[0]` to `away[1]` seconds."""
    both = Both()
    sending_options = SendOptions(
        source=str(tiny.clip), seconds=seconds, trace=tmp_path / "sender.jsonl", place=whole
    )
    receiving_options = ReceiveOptions(
        size=32, view=View(), output=tmp_path / output, trace=tmp_path / "receiver.jsonl",
        background="none" if whole else None,
    )  # fmt: skip
    sender_stop, receiver_stop = Interrupt(), Interrupt()
    data = read_avatar_bytes(tiny.avatar)
    avatar = decode_avatar(data)
    face = OutgoingFace(sending_options, avatar.meta, sections=avatar.sections)
    face.warm_up()
    if away is not None:
        face.extractor = LeavesThePicture(face.extractor, *away)
    with line(tmp_path, face.offer(avatar_id(data), len(data)), data) as joined:

        def send() -> None:
            exchange = Exchange(joined.caller)
            try:
                assert exchange.wait(lambda: exchange.peer_ready, 120)
                sending = Sending(face, exchange)
                watched = Watched(sending, both.lines)
                sending.run(sender_stop, watched)
                sending.finish()
                both.sender, both.sender_failure = sending.report(), sending.failure()
            except BaseException as error:
                both.errors.append(error)
            finally:
                exchange.close()

        def receive() -> None:
            exchange = Exchange(joined.callee)
            try:
                incoming = IncomingFace(receiving_options, exchange, receiver_stop, StatusLine())
                assert incoming.prepare()
                receiving = Receiving(incoming)
                receiving.run()
                receiving.finish()
                both.receiver, both.receiver_failure = receiving.report(), receiving.failure()
            except BaseException as error:
                both.errors.append(error)
            finally:
                exchange.close()

        threads = [threading.Thread(target=work) for work in (send, receive)]
        for thread in threads:
            thread.start()
        if during is not None:
            during(joined, sender_stop, receiver_stop)
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
    face.close()
    for error in both.errors:
        raise error
    return both


def wait_for_frames(joined: Line, count: int) -> None:
    """Until the receiver has got so many."""
    pause = threading.Event()
    for _ in range(3000):
        if joined.callee.counts()[1].frames >= count:
            return
        pause.wait(0.01)
    raise AssertionError("the frames did not come")


def pictures_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_call_file_to_its_end_both_books_balance_and_agree(
    tiny: TinyPerson, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = run_call(tiny, tmp_path)
    sender, receiver = both.sender, both.receiver
    assert sender is not None
    assert receiver is not None
    assert both.sender_failure is None
    assert both.receiver_failure is None
    assert sender.clean
    assert receiver.clean
    assert sender.balanced
    assert receiver.balanced
    assert sender.frames["captured"] == receiver.frames["captured"] >= 30
    assert receiver.frames["coded"] == sender.frames["sent"]
    assert receiver.frames["rendered"] == sender.frames["rendered at the receiver"]
    assert receiver.frames["rendered"] + receiver.frames["superseded"] == sender.frames["sent"]
    assert pictures_in(tmp_path / "out.mp4") > 0.8 * receiver.frames["rendered"]
    stages = set(receiver.latency_ms)
    assert {"extract", "encode", "decode", "generate", "playout wait", "end to end"} <= stages
    assert receiver.latency_ms["end to end"]["p50"] > 25  # at least half a frame of buffer
    assert receiver.recording_start_s == pytest.approx(0.0, abs=0.2)
    assert report_json(receiver)["frames"]["captured"] == receiver.frames["captured"]
    print_report(receiver)
    out = capsys.readouterr().out
    for word in ("rendered", "payload kbps", "end to end", "p95"):
        assert word in out


def test_call_whole_picture_is_transparent_around_the_head_and_as_large_as_its_room(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    framing = Framing((96, 96), (0, 0, 96, 96), (96, 96))
    avatar = load_avatar(tiny.avatar)
    room = plate_sections(framing, np.full((96, 96, 3), 99, np.uint8))
    path = tmp_path / "whole.fwa"
    save_avatar(path, AvatarFile(avatar.meta, {**avatar.sections, **room}))
    both = run_call(TinyPerson(path, tiny.clip), tmp_path, seconds=0.8, output="out", whole=True)
    assert both.receiver is not None
    assert both.receiver.clean
    assert both.receiver.balanced
    assert "+offset" in both.receiver.notes[0]
    assert "96 × 96 pixels" in both.receiver.notes[0]
    paths = sorted((tmp_path / "out").iterdir())
    assert paths
    for picture in (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths):
        assert picture is not None
        assert picture.shape == (96, 96, 4)
        assert picture[0, 0, 3] == 0
        assert picture[..., 3].max() > 0


def corner_greys(path: Path) -> list[float]:
    """Mean grey of each picture's corner, where nothing but background is."""
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="gray")[:6, :6].mean() for f in container.decode(video=0)]


def test_call_face_that_leaves_is_veiled_on_the_other_side_and_comes_back(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    both = run_call(tiny, tmp_path, seconds=3.5, away=(1.0, 2.4))
    sender, receiver = both.sender, both.receiver
    assert sender is not None
    assert receiver is not None
    assert sender.balanced
    assert receiver.balanced
    assert sender.frames["no face"] > 10
    for report in (sender, receiver):
        assert report.rates["times without a face"] == 1
        assert report.rates["seconds without a face"] == pytest.approx(1.4, abs=0.3)
    away = ["NO FACE" in line for line in both.lines]
    assert 0.1 < np.mean(away) < 0.6
    assert not away[0]
    assert not away[-1]
    greys = corner_greys(tmp_path / "out.mp4")
    clear, dim = max(greys), min(greys)
    assert dim < 0.75 * clear
    assert greys[0] == pytest.approx(clear, rel=0.05)
    assert greys[-1] == pytest.approx(clear, rel=0.05)


def test_call_nobody_from_the_start_shows_a_plain_picture(tiny: TinyPerson, tmp_path: Path) -> None:
    both = run_call(tiny, tmp_path, seconds=1.5, away=(0.0, 9.0))
    assert isinstance(both.sender_failure, LocalError)
    assert "no face was found in any" in str(both.sender_failure)
    assert both.receiver is not None
    assert both.receiver.frames["rendered"] == 0
    assert pictures_in(tmp_path / "out.mp4") == 1
    assert corner_greys(tmp_path / "out.mp4")[0] < 200


def test_call_traces_join_to_the_transport_latency(tiny: TinyPerson, tmp_path: Path) -> None:
    both = run_call(tiny, tmp_path, seconds=1.0)
    assert both.receiver is not None
    summary = join_traces(tmp_path / "sender.jsonl", tmp_path / "receiver.jsonl")
    assert summary.count == both.receiver.frames["received"]
    assert -0.001 < summary.p50 < both.receiver.latency_ms["end to end"]["p50"] / 1000


def test_call_sender_stops_receiver_shows_the_rest_and_ends_cleanly(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    def during(joined: Line, sender: Interrupt, receiver: Interrupt) -> None:
        wait_for_frames(joined, 10)
        sender.requested = True

    both = run_call(tiny, tmp_path, seconds=60, during=during)
    assert both.receiver is not None
    assert both.receiver_failure is None
    assert both.receiver.clean
    assert both.receiver.balanced
    assert both.receiver.frames["rendered"] > 3, (both.receiver.frames, both.receiver.latency_ms)


def test_call_viewer_leaves_sender_ends_cleanly_with_its_table(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    def during(joined: Line, sender: Interrupt, receiver: Interrupt) -> None:
        wait_for_frames(joined, 10)
        receiver.requested = True

    both = run_call(tiny, tmp_path, seconds=60, during=during)
    assert both.sender is not None
    assert both.sender_failure is None
    assert both.sender.balanced
    assert "left" in both.sender.ended


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_call_full_disk_ends_the_call_with_a_sentence(tiny: TinyPerson, tmp_path: Path) -> None:
    (tmp_path / "full.mp4").symlink_to("/dev/full")
    both = run_call(tiny, tmp_path, seconds=60, output="full.mp4")
    assert isinstance(both.receiver_failure, LocalError)
    assert "No space left" in str(both.receiver_failure)
    assert both.sender_failure is None


def test_receiver_avatar_that_is_no_head_refuses_with_a_sentence(
    tiny: TinyPerson, tmp_path: Path
) -> None:
    avatar = decode_avatar(read_avatar_bytes(tiny.avatar))
    data = encode_avatar(
        AvatarFile(avatar.meta, {"nonsense": next(iter(avatar.sections.values()))})
    )
    face = OutgoingFace(SendOptions(source=str(tiny.clip)), avatar.meta)
    options = ReceiveOptions(size=32, view=View(), output=tmp_path / "out.mp4")
    with line(tmp_path, face.offer(avatar_id(data), len(data)), data) as joined:
        caller, callee = Exchange(joined.caller), Exchange(joined.callee)
        incoming = IncomingFace(options, callee, Interrupt(), StatusLine())
        with pytest.raises(AvatarFileError, match="cannot be drawn"):
            incoming.prepare()
        caller.wait_for_end(5)
        assert caller.ended is not None
        assert "avatar cannot be used" in caller.ended.sentence
        caller.close()
        callee.close()
    face.close()


@pytest.mark.skipif(sys.platform != "linux", reason="X11 and Wayland only")
def test_receiver_without_display_records_to_a_new_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    sink = open_sink(ReceiveOptions(view=View()), 20.0, StatusLine())
    sink.close()
    assert isinstance(sink, VideoSink)
    assert "no display" in capsys.readouterr().err
    assert len(list(tmp_path.glob("facewire-*.mp4"))) == 1


def test_sender_tracker_of_another_avatar_is_one_sentence(tiny: TinyPerson) -> None:
    meta = decode_avatar(read_avatar_bytes(tiny.avatar)).meta
    with pytest.raises(LocalError, match="was made with the tracker somebody"):
        OutgoingFace(SendOptions(source=str(tiny.clip), extractor="truth"),
                     replace(meta, extractor="somebody"))  # fmt: skip
