"""The package's public names exist, and looking at the package loads nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import quic_transport

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("name", quic_transport.__all__)
def test_public_name_exists(name: str) -> None:
    assert getattr(quic_transport, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        _ = quic_transport.no_such


def test_only_the_endpoint_loads_aioquic() -> None:
    code = (
        "import sys, quic_transport as q; dir(q); q.Session, q.Call, q.Invite, q.Timeline; "
        "print('aioquic' in sys.modules); q.connect; print('aioquic' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert out.stdout.split() == ["False", "True"]
