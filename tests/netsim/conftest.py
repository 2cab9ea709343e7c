"""Two small programs that talk over UDP."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

SERVER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("127.0.0.1", 0))
s.settimeout(20)
print("a line before")
print("listening on %s:%d now" % s.getsockname())
while (got := s.recvfrom(2000))[0] != b"end":
    s.sendto(got[0][::-1], got[1])
print("the server is done")
sys.exit(int(sys.argv[1]))
"""
CLIENT = """
import socket, sys
host, port = sys.argv[1].split(":")
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((host, int(port)))
s.settimeout(20)
for i in range(5):
    s.send(b"hello %d" % i)
    assert s.recv(2000) == (b"hello %d" % i)[::-1]
s.send(b"end")
print("the client is done")
"""


@pytest.fixture
def programs(tmp_path: Path) -> tuple[list[str], list[str]]:
    """Commands of a server, which wants its exit code, and a client, which wants its address."""
    (tmp_path / "server.py").write_text(SERVER)
    (tmp_path / "client.py").write_text(CLIENT)
    python = [sys.executable]
    return [*python, str(tmp_path / "server.py")], [*python, str(tmp_path / "client.py")]
