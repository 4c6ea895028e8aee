"""What is known of an upgrade that was accepted.

Knows neither how it was judged nor what becomes of it.
"""

from __future__ import annotations

from typing import NamedTuple

from .negotiate import DeflateParameters
from .request import Request


class Accepted(NamedTuple):
    """An upgrade that is accepted: `response` is the 101 answer, after which both sides speak frames.

    `subprotocol` is "" when none was selected; `deflate` is None when there is no compression.
    The bytes received after `request.consumed` are frames.
    """

    response: bytes
    subprotocol: str
    deflate: DeflateParameters | None
    request: Request
