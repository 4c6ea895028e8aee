"""A route whose clients are passed through: for each, find an upstream, shake hands, join the two ends.

It knows upstreams only by `Upstreams`.  What always holds: a client is answered within the handshake's
timeout; a picked address is given back exactly once, with word of how it went; when a client goes while its
upstream is being sought, the search ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

from ..connection._connection import Connection
from ..connection._edge import Edge
from ..connection._tunnel import TunnelEnd
from ..connection.accepted import Accepted
from ..connection.answers import answer
from ..connection.request import Request
from .dialing import Address, dial
from .guard import Guard, Guest, GuestRefusedError
from .upgrade import Agreed, ClientFacts, UpstreamHandshake, UpstreamRefusedError

_logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 3  # at different addresses, where nothing was sent to one yet
_TEXTS: Final = {
    HTTPStatus.BAD_GATEWAY: "The service behind this address gave no good answer.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service behind this address cannot be reached now.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service behind this address did not answer in time.",
}


class Lease(Protocol):
    """An address that was picked for one client."""

    address: Address

    def connected(self) -> None:
        """It answered well."""

    def failed(self) -> None:
        """It did not answer, or not well."""

    def release(self) -> None:
        """The client's connection to it is over.  Called once, after one of the others."""


class Upstreams(Protocol):
    """Who may be dialled."""

    def pick(self, client: Request, address: str, tried: Sequence[Lease]) -> Lease | None:
        """Return where to send a client, none of those that were tried; None when there is nowhere.

        `address` is the client's.
        """


