"""Invites: whatever is pasted gives an invite or one sentence."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quic_transport.errors import LocalError
from quic_transport.invite import (
    SECRET_CHARACTERS,
    Invite,
    format_address,
    parse_address,
    reachable_host,
)

HOSTS = st.one_of(
    st.ip_addresses().map(str),
    st.from_regex(r"[a-z][a-z0-9-]{0,20}(\.[a-z][a-z0-9]{0,10}){0,3}", fullmatch=True),
)
INVITES = st.builds(
    Invite, HOSTS, st.integers(1, 65535), st.binary(min_size=32, max_size=32),
    st.binary(min_size=16, max_size=16),
)  # fmt: skip
EXAMPLE = Invite("192.168.1.7", 4433, bytes(range(32)), bytes(range(16)))


@given(INVITES)
def test_round_trip(invite: Invite) -> None:
    assert Invite.parse(str(invite)) == invite


@given(INVITES, st.sampled_from(["  {} ", "'{}'", "<{}>", "\n{}\n"]))
def test_quotes_and_white_space_around_are_forgiven(invite: Invite, around: str) -> None:
    text = str(invite)
    wrapped = text[:30] + "\n  " + text[30:]
    assert Invite.parse(around.format(text)) == invite
    assert Invite.parse(wrapped) == invite


@given(INVITES, st.data())
def test_one_changed_character_is_noticed(invite: Invite, data: st.DataObject) -> None:
    text = str(invite)
    at = data.draw(st.integers(0, len(text) - 1))
    changed = data.draw(st.sampled_from("0aZ_-.:/").filter(lambda c: c.lower() != text[at].lower()))
    with pytest.raises(LocalError):
        Invite.parse(text[:at] + changed + text[at + 1 :])


@given(INVITES, st.integers(0, 200))
def test_truncated_invite_is_noticed(invite: Invite, keep: int) -> None:
    text = str(invite)
    if keep < len(text):
        with pytest.raises(LocalError):
            Invite.parse(text[:keep])


@given(st.text() | st.text().map(lambda s: "facewire://" + s))
def test_any_text_gives_an_invite_or_local_error(text: str) -> None:
    try:
        Invite.parse(text)
    except LocalError:
        pass


def test_the_sentence_says_what_is_missing() -> None:
    text = str(EXAMPLE)
    with pytest.raises(LocalError, match=f"67 of {SECRET_CHARACTERS} characters"):
        Invite.parse(text[:-1])
    with pytest.raises(LocalError, match="starts with facewire://"):
        Invite.parse("http://example.org")
    with pytest.raises(LocalError, match="checksum"):
        Invite.parse(text.replace("192.168.1.7", "192.168.1.8"))
    with pytest.raises(LocalError, match="whole line"):
        Invite.parse("facewire://192.168.1.7:4433")


def test_token_is_not_shown_by_repr() -> None:
    assert str(EXAMPLE)[-30:] not in repr(EXAMPLE)
    assert EXAMPLE.token.hex() not in repr(EXAMPLE)


@given(HOSTS, st.integers(0, 65535))
def test_address_round_trip(host: str, port: int) -> None:
    assert parse_address(format_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(":4433", ("0.0.0.0", 4433)), ("[::]:1", ("::", 1)), ("Home.Local:9", ("home.local", 9))],
)
def test_address_forms(text: str, expected: tuple[str, int]) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "4433", "host", "host:", "host:99999", "::1:5", "1.2.3:5", "a b:5", "host:-1"]
)
def test_bad_address_is_one_sentence(text: str) -> None:
    with pytest.raises(LocalError):
        parse_address(text)


@pytest.mark.parametrize(
    "bad",
    [
        ("h", 0, bytes(32), bytes(16)), ("h", 1, bytes(31), bytes(16)),
        ("h", 1, bytes(32), bytes(15)), ("", 1, bytes(32), bytes(16)),
    ],
)  # fmt: skip
def test_invalid_invite_cannot_be_made(bad: tuple[str, int, bytes, bytes]) -> None:
    with pytest.raises(LocalError):
        Invite(*bad)


def test_reachable_host_of_a_wildcard_is_an_address_others_can_use() -> None:
    assert reachable_host("127.0.0.1") == "127.0.0.1"
    assert not ipaddress.ip_address(reachable_host("0.0.0.0")).is_unspecified
    assert not ipaddress.ip_address(reachable_host("::")).is_unspecified
