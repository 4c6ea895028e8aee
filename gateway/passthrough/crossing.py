"""One client on its way to its upstream: an address is picked, hands are shaken, the two ends are joined.

A state machine that the two ends drive (see `connection/_tunnel.pyx`); there is a task only where something
has to be waited for: an app service that is asked who the client is, or TLS.  It knows addresses by
`Upstreams`, clients' identity by `Guard`.  Once the ends are joined they have another owner, `Passing`.

What always holds: a client is answered within the route's time; an address that was picked is given back
exactly once, after word of how it went; when a client goes while its upstream is being sought, the search
ends.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

from ..connection._connection import Connection
from ..connection._edge import Edge
from ..connection._tunnel import TunnelEnd
from ..connection.accepted import Accepted
from ..connection.answers import answer
from ..connection.request import Request
from ..eager import run_eagerly
from ..seldom import Seldom
from .dialing import Address, dial, dial_tls
from .guard import Guard, Guest, GuestRefusedError
from .passing import Lease, Limiter, PassageCounts, Passing
from .upgrade import Agreed, ClientFacts, HandshakeKeys, UpstreamHandshake, UpstreamRefusedError

_logger = logging.getLogger(__name__)

_ATTEMPTS: Final = 3  # at different addresses
_TEXTS: Final = {
    HTTPStatus.INTERNAL_SERVER_ERROR: "An error inside the gateway.",
    HTTPStatus.BAD_GATEWAY: "The service behind this address gave no good answer.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The service behind this address cannot be reached now.",
    HTTPStatus.GATEWAY_TIMEOUT: "The service behind this address did not answer in time.",
}


class Client(NamedTuple):
    """Who is to be sent somewhere: its request and address, user and login, "" where they are not known."""

    request: Request
    address: str
    user: str = ""
    login: str = ""


class Picked(Lease, Protocol):
    """An address that was picked for one client."""

    @property
    def address(self) -> Address:
        """Where it is."""

    def connected(self) -> None:
        """It answered well."""

    def failed(self) -> None:
        """It did not answer, or not well."""


class Upstreams(Protocol):
    """Who may be dialled."""

    def pick(self, client: Client, tried: Sequence[Picked]) -> Picked | None:
        """Return where to send a client, none of those that were tried; None when there is nowhere."""


class Route:
    """What all clients of a route have in common."""

    __slots__ = (
        "counts",
        "edge",
        "guard",
        "joined",
        "keys",
        "limiter",
        "name",
        "passing",
        "seldom",
        "timeout_s",
        "upstreams",
    )

    def __init__(
        self,
        edge: Callable[[], Edge],
        upstreams: Upstreams,
        *,
        name: str,
        timeout_s: float,
        guard: Guard | None,
        limiter: Limiter | None,
        joined: Callable[[Passing], None],
    ) -> None:
        self.limiter = limiter
        self.joined = joined
        self.edge = edge
        self.upstreams = upstreams
        self.name = name
        self.timeout_s = timeout_s
        self.guard = guard
        self.keys = HandshakeKeys()
        self.counts = PassageCounts()
        self.seldom = Seldom()
        self.passing: set[Passing] = set()


class Crossing:
    """One client.  It owns both ends until they are joined (see `_tunnel.Owner`)."""

    __slots__ = (
        "_accepted",
        "_client",
        "_edge",
        "_guest",
        "_handshake",
        "_lease",
        "_over",
        "_problem",
        "_route",
        "_task",
        "_tried",
        "_upstream",
        "_who",
    )

    def __init__(self, route: Route, accepted: Accepted) -> None:
        self._route = route
        self._accepted = accepted
        self._edge = route.edge()
        self._client = TunnelEnd(self._edge, self, client=True, patience_s=route.timeout_s)
        self._who: Client | None = None
        self._guest: Guest | None = None
        self._upstream: TunnelEnd | None = None
        self._handshake: UpstreamHandshake | None = None  # while its answer is waited for
        self._lease: Picked | None = None
        self._tried: list[Picked] = []
        self._problem: Exception = UpstreamRefusedError(503, "no upstream is there")
        self._task: asyncio.Task[None] | None = None
        self._over = False

    # -- the search -----------------------------------------------------------------------------

    def begin(self, connection: Connection, transport: object, fd: int, early: bytes) -> None:
        """Take a client's socket, and what came behind its request."""
        self._client.take_over(connection, transport, fd, early)
        try:
            if self._route.guard is None:
                self._seek()
            else:
                self._task = run_eagerly(self._admit(self._route.guard), self._edge.loop)
        except Exception as problem:  # noqa: BLE001 logged; its caller has nothing to do with this client any more
            self._broke(problem)

    async def _admit(self, guard: Guard) -> None:
        try:
            self._guest = await guard.admit(self._accepted.request, self._client)
            if self._over:
                self._guest.leave()
            else:
                self._seek()
        except GuestRefusedError as problem:
            self._refuse(problem.status, str(problem), told=str(problem))
        except Exception as problem:  # noqa: BLE001 logged, and told to the client
            self._broke(problem)

    def _seek(self) -> None:
        """Dial the next address; refuse the client when there is none."""
        who = self._who
        if who is None:
            address = self._client.remote.rpartition(":")[0].strip("[]")
            who, guest = Client(self._accepted.request, address), self._guest
            if guest is not None:
                who = who._replace(user=guest.user, login=guest.login)
            self._who = who
        while len(self._tried) < _ATTEMPTS:
            lease = self._route.upstreams.pick(who, self._tried)
            if lease is None:
                break
            self._lease = lease
            self._tried.append(lease)
            try:
                self._dial(who, lease.address)
            except OSError as problem:
                self._failed(problem)
            else:
                return
        none = self._problem
        status = none.status if isinstance(none, UpstreamRefusedError) else HTTPStatus.BAD_GATEWAY
        self._refuse(status, f"no upstream can be reached: {none}")

    def _dial(self, who: Client, address: Address) -> None:
        guard = self._route.guard
        target = who.request.target if guard is None else guard.target_of(who.request)
        facts = ClientFacts(who.address, "wss" if self._client.fd < 0 else "ws", target, who.user)
        handshake = UpstreamHandshake(who.request, facts, self._route.keys.next())
        end = TunnelEnd(self._edge, self, client=False, patience_s=address.timeout_s)
        if address.tls is None:
            dial(self._edge, address, end)
            self._reached(end, handshake)
        else:
            self._task = self._edge.loop.create_task(self._dial_tls(address, end, handshake))

    async def _dial_tls(self, address: Address, end: TunnelEnd, handshake: UpstreamHandshake) -> None:
        try:
            await dial_tls(self._edge, address, end)
            if self._over:
                end.abort()
            else:
                self._reached(end, handshake)
        except OSError as problem:
            if not self._over:
                self._failed(problem)
                self._seek()
        except asyncio.CancelledError:
            end.abort()
            raise
        except Exception as problem:  # noqa: BLE001 logged, and told to the client
            end.abort()
            self._broke(problem)

    def _reached(self, end: TunnelEnd, handshake: UpstreamHandshake) -> None:
        """Shake hands; without TLS, as soon as this end is connected."""
        self._upstream = end
        self._handshake = handshake
        end.say(handshake.request)

    def _failed(self, problem: Exception) -> None:
        """The address that was picked last was no good."""
        self._problem = problem
        self._upstream = self._handshake = None
        if self._lease is not None:
            self._lease.failed()
        self._release()

    # -- what the ends tell ---------------------------------------------------------------------

    def heard(self, data: bytes) -> None:
        """Take what the upstream says."""
        handshake, lease, upstream = self._handshake, self._lease, self._upstream
        if handshake is None or lease is None or upstream is None:
            return
        try:
            agreed = handshake.receive(data)
        except UpstreamRefusedError as problem:
            self._handshake = None
            if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                lease.failed()
            else:
                lease.connected()
            self._refuse(problem.status, str(problem))
        else:
            if agreed is not None:
                lease.connected()
                self._join(upstream, lease, agreed)

    def late(self, end: TunnelEnd) -> None:
        """The ends were not joined in time, or the upstream is not even connected."""
        if end is self._client:
            if self._lease is not None:
                self._lease.failed()
            self._refuse(HTTPStatus.GATEWAY_TIMEOUT, "the upstream did not answer in time")
        elif end is self._upstream:
            self._failed(TimeoutError("it did not connect in time"))
            end.abort()
            self._seek()

    def over(self, end: TunnelEnd) -> None:
        """An end is gone."""
        if end is self._client:
            if self._guest is not None:
                self._guest.leave()
            self._give_up()
        elif end is self._upstream:
            if self._over:
                self._upstream = None
                self._release()
            else:
                self._failed(ConnectionResetError("it hung up before it answered"))
                self._seek()

    # -- the end of the search ------------------------------------------------------------------

    def _join(self, upstream: TunnelEnd, lease: Lease, agreed: Agreed) -> None:
        """Answer the client, and let frames pass."""
        response = self._accepted.response[:-2]
        if agreed.subprotocol:
            response += b"Sec-WebSocket-Protocol: " + agreed.subprotocol + b"\r\n"
        if agreed.extensions:
            response += b"Sec-WebSocket-Extensions: " + agreed.extensions + b"\r\n"
        route, limited = self._route, None
        if route.limiter is not None:
            limited = route.limiter.enter(self._client, "" if self._guest is None else self._guest.user)
        passing = Passing(route.passing, route.counts, self._client, lease, self._guest, limited)
        self._client.tunnel(
            upstream,
            passing,
            response + b"\r\n",
            agreed.early,
            rsv=agreed.reserved_bits,
        )
        route.joined(passing)

    def _refuse(self, status: int, why: str, *, told: str = "") -> None:
        if times := self._route.seldom.times(status):
            fields = {"route": self._route.name, "times": times}
            _logger.warning("a client could not be passed through: %s", why, extra=fields)
        counts = self._route.counts.refused
        counts[str(int(status))] = counts.get(str(int(status)), 0) + 1
        text = told or _TEXTS.get(HTTPStatus(status), "The service behind this address refused.")
        extra = b"WWW-Authenticate: Bearer\r\n" if told and status == HTTPStatus.UNAUTHORIZED else b""
        self._client.refuse(answer(status, text, extra_headers=extra))
        self._give_up()

    def _broke(self, problem: Exception) -> None:
        _logger.error("internal error in a passage", exc_info=problem)
        self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    def _give_up(self) -> None:
        """Leave the upstream: the client was refused, or is gone.  Idempotent."""
        self._over = True
        if self._task is not None:
            self._task.cancel()
        if self._upstream is not None:
            self._upstream.abort()
        else:
            self._release()

    def _release(self) -> None:
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.release()
