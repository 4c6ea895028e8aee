"""Shared state through the Python client: edits are seen at once, survive breaks, and copies converge."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import Gateway
from gateway.client import Client, Conflict, Options, RinggateError, State
from gateway.client.codecs import EncodingName
from tests.chaos.proxy import FaultProxy
from tests.support.peers import ANY_PORT
from tests.support.process import StartGateway
from tests.support.redis_servers import RedisServer

QUICK = Options(backoff_first=0.02, backoff_most=0.2, close_timeout=0.5)
BOARD = {"state": True, "presence": False, "slow": "disconnect", "join_leave": False}
ENCODINGS: tuple[EncodingName, ...] = ("json", "msgpack", "protobuf")
WITHIN_S = 40.0


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with Gateway({"server": ANY_PORT, "namespace": {"board": BOARD}}) as running:
        yield running


async def equal(states: list[State], within_s: float = WITHIN_S) -> Any:
    """Wait until nothing is pending and every copy is at the same version; return the value."""
    try:
        async with asyncio.timeout(within_s):
            while len({s.position for s in states}) > 1 or any(s.pending for s in states):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    except TimeoutError:
        told = [(state.position, state.pending) for state in states]
        raise AssertionError(f"the copies do not converge: {told}") from None
    assert all(state.value == state.confirmed == states[0].confirmed for state in states)
    return states[0].value


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_edit_is_seen_at_once_here_and_soon_elsewhere(encoding: EncodingName, gateway: Gateway) -> None:
    async with Client(gateway.ws_url, encoding=encoding) as ann, Client(gateway.ws_url) as bob:
        mine, theirs = await ann.state("board:1").ready(), await bob.state("board:1").ready()
        seen: list[Any] = []
        mine.on_change(seen.append)
        made = mine.update({"title": "plan", "n": 1.5})
        assert (mine.value, mine.confirmed) == ({"title": "plan", "n": 1.5}, None)
        assert await made == 1
        assert await equal([mine, theirs]) == {"title": "plan", "n": 1.5}
        assert await theirs.update({"n": None}) == 2
        await equal([mine, theirs])
        assert seen == [{"title": "plan", "n": 1.5}, {"title": "plan"}]
        assert ann.state("board:1") is mine


async def test_edits_of_two_at_once_both_hold_and_conflicts_are_told(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as ann, Client(gateway.ws_url) as bob:
        states = [await client.state("board:1").ready() for client in (ann, bob)]
        conflicts: list[Conflict] = []
        states[0].on_conflict(conflicts.append)
        await asyncio.gather(
            *(state.update({name: 1, "both": name}) for state, name in zip(states, "ab", strict=True))
        )
        value = await equal(states)
        assert (value["a"], value["b"]) == (1, 1)
        assert value["both"] in {"a", "b"}
        assert all(conflict.paths == [("both",)] for conflict in conflicts)


async def test_counts_by_functions_of_many_are_all_there(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as ann, Client(gateway.ws_url, encoding="msgpack") as bob:
        states = [await client.state("board:1").ready() for client in (ann, bob)]
        made = [
            s.update(lambda value: {"n": (value or {}).get("n", 0) + 1}) for _ in range(10) for s in states
        ]
        async with asyncio.timeout(WITHIN_S):
            versions = await asyncio.gather(*made)
        assert await equal(states) == {"n": 20}
        assert sorted(versions) == list(range(1, 21))


async def test_edits_made_offline_are_carried_out_after_the_return(gateway: Gateway) -> None:
    host, _, port = str(gateway.edge_address).rpartition(":")
    proxy = FaultProxy((host, int(port)))
    await proxy.start()
    try:
        async with (
            Client(f"ws://{proxy.address}/ws", options=QUICK) as ann,
            Client(gateway.ws_url) as bob,
        ):
            mine, theirs = await ann.state("board:1").ready(), await bob.state("board:1").ready()
            proxy.refusing = True
            proxy.cut()
            while ann.status.state == "online":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            made = [mine.update({"mine": n}) for n in range(3)]
            await theirs.update({"theirs": 1})
            assert mine.value == {"mine": 2}
            proxy.refusing = False
            async with asyncio.timeout(WITHIN_S):
                assert await asyncio.gather(*made) == [2, 3, 4]
            assert await equal([mine, theirs]) == {"mine": 2, "theirs": 1}
    finally:
        await proxy.close()


async def test_what_is_refused_is_taken_back(gateway: Gateway) -> None:
    async with Client(gateway.ws_url) as client:
        state = await client.state("board:1").ready()
        with pytest.raises(RinggateError, match="limit_exceeded"):
            await state.update({"big": "x" * 40_000})
        assert state.value is None
        state.close()
        with pytest.raises(RinggateError, match="closed"):
            state.update({})


class Editor:
    """A client that edits at random, through a proxy that is cut at random."""

    def __init__(self, number: int, target: tuple[str, int]) -> None:
        self.dice = random.Random(number)  # noqa: S311
        self.proxy = FaultProxy(target, seed=number)
        self.encoding = ENCODINGS[number % len(ENCODINGS)]
        self.name = f"c{number}"
        self.made: list[asyncio.Future[int]] = []

    async def start(self) -> None:
        await self.proxy.start()
        url = f"ws://{self.proxy.address}/ws"
        self.client = Client(url, encoding=self.encoding, options=QUICK)
        self.client.connect()
        self.state = self.client.state("board:1")

    async def edit(self, times: int) -> None:
        for number in range(times):
            shared = {self.dice.choice("xyz"): self.dice.choice([None, number, {self.name: number}])}
            self.made.append(self.state.update({self.name: number, **shared}))
            await asyncio.sleep(self.dice.uniform(0, 0.03))
            fault = self.dice.random()
            if fault < 0.05:
                self.proxy.cut()
            elif fault < 0.1:
                self.proxy.tear("down", 1)

    async def stop(self) -> None:
        await self.client.close()
        await self.proxy.close()


async def converge(targets: list[tuple[str, int]], editors: int, times: int) -> None:
    everyone = [Editor(number, targets[number % len(targets)]) for number in range(editors)]
    try:
        for editor in everyone:
            await editor.start()
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(editor.state.ready() for editor in everyone))
            await asyncio.gather(*(editor.edit(times) for editor in everyone))
            versions = [version for e in everyone for version in await asyncio.gather(*e.made)]
        value = await equal([editor.state for editor in everyone])
        assert sorted(versions) == list(range(1, editors * times + 1)), "each edit was carried out once"
        assert all(value[editor.name] == times - 1 for editor in everyone)
    finally:
        for editor in everyone:
            await editor.stop()


async def test_random_edits_of_many_clients_through_breaks_converge(gateway: Gateway) -> None:
    host, _, port = str(gateway.edge_address).rpartition(":")
    await converge([(host, int(port))], editors=6, times=25)


async def test_random_edits_on_two_nodes_converge(gateway_process: StartGateway, tmp_path: Path) -> None:
    flags = ("--namespace", "board.state=true", "--namespace", "board.slow=disconnect")
    with RedisServer(tmp_path) as redis:
        nodes = [gateway_process("--broker", redis.url, *flags, unclean=True) for _ in range(2)]
        await converge([("127.0.0.1", node.edge_port) for node in nodes], editors=6, times=15)
