"""Subprotocol and permessage-deflate negotiation, the server's side (RFC 6455 and RFC 7692).

Knows header values only; no requests, no zlib.  A list of extensions that breaks the grammar is
told apart from an offer that is well-formed and cannot be accepted: the former fails the
handshake (RFC 6455 section 9.1), the latter is declined and the next one is looked at.  What
always holds: everything that an answer promises is something the standard
library's zlib can do, so a window of 8 bits, which its raw compressor cannot do, is never agreed to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from ..errors import UsageError

MIN_WINDOW_BITS: Final = 9
MAX_WINDOW_BITS: Final = 15
_DEFLATE: Final = b"permessage-deflate"
_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_LEXEME: Final = re.compile(
    rb"[ \t]*(?:(?P<token>" + _TOKEN + rb")|\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<mark>[,;=]))[ \t]*",
    re.DOTALL,
)
_ONE_TOKEN: Final = re.compile(_TOKEN)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_WINDOW_BITS: Final = {b"%d" % bits: bits for bits in range(8, MAX_WINDOW_BITS + 1)}


class Offer(NamedTuple):
    """One offer of a Sec-WebSocket-Extensions header; a parameter without a value has None."""

    name: bytes
    parameters: list[tuple[bytes, bytes | None]]


@dataclass(frozen=True, slots=True)
class DeflateOptions:
    """What the server wants of permessage-deflate.

    `window_bits` (9 to 15) is the largest window in either direction, 2**bits bytes; a client that does not
    let the server choose still compresses with 15.  `takeover` keeps the context between messages.
    Raises UsageError for bits out of range.
    """

    window_bits: int = 12
    takeover: bool = False

    def __post_init__(self) -> None:
        if not MIN_WINDOW_BITS <= self.window_bits <= MAX_WINDOW_BITS:
            raise UsageError(f"window_bits is {self.window_bits}, and has to be 9 to 15")


@dataclass(frozen=True, slots=True)
class DeflateParameters:
    """What server and client agreed on, in the names of RFC 7692 section 7.1.  Bits are 9 to 15."""

    server_max_window_bits: int = MAX_WINDOW_BITS
    client_max_window_bits: int = MAX_WINDOW_BITS
    server_no_context_takeover: bool = False
    client_no_context_takeover: bool = False

    def header_value(self) -> bytes:
        """Return the server's Sec-WebSocket-Extensions header.  Parameters at their defaults are left out."""
        parts = [_DEFLATE]
        if self.server_no_context_takeover:
            parts.append(b"server_no_context_takeover")
        if self.client_no_context_takeover:
            parts.append(b"client_no_context_takeover")
        if self.server_max_window_bits != MAX_WINDOW_BITS:
            parts.append(b"server_max_window_bits=%d" % self.server_max_window_bits)
        if self.client_max_window_bits != MAX_WINDOW_BITS:
            parts.append(b"client_max_window_bits=%d" % self.client_max_window_bits)
        return b"; ".join(parts)


def select_subprotocol(offered: bytes, supported: Sequence[bytes]) -> bytes:
    """Return the first name of the comma-separated list `offered` that is one of `supported`, or b"".

    The client's order is its preference (RFC 6455 section 1.9).
    Names are compared exactly; nothing but a name of ours is ever sent back.
    """
    if not supported:
        return b""
    if offered in supported:
        return offered
    names = (name.strip() for name in offered.split(b","))
    return next((name for name in names if name in supported), b"")


def parse_extensions(value: bytes) -> list[Offer] | None:
    """Return the offers of a Sec-WebSocket-Extensions header, or None where it breaks the grammar.

    RFC 6455 section 9.1: names and parameters are tokens, a value is a token or a quoted string that is one
    once unescaped.  Empty elements of the list are passed over (RFC 9110 section 5.6.1.2).
    """
    lexemes = _lexemes(value)
    if lexemes is None:
        return None
    offers: list[Offer] = []
    position = 0
    while position < len(lexemes):
        kind, text = lexemes[position]
        position += 1
        if text == b"," and kind == "mark":
            continue
        if kind != "token":
            return None
        offer = Offer(text, [])
        end = _parse_parameters(lexemes, position, offer)
        if end is None:
            return None
        position = end
        offers.append(offer)
    return offers


def _lexemes(value: bytes) -> list[tuple[str, bytes]] | None:
    """Cut a header into tokens, quoted strings (unescaped) and marks; None where that cannot be done."""
    lexemes: list[tuple[str, bytes]] = []
    position = 0
    while position < len(value):
        match = _LEXEME.match(value, position)
        if match is None:
            return None if value[position:].strip(b" \t") else lexemes
        kind = match.lastgroup or ""
        text: bytes = match[kind]
        if kind == "quoted":
            text = _ESCAPE.sub(rb"\1", text)
            if _ONE_TOKEN.fullmatch(text) is None:
                return None
        lexemes.append((kind, text))
        position = match.end()
    return lexemes


def _parse_parameters(lexemes: list[tuple[str, bytes]], position: int, offer: Offer) -> int | None:
    """Add the parameters at `position` to `offer`; return where the next offer begins, or None."""
    end = len(lexemes)
    while position < end and lexemes[position] != ("mark", b","):
        if lexemes[position] != ("mark", b";") or position + 1 == end or lexemes[position + 1][0] != "token":
            return None
        name = lexemes[position + 1][1]
        position += 2
        if position < end and lexemes[position] == ("mark", b"="):
            if position + 1 == end or lexemes[position + 1][0] == "mark":
                return None
            offer.parameters.append((name, lexemes[position + 1][1]))
            position += 2
        else:
            offer.parameters.append((name, None))
    return position + 1 if position < end else end


def negotiate_deflate(offers: Sequence[Offer], options: DeflateOptions) -> DeflateParameters | None:
    """Return what the first acceptable offer of permessage-deflate leads to, or None when there is none.

    RFC 7692 section 7.1.  An offer is declined for an unknown or repeated parameter, a value that is
    missing, superfluous, out of range or written with leading zeros, and for a window of 8 bits in
    either direction.
    """
    for offer in offers:
        if offer.name == _DEFLATE:
            parameters = _accept(offer, options)
            if parameters is not None:
                return parameters
    return None


def _accept(offer: Offer, options: DeflateOptions) -> DeflateParameters | None:
    values = dict(offer.parameters)
    if len(values) != len(offer.parameters):
        return None
    server_bits = client_bits = MAX_WINDOW_BITS
    for name, value in offer.parameters:
        if name == b"server_no_context_takeover" or name == b"client_no_context_takeover":
            if value is not None:
                return None
        elif name == b"server_max_window_bits":
            server_bits = _WINDOW_BITS.get(value or b"", 0)
        elif name == b"client_max_window_bits":
            client_bits = MAX_WINDOW_BITS if value is None else _WINDOW_BITS.get(value, 0)
        else:
            return None
    if server_bits < MIN_WINDOW_BITS or client_bits < MIN_WINDOW_BITS:
        return None
    # Without the parameter in the offer the client cannot be told what to do (RFC 7692 section 7.1.2.2).
    may_limit_client = b"client_max_window_bits" in values
    return DeflateParameters(
        min(server_bits, options.window_bits),
        min(client_bits, options.window_bits) if may_limit_client else MAX_WINDOW_BITS,
        b"server_no_context_takeover" in values or not options.takeover,
        b"client_no_context_takeover" in values or not options.takeover,
    )
