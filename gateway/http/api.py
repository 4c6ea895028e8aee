"""The operations of the app-service API: one table, and a short method for each row.

Knows the node through `GatewayView`, and nothing of HTTP's headers or sockets: `app` turns each
row into a route and `openapi` turns each into documentation.  A batch and a broadcast
never fail half-told: every command or channel has its own result or error, in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from ..broker.interface import PublishResult
from ..draining import Drain
from ..listing import Asked
from ..message.names import check_channel_name
from ..message.publication import Draft, Position
from . import bodies, results
from .answers import as_command_error
from .gateway_view import GatewayView
from .scopes import Scope

_YIELD_EVERY: Final = 64
"""After so many commands of a batch the event loop gets a turn."""


class Operation(NamedTuple):
    """One row: the name of `Api`'s method, where it is served, and the records it takes and gives.

    `takes` is the body of a POST and the query of a GET; `needs` is what an API key must be for; None: that
    depends on what the body holds.
    """

    name: str
    method: str
    path: str
    takes: type[Struct]
    gives: type[Struct]
    summary: str
    needs: Scope | None


OPERATIONS: Final = (
    Operation(
        "publish", "POST", "/api/publish", bodies.PublishBody, results.Published, "Publish to one channel",
        Scope.PUBLISH,
    ),
    Operation(
        "update", "POST", "/api/update", bodies.UpdateBody, results.Updated, "Change the state of a channel",
        Scope.PUBLISH,
    ),
    Operation(
        "broadcast", "POST", "/api/broadcast", bodies.BroadcastBody, results.Broadcasted,
        "Publish the same payload to several channels",
        Scope.PUBLISH,
    ),
    Operation(
        "send", "POST", "/api/send", bodies.SendBody, results.Sent, "Send to a user or to one client",
        Scope.PUBLISH,
    ),
    Operation(
        "batch", "POST", "/api/batch", bodies.BatchBody, results.BatchAnswer, "Carry out commands in order",
        None,
    ),
    Operation(
        "subscribe", "POST", "/api/subscribe", bodies.SubscribeBody, results.Reached,
        "Subscribe connections to a channel",
        Scope.CONNECTIONS,
    ),
    Operation(
        "unsubscribe", "POST", "/api/unsubscribe", bodies.UnsubscribeBody, results.Reached,
        "Unsubscribe connections from a channel",
        Scope.CONNECTIONS,
    ),
    Operation(
        "disconnect", "POST", "/api/disconnect", bodies.DisconnectBody, results.Reached, "Close connections",
        Scope.CONNECTIONS,
    ),
    Operation(
        "revoke", "POST", "/api/revoke", bodies.RevokeBody, results.Reached,
        "Refuse tokens, and close the connections that were let in by them",
        Scope.CONNECTIONS,
    ),
    Operation(
        "revocations", "GET", "/api/revocations", bodies.LimitQuery, results.RevocationList,
        "List the tokens that are refused",
        Scope.READ,
    ),
    Operation(
        "channels", "GET", "/api/channels", bodies.ChannelsQuery, results.ChannelList,
        "List the channels of this node",
        Scope.READ,
    ),
    Operation(
        "presence", "GET", "/api/channels/{channel}/presence", bodies.NoQuery, results.Presence,
        "List who is present in a channel",
        Scope.PRESENCE,
    ),
    Operation(
        "history", "GET", "/api/channels/{channel}/history", bodies.HistoryQuery, results.History,
        "Read what was published to a channel",
        Scope.HISTORY,
    ),
    Operation(
        "state", "GET", "/api/channels/{channel}/state", bodies.NoQuery, results.ChannelState,
        "Read the state of a channel",
        Scope.HISTORY,
    ),
    Operation(
        "connections", "GET", "/api/connections", bodies.ListQuery, results.ConnectionList,
        "List the connections of this node",
        Scope.READ,
    ),
    Operation(
        "nodes", "GET", "/api/nodes", bodies.NoQuery, results.NodeList, "List the nodes of the cluster",
        Scope.READ,
    ),
    Operation(
        "info", "GET", "/api/info", bodies.NoQuery, results.Info,
        "Say which version runs, and with which configuration",
        Scope.READ,
    ),
    Operation(
        "upstreams", "GET", "/api/upstreams", bodies.NoQuery, results.UpstreamList,
        "Show the groups of app services and how their addresses do",
        Scope.READ,
    ),
    Operation(
        "drain_upstream", "POST", "/api/upstreams/drain", bodies.DrainBody, results.Drained,
        "Give an address nothing new, and have its connections move",
        Scope.ADMIN,
    ),
    Operation(
        "undrain_upstream", "POST", "/api/upstreams/undrain", bodies.DrainBody, results.Drained,
        "Use an address again that was drained",
        Scope.ADMIN,
    ),
    Operation(
        "dead_letters", "GET", "/api/deadletters", bodies.DeadLettersQuery, results.DeadLetterList,
        "List the notices that no app service took",
        Scope.READ,
    ),
    Operation(
        "replay_dead_letters", "POST", "/api/deadletters/replay", bodies.DeadLettersBody, results.DeadLetters,
        "Have dead letters delivered again",
        Scope.ADMIN,
    ),
    Operation(
        "drop_dead_letters", "POST", "/api/deadletters/drop", bodies.DeadLettersBody, results.DeadLetters,
        "Forget dead letters",
        Scope.ADMIN,
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
        result = await self._node.publish(
            body.channel, body.payload(), binary=body.binary, key=body.key, exclude=body.exclude
        )
        return results.published(result)

    async def update(self, body: bodies.UpdateBody) -> results.Updated:
        """Change the state of a channel."""
        base = Position(body.epoch, body.base)
        return results.updated(
            await self._node.update(body.channel, bytes(body.patch), base=base, key=body.key)
        )

    async def broadcast(self, body: bodies.BroadcastBody) -> results.Broadcasted:
        """Publish to each channel; an error of one does not stop the others."""
        outcomes = await self._node.publish_all(_draft(channel, body) for channel in body.channels)
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
                outcomes = list(
                    await self._node.publish_all(_draft(command.channel, command) for _, command in run)
                )
            else:
                tag, command = run[0]
                outcomes = [await _outcome_of(self._commands[tag](command))]
            answers += map(_answer_of, outcomes)
            if number % _YIELD_EVERY == 0:
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

    async def revocations(self, query: bodies.LimitQuery) -> results.RevocationList:
        """List what is refused now."""
        found = await self._node.revocations(query.limit)
        return results.RevocationList([msgspec.convert(item, results.RevocationInfo) for item in found])

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

    async def info(self, query: bodies.NoQuery) -> results.Info:
        """Say what runs here."""
        config = msgspec.convert(dict(await self._node.configuration()), results.ConfigInfo)
        return results.Info(version("ringgate"), config)

    async def upstreams(self, query: bodies.NoQuery) -> results.UpstreamList:
        """Show the groups of app services."""
        found = await self._node.upstreams()
        return results.UpstreamList([msgspec.convert(item, results.UpstreamInfo) for item in found])

    async def drain_upstream(self, body: bodies.DrainBody) -> results.Drained:
        """Give an address nothing new, and have its connections move."""
        return await self._drain(body, draining=True)

    async def undrain_upstream(self, body: bodies.DrainBody) -> results.Drained:
        """Use an address again."""
        return await self._drain(body, draining=False)

    async def _drain(self, body: bodies.DrainBody, *, draining: bool) -> results.Drained:
        drain = Drain(body.upstream, body.address, body.ip, draining)
        return results.Drained(*await self._node.drain_upstream(drain))

    async def dead_letters(self, query: bodies.DeadLettersQuery) -> results.DeadLetterList:
        """List the notices that no app service took."""
        page = await self._node.dead_letters(query.wanted(), limit=query.limit, after=query.after)
        return results.dead_letters(page)

    async def replay_dead_letters(self, body: bodies.DeadLettersBody) -> results.DeadLetters:
        """Have dead letters delivered again."""
        return results.DeadLetters(await self._node.replay_dead_letters(body.wanted()))

    async def drop_dead_letters(self, body: bodies.DeadLettersBody) -> results.DeadLetters:
        """Forget dead letters."""
        return results.DeadLetters(await self._node.drop_dead_letters(body.wanted()))


def _draft(channel: str, body: bodies.PublishBody | bodies.BroadcastBody) -> Draft:
    return Draft(channel, body.payload(), body.binary, body.key, body.exclude)


async def _outcome_of(work: Coroutine[Any, Any, Struct]) -> Struct | Exception:
    """Wait for a command; return what it returns or raises."""
    try:
        return await work
    except Exception as problem:  # noqa: BLE001 - it is the outcome
        return problem


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
