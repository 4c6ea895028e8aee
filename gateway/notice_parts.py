"""The parts of notices, made from the configuration: who hears of clients, where they are kept, who sends.

It knows the configuration, the brokers and the parts.  A gateway on its own keeps notices in the process,
nodes around a Redis keep them there, and workers without Redis hand theirs to the supervisor, which has the
outbox.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import SystemRandom
from typing import TYPE_CHECKING

import msgspec

from .broker import Broker, wire
from .broker.memory_outbox import MemoryOutbox
from .broker.outbox import Deliver, Outbox, OutboxOptions, Told
from .broker.redis.broker import RedisBroker
from .broker.redis.outbox import RedisOutbox
from .config import Config
from .config.schema import HookOptions
from .config.services import split_place
from .hooks.asked import Signer
from .hooks.notices import Delivery, Maker, Notices
from .hooks.options import HookPlace
from .hooks.signing import key_of
from .identifiers import RandomIds
from .node import Node

if TYPE_CHECKING:
    from .upstreams.groups import Upstreams

TOLD = "told"
"""What a worker's notice to the supervisor is called."""

_decoder = msgspec.msgpack.Decoder(Told)


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def make_signer(configured: HookOptions) -> Signer:
    """Return what signs requests to services."""
    keys = [key_of(secret.reveal()) for secret in configured.secrets]
    return Signer(keys, wall_s=time.time, random_id=RandomIds(), random_bytes=os.urandom)


def listen(config: Config, node: Node, tell: Callable[[Told], None]) -> None:
    """Have an outbox hear of a node's clients."""
    kinds = frozenset(config.hooks.events)
    node.listener = Notices(kinds, tell, wall_ms=_wall_ms, random_id=RandomIds())


def make_delivery(config: Config, upstreams: Upstreams) -> Delivery:
    """Return what sends notices."""
    hooks = config.hooks
    place, kinds = HookPlace(*split_place(hooks.notices)), frozenset(hooks.events)
    return Delivery(upstreams, place, kinds, make_signer(hooks), source=hooks.source)


def change_delivery(config: Config, delivery: Delivery) -> None:
    """Have notices sent as a new configuration says."""
    delivery.change(HookPlace(*split_place(config.hooks.notices)), make_signer(config.hooks))


def make_outbox(config: Config, node: Node, broker: Broker, delivery: Delivery) -> Outbox:
    """Return where notices are kept, and from where they are delivered; not started."""
    hooks, random_id = config.hooks, RandomIds()
    deliver: Deliver = delivery.deliver
    make = Maker(hooks.source, wall_ms=_wall_ms, random_id=random_id)
    options = OutboxOptions(
        grace_s=hooks.vacated_after,
        give_up_s=hooks.give_up_after,
        most=hooks.max_waiting,
        most_dead=hooks.max_dead_letters,
        lease_s=config.redis.lease,
    )
    if isinstance(broker, RedisBroker):
        return RedisOutbox(
            broker, deliver, make, options,
            owner=random_id(), loop=node.loop, random=SystemRandom(), wall_ms=_wall_ms,
        )  # fmt: skip
    return MemoryOutbox(deliver, make, options, loop=node.loop, random=SystemRandom(), wall_ms=_wall_ms)


def to_supervisor(send: Callable[[wire.Notice], None]) -> Callable[[Told], None]:
    """Return what hands a worker's news to the supervisor."""
    return lambda told: send(wire.Notice(TOLD, msgspec.msgpack.encode(told)))


def from_worker(data: bytes) -> Told:
    """Return what a worker told."""
    return _decoder.decode(data)
