"""State channels as clients see them: in every encoding, through resumes, races and losses."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway.broker import ChannelOptions, State
from gateway.errors import BrokerUnavailableError, CommandError
from gateway.message.publication import Position, Publication
from gateway.options import Namespace
from tests.support.codecs import CASES
from tests.support.rfc7396 import merge_patch
from tests.support.sessions import NAMESPACES, Client, Event, World, world
from tests.support.simulated import settle


@pytest.fixture(params=CASES)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Copy:
    """What a client makes of the events of a state channel, as docs/protocol.md says it should."""

    def __init__(self) -> None:
        self.epoch = ""
        self.version = -1
        self.data: Any = None

    def take(self, events: list[Event]) -> None:
        for event in events:
            if event["type"] == "state":
                self.epoch, self.version, self.data = event["epoch"], event["version"], event["data"]
            elif event["type"] == "patch" and event["version"] == self.version + 1:
                self.version, self.data = event["version"], merge_patch(self.data, event["patch"])

    @property
    def since(self) -> Event:
        return {"epoch": self.epoch, "offset": self.version}


def update(patch: Any, base: int, channel: str = "doc:1", **more: Any) -> Event:
    return {"type": "update", "channel": channel, "base": base, "patch": patch, **more}


async def update_many(client: Client, number: int, *, first: int = 0) -> None:
    """Make versions `first` + 1 and so on, of patches that each set a member."""
    for base in range(first, first + number):
        (reply,) = [
            e for e in await client.ask(update({f"n{base}": base}, base, id=9)) if e["type"] != "patch"
        ]
        assert reply["type"] == "reply", reply


async def test_subscriber_gets_the_state_and_then_patches(encoding: str) -> None:
    async with world() as w:
        writer = w.connect("ada", encoding)
        (reply,) = await writer.ask(update({"title": "ä", "list": [1, None]}, 0, id=1))
        assert reply == {
            "type": "reply", "id": 1, "channel": "doc:1", "epoch": reply["epoch"], "version": 1,
        }  # fmt: skip
        reader = w.connect("bob", encoding)
        reply, state = await reader.ask({"type": "subscribe", "id": 2, "channel": "doc:1"})
        assert reply == {"type": "reply", "id": 2, "channel": "doc:1", "epoch": reply["epoch"], "offset": 1}
        assert state == {
            "type": "state", "channel": "doc:1", "epoch": reply["epoch"], "version": 1,
            "data": {"title": "ä", "list": [1, None]},
        }  # fmt: skip
        await writer.ask(update({"title": None, "n": 1.5}, 1))
        (patch,) = reader.heard()
        assert patch.pop("id")
        assert patch == {
            "type": "patch", "channel": "doc:1", "version": 2, "patch": {"title": None, "n": 1.5},
            "from": {"client": writer.id, "user": "ada"}, "time": 1_764_000_000_000,
        }  # fmt: skip


async def test_subscriber_of_a_channel_without_updates_gets_null(encoding: str) -> None:
    async with world() as w:
        reply, state = await w.connect("", encoding).ask({"type": "subscribe", "id": 1, "channel": "doc:1"})
        assert (reply["offset"], state["version"], state["data"]) == (0, 0, None)
        assert "recovered" not in reply


async def test_update_on_an_old_version_is_answered_with_the_state(encoding: str) -> None:
    async with world() as w:
        client = w.connect("", encoding)
        await update_many(client, 2)
        (error,) = await client.ask(update({"x": 1}, 1, id=7, key="k"))
        assert error.pop("message") == "the current version is 2"
        epoch = error["epoch"]
        assert error == {
            "type": "error", "id": 7, "code": "stale_version", "retry": False, "epoch": epoch, "version": 2,
            "data": {"n0": 0, "n1": 1},
        }  # fmt: skip
        (reply,) = await client.ask(update({"x": 1}, 2, id=8, key="k", epoch=epoch))
        assert reply["version"] == 3
        (again,) = await client.ask(update({"x": 1}, 2, id=9, key="k", epoch=epoch))
        assert again == reply | {"id": 9, "duplicate": True}
        (error,) = await client.ask(update({"x": 2}, 3, id=10, epoch="another"))
        assert error["code"] == "stale_version"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (update({"x": 1}, 0, channel="quiet:1"), "bad_request"),
        ({"type": "publish", "channel": "doc:1", "data": 1}, "bad_request"),
        (update({"x": 1}, 0, channel="closed:1"), "permission_denied"),
        (update({"x": 1}, 0, channel="@ada"), "permission_denied"),
        (update({"x": 1}, 0, channel="doc:ä"), "bad_request"),
        (update({"x": "y" * 1000}, 0), "limit_exceeded"),
        (update({"x": "y" * 33_000}, 0), "limit_exceeded"),
        (update({"x": 1}, 2**53 - 1), "stale_version"),
        (update({"x": 1}, 0, key="k" * 201), "bad_request"),
    ],
)
async def test_update_that_may_not_be_changes_nothing(encoding: str, command: Event, code: str) -> None:
    async with world() as w:
        client = w.connect("ada", encoding)
        (error,) = await client.ask(command | {"id": 5})
        assert (error["type"], error["id"], error["code"]) == ("error", 5, code)
        assert (await w.node.state("doc:1")).version == 0


async def test_update_nested_too_deep_or_without_a_patch_is_refused(encoding: str) -> None:
    deep: Any = 1
    for _ in range(65):
        deep = {"a": deep}
    async with world() as w:
        client = w.connect("", encoding)
        without = {"type": "update", "id": 2, "channel": "doc:1", "base": 0}
        errors = await client.ask(update(deep, 0, id=1), without)
        assert [(e["id"], e["code"]) for e in errors] == [(1, "bad_request"), (2, "bad_request")]
        assert (await w.node.state("doc:1")).version == 0


async def test_history_shows_patches(encoding: str) -> None:
    async with world() as w:
        client = w.connect("", encoding)
        await update_many(client, 2)
        (reply,) = await client.ask({"type": "history", "id": 1, "channel": "doc:1"})
        assert [(p["offset"], p["patch"]) for p in reply["publications"]] == [(1, {"n0": 0}), (2, {"n1": 1})]
        assert not any("data" in p for p in reply["publications"])


async def test_returning_client_gets_the_patches_that_it_missed(encoding: str) -> None:
    async with world() as w:
        writer, reader, copy = w.connect(), w.connect("", encoding), Copy()
        copy.take(await reader.ask({"type": "subscribe", "channel": "doc:1"}))
        reader.lose()
        await update_many(writer, 3)
        back = w.connect("", encoding)
        reply, *patches = await back.ask(
            {"type": "subscribe", "id": 1, "channel": "doc:1", "since": copy.since}
        )
        assert reply["recovered"] is True
        assert [event["version"] for event in patches] == [1, 2, 3]
        copy.take(patches)
        assert copy.data == {"n0": 0, "n1": 1, "n2": 2}


async def test_returning_client_gets_one_state_where_patches_are_gone(encoding: str) -> None:
    async with world() as w:
        writer, reader, copy = w.connect(), w.connect("ada", encoding), Copy()
        copy.take(await reader.ask({"type": "subscribe", "channel": "doc:1"}))
        reader.lose()
        await update_many(writer, 2)
        await w.sweep(15)  # the channel closes here, and with it goes its ring
        await update_many(writer, 4, first=2)
        back = w.connect("ada", encoding)
        session = reader.hello["session"]
        reply, state = await back.ask(
            {"type": "connect", "id": 1, "session": session, "since": {"doc:1": copy.since}}
        )
        assert reply["subscriptions"] == [
            {"channel": "doc:1", "epoch": copy.epoch, "offset": 6, "recovered": False}
        ]
        assert state["data"] == {f"n{n}": n for n in range(6)}
        await writer.ask(update({"n6": 6}, 6))
        assert [event["version"] for event in back.heard()] == [7]


@pytest.mark.parametrize("since", [{"epoch": "another", "offset": 0}, {"offset": 99}])
async def test_returning_client_with_a_position_that_never_was_gets_the_state(since: Event) -> None:
    async with world() as w:
        client = w.connect()
        await update_many(client, 1)
        epoch = (await w.node.state("doc:1")).epoch
        since = {"epoch": epoch, **since}
        reply, state = await client.ask({"type": "subscribe", "id": 1, "channel": "doc:1", "since": since})
        assert (reply["recovered"], reply["offset"], state["version"]) == (False, 1, 1)


async def test_updates_while_the_state_is_read_follow_it_without_a_hole(encoding: str) -> None:
    async with world() as w:
        writer, reader = w.connect(), w.connect("", encoding)
        await update_many(writer, 1)
        await w.connect().subscribe("doc:1")  # so that the channel is open
        w.broker.held.add("state")
        reader.say({"type": "subscribe", "id": 1, "channel": "doc:1"})
        await settle()
        await w.broker.execute()
        await update_many(writer, 3, first=1)  # after it was read, and before the reader hears of it
        w.broker.held.clear()
        w.broker.reply()
        await settle()
        reply, state, *patches = reader.heard()
        assert (reply["offset"], state["version"]) == (1, 1)
        assert [event["version"] for event in patches] == [2, 3, 4]
        copy = Copy()
        copy.take([state, *patches])
        assert copy.data == {f"n{n}": n for n in range(4)}


async def test_many_who_subscribe_at_once_share_a_read() -> None:
    async with world() as w:
        writer = w.connect()
        await update_many(writer, 1)
        await writer.subscribe("doc:1")
        w.broker.calls.clear()
        w.broker.held.add("state")
        readers = [w.connect() for _ in range(20)]
        for reader in readers:
            reader.say({"type": "subscribe", "id": 1, "channel": "doc:1"})
        await settle()
        await w.broker.flow()
        assert [[e["type"] for e in reader.heard()] for reader in readers] == [["reply", "state"]] * 20
        await update_many(writer, 1, first=1)
        reply, state, patch = await w.connect().ask({"type": "subscribe", "id": 1, "channel": "doc:1"})
        assert (reply["offset"], state["version"], patch["version"]) == (1, 1, 2)
        assert w.broker.calls.count("state") == 1, "what was read a moment ago serves who comes late, too"
        w.time.advance(3.0)
        await settle()
        later = w.connect()
        later.say({"type": "subscribe", "id": 1, "channel": "doc:1"})
        await settle()
        await w.broker.flow()
        assert later.heard()[1]["version"] == 2
        assert w.broker.calls.count("state") == 2


async def test_subscribe_fails_whole_where_the_state_cannot_be_read() -> None:
    async with world() as w:
        client = w.connect()
        w.broker.faults["state"] = BrokerUnavailableError("planted")
        (error,) = await client.ask({"type": "subscribe", "id": 1, "channel": "doc:1"})
        assert error["code"] == "unavailable"
        del w.broker.faults["state"]
        assert (await client.subscribe("doc:1"))["offset"] == 0


def lost(w: World, state: State) -> None:
    """Have the node hear that everything up to the state was lost on its way here."""
    w.node.on_position("doc:1", state.epoch, state.version)


async def test_subscribers_are_told_the_state_after_a_loss(encoding: str) -> None:
    async with world() as w:
        reader, copy = w.connect("", encoding), Copy()
        copy.take(await reader.ask({"type": "subscribe", "channel": "doc:1"}))
        options = w.options.namespace("doc:1").broker
        await w.broker.memory.unsubscribe("doc:1")  # so that nothing is relayed
        for base in range(3):
            patch = Publication(id="p", data=b'{"n%d":1}' % base, time_ms=1, patch=True)
            await w.broker.memory.update("doc:1", patch, options, base=Position("", base))
        lost(w, await w.broker.memory.state("doc:1", options))
        await settle()
        gap, state = reader.heard()
        assert (gap["type"], gap["to"]) == ("gap", 3)
        assert (state["type"], state["version"], state["data"]) == ("state", 3, {"n0": 1, "n1": 1, "n2": 1})


async def test_state_after_a_loss_is_asked_for_again_until_it_is_there() -> None:
    async with world() as w:
        reader = w.connect()
        await reader.ask({"type": "subscribe", "channel": "doc:1"})
        epoch = (await w.node.state("doc:1")).epoch
        w.broker.faults["state"] = BrokerUnavailableError("planted")
        lost(w, State(epoch, 5, b""))
        await settle()
        assert [e["type"] for e in reader.heard()] == ["gap"]
        del w.broker.faults["state"]
        await w.sweep(3)
        assert reader.heard() == [], "what the broker has is older than what was lost"
        options = w.options.namespace("doc:1").broker
        for base in range(6):
            patch = Publication(id="p", data=b'{"n":%d}' % base, time_ms=1, patch=True)
            await w.broker.memory.update("doc:1", patch, options, base=Position("", base))
        await w.sweep(3)
        states = [e for e in reader.heard() if e["type"] == "state"]
        assert [(e["version"], e["data"]) for e in states] == [(6, {"n": 5})]


async def test_one_patch_is_encoded_once_per_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = dict.fromkeys(CASES, 0)
    for name, case in CASES.items():
        real = case.codec.encode_publication

        def counting(channel: str, publication: Publication, *, real: Any = real, name: str = name) -> bytes:
            counts[name] += 1
            data: bytes = real(channel, publication)
            return data

        monkeypatch.setattr(type(case.codec), "encode_publication", staticmethod(counting))
    async with world() as w:
        clients = [w.connect("", name) for name in CASES for _ in range(5)]
        for client in clients:
            await client.ask({"type": "subscribe", "channel": "doc:1"})
        await clients[0].ask(update({"a": 1}, 0))
        assert all(client is clients[0] or client.heard()[-1]["type"] == "patch" for client in clients)
    assert counts == dict.fromkeys(CASES, 1)


async def test_service_reads_and_changes_states() -> None:
    async with world() as w:
        result = await w.node.update("doc:1", b'{"a" : 1.0}', base=Position("", 0))
        assert (result.offset, result.duplicate) == (1, False)
        assert await w.node.state("doc:1") == State(result.epoch, 1, b'{"a":1.0}')
        for channel in ("chat:1", "@ada", "nowhere"):
            with pytest.raises(CommandError, match="no state"):
                await w.node.state(channel)


async def test_state_is_gone_when_nobody_used_it_for_long() -> None:
    async with world() as w:
        await w.node.update("doc:1", b'{"a":1}', base=Position("", 0))
        await w.sweep(50)
        while w.broker.sweep():
            pass
        assert w.broker.stats()["state_bytes"] == 7, "the memory broker's idle time is longer"
        await w.sweep(20)
        assert w.broker.stats()["state_bytes"] == 0
        assert (await w.node.state("doc:1")).version == 0


async def test_node_without_rings_to_spare_still_lets_subscribers_in_at_the_right_version() -> None:
    options = ChannelOptions(history_size=0, max_state_bytes=1000, state_ttl_s=60.0)
    async with world(namespaces={**NAMESPACES, "doc": Namespace(broker=options)}) as w:
        writer, reader = w.connect(), w.connect()
        await w.connect().subscribe("doc:1")
        copies = []
        for base in range(20):
            await writer.ask(update({"n": base}, base))
            copy = Copy()
            copy.take(await reader.ask({"type": "subscribe", "channel": "doc:1"}))
            copies.append((copy.version, copy.data))
            await reader.ask({"type": "unsubscribe", "channel": "doc:1"})
        assert copies == [(n + 1, {"n": n}) for n in range(20)]


async def test_who_may_not_subscribe_is_not_told_the_state() -> None:
    writers_only = msgspec.structs.replace(NAMESPACES["doc"], may_subscribe=False)
    async with world(namespaces={**NAMESPACES, "doc": writers_only}) as w:
        client = w.connect()
        await update_many(client, 1)
        (error,) = await client.ask(update({"x": 1}, 0, id=1))
        assert (error["code"], error["message"]) == ("stale_version", "the current version is 1")
        assert not {"epoch", "version", "data"} & set(error)
