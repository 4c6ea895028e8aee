"""One group of targets: sends a request to a good one, tries another where that is safe, and remembers.

It knows nothing of what is asked.  How it works: a request passes the gate, which bounds what is under way
and what waits; the balancer chooses among the targets that health checks and breakers leave; what becomes
of the request is told to the target.  Two tasks of its own look names up and check health.

What always holds: a request is sent a second time only if it was not sent at all (no connection), or its
sender said that it may happen twice; it ends within its time, wherever that was spent; who asks
with little patience does not spoil a target's name with others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import Any, Final, NamedTuple

from ..errors import ServiceError, ServiceTimeoutError, ServiceUnavailableError
from .balance import make_balancer
from .gate import Gate
from .http import Request, Response, TooLargeError, Transport
from .lease import Lease
from .names import Names, Resolve
from .options import UpstreamOptions
from .target import Target

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
        self._transport: Transport | None = None
        self._balancer = make_balancer(options.balance, options.hash_bound)
        self._names = Names(options.addresses, resolve)
        self._targets: list[Target] = [Target(endpoint, options) for endpoint in self._names.endpoints]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def targets(self) -> list[Target]:
        """The targets as they are now."""
        return list(self._targets)

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Look names up, for a moment; then go on with that, and check health."""
        self._transport = self._make_transport(self.options)
        if self._names.has_names:
            looking = self._loop.create_task(self._look_up())
            self._tasks += [looking, self._loop.create_task(self._keep_looking(looking))]
            await asyncio.wait((looking,), timeout=self.options.connect_timeout_s)
        if self.options.health.path:
            self._tasks.append(self._loop.create_task(self._keep_checking()))

    async def stop(self) -> None:
        """End what is under way.  Idempotent."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def _keep_looking(self, first: asyncio.Task[None]) -> None:
        await asyncio.wait((first,))
        while True:
            await asyncio.sleep(self.options.resolve_interval_s)
            await self._look_up()

    async def _look_up(self) -> None:
        if not await self._names.look_up():
            return
        known = {target.endpoint: target for target in self._targets}
        fresh = []
        for endpoint in self._names.endpoints:
            target = known.get(endpoint)
            if target is None:
                target = Target(endpoint, self.options)
                if known:
                    target.warm_up(self._loop.time())
            fresh.append(target)
        self._targets = fresh
        _logger.info(
            "the addresses of an upstream changed",
            extra={"upstream": self.name, "targets": ", ".join(str(t.endpoint) for t in fresh)},
        )

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.gather(*(self._check(target) for target in self._targets))
            await asyncio.sleep(self.options.health.interval_s)

    async def _check(self, target: Target) -> None:
        request = Request("GET", self.options.health.path, {})
        try:
            async with asyncio.timeout(self.options.health.timeout_s):
                ok = 200 <= (await self._sender.send(target.endpoint, request)).status < 300
        except (ServiceError, TimeoutError):
            ok = False
        if target.checked(self._loop.time(), ok=ok):
            _logger.warning(
                "health of an address changed",
                extra={"upstream": self.name, "target": str(target.endpoint), "healthy": ok},
            )

    @property
    def _sender(self) -> Transport:
        if self._transport is None:
            raise ServiceUnavailableError("the upstream is not running")
        return self._transport

    # -- requests -------------------------------------------------------------------------------

    def ask(self, asked: Asked) -> Coroutine[Any, Any, Response]:
        """Send a request and return its answer.

        Raises ServiceUnavailableError when nothing was sent, ServiceTimeoutError, and ServiceError when
        the answer broke off or is too large.  The coroutine may run outside of a task.
        """
        return self._in_a_task(asked)

    def lease(self, key: str = "", tried: Collection[Target] = ()) -> Lease:
        """Choose a target for a connection that lasts.  Raises ServiceUnavailableError."""
        return Lease(self._choose(key, tried), self._loop.time)

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
        return [target for target in self._targets if target not in but and target.usable(now)]

    def _choose(self, key: str, tried: Collection[Target]) -> Target:
        usable = self._usable(tried)
        if not usable:
            raise ServiceUnavailableError(f"upstream {self.name}: no address works")
        return self._balancer.choose(usable, self._loop.time(), key)

    async def _send(self, target: Target, asked: Asked) -> Response:
        sender, begun = self._sender, self._loop.time()
        ticket = target.begin(begun)
        outcome: str = "gone"
        ok: bool | None = None
        try:
            response = await sender.send(target.endpoint, asked.request)
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


class Upstreams:
    """All groups of a gateway, by name."""

    def __init__(self, upstreams: Collection[Upstream]) -> None:
        self._by_name = {upstream.name: upstream for upstream in upstreams}

    def __iter__(self) -> Iterator[Upstream]:
        return iter(self._by_name.values())

    def __getitem__(self, name: str) -> Upstream:
        """Return a group.  Raises KeyError."""
        return self._by_name[name]

    async def start(self) -> None:
        """Start every group."""
        await asyncio.gather(*(upstream.start() for upstream in self._by_name.values()))

    async def stop(self) -> None:
        """Stop every group.  Idempotent."""
        await asyncio.gather(*(upstream.stop() for upstream in self._by_name.values()))
