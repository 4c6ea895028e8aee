"""What wsproto says of a request head: the judge of every handshake that is not of the common form.

Knows wsproto, and nothing of routes, origins or negotiation.  wsproto 1.3 raises UnicodeError,
ValueError and others on some input, so whatever it raises is a refusal: no exception leaves here.
"""

from __future__ import annotations

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, Request
from wsproto.utilities import RemoteProtocolError


class Verdict:
    """An upgrade that wsproto accepts; `subprotocols` are those that it read from the request, in order."""

    __slots__ = ("_connection", "subprotocols")

    def __init__(self, connection: WSConnection, subprotocols: list[str]) -> None:
        self._connection = connection
        self.subprotocols = subprotocols

    def response(self, subprotocol: str, extensions: bytes) -> bytes:
        """Return wsproto's 101 answer; `subprotocol` is one of `subprotocols`, or ""."""
        extra = [(b"Sec-WebSocket-Extensions", extensions)] if extensions else []
        return self._connection.send(AcceptConnection(subprotocol=subprotocol or None, extra_headers=extra))


def judge(head: bytes) -> Verdict | int:
    """Return wsproto's verdict on a complete request head, or the HTTP status with which it refuses."""
    connection = WSConnection(ConnectionType.SERVER)
    try:
        connection.receive_data(head)
        for event in connection.events():
            if isinstance(event, Request):
                return Verdict(connection, list(event.subprotocols))
    except RemoteProtocolError as error:
        hint = error.event_hint
        return hint.status_code if isinstance(hint, RejectConnection) else 400
    except Exception:  # noqa: BLE001  the peer's bytes are at fault, in a way that is known or new
        return 400
    return 400
