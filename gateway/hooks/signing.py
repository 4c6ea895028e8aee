"""Signatures of requests to app services: those of Standard Webhooks, symmetric.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

HMAC-SHA256 over `ID.TIMESTAMP.BODY`; the header has one signature for each key, so that keys can be
changed without a gap: add the new one here, then in the service, then take the old one away.  There are
libraries for most languages.  `verify` is what a service does, for those in Python and for tests.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300
_PREFIX: Final = "whsec_"


def key_of(secret: str) -> bytes:
    """Return the key of a secret: the bytes that `whsec_` and base64 mean, or any other text as it is."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def sign(keys: Sequence[bytes], id_: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of the header: a signature for each key, separated by spaces."""
    signed = b"%b.%d.%b" % (id_.encode(), timestamp_s, body)
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys
    )


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
    """Tell whether a request was signed with one of the keys, within five minutes.

    Names of headers are in lower case.  Who has seen `webhook-id` within that time before may ignore it.
    """
    stamp = headers.get(TIMESTAMP, "")
    if not stamp.isdecimal() or len(stamp) > 15 or abs(now_s - int(stamp)) > TOLERANCE_S:
        return False
    expected = sign(keys, headers.get(ID, ""), int(stamp), body).split()
    given = headers.get(SIGNATURE, "").split()
    matches = [hmac.compare_digest(one.encode(), other.encode()) for one in expected for other in given]
    return any(matches)
