"""What a connection asks of the layer above, and what that layer may ask of a connection.

A connection knows nothing of channels and sessions: whoever was made by the route's
factory is its handler, and hears of whole messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..deflate import Deflater
from .accepted import Accepted


class Connection(Protocol):
    """One client's open WebSocket, as its handler sees it."""

    closed: bool
    """Nothing that is sent now will leave any more."""

    handler: Handler | None
    """Who hears of what the client says; a handler can put another one in its own place."""

    @property
    def remote(self) -> str:
        """The peer's address as `host:port`; `unix:pid=N`, or `unix`, for a Unix socket."""

    @property
    def address(self) -> str:
        """Under which name limits count the client: an address, or an IPv6 /64; "" where it is not known."""

    @property
    def shared_deflater(self) -> Deflater | None:
        """What compresses for all connections that agreed on the same, and keep no context; or None."""

    @property
    def opened_at(self) -> float:
        """The loop's time, in seconds, at which the connection was made."""

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait behind the socket because the peer does not read."""

    def send(self, opcode: int, payload: bytes) -> None:
        """Send one message; text when `opcode` is 1, binary when 2.  Does nothing once closed.

        Never blocks: what the socket does not take is queued behind it.
        """

    def send_many(self, opcode: int, payloads: Sequence[bytes]) -> None:
        """Send several messages, in as few pieces as that takes."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2).  Idempotent."""

    def abort(self) -> None:
        """Drop the connection at once."""

    def hold(self) -> None:
        """Read no more messages until `release`.  Idempotent."""

    def release(self) -> None:
        """Read again, in a later turn of the loop.  Idempotent."""


class Handler(Protocol):
    """The layer above one connection.  Exceptions that leave it close the connection with 1011."""

    def on_message(self, opcode: int, payload: bytes) -> None:
        """Take one whole message."""

    def on_writable(self) -> None:
        """Send what could not be sent: the socket was blocked and is no longer."""

    def on_close(self, code: int, reason: str) -> None:
        """The connection is over, or will be after a close frame.  Called once; 1006: without a frame."""


class HandlerFactory(Protocol):
    """Makes the handler of a connection whose handshake is done."""

    def __call__(self, connection: Connection, accepted: Accepted) -> Handler:
        """Return the handler.  The 101 answer has left: it may send at once."""


class Waiting(Protocol):
    """Who has yet to say whether a client comes in (see `_edge.Passage`)."""

    def on_close(self, code: int, reason: str) -> None:
        """The client did not wait.  Called at most once."""


class RelayHandler(Handler, Protocol):
    """A handler that hears of control frames, too; pings are answered, and closing is, without it."""

    def on_control(self, opcode: int, payload: bytes) -> None:
        """Take a ping (opcode 9) or a pong (10)."""

    def on_goodbye(self, code: int, reason: bytes) -> None:
        """The client sent a close frame; 1005: without a code.  `on_close` follows."""
