"""Who is in one channel of the memory broker, and whether a change is to be heard of.

Knows nothing of relays, options or other channels.  How it works: clients that count for their users are kept
by user, too.  What always holds: of a user for whom clients count, the first that enters and the last that
goes are heard of; of everybody else, each client is.
"""

from __future__ import annotations

from ..message.publication import Member


class Members:
    """The members of one channel by client id, in the order in which they joined."""

    __slots__ = ("_by_client", "_counted")

    def __init__(self) -> None:
        self._by_client: dict[str, Member] = {}
        self._counted: dict[str, set[str]] | None = None  # by user, the clients that count for it

    def __len__(self) -> int:
        return len(self._by_client)

    def all(self) -> list[Member]:
        """Return the members; the list is the caller's."""
        return list(self._by_client.values())

    def enter(self, member: Member, *, by_user: bool) -> bool:
        """Enter a member, in the place of one with its client id; tell whether that is to be heard of."""
        known = member.client in self._by_client
        self._by_client[member.client] = member
        if known or not (by_user and member.user):
            return not known
        if self._counted is None:
            self._counted = {}
        clients = self._counted.setdefault(member.user, set())
        clients.add(member.client)
        return len(clients) == 1

    def remove(self, client: str) -> tuple[Member, bool] | None:
        """Remove a member; return it, and whether that is to be heard of.  None when it is not there."""
        member = self._by_client.pop(client, None)
        if member is None:
            return None
        clients = self._counted.get(member.user) if self._counted is not None else None
        if clients is None or client not in clients:
            return member, True
        clients.remove(client)
        if not clients and self._counted is not None:
            del self._counted[member.user]
        return member, not clients
