"""Parameter codecs: 49 numbers per frame ↔ a few dozen bytes. Profiles by name."""

from quic_transport.codec.face_codec import Eg0Profile, FaceDecoder, FaceEncoder
from quic_transport.codec.profile import (
    EncodedFrame,
    ParameterDecoder,
    ParameterEncoder,
    Profile,
    sequence_distance,
)
from quic_transport.codec.quantizer import Quantizer

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (Eg0Profile(),)}

__all__ = [
    "PROFILES",
    "Eg0Profile",
    "EncodedFrame",
    "FaceDecoder",
    "FaceEncoder",
    "ParameterDecoder",
    "ParameterEncoder",
    "Profile",
    "Quantizer",
    "sequence_distance",
]
