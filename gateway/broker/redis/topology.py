"""The members of a Redis Cluster: which masters there are, and which slot each of them has.

It knows nothing of scripts and subscriptions.

How it works: whenever something shows that the slot map is out of date (`mark_stale`), and every ten seconds
or so besides, a few members are asked for theirs, and the one with the highest epoch is taken.  A master that
has no slot any more, and that nobody was sent to for a while, is let go.

What always holds: there is one `Master` for an address at most; looks at the map have a pause between them
that grows while one look asks for the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from ...errors import BrokerUnavailableError
from .backoff import Backoff
from .connection import Connection
from .dialing import ask
from .master import Master, Surroundings
from .options import Address
from .polling import poll
from .slots import SLOTS, SlotMap, read_slot_map

_logger = logging.getLogger(__name__)
_SETTLE_S: Final = 0.2
_ASKED_AT_ONCE: Final = 3
_KEPT_S: Final = 60.0
_EVERY: Final = 10
"""A look at the map every so many `topology_s`."""


class _MemberGuide:
    """A guide to one member; that somebody has to connect anew is a sign that the map is out of date."""

    def __init__(self, address: Address, on_look: Callable[[], None]) -> None:
        self._address = address
        self._on_look = on_look

    async def locate(self) -> Address:
        self._on_look()
        return self._address

    async def lineage(self, connection: Connection) -> str | None:
        """Return the member's name and its configuration epoch, which a failover renews.

        Both are on its own disk, and not among the data that replicas get.
        """
        name, info = await asyncio.gather(
            ask(connection, "CLUSTER", "MYID"), ask(connection, "CLUSTER", "INFO")
        )
        try:
            fields = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
            return f"{name.decode()}:{fields['cluster_my_epoch']}"
        except (AttributeError, KeyError, ValueError):
            raise BrokerUnavailableError(f"{connection.name}: it does not answer as a Cluster does") from None


class Topology:
    """Masters and slots.  `on_changed` is called after every new map has been taken in."""

    def __init__(
        self, surroundings: Surroundings, seeds: Sequence[Address], on_changed: Callable[[], None]
    ) -> None:
        self.masters: dict[Address, Master] = {}
        self.owners: list[Master | None] = [None] * SLOTS
        self._surroundings = surroundings
        self._dialer = surroundings.dialer
        self._loop = surroundings.dialer.loop
        self._random = surroundings.random
        self._seeds = tuple(seeds)
        self._known: frozenset[Address] = frozenset(seeds)
        self._serving: frozenset[Address] = frozenset()
        self._sent_to_s: dict[Address, float] = {}
        self._on_changed = on_changed
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._goodbyes: set[asyncio.Task[None]] = set()

    @property
    def serving(self) -> list[Master]:
        """The masters that have slots."""
        return [self.masters[address] for address in self._serving if address in self.masters]

    async def start(self) -> None:
        """Ask the seeds, and connect to every master; some may be missing, not all.

        Raises BrokerUnavailableError.
        """
        self._take(await self._ask_all(self._seeds), begin=False)
        masters = list(self.masters.values())
        if not masters:
            raise BrokerUnavailableError("the cluster has no slots assigned: its creation is not finished")
        results = await asyncio.gather(*(master.connect() for master in masters), return_exceptions=True)
        problems = [result for result in results if isinstance(result, BaseException)]
        if len(problems) == len(masters):
            raise problems[0]
        for problem in problems:
            if not isinstance(problem, BrokerUnavailableError):
                raise problem
            _logger.warning("redis: a master cannot be reached", extra={"reason": str(problem)})
        for master in masters:
            master.begin()
        self._task = self._loop.create_task(self._watch())

    async def stop(self) -> None:
        """Disconnect from everybody.  Idempotent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        masters, self.masters = list(self.masters.values()), {}
        await asyncio.gather(*(master.stop() for master in masters), *self._goodbyes)

    def mark_stale(self) -> None:
        """Look at the map soon."""
        self._stale.set()

    def redirect(self, address: Address) -> Master:
        """Return the master at an address that a server sent us to; it may not be connected yet."""
        self._sent_to_s[address] = self._loop.time()
        return self.masters.get(address) or self._add(address, begin=True)

    # -- the map ------------------------------------------------------------------------

    async def _watch(self) -> None:
        options = self._dialer.options
        backoff = Backoff(options.backoff_first_s, 2 * options.topology_s, self._random)
        while True:
            try:
                async with asyncio.timeout(_EVERY * options.topology_s * self._random.uniform(0.75, 1.25)):
                    await self._stale.wait()
            except TimeoutError:
                backoff.reset()
            await asyncio.sleep(backoff.next_s())
            self._stale.clear()
            try:
                self._take(await self._ask_all(self._whom_to_ask()), begin=True)
            except BrokerUnavailableError as problem:
                _logger.info("redis: nobody shows the slot map", extra={"reason": str(problem)})
                self._stale.set()
            except Exception:
                _logger.exception("redis: the slot map could not be taken in")

    def _whom_to_ask(self) -> list[Address]:
        connected = [address for address, master in self.masters.items() if master.connection is not None]
        if len(connected) >= _ASKED_AT_ONCE:
            return self._random.sample(connected, _ASKED_AT_ONCE)
        others = sorted(self._known.union(self._seeds).difference(connected))
        return connected + self._random.sample(others, min(len(others), 2 * _ASKED_AT_ONCE))

    async def _ask_all(self, addresses: Sequence[Address]) -> SlotMap:
        answers = await poll((self._ask(address) for address in addresses), _SETTLE_S)
        return max(answers, key=lambda answer: answer.epoch)

    async def _ask(self, address: Address) -> SlotMap:
        master = self.masters.get(address)
        standing = None if master is None else master.connection
        connection = standing or await self._dialer.connect(address)
        try:
            slots, info = await asyncio.gather(
                ask(connection, "CLUSTER", "SLOTS"), ask(connection, "CLUSTER", "INFO")
            )
            return read_slot_map(slots, info, address)
        except ValueError as problem:
            raise BrokerUnavailableError(f"{address}: {problem}") from None
        finally:
            if standing is None:
                connection.close()

    def _take(self, slot_map: SlotMap, *, begin: bool) -> None:
        self._serving = slot_map.masters
        self._known = slot_map.others | slot_map.masters
        for address in slot_map.masters:
            if address not in self.masters:
                self._add(address, begin=begin)
        addresses = slot_map.owners()
        self.owners = [None if address is None else self.masters[address] for address in addresses]
        self._on_changed()
        self._let_go()

    def _add(self, address: Address, *, begin: bool) -> Master:
        master = Master(self._surroundings, _MemberGuide(address, self.mark_stale), str(address))
        self.masters[address] = master
        if begin:
            master.begin()
        return master

    def _let_go(self) -> None:
        """Stop masters that have no slot, unless somebody was sent there a moment ago."""
        now_s = self._loop.time()
        for address in list(self.masters):
            recently = now_s - self._sent_to_s.get(address, -_KEPT_S) < _KEPT_S
            if address not in self._serving and not recently:
                self._sent_to_s.pop(address, None)
                task = self._loop.create_task(self.masters.pop(address).stop())
                self._goodbyes.add(task)
                task.add_done_callback(self._goodbyes.discard)
