"""Who the client is, according to headers of trusted proxies: the rightmost address that is not trusted.

Pure functions over header values.  Each proxy appends the address of who connected to it, so the values are
read from the right: a trusted proxy's entry is believed, and if that is a trusted proxy too, the next
one.  What stands left of the first untrusted address was written by anybody, and is never looked at.

What always holds: an entry that is no address (`unknown`, `_hidden`, garbage) ends the walk at the
proxy that wrote it: it is never skipped, so nobody can hide behind it or choose what is believed; at most
`MOST_HOPS` entries are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .addresses import Ip, TrustedNetworks, parse_node

MOST_HOPS: Final = 32

_WORD: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_QUOTED: Final = r'"(?:[\t !#-\[\]-~]|\\[\t -~])*"'
_PAIR: Final = re.compile(rf"({_WORD})=({_WORD}|{_QUOTED})")
_OWS: Final = re.compile(r"[ \t]*")
_ESCAPED: Final = re.compile(r"\\(.)")

Node = tuple[Ip, int]


def client_of(
    values: Sequence[bytes], peer: Node | None, trusted: TrustedNetworks, entries: Callable[[str], list[str]]
) -> Node | None:
    """Return the client's address and port (0: unknown) for a connection of `peer`, which is trusted.

    `values` are those of the header's lines in order; `entries` takes one line apart (`x_forwarded_for` or
    `forwarded`).  None where not even the proxy has an address, which is so at a Unix socket.
    """
    nearest = peer
    for text in _from_the_right(values, entries):
        node = parse_node(text)
        if node is None:
            break
        nearest = node
        if node[0] not in trusted:
            break
    return nearest


def _from_the_right(values: Sequence[bytes], entries: Callable[[str], list[str]]) -> Iterator[str]:
    """Yield entries, the last one first; an empty text in place of a line that cannot be read."""
    left = MOST_HOPS
    for value in reversed(values):
        if not value.isascii():
            yield ""
            return
        for text in reversed(entries(value.decode("ascii"))):
            if not left:
                return
            left -= 1
            yield text


def x_forwarded_for(line: str) -> list[str]:
    """Return the entries of one line of X-Forwarded-For; an empty list element is an entry that is empty."""
    return [entry.strip(" \t") for entry in line.rsplit(",", MOST_HOPS + 1)]


def forwarded(line: str) -> list[str]:
    """Return the `for` of each element of one line of Forwarded (RFC 7239 section 4), unquoted.

    An element without one gives an empty text, and so does a line that breaks the grammar, as a whole:
    where a quoted string ends cannot be told from the right.
    """
    found: list[str] = []
    at = 0
    while True:
        element = _element(line, at)
        if element is None:
            return [""]
        node, at = element
        found.append(node)
        if at == len(line):
            return found
        at += 1


def _element(line: str, at: int) -> tuple[str, int] | None:
    """Return the `for` of the element at `at`, and where the comma behind it is, or the end."""
    pairs: dict[str, str] = {}
    at = _after_space(line, at)
    while True:
        match = _PAIR.match(line, at)
        if match is None:
            return None
        name, value = match[1].lower(), match[2]
        if name in pairs:  # "each parameter MUST NOT occur more than once per field-value"
            return None
        pairs[name] = _ESCAPED.sub(r"\1", value[1:-1]) if value[0] == '"' else value
        at = _after_space(line, match.end())
        if at == len(line) or line[at] == ",":
            return pairs.get("for", ""), at
        if line[at] != ";":
            return None
        at = _after_space(line, at + 1)


def _after_space(line: str, at: int) -> int:
    match = _OWS.match(line, at)
    return match.end() if match else at


ENTRIES: Final[dict[str, Callable[[str], list[str]]]] = {
    "x-forwarded-for": x_forwarded_for,
    "forwarded": forwarded,
}
"""How a line of each header is taken apart, by the header's name."""
