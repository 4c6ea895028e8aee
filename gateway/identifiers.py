"""Unguessable identifiers, many from one call of the system's random source.

Knows nothing of what they name.  A call of the source for each would cost more than the rest
of letting a client in.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from typing import Final

ID_CHARS: Final = 16
_ID_BYTES: Final = 12
_AT_A_TIME: Final = 128


class RandomIds:
    """Returns, each time it is called, another 96 random bits as 16 characters of `A-Z a-z 0-9 - _`."""

    def __init__(self) -> None:
        self._ready: list[str] = []

    def __call__(self) -> str:
        """Return an identifier that was never returned before."""
        if not self._ready:
            text = urlsafe_b64encode(os.urandom(_ID_BYTES * _AT_A_TIME)).decode()
            self._ready = [text[i : i + ID_CHARS] for i in range(0, len(text), ID_CHARS)]
        return self._ready.pop()
