"""Reading request bodies: bounded while they come in, whatever their headers claim.

Knows Starlette's requests, not what the bodies mean.  At most `max_bytes` are ever kept; what is
too much is thrown away as it comes for a while, so that the client gets to read its 413.
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

from .answers import HttpError

DISCARD_BYTES: Final = 16 << 20
_JSON: Final = "application/json"
_CHARSETS: Final = frozenset({"utf-8", "utf8"})


async def read_json_body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a JSON request.

    Raises HttpError 415 for another content type, charset or content encoding, 413 for more than `max_bytes`;
    ClientDisconnect when the client goes away first.
    """
    _check_type(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(415, "bad_request", "the body may not be compressed")
    declared = request.headers.get("content-length", "0")
    waits = request.headers.get("expect", "").lower() == "100-continue"
    if waits and int(declared) > max_bytes:
        raise _too_large(max_bytes)  # nothing was sent yet, so there is nothing to throw away
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total <= max_bytes:
            chunks.append(chunk)
            continue
        chunks.clear()
        if total > max_bytes + DISCARD_BYTES:
            break
    if total > max_bytes:
        raise _too_large(max_bytes)
    return b"".join(chunks)


def _check_type(content_type: str) -> None:
    """Refuse everything but JSON: what a web page can post without asking first is never JSON."""
    kind, _, rest = content_type.partition(";")
    name, _, charset = rest.strip().partition("=")
    good_charset = not rest.strip() or (
        name.strip().lower() == "charset" and charset.strip().strip('"').lower() in _CHARSETS
    )
    if kind.strip().lower() != _JSON or not good_charset:
        raise HttpError(415, "bad_request", "the content type must be application/json, in UTF-8")


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(
        413, "limit_exceeded", f"the body is larger than {max_bytes} bytes", {"connection": "close"}
    )
