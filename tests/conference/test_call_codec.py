"""Which codec a call speaks: rc where the avatar has its tables, eg0 where not or as wished."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conference.calling import call_peer
from conference.outgoing import OutgoingFace, SendOptions
from quic_transport.avatar_file import AvatarFile, load_avatar, save_avatar
from quic_transport.certs import load_identity
from quic_transport.codec import PROFILES
from quic_transport.codec.rc_tables import to_sections
from quic_transport.endpoint import Party, serve
from quic_transport.errors import AvatarFileError
from quic_transport.limits import Limits
from quic_transport.offer import Reason, Refusal
from sender.personal.body_model import BodyModel
from sender.personal.body_model import to_sections as body_sections
from tests.conference.conftest import TinyPerson
from tests.conference.test_call import run_call
from tests.conference.test_full_frame_body import learn
from tests.nerf.swaying import swaying_torso
from tests.quic_transport.rc_golden import golden_tables
from tests.quic_transport.simulated import AVATAR, make_offer


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


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> BodyModel:
    model = learn(tmp_path_factory.mktemp("body"), swaying_torso()).model
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("codec", "place", "profile"),
    [(None, True, "rc+offset+body"), ("eg0", True, "eg0+offset"), (None, False, "rc")],
)
def test_body_crosses_where_codec_and_picture_have_a_place_for_it(
    tabled: TinyPerson, body: BodyModel, codec: str | None, place: bool, profile: str
) -> None:
    avatar = load_avatar(tabled.avatar)
    options = SendOptions(source=str(tabled.clip), codec=codec, place=place)
    sections = {**avatar.sections, **body_sections(body)}
    face = OutgoingFace(options, avatar.meta, sections=sections)
    assert face.profile == profile
    assert (face.body is not None) == profile.endswith("body")
    face.close()


class Face:
    """What `call_peer` needs of ours."""

    def __init__(self, body: BodyModel | None) -> None:
        self.body = body

    @property
    def profile(self) -> str:
        return "eg0+offset" if self.body is None else "rc+offset+body"


def test_older_peer_is_called_again_without_the_body(body: BodyModel, tmp_path: Path) -> None:
    def calls(known: set[str], face: Face) -> str:
        limits = replace(Limits(), profiles=frozenset(known))
        identity = load_identity(tmp_path)
        with serve("127.0.0.1", 0, party=Party(receives=True), identity=identity,
                   limits=limits) as listener:  # fmt: skip
            party = Party(offer=replace(make_offer(), profile=face.profile), avatar=AVATAR)
            call = call_peer(listener.invite, party, face, limits=Limits())
            taken = listener.accept(30.0)
            assert taken is not None
            assert taken.peer.offer is not None
            profile = taken.peer.offer.profile
            call.close()
            taken.close()
        return profile

    assert calls(set(PROFILES), Face(body)) == "rc+offset+body"
    old = Face(body)
    assert calls({"eg0", "eg0+offset", "rc", "rc+offset"}, old) == "eg0+offset"
    assert old.body is None
    with pytest.raises(Refusal) as refusal:
        calls({"rc"}, Face(body))
    assert refusal.value.reason is Reason.PROFILE
