"""The limits of clients that speak another service's protocol: passed through, or those of a GRIP service.

What a client that is passed through begins to say is counted when the header of a frame has come: each
message as one, and each ping and each pong that nobody asked for; frames by their bytes, headers included.
Later fragments are paid for and not refused, goodbyes and pongs that were asked for are free.  Of a client of
GRIP each message and each ping is counted when it is whole, by its content, decompressed.  There is nothing
to say no with but a close frame, so whoever says too much is closed.

What always holds: a client counts as one connection of its user from the moment it is joined to its service
until it is gone; a node without limits has none of this.
"""

from __future__ import annotations

from .limits import LimitedConnection, Limits
from .node import Node


class PassedClient:
    """One such client (see `passthrough.passing.Limited`)."""

    __slots__ = ("_limits", "client", "connection", "user")

    def __init__(self, limits: Limits, connection: LimitedConnection, user: str, client: str) -> None:
        self._limits = limits
        self.connection = connection
        self.user = user
        self.client = client

    def take(self, messages: int, size_bytes: int) -> bool:
        """Take what it begins to say; false if that is too much, and counted."""
        if not messages:
            return not self._limits.take(self, 0, size_bytes, begun=True)
        size, rest = divmod(size_bytes, messages)
        # One by one, as if they had not come together: only of one is more than a burst ever let through.
        for number in range(messages):
            limit = self._limits.take(self, 1, size if number else size + rest)
            if limit:
                self._limits.count(limit, self)
                return False
        return True

    def leave(self) -> None:
        """Count it no more.  Idempotent."""
        self._limits.leave(self)


class PassedLimits:
    """Holds such clients to the limits of a node (see `passthrough.passing.Limiter`)."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def enter(self, connection: LimitedConnection, user: str) -> PassedClient | None:
        """Count a client that comes; None where nothing is limited."""
        limits = self._node.limits
        if limits is None:
            return None
        client = PassedClient(limits, connection, user, self._node.random_id())
        limits.enter(client)
        return client
