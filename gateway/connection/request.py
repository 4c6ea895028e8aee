"""The head of an HTTP/1.1 request: cut out of the bytes received, checked, and taken apart.

Knows nothing of WebSocket, routes or sockets.  `parse_request` is a pure function of the
bytes received so far; what it finds depends only on the bytes, never on how they were cut into
reads.  The grammar is that of RFC 9112 without what RFC 9112 lets a server refuse: bare
line feeds, folded lines, control characters.  Bounds apply before anything is taken apart, and
every step is linear in the bound.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

from .answers import Refusal, refuse


class HeadLimits(NamedTuple):
    """Bounds of a request head: bytes of one line without its CRLF, number of header lines, bytes in all."""

    line_bytes: int = 8 * 1024
    headers: int = 64
    head_bytes: int = 32 * 1024


DEFAULT_LIMITS: Final = HeadLimits()

TOKEN_BYTES: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TEXT_BYTES: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_LINE_ENDS: Final = tuple(b"\r\n" * count for count in range(DEFAULT_LIMITS.headers + 1))
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9_][A-Za-z0-9_.~-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_MAX_HOST_BYTES: Final = 253 + len(":65535")  # RFC 1035; also bounds what decoding punycode costs
_QUERY_SEPARATOR: Final = re.compile("[;?]")
_ABSOLUTE: Final = re.compile(r"(?:https?|wss?)://([^/?]+)(.*)", re.IGNORECASE)
_DIGITS: Final = re.compile(rb"[0-9]{1,18}")
_NOTHING_REPEATED: Final[frozenset[bytes]] = frozenset()

# The names that browsers, our own clients and the usual proxies send, in their usual spellings: found here, a
# name needs neither be checked nor lowered.
_USUAL_NAMES: Final[dict[bytes, bytes]] = {
    spelling: name.lower()
    for name in (
        b"Host Connection Upgrade Origin Sec-WebSocket-Key Sec-WebSocket-Version Sec-WebSocket-Extensions "
        b"Sec-WebSocket-Protocol Authorization Cookie User-Agent Accept Accept-Encoding Accept-Language "
        b"Pragma Cache-Control DNT Sec-GPC Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Content-Length "
        b"Transfer-Encoding Forwarded Via X-Real-IP X-Real-Ip X-Request-ID X-Request-Id X-Forwarded-For "
        b"X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto"
    ).split()
    for spelling in (name, name.lower())
}


class Request:
    """The head of one request.  Values are as received, without the space around them.

    Bytes: `head` (the head itself, blank line included), `headers` (names in lower case, in
    order), `fields` (the first value of each name).  Text, all visible ASCII: `method`, `target`, `path`
    and `query` (raw, not percent-decoded, without the question mark).  `consumed` is the number of bytes
    that the head took: what follows them belongs to the next protocol.  `repeated` holds the names that came
    more than once.  A request takes a few kilobytes: keep what is needed of it, not the request.
    """

    __slots__ = ("fields", "head", "headers", "http_1_1", "method", "path", "query", "repeated", "target")

    def __init__(
        self, head: bytes, method: str, target: str, http_1_1: bool, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.head = head
        self.method = method
        self.target = target
        self.http_1_1 = http_1_1
        self.headers = headers
        self.path, _, self.query = target.partition("?")
        self.fields = dict(headers)
        self.repeated = _NOTHING_REPEATED
        if len(self.fields) != len(headers):
            self.fields = dict(reversed(headers))
            names = [name for name, _ in headers]
            self.repeated = frozenset(name for name in self.fields if names.count(name) > 1)

    @property
    def consumed(self) -> int:
        """Bytes of the head, its blank line included."""
        return len(self.head)

    @property
    def websocket(self) -> bool:
        """Whether this asks for an upgrade to WebSocket, well or badly: some `Upgrade` header names it."""
        first = self.fields.get(b"upgrade")
        if first is None or first == b"websocket" or b"websocket" in first.lower():
            return first is not None
        return any(b"websocket" in value.lower() for value in self.values(b"upgrade"))

    @property
    def safe_target(self) -> str:
        """The target as it may be logged: see `redact_target`."""
        return redact_target(self.target)

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of the header `name` (lower case), or None."""
        return self.fields.get(name)

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of the header `name` (lower case), in order."""
        return [value for found, value in self.headers if found == name]


class ScannedRequest(Request):
    """An upgrade that was read in one pass: the rest of it is taken apart when it is asked for."""

    __slots__ = ()

    def __init__(self, head: bytes, path: str, query: str) -> None:
        self.head = head
        self.path = path
        self.query = query

    def __getattr__(self, name: str) -> object:
        whole = parse_request(self.head)
        if name not in Request.__slots__ or not isinstance(whole, Request):
            raise AttributeError(name)
        for slot in Request.__slots__:
            setattr(self, slot, getattr(whole, slot))
        return getattr(whole, name)


def redact_target(target: str) -> str:
    r"""Return `target` fit for a log: the value of every `token` query parameter is `[redacted]`.

    However the name is spelled (case, percent-encoding, `;` or `?` before it).  Whatever is not visible ASCII
    comes out escaped as in Python: `\n`, `\x00`, `\u20ac`.
    """
    path, mark, query = target.partition("?")
    text = path + mark + "&".join(map(_redact_pair, query.split("&")))
    return "".join(char if " " <= char < "\x7f" else ascii(char)[1:-1] for char in text)


def _redact_pair(pair: str) -> str:
    position = 0
    for part in _QUERY_SEPARATOR.split(pair):
        name, equals, _ = part.partition("=")
        if equals and unquote_plus(name).strip().lower() == "token":
            return pair[: position + len(name) + 1] + "[redacted]"
        position += len(part) + 1
    return pair


def head_is_decidable(
    buffer: bytes | bytearray, seen_bytes: int, limits: HeadLimits = DEFAULT_LIMITS
) -> bool:
    """Tell whether `parse_request` can decide on `buffer`, of which `seen_bytes` were asked about before.

    Looks only at the new bytes and the two before them, so that asking after every read costs
    linear time however small the reads are.  False means that `parse_request` would return None.
    """
    if len(buffer) >= limits.head_bytes:
        return True
    start = seen_bytes - 2 if seen_bytes > 2 else 0
    if buffer.find(b"\n\r\n", start) >= 0 or buffer.find(b"\n\n", start) >= 0:
        return True
    return seen_bytes == 0 and len(buffer) > 0 and buffer[0] not in TOKEN_BYTES


def parse_request(data: bytes | bytearray, limits: HeadLimits = DEFAULT_LIMITS) -> Request | Refusal | None:
    """Return the request whose head `data` begins with, a refusal, or None when the head is not complete yet.

    How to call it: collect what was received, and after each read ask `head_is_decidable` first; call this
    only when that says yes, else one-byte reads would cost quadratic time.  Never keep more than
    `limits.head_bytes`: at that many bytes without a blank line the answer is 431.  Bytes after
    `Request.consumed` are untouched and may be frames already.  Never raises for any bytes.

    RFC 9112 sections 2 to 5; stricter where `docs/decisions/0003-handshake.md` says so.
    """
    end = data.find(b"\r\n\r\n", 0, limits.head_bytes)
    if end < 0 or data[0] not in TOKEN_BYTES:
        return _undecided(data, limits)
    head = bytes(data[: end + 4])
    lines = head[:end].split(b"\r\n")
    count = len(lines) - 1
    ends = _LINE_ENDS[count] if count < len(_LINE_ENDS) else b"\r\n" * count
    # What is left without all text are the line ends: as many pairs as there are lines, so no CR or LF alone.
    if head[:end].translate(None, TEXT_BYTES) != ends:
        return refuse("bad_header")
    if count > limits.headers or (end > limits.line_bytes and max(map(len, lines)) > limits.line_bytes):
        return refuse("head_too_large")
    return _take_apart(head, lines)


def _undecided(data: bytes | bytearray, limits: HeadLimits) -> Refusal | None:
    """Judge bytes in which no proper end of a head was found within the bound, or that are no HTTP."""
    if not data:
        return None
    if data[0] not in TOKEN_BYTES:
        return refuse("not_http")
    if _BLANK_LINE.search(data, 0, limits.head_bytes) is not None:
        return refuse("bad_header")
    return refuse("head_too_large") if len(data) >= limits.head_bytes else None


def _take_apart(head: bytes, lines: list[bytes]) -> Request | Refusal:
    """Take apart the lines of a head that holds only text and proper line ends."""
    request_line = lines[0]
    parts = request_line.split(b" ")
    if len(parts) != 3 or not request_line.isascii() or b"\t" in request_line or not parts[1]:
        return refuse("bad_request_line")
    method, target, version = parts
    if method != b"GET" and (not method or method.translate(None, TOKEN_BYTES)):
        return refuse("bad_request_line")
    if version != b"HTTP/1.1" and version != b"HTTP/1.0":
        return refuse("http_version" if version.startswith(b"HTTP/") else "bad_request_line")
    headers: list[tuple[bytes, bytes]] = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        lowered = _USUAL_NAMES.get(name)
        if lowered is None or not colon:
            if not colon or not name or name.translate(None, TOKEN_BYTES):
                return refuse("bad_header")
            lowered = name.lower()
        headers.append((lowered, value.strip()))
    request = Request(head, method.decode(), target.decode(), version == b"HTTP/1.1", headers)
    return _check_host_and_target(request)


def _check_host_and_target(request: Request) -> Request | Refusal:
    host = request.fields.get(b"host")
    if host is None:
        if request.http_1_1:
            return refuse("bad_host")
    elif len(host) > _MAX_HOST_BYTES or _HOST.fullmatch(host) is None or b"host" in request.repeated:
        return refuse("bad_host")
    target = request.target
    if "#" in target:
        return refuse("bad_target")
    if target[0] != "/":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None or host is None or absolute[1].lower() != host.decode().lower():
            return refuse("bad_target")
        path, _, request.query = absolute[2].partition("?")
        request.path = path or "/"
    return request


def body_refusal(request: Request) -> str | None:
    """Return the label of what is wrong with a request whose headers announce a body, or None.

    `body_on_upgrade` for any `Content-Length` or `Transfer-Encoding` beside an upgrade to WebSocket;
    `bad_framing` where two parties could disagree about the body's length (RFC 9112 section 6.3); `body`
    where the length is clear.  A `Content-Length` of nothing but zeros is no body, save on an upgrade.
    """
    fields = request.fields
    if b"content-length" not in fields and b"transfer-encoding" not in fields:
        return None
    if request.websocket:
        return "body_on_upgrade"
    if b"content-length" in request.repeated or b"transfer-encoding" in request.repeated:
        return "bad_framing"
    coding, length = fields.get(b"transfer-encoding"), fields.get(b"content-length")
    if coding is not None:
        clear = length is None and coding.lower() == b"chunked" and request.http_1_1
        return "body" if clear else "bad_framing"
    if length is None or _DIGITS.fullmatch(length) is None:
        return "bad_framing"
    return "body" if int(length) else None
