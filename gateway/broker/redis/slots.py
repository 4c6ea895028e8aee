"""The slots of a Redis Cluster: which a key belongs to, and which server has it.

Knows nothing of connections.
"""

from __future__ import annotations

from binascii import crc_hqx
from typing import Any, Final, NamedTuple

from .options import Address

SLOTS: Final = 16384


def slot_of(key: bytes) -> int:
    """Return the slot of a key: of what stands between its first `{` and the next `}`, if anything does."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) % SLOTS  # CRC-16/XMODEM, as the Cluster specification says


class SlotMap(NamedTuple):
    """Who has which slots, as one server saw it.  `epoch` grows with every failover and every move."""

    epoch: int
    ranges: tuple[tuple[int, int, Address], ...]
    """First and last slot, and the master."""
    others: frozenset[Address]
    """The replicas: they can be asked, too."""

    @property
    def masters(self) -> frozenset[Address]:
        """Every server that has a slot."""
        return frozenset(address for _, _, address in self.ranges)

    def owners(self) -> list[Address | None]:
        """Return the master of every slot."""
        owners: list[Address | None] = [None] * SLOTS
        for first, last, address in self.ranges:
            owners[first : last + 1] = [address] * (last + 1 - first)
        return owners


def read_slot_map(slots: Any, info: Any, asked: Address) -> SlotMap:
    """Read the replies to CLUSTER SLOTS and CLUSTER INFO of the server at `asked`.

    Raises ValueError when they are none.
    """
    try:
        fields = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
        ranges = tuple((int(row[0]), int(row[1]), _address(row[2], asked)) for row in slots)
        others = frozenset(_address(node, asked) for row in slots for node in row[3:])
        epoch = int(fields["cluster_current_epoch"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
        raise ValueError(f"no slot map: {problem!r}") from None
    if not all(0 <= first <= last < SLOTS for first, last, _ in ranges):
        raise ValueError("no slot map: slots out of range")
    return SlotMap(epoch, ranges, others)


def read_redirect(error: str, asked: Address) -> Address | None:
    """Return where `MOVED slot host:port` or `ASK slot host:port` points to; None when it is no such text."""
    words = error.split(" ")
    if len(words) != 3:
        return None
    host, colon, port = words[2].rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()):
        return None
    host = "" if host == "?" else host.strip("[]")
    return Address(host or asked.host, int(port))


def _address(node: Any, asked: Address) -> Address:
    """Read a server: endpoint, port, name, and further names as a flat list.

    No endpoint means the host that was asked; "?" a host name that is not known, whose address follows.
    """
    host = node[0].decode() if node[0] else ""
    if host == "?":
        names = node[3] if len(node) > 3 else []
        host = dict(zip(names[::2], names[1::2], strict=True)).get(b"ip", b"").decode()
    return Address(host or asked.host, int(node[1]))
