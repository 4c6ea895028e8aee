"""Who may be passed through: what a passage asks of whoever knows the clients."""

from __future__ import annotations

from typing import Protocol

from ..connection.request import Request
from ..errors import GatewayError


class GuestRefusedError(GatewayError):
    """A client may not come through; `status` and the text are what it is told."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Closable(Protocol):
    """A client's connection, as far as a guard needs one."""

    @property
    def remote(self) -> str:
        """The client's address."""

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake.  Idempotent."""


class Guest(Protocol):
    """A client that is let through."""

    @property
    def user(self) -> str:
        """Who it is; "" where that is not known."""

    @property
    def login(self) -> str:
        """The login that it comes from; "" where that is not known."""

    def leave(self) -> None:
        """It is gone.  Idempotent."""


class Guard(Protocol):
    """Judges clients."""

    async def admit(self, request: Request, connection: Closable) -> Guest:
        """Let a client through.  Raises GuestRefusedError."""

    def target_of(self, request: Request) -> str:
        """Return path and query as the upstream may see them."""
