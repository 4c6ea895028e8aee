"""How an API key is configured without being told: by its SHA-256.  It knows nothing of configurations."""

from __future__ import annotations

import hashlib
import re
from typing import Final

HASH_PREFIX: Final = "sha256:"
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


def is_hash(configured: str) -> bool:
    """Tell whether a configured key is the hash of one."""
    return _HASH.fullmatch(configured) is not None


def hash_of(key: str) -> str:
    """Return how a key is configured without being told."""
    return HASH_PREFIX + hashlib.sha256(key.encode()).hexdigest()


def digest_of(configured: str) -> bytes:
    """Return the SHA-256 of a configured key, or the one that is configured."""
    text = configured if is_hash(configured) else hash_of(configured)
    return bytes.fromhex(text.removeprefix(HASH_PREFIX))
