"""One group of targets: sends a request to a good one, tries another where that is safe, and remembers.

It knows nothing of what is asked.  How it works: a request passes the gate, which bounds what is under way
and what waits; the balancer chooses among the targets that health checks and breakers leave; what becomes
of the request is told to the target.  Two tasks of its own look names up and check health.  Its options can
change while it runs: it stays the same group, with its counters, and with the targets that are in both.

What always holds: a request is sent a second time only if it was not sent at all (no connection), or its
sender said that it may happen twice; it ends within its time, wherever that was spent; who asks
with little patience does not spoil a target's name with others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, NamedTuple

from ..errors import ServiceError, ServiceTimeoutError, ServiceUnavailableError
from .balance import Balancer, make_balancer
from .gate import Gate
from .http import Request, Response, TooLargeError, Transport
from .lease import Lease
from .members import Members
from .names import Names, Resolve
from .options import UpstreamOptions
from .target import Target

_FEW_CONNECTIONS: Final = 16  # so many that last are no load: a key stays, however unevenly they are spread
_LOOK_S: Final = 0.05
_PATIENT: Final = 0.5  # of the configured time; who waited for less blames nobody
_TRY_ELSEWHERE: Final = frozenset({502, 503, 504})

_logger = logging.getLogger(__name__)


def is_no_server_error(response: Response) -> bool:
    """Tell whether an answer shows that the target works."""
    return response.status < 500


class Asked(NamedTuple):
    """A request with what the group has to know of it.

    `key` keeps requests together where the balance is a hash.  `again`: it may happen twice.  `timeout_s` is
    at most the group's own where it is 0.  `is_good` judges answers: bad ones count against the target.
    """

    request: Request
    key: str = ""
    again: bool = False
    timeout_s: float = 0.0
    is_good: Callable[[Response], bool] = is_no_server_error


class Prepared(NamedTuple):
    """Other options, with the names of their addresses."""

    options: UpstreamOptions
    names: Names


class _Carrier:
    """A transport, and how many requests it carries."""

    __slots__ = ("carries", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.carries = 0

    async def rest(self) -> None:
        """Wait until it carries nothing any more: every request has its time."""
        while self.carries:  # noqa: ASYNC110 it has no event for it
            await asyncio.sleep(_LOOK_S)


class Upstream:
    """One named group.  Everything belongs to one event loop.  `start` before the first request."""

    def __init__(
        self,
        name: str,
        options: UpstreamOptions,
        *,
        loop: asyncio.AbstractEventLoop,
        transport: Callable[[UpstreamOptions], Transport],
        resolve: Resolve,
    ) -> None:
        self.name = name
        self.options = options
        self.gate = Gate(options.max_pending, options.max_waiting, loop)
        self.seconds = 0.0
        """Time that requests spent at targets, added up."""
        self.outcomes: Counter[str] = Counter()
        """How requests ended, also at targets that are there no more."""
        self._loop = loop
        self._make_transport = transport
        self._carrier: _Carrier | None = None
        self._balancer = make_balancer(options.balance, options.hash_bound)
        self._lasting = make_balancer(options.balance, options.hash_bound, _FEW_CONNECTIONS)
        self._watchers: list[Callable[[], None]] = []
        self._members = Members(options, resolve, loop.time)
        self._tasks: list[asyncio.Task[None]] = []
        self._former: set[_Carrier] = set()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def targets(self) -> list[Target]:
        """The targets as they are now."""
        return list(self._members.targets)

    @property
    def leaving(self) -> list[Target]:
        """Targets that are there no more, and where something is still under way."""
        return self._members.leaving

    @property
    def drained(self) -> list[tuple[str, str]]:
        """What an operator drained: addresses, each with an IP, or "" for all of them."""
        return self._members.drained

    @property
    def refused_addresses(self) -> int:
        """How often a name led to an IP to which it may not lead."""
        return self._members.names.refused

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look names up, for a moment; then go on with that, and check health."""
        self._carrier = _Carrier(self._make_transport(self.options))
        self._begin_tasks()
        if self._members.names.has_names:
            await asyncio.wait(self._tasks[:1], timeout=self.options.connect_timeout_s)

    def _begin_tasks(self) -> None:
        if self._members.names.has_names:
            looking = self._loop.create_task(self._look_up())
            self._tasks += [looking, self._loop.create_task(self._keep_looking(looking))]
        if self.options.health.path:
            self._tasks.append(self._loop.create_task(self._keep_checking()))

    async def prepare(self, options: UpstreamOptions) -> Prepared:
        """Look the names of other options up, for a moment, so that `change` finds them."""
        names = self._members.names_for(options)
        if names.has_names:
            looking = self._loop.create_task(names.look_up())
            await asyncio.wait((looking,), timeout=options.connect_timeout_s)
            looking.cancel()
        return Prepared(options, names)

    def change(self, prepared: Prepared) -> None:
        """Use other options from now on; what is under way ends as it began.  It runs."""
        before, now = self.options, prepared.options
        self.options = now
        self.gate.change(now.max_pending, now.max_waiting)
        if (before.balance, before.hash_bound) != (now.balance, now.hash_bound):
            self._balancer = make_balancer(now.balance, now.hash_bound)
            self._lasting = make_balancer(now.balance, now.hash_bound, _FEW_CONNECTIONS)
        for task in self._tasks:
            task.cancel()
        carrier, self._carrier = self._carrier, _Carrier(self._make_transport(now))
        if carrier is not None:
            self._former.add(carrier)
            closing = self._loop.create_task(self._close(carrier))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._members.change(now, prepared.names)
        self._tasks = []
        self._begin_tasks()
        self._tell_watchers()

    def drain(self, address: str, ip: str = "", *, draining: bool = True) -> list[Target]:
        """Give an address nothing new from now on, and have what lasts leave it; or take that back.

        Return its targets; `ip` "" is every IP that it leads to.  Raises KeyError, and ValueError where that
        is no address.
        """
        found = self._members.drain(address, ip, draining=draining)
        _logger.warning(
            "an address is drained" if draining else "an address is used again",
            extra={"upstream": self.name, "targets": ", ".join(str(target.endpoint) for target in found)},
        )
        self._tell_watchers()
        return found

    async def _close(self, carrier: _Carrier) -> None:
        """Close a transport that is not used any more, when it carries nothing."""
        await carrier.rest()
        await carrier.transport.close()
        self._former.discard(carrier)

    async def retire(self) -> None:
        """Get no more requests; stop when those under way are answered, or should have been."""
        ends = self._loop.time() + self.options.timeout_s
        while self.gate.inside and self._loop.time() < ends:  # noqa: ASYNC110 the gate has no event for it
            await asyncio.sleep(_LOOK_S)
        await self.stop()

    async def stop(self) -> None:
        """End what is under way.  Idempotent."""
        tasks, self._tasks = [*self._tasks, *self._closing], []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._carrier is not None:
            self._former.add(self._carrier)
            self._carrier = None
        while self._former:
            await self._former.pop().transport.close()

    async def _keep_looking(self, first: asyncio.Task[None]) -> None:
        await asyncio.wait((first,))
        while True:
            await asyncio.sleep(self.options.resolve_interval_s)
            await self._look_up()

    async def _look_up(self) -> None:
        if not await self._members.look_up():
            return
        _logger.info(
            "the addresses of an upstream changed",
            extra={
                "upstream": self.name,
                "targets": ", ".join(str(target.endpoint) for target in self._members.targets),
            },
        )
        self._tell_watchers()

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.gather(*(self._check(target) for target in self._members.targets))
            await asyncio.sleep(self.options.health.interval_s)

    async def _check(self, target: Target) -> None:
        request = Request("GET", self.options.health.path, {})
        try:
            async with asyncio.timeout(self.options.health.timeout_s):
                ok = 200 <= (await self._sender.transport.send(target.endpoint, request)).status < 300
        except (ServiceError, TimeoutError):
            ok = False
        if target.checked(self._loop.time(), ok=ok):
            _logger.warning(
                "health of an address changed",
                extra={"upstream": self.name, "target": str(target.endpoint), "healthy": ok},
            )
            self._tell_watchers()

    @property
    def _sender(self) -> _Carrier:
        if self._carrier is None:
            raise ServiceUnavailableError("the upstream is not running")
        return self._carrier

    # -- requests -------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> Coroutine[Any, Any, Response]:
        """Send a request and return its answer.

        Raises ServiceUnavailableError when nothing was sent, ServiceTimeoutError, and ServiceError when
        the answer broke off or is too large.  The coroutine may run outside of a task.
        """
        return self._in_a_task(asked)

    def lease(self, key: str = "", tried: Collection[Target] = ()) -> Lease:
        """Choose a target for a connection that lasts.  Raises ServiceUnavailableError."""
        return Lease(self._choose(key, tried, self._lasting), self._loop.time)

    def watch(self, changed: Callable[[], None]) -> None:
        """Have it called whenever health of a target changed, or it leaves or is drained."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Have it called no more.  Idempotent."""
        if changed in self._watchers:
            self._watchers.remove(changed)

    def stays(self, target: Target) -> bool:
        """Tell whether connections to a target may go on; true also where there is nowhere else to go."""
        return (target.health.healthy and not target.draining) or not self.works(target)

    def works(self, but: Target | None = None) -> bool:
        """Tell whether there is an address to go to, other than one."""
        now = self._loop.time()
        return any(other is not but and other.usable(now) for other in self._members.targets)

    def _tell_watchers(self) -> None:
        for changed in self._watchers:
            changed()

    async def _in_a_task(self, asked: Asked) -> Response:
        return await self._loop.create_task(self._ask(asked))

    async def _ask(self, asked: Asked) -> Response:
        timeout_s = asked.timeout_s or self.options.timeout_s
        try:
            async with asyncio.timeout(timeout_s) as limit:
                await self.gate.enter()
                try:
                    return await self._try(asked)
                finally:
                    self.gate.leave()
        except TimeoutError:
            if not limit.expired():
                raise
            raise ServiceTimeoutError(f"upstream {self.name}: no answer within {timeout_s:g} s") from None

    async def _try(self, asked: Asked) -> Response:
        tried: list[Target] = []
        while True:
            target = self._choose(asked.key, tried)
            tried.append(target)
            last = len(tried) > self.options.retries
            try:
                response = await self._send(target, asked)
            except ServiceError as problem:
                safe = asked.again or isinstance(problem, ServiceUnavailableError)
                if last or not safe or not self._usable(tried):
                    raise
                _logger.debug("a request goes to another address: %s", problem)
                continue
            if last or not asked.again or response.status not in _TRY_ELSEWHERE or not self._usable(tried):
                return response

    def _usable(self, but: Collection[Target] = ()) -> list[Target]:
        now = self._loop.time()
        return [target for target in self._members.targets if target not in but and target.usable(now)]

    def _choose(self, key: str, tried: Collection[Target], balancer: Balancer | None = None) -> Target:
        usable = self._usable(tried)
        if not usable:
            raise ServiceUnavailableError(f"upstream {self.name}: no address works")
        return (balancer or self._balancer).choose(usable, self._loop.time(), key)

    async def _send(self, target: Target, asked: Asked) -> Response:
        sender, begun = self._sender, self._loop.time()
        ticket = target.begin(begun)
        outcome: str = "gone"
        ok: bool | None = None
        sender.carries += 1
        try:
            response = await sender.transport.send(target.endpoint, asked.request)
            ok = asked.is_good(response)
            good = "ok" if ok else "nonsense"
            outcome = good if response.status < 300 else f"{response.status // 100}xx"
            return response
        except asyncio.CancelledError:
            if self._loop.time() - begun >= _PATIENT * self.options.timeout_s:
                outcome, ok = "timeout", False
            raise
        except ServiceUnavailableError:
            outcome, ok = "not_connected", False
            raise
        except TooLargeError:
            outcome, ok = "too_large", False
            raise
        except ServiceError:
            outcome, ok = "broken", False
            raise
        finally:
            sender.carries -= 1
            now = self._loop.time()
            self.seconds += now - begun
            opened = target.breaker.opened
            self.outcomes[outcome] += 1
            target.end(ticket, now, outcome, ok=ok)
            if target.breaker.opened != opened:
                _logger.warning(
                    "an address is left alone for a while",
                    extra={"upstream": self.name, "target": str(target.endpoint), "last": outcome},
                )
