"""A route whose clients are those of a GRIP service: the service is asked before the handshake is answered.

It knows the edge's connections, a guard and a backend.  How it works: a connection whose request was found
good waits; the service is sent OPEN; what it answers is the client's answer, and then the connection has a
`GripClient` as its handler.  What always holds: a client is answered within the handshake's timeout; a
service that was sent OPEN, and said yes, hears of the end, also where the client did not wait.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from random import Random
from typing import Final, NamedTuple

from ..connection._connection import Connection
from ..connection.accepted import Accepted
from ..connection.answers import answer
from ..errors import GatewayError, ServiceError, ServiceTimeoutError, ServiceUnavailableError
from ..passthrough.crossing import Client
from ..passthrough.guard import Guard, Guest, GuestRefusedError
from ..passthrough.passing import Limiter
from ..upstreams.http import Response
from .client import ClientOptions, GripClient
from .counts import GripCounts
from .events import DISCONNECT
from .exchange import Backend, Exchange, Facts, headers_of, offered
from .hearing import Hearing
from .replies import NonsenseError, Opened

_logger = logging.getLogger(__name__)

_NAMED: Final = frozenset(map(int, HTTPStatus))
_TEXTS: Final = {
    HTTPStatus.BAD_GATEWAY: "The service behind this address gave no good answer.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service behind this address cannot be reached now.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service behind this address did not answer in time.",
}


class RouteOptions(NamedTuple):
    """`response_headers`: names, in lower case, of what of the answer to OPEN the client gets."""

    client: ClientOptions
    response_headers: frozenset[str] = frozenset()


class Places(NamedTuple):
    """What a route is joined to.

    `key_of` returns what keeps a client's requests together; `hearing` makes a client's subscriptions, by its
    connection, its id and its user; `signature` the value of `Grip-Sig`.  `limiter` is None where nothing is
    limited, ever.
    """

    backend: Backend
    key_of: Callable[[Client], str]
    hearing: Callable[[Connection, str, str], Hearing]
    signature: Callable[[], str]
    random_id: Callable[[], str]
    guard: Guard | None = None
    limiter: Limiter | None = None


class _Opening:
    """One client whose service is asked (see `connection.interface.Waiting`)."""

    def __init__(self) -> None:
        self.gone = False
        self.guest: Guest | None = None

    def on_close(self, code: int, reason: str) -> None:
        """It did not wait."""
        self.gone = True

    def leave(self) -> None:
        """Give the guest back.  Idempotent."""
        guest, self.guest = self.guest, None
        if guest is not None:
            guest.leave()


class GripRoute:
    """Takes the connections of one route (see `_edge.Passage`)."""

    keeps_connections: Final = True

    def __init__(self, places: Places, options: RouteOptions, counts: GripCounts) -> None:
        self.counts = counts
        self._places = places
        self._options = options
        self._random = Random().random  # of pauses  # noqa: S311
        self._tasks: set[asyncio.Task[None]] = set()

    def change(self, places: Places, options: RouteOptions) -> None:
        """Use these for those who come from now on; who is there stays as it is."""
        self._places, self._options = places, options

    def receive(self, connection: Connection, accepted: Accepted) -> _Opening:
        """Take a connection whose request was found good; it is answered in time."""
        opening = _Opening()
        self._keep(asyncio.get_running_loop().create_task(self._open(connection, accepted, opening)))
        return opening

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self, timeout_s: float) -> None:
        """Wait for what services are still told, at most so long."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        while self._tasks and loop.time() < ends:  # the end of a task may be the beginning of another
            await asyncio.wait(self._tasks, timeout=ends - loop.time())
        late = [*self._tasks]
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _open(self, connection: Connection, accepted: Accepted, opening: _Opening) -> None:
        try:
            await self._ask(connection, accepted, opening)
        except GuestRefusedError as problem:
            self._refuse(connection, opening, problem.status, str(problem), told=str(problem))
        except ServiceTimeoutError as problem:
            self._refuse(connection, opening, HTTPStatus.GATEWAY_TIMEOUT, problem)
        except ServiceUnavailableError as problem:
            self._refuse(connection, opening, HTTPStatus.SERVICE_UNAVAILABLE, problem)
        except (ServiceError, NonsenseError) as problem:
            self._refuse(connection, opening, HTTPStatus.BAD_GATEWAY, problem)
        except asyncio.CancelledError:
            opening.leave()
            raise
        except Exception:
            _logger.exception("internal error in a GRIP route")
            self._refuse(connection, opening, HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    async def _ask(self, connection: Connection, accepted: Accepted, opening: _Opening) -> None:
        request, places = accepted.request, self._places
        address = connection.remote.rpartition(":")[0].strip("[]")
        user, target = "", request.target
        if places.guard is not None:
            opening.guest = await places.guard.admit(request, connection)
            user, target = opening.guest.user, places.guard.target_of(request)
        key = places.key_of(Client(request, address, user))
        scheme = "wss" if connection.fd < 0 else "ws"
        facts = Facts(places.random_id(), address, scheme, target, user, key)
        exchange = Exchange(
            places.backend,
            facts,
            headers_of(request, facts),
            signature=places.signature,
            random=self._random,
        )
        self.counts.events["open"] += 1
        response, opened = await exchange.open(offered(request))
        if opened is None:
            status = _status_for_client(response.status)
            said = self._passed_on(response)
            self._refuse(connection, opening, status, f"the service answered {response.status}", extra=said)
        elif opening.gone:
            await self._take_back(exchange, opening)
        else:
            self._admit(connection, accepted, opening, exchange, facts, opened, self._passed_on(response))

    def _admit(
        self,
        connection: Connection,
        accepted: Accepted,
        opening: _Opening,
        exchange: Exchange,
        facts: Facts,
        opened: Opened,
        extra: bytes,
    ) -> None:
        limiter = self._places.limiter
        client = GripClient(
            connection,
            exchange,
            self._options.client,
            self.counts,
            hearing=self._places.hearing(connection, facts.connection, facts.user),
            loop=asyncio.get_running_loop(),
            keep=self._keep,
            on_over=opening.leave,
            limited=None if limiter is None else limiter.enter(connection, facts.user),
        )
        client.begin(opened)
        if opened.subprotocol:
            extra = b"Sec-WebSocket-Protocol: %s\r\n" % opened.subprotocol.encode() + extra
        connection.admit(accepted._replace(response=accepted.response[:-2] + extra + b"\r\n"), client)

    def _passed_on(self, response: Response) -> bytes:
        """Return the lines of the answer to OPEN that the client gets, too."""
        return b"".join(
            b"%s: %s\r\n" % (name.title().encode(), value.encode())
            for name in sorted(self._options.response_headers)
            for value in response.lines(name)
            if value.isprintable()
        )

    async def _take_back(self, exchange: Exchange, opening: _Opening) -> None:
        """Tell a service that the client whom it let in is gone."""
        opening.leave()
        self.counts.events["disconnect"] += 1
        try:
            await exchange.send((DISCONNECT,), self._options.client.patience_s)
        except GatewayError as problem:
            self.counts.failed["farewell"] += 1
            self.counts.complain("a GRIP service could not be told of an end", problem)

    def _refuse(
        self,
        connection: Connection,
        opening: _Opening,
        status: int,
        why: object,
        *,
        told: str = "",
        extra: bytes = b"",
    ) -> None:
        opening.leave()
        self.counts.refused[str(int(status))] += 1
        self.counts.complain("a client was not let in", why, status=int(status))
        text = told or _TEXTS.get(HTTPStatus(status), "The service behind this address refused.")
        if told and status == HTTPStatus.UNAUTHORIZED:
            extra = b"WWW-Authenticate: Bearer\r\n"
        connection.turn_down(answer(status, text, extra_headers=extra))


def _status_for_client(status: int) -> int:
    """A refusal is passed on, as far as it has a name; what is the service's own trouble is 502, or 503."""
    if 400 <= status < 500 and status in _NAMED:
        return status
    return HTTPStatus.SERVICE_UNAVAILABLE if status == 503 else HTTPStatus.BAD_GATEWAY
