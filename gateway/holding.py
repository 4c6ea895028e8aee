"""Sessions that outlive their process: what clients are subscribed to, told to who keeps the broker.

A session that ends in good order saves itself.  Should the whole process be lost, it cannot; so every change
is told at once, and the keeper saves what it was told last.  It knows nodes and sessions, and of the way
only two functions.  What always holds: after a turn of the loop everything that changed in it was told.
"""

from __future__ import annotations

from collections.abc import Callable

from .node import Node
from .session import Session, SessionRecord


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
                record = SessionRecord(session.user, sorted(session.channels)).encode()
                self._hold(session.client, session.session, record, ttl_s)
