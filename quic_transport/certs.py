"""The server's identity: a self-signed certificate, made once per user and pinned by callers.

The rule: the private key is written once, to a file that only its owner can read, and never
leaves it. Names and dates in the certificate mean nothing; its SHA-256 in the invite does.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quic_transport.errors import LocalError
from quic_transport.folders import config_folder

FILE_NAME = "identity.pem"
VALID_DAYS = 20 * 365  # pinned, so the date protects nothing; old stacks want one


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as a file that aioquic loads."""

    path: Path
    """PEM file: the certificate, then its PKCS#8 key. Mode 0600."""
    fingerprint: bytes
    """SHA-256 of the DER certificate, 32 bytes."""


def load_identity(folder: Path | None = None) -> Identity:
    """The identity in `folder` (None: the user's), made if there is none yet."""
    folder = folder if folder is not None else config_folder()
    path = folder / FILE_NAME
    try:
        if not path.exists():
            _write_new(path, make_identity())
        os.chmod(path, 0o600)
        pem = path.read_bytes()
    except OSError as error:
        raise LocalError(
            f"cannot use {path} for this machine's certificate ({error.strerror}); "
            "set FACEWIRE_CONFIG to a folder that you can write to"
        ) from None
    return Identity(path, _fingerprint(path, pem))


def make_identity() -> bytes:
    """A fresh ECDSA P-256 certificate and key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "facewire")])
    today = datetime.datetime.now(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=VALID_DAYS))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _fingerprint(path: Path, pem: bytes) -> bytes:
    """The certificate's SHA-256, after a check that the key belongs to it."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem[pem.index(b"-----BEGIN PRIVATE") :], None)
        fits = key.public_key() == certificate.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        fits = False
    if not fits:
        raise LocalError(
            f"{path} is damaged; delete it and a new certificate is made "
            "(invites that were printed before then stop working)"
        )
    return certificate.fingerprint(hashes.SHA256())


def _write_new(path: Path, pem: bytes) -> None:
    """Whole or not at all, and never over one that another process made meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
        try:
            os.link(name, path)
        except FileExistsError:
            pass  # the other process's identity is as good
        except OSError:  # a file system without hard links
            os.rename(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
