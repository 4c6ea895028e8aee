"""A Redis Cluster as a shard: every slot has its master, and slots move.

It knows redirections, and which master a channel is subscribed on; which masters there are is `Topology`'s
affair.

How it works: a script goes to the master of its first key's slot, and follows MOVED, ASK and TRYAGAIN from
there, since none of these lets anything happen.  Subscriptions are of the sharded kind and live on the master
of their channel's slot; when the slot moves, its old master ends them, and they are made anew on the next.

What always holds: a channel is wanted from one master at most; one that has none is subscribed as soon as
the slot map says where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final

from hiredis import ReplyError

from ...eager import drive
from ...errors import BrokerUnavailableError
from .dialing import Dialer
from .master import Master, Surroundings, merged_stats
from .options import Address
from .pubsub import SHARDED
from .replies import code_of
from .shard import Script, ShardListener, tell_reply
from .slots import read_redirect, slot_of
from .topology import Topology

_logger = logging.getLogger(__name__)
_REDIRECTIONS: Final = 5
_TRY_AGAIN_S: Final = 0.02
_TAGS_TRIED: Final = 200_000


class ClusterShard:
    """A shard that is a Cluster.  `start` before anything else."""

    def __init__(self, dialer: Dialer, random: Random, name: str, seeds: Sequence[Address]) -> None:
        self._name = name
        self._dialer = dialer
        self._random = random
        self._seeds = seeds
        self._started: Topology | None = None
        self._homes: dict[bytes, Master | None] = {}
        self._tags: dict[str, bytes] = {}  # by master, a text whose slot it has
        self._tags_of: list[Master | None] = []  # the slot map for which they were found

    @property
    def name(self) -> str:
        """What logs and metrics call it."""
        return self._name

    @property
    def connected(self) -> bool:
        """Every master that has slots is connected to."""
        masters = [] if self._started is None else self._started.serving
        return bool(masters) and all(master.connected for master in masters)

    def servers(self) -> Mapping[str, bytes]:
        """Return the masters that have slots, and "no server" where there are slots that none has."""
        owners = self._topology.owners
        if self._tags_of is not owners:
            self._tags_of, self._tags = owners, {}
            wanted = len(set(owners))
            for n in range(_TAGS_TRIED):
                tag = b"%d" % n
                self._tags.setdefault(_name_of(owners[slot_of(tag)]), tag)
                if len(self._tags) == wanted:
                    break
        return self._tags

    def incarnations(self) -> frozenset[bytes]:
        """Return the incarnation of each master that has slots."""
        return frozenset(() if self._started is None else (m.incarnation for m in self._started.serving))

    def reaches(self, key: bytes) -> bool:
        """Tell whether the master of a key is connected to."""
        master = self._topology.owners[slot_of(key)]
        return master is not None and master.connected

    async def start(self, listener: ShardListener) -> None:
        """Connect, and from then on reconnect for ever.  Raises BrokerUnavailableError."""
        surroundings = Surroundings(self._dialer, self._random, SHARDED, listener, self._on_displaced)
        topology = Topology(surroundings, self._seeds, self._rehome)
        try:
            await topology.start()
        except BaseException:
            await topology.stop()
            raise
        self._started = topology

    async def stop(self) -> None:
        """Let what was sent be answered, for a moment, and disconnect.  Idempotent."""
        if self._started is not None:
            await self._started.stop()

    def stats(self) -> Mapping[str, float]:
        """Return gauges and counters."""
        stats = merged_stats([] if self._started is None else self._started.masters.values())
        stats["connected"] = float(self.connected)
        stats["homeless"] = sum(home is None for home in self._homes.values())
        return stats

    # -- scripts ------------------------------------------------------------------------

    async def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes | int], *, writes: bool
    ) -> Any:
        """Run a script on the master of `keys[0]`.  Raises BrokerUnavailableError or OutcomeUnknownError."""
        topology = self._topology
        slot = slot_of(keys[0])
        master = topology.owners[slot]
        if master is None:
            topology.mark_stale()
            raise BrokerUnavailableError(f"{self._name}: no server has slot {slot} at the moment")
        reply = await master.attempt(script, keys, args, writes=writes)
        if type(reply) is not ReplyError:
            return reply
        return await self._follow(reply, master, slot, script, keys, args, writes=writes)

    def begin(
        self,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        take: Callable[[Any], None],
        *,
        writes: bool,
    ) -> None:
        """Run a script; `take` gets what `run` would return or raise."""
        drive(tell_reply(self.run(script, keys, args, writes=writes), take), self._dialer.loop)

    def before_sending(self, work: Callable[[], None]) -> None:
        """Call this at the end of this turn of the loop, before anything leaves."""
        self._dialer.turn.before_sending(work)

    async def _follow(
        self,
        reply: ReplyError,
        master: Master,
        slot: int,
        script: Script,
        keys: Sequence[bytes],
        args: Sequence[bytes | int],
        *,
        writes: bool,
    ) -> Any:
        """Go where an error reply points to, until the script has run or the time is up."""
        topology = self._topology
        until_s = self._dialer.loop.time() + self._dialer.options.command_timeout_s
        redirections = 0
        while True:
            code = code_of(reply)
            asking = code == "ASK"
            if code == "TRYAGAIN":  # some of its keys have moved with the slot, and some have not
                redirections = 0
                await asyncio.sleep(_TRY_AGAIN_S)
                master = topology.owners[slot] or master
            elif code in ("MOVED", "ASK"):
                redirections += 1
                master = await self._redirected(reply, master, slot)
            else:
                topology.mark_stale()
                raise master.refusal(reply, writes=writes)
            if redirections > _REDIRECTIONS or self._dialer.loop.time() > until_s:
                raise master.refusal(reply, writes=writes)
            reply = await master.attempt(script, keys, args, writes=writes, asking=asking)
            if type(reply) is not ReplyError:
                return reply

    async def _redirected(self, reply: ReplyError, sender: Master, slot: int) -> Master:
        topology = self._topology
        address = read_redirect(str(reply), sender.address or self._seeds[0])
        if address is None:
            raise sender.refusal(reply, writes=False)
        master = topology.redirect(address)
        if code_of(reply) == "MOVED":
            topology.owners[slot] = master
            topology.mark_stale()
        await master.wait_connected()
        return master

    # -- subscriptions ------------------------------------------------------------------

    def subscribe(self, channels: Sequence[bytes]) -> None:
        """Want the messages of these channels, until `unsubscribe`."""
        for channel in channels:
            home = self._homes.get(channel)
            if home is None:
                home = self._homes[channel] = self._topology.owners[slot_of(channel)]
            if home is not None:
                home.subscriber.want((channel,))

    def unsubscribe(self, channels: Sequence[bytes]) -> None:
        """Want them no more."""
        for channel in channels:
            home = self._homes.pop(channel, None)
            if home is not None:
                home.subscriber.forget((channel,))

    def _on_displaced(self, channel: bytes, reason: str) -> None:
        _logger.debug("redis: a subscription has moved", extra={"reason": reason})
        if channel in self._homes:
            self._homes[channel] = None
        self._topology.mark_stale()

    def _rehome(self) -> None:
        """Subscribe on the masters of the new map whatever is subscribed elsewhere, or nowhere."""
        if self._started is None:
            return
        owners = self._topology.owners
        for channel, home in self._homes.items():
            owner = owners[slot_of(channel)]
            if owner is home:
                continue
            if home is not None:
                home.subscriber.give_up((channel,))
            self._homes[channel] = owner
            if owner is not None:
                owner.subscriber.want((channel,))

    @property
    def _topology(self) -> Topology:
        if self._started is None:
            raise BrokerUnavailableError(f"{self._name}: not started")
        return self._started


def _name_of(master: Master | None) -> str:
    return "no server" if master is None else f"{master.name}"
