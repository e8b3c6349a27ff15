"""Whether a run is mirrored to W&B, online or into its own folder, and with which key."""

from __future__ import annotations

import netrc
import os
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from lidr.config import TrackingMode
from lidr.errors import ConfigError, LidrError

Mode = Literal["online", "offline"]
_SERVER = "https://api.wandb.ai"


def choose_mode(configured: TrackingMode) -> tuple[Mode | None, str]:
    """The mode W&B is opened in, None for not at all, and why."""
    if configured is TrackingMode.NONE:
        return None, "tracking=none"
    asked = os.environ.get("WANDB_MODE", "").lower()
    if asked == "disabled" or os.environ.get("WANDB_DISABLED", "").lower() == "true":
        return None, "the environment disables W&B"
    if configured is TrackingMode.OFFLINE:
        return "offline", "tracking=offline"
    if asked in ("offline", "dryrun"):
        return "offline", f"WANDB_MODE={asked}"
    if not has_key():
        return "offline", "no key found (WANDB_API_KEY, or a netrc entry from `wandb login`)"
    return "online", "a key is there"


def server() -> str:
    """The address of the W&B server."""
    return (os.environ.get("WANDB_BASE_URL") or _SERVER).rstrip("/")


def has_key() -> bool:
    """Whether W&B will find a key for its server in the environment or in a netrc file."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    places = [os.environ.get("NETRC"), "~/.netrc", "~/_netrc"]
    host = urlsplit(server()).netloc
    return any(_netrc_has(Path(place).expanduser(), host) for place in places if place)


def require_key(command: str) -> None:
    """For a command that is nothing without W&B.

    Raises:
        ConfigError: there is no key; says what to export.
    """
    if not has_key():
        instead = "export WANDB_API_KEY=<your key>, or type `wandb login`, and again"
        raise ConfigError([LidrError(f"no W&B key for {server()}", where=command, instead=instead)])


def _netrc_has(path: Path, host: str) -> bool:
    try:
        entry = netrc.netrc(path).authenticators(host)
    except (OSError, UnicodeError, netrc.NetrcParseError):
        return False
    return entry is not None and bool(entry[2])
