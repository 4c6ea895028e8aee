"""The names of everything that the Redis broker keeps in Redis.

Knows nothing of what is kept.  What always holds: all keys of a channel, and the pub/sub channel that is
named like it, carry the same hash tag, so that they are in one slot of a Cluster; so does all that concerns
leases.
"""

from __future__ import annotations

from typing import NamedTuple


class ChannelKeys(NamedTuple):
    """The keys of one channel.  `pubsub` is the name of its pub/sub channel."""

    meta: bytes
    stream: bytes
    pubsub: bytes
    presence: bytes

    def idempotency(self, key: str) -> bytes:
        """Return the key that remembers an idempotency key."""
        return b"%bk:%b" % (self.pubsub, key.encode())


class Names:
    """Makes names that begin with `prefix`, which holds no brace."""

    def __init__(self, prefix: str) -> None:
        self._prefix = start = prefix.encode()
        self.leases = b"%b:{nodes}leases" % start
        self.claims = b"%b:{nodes}claims" % start
        self.graves = b"%b:{nodes}graves" % start
        self.everybody = b"%b:{nodes}ask" % start

    def channel(self, name: str) -> ChannelKeys:
        """Return the keys of a channel."""
        base = b"%b:{=%b}" % (self._prefix, name.encode())
        return ChannelKeys(base + b"m", base + b"s", base, base + b"p")

    def session(self, session: str) -> bytes:
        """Return the key of a kept session."""
        return b"%b:s:{%b}" % (self._prefix, session.encode())

    def meter(self, user: str) -> bytes:
        """Return the key of what a user spent of an allowance."""
        return b"%b:r:{%b}" % (self._prefix, user.encode())

    def held(self, owner: str) -> bytes:
        """Return the key of the sessions of an owner's connections."""
        return b"%b:held:%b" % (self._prefix, owner.encode())

    def answers(self, node: str) -> bytes:
        """Return the pub/sub channel on which a node hears answers to its questions."""
        return b"%b:{nodes}answer:%b" % (self._prefix, node.encode())

    def probe(self, node: str, tag: bytes) -> bytes:
        """Return the pub/sub channel on which a node hears its own probes of the server that has the slot
        of `tag`.
        """
        return b"%b:probe:%b:{%b}" % (self._prefix, node.encode(), tag)

    def memberships(self, owner: str) -> bytes:
        """Return the key of the set of channels in which an owner has members."""
        return b"%b:in:%b" % (self._prefix, owner.encode())
