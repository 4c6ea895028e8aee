"""What clients are told of commands that were not carried out, and the ways of publishes to channels.

It knows the node, and neither sockets nor codecs.  What always holds: there are routes only to channels in
which every client may publish, as fast as it likes, and at most `MOST_ROUTES` of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from ._publishing import Numbering, Route, Together
from .broker.interface import PublishResult
from .errors import BrokerError, CommandError, OutcomeUnknownError
from .message.events import Event
from .message.publication import Draft
from .message.views import error_of

if TYPE_CHECKING:
    from .node import Node

_logger = logging.getLogger(__name__)

MOST_ROUTES: Final = 4096
YIELD_EVERY: Final = 128
"""After so many publishes of one request the event loop gets a turn."""


class Routes:
    """The routes of a node, by channel; `find` gives the one to a channel or None."""

    def __init__(self, node: Node, numbering: Numbering) -> None:
        self._node = node
        self._numbering = numbering
        self._routes: dict[str, Route] = {}
        self.find = self._routes.get

    def learn(self, channel: str) -> None:
        """Make a route to a channel to which somebody has just published, if there may be one."""
        known = self._routes.get(channel)
        if known is not None and known.stands:
            return
        namespace = self._node.options.namespace(channel)
        if not namespace.may_publish or namespace.publish_rate or namespace.broker.max_state_bytes:
            return
        if len(self._routes) >= MOST_ROUTES:
            self._routes.clear()
        self._routes[channel] = Route(self._node, channel, namespace, self._numbering)


async def publish_all(node: Node, drafts: Iterable[Draft]) -> list[PublishResult | Exception]:
    """Publish what an app service wants; return what came of each: what `node.publish` returns or raises.

    None waits for another one.  They begin in their order, so a broker keeps the order within a channel; what
    has begun goes on when nobody waits for it any more, and what has not never does.
    """
    together = Together(node)
    for number, draft in enumerate(drafts, 1):
        together.begin(*draft)
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)
    await together.done()
    return together.results


def refuse_publish(number: int, problem: Exception) -> Event:
    """Return the answer to a publish that was not carried out; `number` is its id, or 0."""
    return error_of(number, refusal_of(problem))


def refusal_of(problem: Exception) -> CommandError:
    """Return what to tell a client of what a command raised; what nobody expected is logged."""
    if isinstance(problem, CommandError):
        return problem
    if isinstance(problem, OutcomeUnknownError):
        return CommandError("timeout", "no answer in time; repeat it with the same key")
    if isinstance(problem, BrokerError):
        return CommandError("unavailable", "the broker cannot be reached now")
    _logger.error("a command failed", exc_info=problem)
    return CommandError("internal", "an error inside the gateway")