class PassageCounts:
    """What passes now (`open`), and what passed and did not since the start."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.refused: dict[str, int] = {}


class Passage:
    """Takes the connections of one route (see `Connection.hand_off`)."""

    def __init__(
        self,
        edge: Callable[[], Edge],
        upstreams: Upstreams,
        *,
        name: str,
        connect_timeout_s: float,
        guard: Guard | None = None,
    ) -> None:
        self._edge = edge
        self._upstreams = upstreams
        self._connect_timeout_s = connect_timeout_s
        self._guard = guard
        self.name = name
        self.counts = PassageCounts()
        self._crossings: set[asyncio.Task[None]] = set()

    def take(
        self, connection: Connection, transport: object, fd: int, accepted: Accepted, early: bytes
    ) -> None:
        """Take a connection whose request was found good; answer it in time."""
        crossing = _Crossing(self._edge(), self._upstreams, self.counts, self._guard)
        crossing.client.take_over(connection, transport, fd, early)
        task = crossing.edge.loop.create_task(self._join(crossing, accepted))
        crossing.task = task
        self._crossings.add(task)
        task.add_done_callback(self._crossings.discard)

    async def _join(self, crossing: _Crossing, accepted: Accepted) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                agreed = await crossing.find(accepted.request)
        except GuestRefusedError as problem:
            self._refuse(crossing, problem.status, str(problem), told=str(problem))
        except UpstreamRefusedError as problem:
            self._refuse(crossing, problem.status, str(problem))
        except TimeoutError:
            crossing.timed_out()
            self._refuse(crossing, HTTPStatus.GATEWAY_TIMEOUT, "the upstream did not answer in time")
        except OSError as problem:
            self._refuse(crossing, HTTPStatus.BAD_GATEWAY, f"no upstream can be reached: {problem}")
        except Exception:
            _logger.exception("internal error in a passage")
            self._refuse(crossing, HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")
        else:
            crossing.join(accepted, agreed)

    def _refuse(self, crossing: _Crossing, status: int, why: str, *, told: str = "") -> None:
        _logger.warning("a client could not be passed through: %s", why, extra={"route": self.name})
        counts = self.counts.refused
        counts[str(int(status))] = counts.get(str(int(status)), 0) + 1
        text = told or _TEXTS.get(HTTPStatus(status), "The service behind this address refused.")
        extra = b"WWW-Authenticate: Bearer\r\n" if told and status == HTTPStatus.UNAUTHORIZED else b""
        crossing.client.refuse(answer(status, text, extra_headers=extra))
        crossing.give_up()


class _Crossing:
    """One client on its way to, and with, its upstream."""

    def __init__(self, edge: Edge, upstreams: Upstreams, counts: PassageCounts, guard: Guard | None) -> None:
        self._guard = guard
        self._guest: Guest | None = None
        self.edge = edge
        self.client = TunnelEnd(edge, client=True, on_over=self._client_over)
        self.task: asyncio.Task[None] | None = None
        self._upstreams = upstreams
        self._counts = counts
        self._upstream: TunnelEnd | None = None
        self._lease: Lease | None = None
        self._answer: asyncio.Future[Agreed] | None = None
        self._joined = False

    async def find(self, request: Request) -> Agreed:
        """Shake hands with an upstream.  Raises OSError, UpstreamRefusedError, GuestRefusedError."""
        address = self.client.remote.rpartition(":")[0].strip("[]")
        user, target = "", request.target
        if self._guard is not None:
            self._guest = await self._guard.admit(request, self.client)
            user, target = self._guest.user, self._guard.target_of(request)
        facts = ClientFacts(address, "wss" if self.client.fd < 0 else "ws", target, user)
        problem: Exception = UpstreamRefusedError(503, "no upstream is there")
        tried: list[Lease] = []
        while len(tried) < _ATTEMPTS:
            lease = self._upstreams.pick(request, address, tried)
            if lease is None:
                break
            self._lease = lease
            tried.append(lease)
            try:
                return await self._shake_hands(lease, request, facts)
            except UpstreamRefusedError:
                raise
            except OSError as error:
                problem = error
                self._upstream = None
                lease.failed()
                self._release()
        raise problem

    def timed_out(self) -> None:
        """The upstream that was picked last did not answer in time."""
        if self._lease is not None:
            self._lease.failed()

    async def _shake_hands(self, lease: Lease, request: Request, facts: ClientFacts) -> Agreed:
        handshake = UpstreamHandshake(request, facts)
        decided: asyncio.Future[Agreed] = self.edge.loop.create_future()
        self._answer = decided

        def take(data: bytes) -> None:
            try:
                agreed = None if decided.done() else handshake.receive(data)
            except UpstreamRefusedError as problem:
                decided.set_exception(problem)
            else:
                if agreed is not None:
                    decided.set_result(agreed)

        self._upstream = await dial(
            self.edge, lease.address, on_bytes=take, on_over=lambda: self._upstream_over(decided)
        )
        self._upstream.say(handshake.request)
        try:
            agreed = await decided
        except UpstreamRefusedError as problem:
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                lease.failed()
            else:
                lease.connected()
            raise
        lease.connected()
        return agreed

    def join(self, accepted: Accepted, agreed: Agreed) -> None:
        """Answer the client, and let frames pass."""
        response = accepted.response[:-2]
        if agreed.subprotocol:
            response += b"Sec-WebSocket-Protocol: " + agreed.subprotocol + b"\r\n"
        if agreed.extensions:
            response += b"Sec-WebSocket-Extensions: " + agreed.extensions + b"\r\n"
        if self._upstream is None:
            return
        self._joined = True
        self._counts.open += 1
        self._counts.opened += 1
        self.client.tunnel(
            self._upstream,
            response + b"\r\n",
            agreed.early,
            rsv=agreed.reserved_bits,
            max_message_bytes=self.edge.options.max_message_bytes,
        )

    def give_up(self) -> None:
        """Leave the upstream: the client was refused, or is gone."""
        if self._upstream is not None:
            self._upstream.abort()
        else:
            self._release()

    def _client_over(self) -> None:
        if self._guest is not None:
            self._guest.leave()
        if self._joined:
            self._counts.open -= 1
        else:
            if self.task is not None:
                self.task.cancel()
            self.give_up()

    def _upstream_over(self, decided: asyncio.Future[Agreed]) -> None:
        if not decided.done():
            decided.set_exception(ConnectionResetError("the upstream hung up before it answered"))
        elif decided is self._answer:
            self._upstream = None
            self._release()

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
