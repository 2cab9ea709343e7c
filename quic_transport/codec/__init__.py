"""Parameter codecs: 49 numbers per frame ↔ a few dozen bytes. Profiles by name."""

from quic_transport.codec.face_codec import Eg0Profile, FaceDecoder, FaceEncoder
from quic_transport.codec.pacing import Pacer
from quic_transport.codec.profile import (
    RING,
    EncodedFrame,
    ParameterDecoder,
    ParameterEncoder,
    Profile,
    Reference,
    Terms,
    sequence_distance,
)
from quic_transport.codec.quantizer import Quantizer
from quic_transport.codec.rc import RcDecoder, RcEncoder, RcProfile

ALL: tuple[Profile, ...] = (
    Eg0Profile(), Eg0Profile(offset=True), RcProfile(), RcProfile(offset=True),
    RcProfile(offset=True, body=True),
)  # fmt: skip
PROFILES: dict[str, Profile] = {profile.name: profile for profile in ALL}

__all__ = [
    "PROFILES",
    "RING",
    "Eg0Profile",
    "EncodedFrame",
    "FaceDecoder",
    "FaceEncoder",
    "Pacer",
    "ParameterDecoder",
    "ParameterEncoder",
    "Profile",
    "Quantizer",
    "RcDecoder",
    "RcEncoder",
    "RcProfile",
    "Reference",
    "Terms",
    "sequence_distance",
]
