"""Sessions that outlive their process: what clients are subscribed to, told to who keeps the broker.

A session that ends in good order saves itself.  Should the whole process be lost, it cannot; so every change
is told, and the keeper saves what it was told last: at once where the keeper is a process beside this one
(`SessionHolder`), a few times a second where it is a server that many share (`BatchedHolder`).  It knows
nodes and sessions, and of the way only functions.  What always holds: of a session that changed, the keeper
is told what holds when it is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Protocol

from .node import Node
from .session import Session


class SessionHolder:
    """Tells `hold` of a node's sessions (client, session, record, seconds), and `release` of their ends."""

    def __init__(
        self, node: Node, hold: Callable[[str, str, bytes, float], None], release: Callable[[str], None]
    ) -> None:
        self._node = node
        self._hold = hold
        self._release = release
        self._changed: dict[Session, None] = {}
        node.on_session_changed = self._note

    def _note(self, session: Session) -> None:
        if not self._changed:
            self._node.loop.call_soon(self._tell)
        self._changed[session] = None

    def _tell(self) -> None:
        changed, self._changed = self._changed, {}
        ttl_s = self._node.options.resume_ttl_s
        for session in changed:
            if self._node.sessions.get(session.client) is not session:
                self._release(session.client)
            elif ttl_s:
                self._hold(session.client, session.session, session.record.encode(), ttl_s)


HOLD_EVERY_S: Final = 0.25
_MOST_AT_ONCE: Final = 1000


class Keeper(Protocol):
    """A broker that keeps sessions for when this process dies."""

    on_holds_lost: Callable[[], None]
    session_ttl_s: float

    def hold_sessions(self, sessions: Iterable[tuple[str, str, bytes]]) -> None:
        """Take sessions (session, client, record), in place of what was known of them."""

    def drop_session(self, session: str, client: str) -> None:
        """Forget a session."""


class BatchedHolder:
    """Tells a keeper of a node's sessions that have, or had, subscriptions, many at a time."""

    def __init__(self, node: Node, keeper: Keeper) -> None:
        self._node = node
        self._keeper = keeper
        self._changed: dict[Session, None] = {}
        keeper.session_ttl_s = node.options.resume_ttl_s
        keeper.on_holds_lost = self._note_all
        node.on_session_changed = self._note
        node.on_session_dropped = self._drop

    def _note(self, session: Session) -> None:
        if not self._changed:
            self._node.loop.call_later(HOLD_EVERY_S, self._tell)
        self._changed[session] = None

    def _note_all(self) -> None:
        for session in self._node.sessions.values():
            if session.channel_count:
                self._note(session)

    def _drop(self, session: str, client: str) -> None:
        if self._keeper.session_ttl_s:
            self._keeper.drop_session(session, client)

    def _tell(self) -> None:
        self._keeper.session_ttl_s = self._node.options.resume_ttl_s
        now = list(islice(self._changed, _MOST_AT_ONCE))
        for session in now:
            del self._changed[session]
        if self._changed:
            self._node.loop.call_later(0, self._tell)
        held = [
            (session.session, session.client, session.record.encode())
            for session in now
            if self._node.sessions.get(session.client) is session  # who is gone was saved
        ]
        if held and self._keeper.session_ttl_s:
            self._keeper.hold_sessions(held)
