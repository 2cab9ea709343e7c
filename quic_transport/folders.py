"""Where a user's own things live: the configuration and the cache folder.

The rule: FACEWIRE_CONFIG and FACEWIRE_CACHE win over the platform's default; nothing is created
here. Reference: XDG Base Directory Specification.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def config_folder(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where the server's identity is kept."""
    return _folder(env, platform, "FACEWIRE_CONFIG", "XDG_CONFIG_HOME", ".config",
                   "Application Support", "APPDATA", "")  # fmt: skip


def cache_folder(env: Mapping[str, str] = os.environ, platform: str = sys.platform) -> Path:
    """Where received avatars are kept; may be deleted at any time."""
    return _folder(env, platform, "FACEWIRE_CACHE", "XDG_CACHE_HOME", ".cache",
                   "Caches", "LOCALAPPDATA", "Cache")  # fmt: skip


def _folder(
    env: Mapping[str, str], platform: str, own: str, xdg: str, dot: str, mac: str, windows: str,
    windows_sub: str,
) -> Path:  # fmt: skip
    if env.get(own):
        return Path(env[own])
    home = Path(env["HOME"]) if env.get("HOME") else Path.home()
    if platform == "darwin":
        return home / "Library" / mac / "facewire"
    if platform == "win32" and env.get(windows):
        return Path(env[windows]) / "facewire" / windows_sub
    if env.get(xdg) and Path(env[xdg]).is_absolute():
        return Path(env[xdg]) / "facewire"
    return home / dot / "facewire"
