"""The exception tree of everything that crosses between two peers.

    FacewireError            anything that ends in one sentence for the user
    ├── LocalError           you misused this (wrong call, wrong argument, wrong state)
    └── RemoteError          the peer, or a file from elsewhere, sent nonsense
        ├── CodecError       a parameter frame cannot be decoded
        │   └── ReferenceLost    because the frame that it is predicted from is not here
        ├── WireError        a message or its framing cannot be parsed
        └── AvatarFileError  an avatar file is corrupt, truncated or of an unknown version

The rule: a decoder that is fed arbitrary bytes raises only the remote kind.
"""


class FacewireError(Exception):
    """Base of all errors whose text is a sentence for the user: cause and remedy."""


class LocalError(FacewireError):
    """This side misused an interface; the message names what was expected and what came."""


class RemoteError(FacewireError):
    """The peer, or a file made elsewhere, sent something that cannot be accepted."""


class CodecError(RemoteError):
    """A parameter frame cannot be decoded: truncated, out of range or without its reference."""


class ReferenceLost(CodecError):
    """What a parameter frame is predicted from never came, or is too old: a keyframe helps."""


class WireError(RemoteError):
    """A message or its framing violates the wire format."""


class AvatarFileError(RemoteError):
    """An avatar file is corrupt, truncated, of an unknown version or fails its hash."""
