"""The operations of the app-service API: one table, and a short method for each row.

Knows the node through `GatewayView`, and nothing of HTTP's headers or sockets: `app` turns each
row into a route and `openapi` turns each into documentation.  A batch and a broadcast
never fail half-told: every command or channel has its own result or error, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ..broker.interface import PublishResult
from ..listing import Asked
from ..message.names import check_channel_name
from ..message.publication import Position
from . import bodies, results
from .answers import as_command_error
from .gateway_view import GatewayView
from .together import YIELD_EVERY, outcome_of, together


class Operation(NamedTuple):
    """One row: the name of `Api`'s method, where it is served, and the records it takes and gives.

    `takes` is the body of a POST and the query of a GET.
    """

    name: str
    method: str
    path: str
    takes: type[Struct]
    gives: type[Struct]
    summary: str


OPERATIONS: Final = (
    Operation(
        "publish", "POST", "/api/publish", bodies.PublishBody, results.Published, "Publish to one channel"
    ),
    Operation(
        "update", "POST", "/api/update", bodies.UpdateBody, results.Updated, "Change the state of a channel"
    ),
    Operation(
        "broadcast", "POST", "/api/broadcast", bodies.BroadcastBody, results.Broadcasted,
        "Publish the same payload to several channels",
    ),
    Operation("send", "POST", "/api/send", bodies.SendBody, results.Sent, "Send to a user or to one client"),
    Operation(
        "batch", "POST", "/api/batch", bodies.BatchBody, results.BatchAnswer, "Carry out commands in order"
    ),
    Operation(
        "subscribe", "POST", "/api/subscribe", bodies.SubscribeBody, results.Reached,
        "Subscribe connections to a channel",
    ),
    Operation(
        "unsubscribe", "POST", "/api/unsubscribe", bodies.UnsubscribeBody, results.Reached,
        "Unsubscribe connections from a channel",
    ),
    Operation(
        "disconnect", "POST", "/api/disconnect", bodies.DisconnectBody, results.Reached, "Close connections"
    ),
    Operation(
        "revoke", "POST", "/api/revoke", bodies.RevokeBody, results.Reached,
        "Refuse tokens, and close the connections that were let in by them",
    ),
    Operation(
        "channels", "GET", "/api/channels", bodies.ChannelsQuery, results.ChannelList,
        "List the channels of this node",
    ),
    Operation(
        "presence", "GET", "/api/channels/{channel}/presence", bodies.NoQuery, results.Presence,
        "List who is present in a channel",
    ),
    Operation(
        "history", "GET", "/api/channels/{channel}/history", bodies.HistoryQuery, results.History,
        "Read what was published to a channel",
    ),
    Operation(
        "state", "GET", "/api/channels/{channel}/state", bodies.NoQuery, results.ChannelState,
        "Read the state of a channel",
    ),
    Operation(
        "connections", "GET", "/api/connections", bodies.ListQuery, results.ConnectionList,
        "List the connections of this node",
    ),
    Operation(
        "nodes", "GET", "/api/nodes", bodies.NoQuery, results.NodeList, "List the nodes of the cluster"
    ),
    Operation(
        "upstreams", "GET", "/api/upstreams", bodies.NoQuery, results.UpstreamList,
        "Show the groups of app services and how their addresses do",
    ),
    Operation(
        "dead_letters", "GET", "/api/deadletters", bodies.DeadLettersQuery, results.DeadLetterList,
        "List the notices that no app service took",
    ),
    Operation(
        "replay_dead_letters", "POST", "/api/deadletters/replay", bodies.DeadLettersBody, results.DeadLetters,
        "Have dead letters delivered again",
    ),
    Operation(
        "drop_dead_letters", "POST", "/api/deadletters/drop", bodies.DeadLettersBody, results.DeadLetters,
        "Forget dead letters",
    ),
)  # fmt: skip


class Api:
    """Carries out the operations.  Each method raises what the node raises."""

    def __init__(self, node: GatewayView) -> None:
        self._node = node
        self._commands: dict[str, Callable[[Any], Coroutine[Any, Any, Struct]]] = {
            "publish": self.publish,
            "update": self.update,
            "broadcast": self.broadcast,
            "send": self.send,
            "subscribe": self.subscribe,
            "unsubscribe": self.unsubscribe,
            "disconnect": self.disconnect,
        }

    async def publish(self, body: bodies.PublishBody) -> results.Published:
        """Publish to one channel."""
        return results.published(await self._publish(body.channel, body))

    async def update(self, body: bodies.UpdateBody) -> results.Updated:
        """Change the state of a channel."""
        base = Position(body.epoch, body.base)
        return results.updated(
            await self._node.update(body.channel, bytes(body.patch), base=base, key=body.key)
        )

    async def broadcast(self, body: bodies.BroadcastBody) -> results.Broadcasted:
        """Publish to each channel; an error of one does not stop the others."""
        outcomes = await together(self._publish(channel, body) for channel in body.channels)
        answers = [
            results.ChannelResult(channel, error=results.refused(as_command_error(done)))
            if isinstance(done, Exception)
            else results.ChannelResult(channel, done.epoch, done.offset, done.duplicate)
            for channel, done in zip(body.channels, outcomes, strict=True)
        ]
        return results.Broadcasted(answers)

    async def send(self, body: bodies.SendBody) -> results.Sent:
        """Send to a user's personal channel, or to one client."""
        answer = await self._node.send(
            user=body.user, client=body.client, data=body.payload(), binary=body.binary
        )
        return msgspec.convert(answer, results.Sent)

    async def batch(self, body: bodies.BatchBody) -> results.BatchAnswer:
        """Carry out each command; an error of one does not stop the others.

        Publishes that follow each other are under way together.
        """
        answers: list[Any] = []
        for number, run in enumerate(_runs(body.commands), 1):
            outcomes: list[Any]
            if isinstance(run[0][1], bodies.PublishBody):
                outcomes = await together(self._publish(command.channel, command) for _, command in run)
            else:
                tag, command = run[0]
                outcomes = [await outcome_of(self._commands[tag](command))]
            answers += map(_answer_of, outcomes)
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        return results.BatchAnswer(answers)

    async def subscribe(self, body: bodies.SubscribeBody) -> results.Reached:
        """Subscribe connections to a channel."""
        return results.Reached(
            await self._node.subscribe(user=body.user, client=body.client, channel=body.channel)
        )

    async def unsubscribe(self, body: bodies.UnsubscribeBody) -> results.Reached:
        """Unsubscribe connections from a channel."""
        return results.Reached(
            await self._node.unsubscribe(user=body.user, client=body.client, channel=body.channel)
        )

    async def disconnect(self, body: bodies.DisconnectBody) -> results.Reached:
        """Close connections."""
        return results.Reached(
            await self._node.disconnect(
                user=body.user, client=body.client, code=body.code, reason=body.reason
            )
        )

    async def revoke(self, body: bodies.RevokeBody) -> results.Reached:
        """Refuse tokens from now on."""
        kind, value = body.target()
        return results.Reached(await self._node.revoke(kind=kind, value=value, ttl_s=body.ttl))

    async def channels(self, query: bodies.ChannelsQuery) -> results.ChannelList:
        """List channels whose name begins with the prefix."""
        found = await self._node.channels(Asked(query.limit, query.after, query.prefix))
        shown = [msgspec.convert(item, results.ChannelInfo) for item in found.items]
        return results.ChannelList(shown, found.total)

    async def presence(self, query: bodies.NoQuery, channel: str) -> results.Presence:
        """List the members of a channel."""
        return results.presence(await self._node.presence(check_channel_name(channel)))

    async def history(self, query: bodies.HistoryQuery, channel: str) -> results.History:
        """Read a page of a channel's history."""
        check_channel_name(channel)
        return results.history(await self._node.history(channel, limit=query.limit, before=query.before))

    async def state(self, query: bodies.NoQuery, channel: str) -> results.ChannelState:
        """Read a channel's state."""
        return results.state(await self._node.state(check_channel_name(channel)))

    async def connections(self, query: bodies.ListQuery) -> results.ConnectionList:
        """List connections of this node."""
        found = await self._node.connections(Asked(query.limit, query.after))
        shown = [msgspec.convert(item, results.ConnectionInfo) for item in found.items]
        return results.ConnectionList(shown, found.total)

    async def nodes(self, query: bodies.NoQuery) -> results.NodeList:
        """List the nodes of the cluster."""
        return results.NodeList(
            [msgspec.convert(dict(item), dict[str, Any]) for item in await self._node.nodes()]
        )

    async def upstreams(self, query: bodies.NoQuery) -> results.UpstreamList:
        """Show the groups of app services."""
        found = await self._node.upstreams()
        return results.UpstreamList([msgspec.convert(item, results.UpstreamInfo) for item in found])

    async def dead_letters(self, query: bodies.DeadLettersQuery) -> results.DeadLetterList:
        """List the notices that no app service took."""
        return results.dead_letters(await self._node.dead_letters(query.limit))

    async def replay_dead_letters(self, body: bodies.DeadLettersBody) -> results.DeadLetters:
        """Have dead letters delivered again."""
        return results.DeadLetters(await self._node.replay_dead_letters(body.named()))

    async def drop_dead_letters(self, body: bodies.DeadLettersBody) -> results.DeadLetters:
        """Forget dead letters."""
        return results.DeadLetters(await self._node.drop_dead_letters(body.named()))

    def _publish(
        self, channel: str, body: bodies.PublishBody | bodies.BroadcastBody
    ) -> Coroutine[Any, Any, PublishResult]:
        return self._node.publish(
            channel, body.payload(), binary=body.binary, key=body.key, exclude=body.exclude
        )


def _answer_of(done: PublishResult | Struct | Exception) -> Struct:
    """Return what a batch answers to a command."""
    if isinstance(done, PublishResult):
        return results.published(done)
    if isinstance(done, Exception):
        return results.ErrorAnswer(results.refused(as_command_error(done)))
    return done


def _runs(commands: Sequence[Struct]) -> Iterator[list[tuple[str, Any]]]:
    """Divide a batch into what may be under way together, each command with its tag, in order."""
    run: list[tuple[str, Any]] = []
    for command in commands:
        tag = str(command.__struct_config__.tag)
        if run and not tag == run[-1][0] == "publish":
            yield run
            run = []
        run.append((tag, command))
    if run:
        yield run
