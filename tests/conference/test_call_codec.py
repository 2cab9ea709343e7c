"""Which codec a call speaks: rc where the avatar has its tables, eg0 where not or as wished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conference.outgoing import OutgoingFace, SendOptions
from quic_transport.avatar_file import AvatarFile, load_avatar, save_avatar
from quic_transport.codec.rc_tables import to_sections
from quic_transport.errors import AvatarFileError
from tests.conference.conftest import TinyPerson
from tests.conference.test_call import run_call
from tests.quic_transport.rc_golden import golden_tables


@pytest.fixture
def tabled(tiny: TinyPerson, tmp_path: Path) -> TinyPerson:
    """The tiny person with somebody else's tables."""
    avatar = load_avatar(tiny.avatar)
    path = tmp_path / "tabled.fwa"
    save_avatar(path, AvatarFile(avatar.meta, {**avatar.sections, **to_sections(golden_tables())}))
    return replace(tiny, avatar=path)


def test_call_of_an_avatar_with_tables_speaks_rc_and_every_frame_is_decoded(
    tabled: TinyPerson, tmp_path: Path
) -> None:
    both = run_call(tabled, tmp_path)
    assert both.sender is not None
    assert both.receiver is not None
    assert "profile rc," in both.sender.notes[0]
    assert both.receiver.notes[0].endswith("profile rc")
    assert both.receiver.frames["undecodable"] == 0
    assert both.receiver.frames["rendered"] > 15
    assert both.sender.balanced
    assert both.receiver.balanced


@pytest.mark.parametrize(
    ("codec", "place", "profile"),
    [(None, False, "rc"), ("eg0", False, "eg0"), ("rc", True, "rc+offset")],
)
def test_profile_follows_the_wish(
    tabled: TinyPerson, codec: str | None, place: bool, profile: str
) -> None:
    avatar = load_avatar(tabled.avatar)
    options = SendOptions(source=str(tabled.clip), codec=codec, place=place)
    face = OutgoingFace(options, avatar.meta, sections=avatar.sections)
    assert face.profile == profile
    assert face.offer("0" * 64, 1).profile == profile
    face.close()


def test_wish_for_rc_without_tables_is_refused_before_the_call(tiny: TinyPerson) -> None:
    avatar = load_avatar(tiny.avatar)
    assert OutgoingFace(SendOptions(source=str(tiny.clip)), avatar.meta).profile == "eg0"
    with pytest.raises(AvatarFileError, match="use eg0, or train it again"):
        OutgoingFace(SendOptions(source=str(tiny.clip), codec="rc"), avatar.meta)
