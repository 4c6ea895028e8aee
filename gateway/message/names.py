"""Names of channels: what they may look like, and their namespace."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from ..errors import CommandError

MAX_CHANNEL_CHARS: Final = 200
_REMEMBERED: Final = 1024
_CHANNEL = re.compile(r"[A-Za-z0-9_\-=@,.;:/#]{1,200}\Z")


def is_channel_name(name: str) -> bool:
    """Tell whether `name` is 1 to 200 characters of `A-Z a-z 0-9 _ - = @ , . ; : / #`."""
    return _CHANNEL.match(name) is not None


def check_channel_name(name: str) -> str:
    """Return `name`.  Raises CommandError `bad_request` when it is not the name of a channel."""
    if _CHANNEL.match(name) is None:
        raise CommandError(
            "bad_request", "a channel name is 1 to 200 characters of A-Z a-z 0-9 _ - = @ , . ; : / #"
        )
    return name


check_known_name: Final = lru_cache(_REMEMBERED)(check_channel_name)
"""The same, and quicker for names that were checked a moment ago."""


def namespace_of(name: str) -> str:
    """Return what precedes the first colon, or "" for a channel of the default namespace."""
    head, colon, _ = name.partition(":")
    return head if colon else ""


def personal_channel(user: str) -> str:
    """Return the channel to which every connection of `user` is subscribed by the gateway."""
    return "@" + user
