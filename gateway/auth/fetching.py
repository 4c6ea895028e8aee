"""Fetches a small document over HTTP(S): bounded in size and time, and from nowhere but where it was told.

It knows nothing of what is fetched.  No redirect is followed, no proxy from the environment is used, and
certificates are verified.  It blocks: it is for a thread.
"""

from __future__ import annotations

import http.client
import ssl
import time
from typing import Final
from urllib.parse import urlsplit

from ..errors import GatewayError

_CHUNK_BYTES: Final = 16 * 1024


class FetchFailedError(GatewayError):
    """Nothing usable came; the text says why, and quotes nothing that came."""


def fetch(url: str, *, most_bytes: int, timeout_s: float) -> bytes:
    """Return the body of a 200 answer to GET.  Raises FetchFailedError.

    `timeout_s` is for all of it but resolving the name; a single wait can prolong it to twice as long.
    """
    parts = urlsplit(url)
    give_up = time.monotonic() + timeout_s
    host, port = parts.hostname or "", parts.port
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    if parts.scheme == "https":
        tls = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=tls)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", target, headers={"Accept": "application/json", "Connection": "close"})
        return _read(connection.getresponse(), most_bytes, give_up)
    except (OSError, http.client.HTTPException, ValueError) as problem:
        raise FetchFailedError(f"it cannot be fetched: {type(problem).__name__}") from None
    finally:
        connection.close()


def _read(answer: http.client.HTTPResponse, most_bytes: int, give_up: float) -> bytes:
    if answer.status != 200:
        raise FetchFailedError(f"the answer has status {answer.status}")
    body = bytearray()
    while chunk := answer.read1(_CHUNK_BYTES):
        body += chunk
        if len(body) > most_bytes:
            raise FetchFailedError(f"it is larger than {most_bytes} bytes")
        if time.monotonic() > give_up:
            raise FetchFailedError("it did not come in time")
    return bytes(body)
