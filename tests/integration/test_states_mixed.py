"""Python and JavaScript clients edit one state at once, through cuts, killed and restarted gateways.

In the end every copy, and the gateways' own, are equal; each edit was carried out once, and nobody was told a
version that somebody else was told.  Half of the clients speak another encoding than JSON.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gateway.client import Client, Conflict, Options, Patched, State, StateSet
from gateway.client.codecs import EncodingName
from tests.chaos.proxy import FaultProxy
from tests.support.api import request
from tests.support.guests import Ask, Report, node_process
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer

QUICK = Options(backoff_first=0.02, backoff_most=0.2, close_timeout=0.5)
# A patch is kept for a second, and no more than eight are: who comes back later gets a `state`.
FLAGS = tuple(
    part
    for option in ("state=true", "slow=disconnect", "presence=false", "history_size=8", "history_ttl=1s")
    for part in ("--namespace", f"board.{option}")
)
NODE = ("--redis-lease", "2s", "--redis-check-interval", "1s")
ENCODINGS: tuple[EncodingName, ...] = ("json", "msgpack", "protobuf")
BOARD = "board:1"
PYTHONS = NODES = 3
TIMES = 12
WITHIN_S = 40.0


class PythonEditor:
    """Edits at random; what it writes last under its own name stays."""

    def __init__(self, number: int, url: str) -> None:
        self.name = f"py{number}"
        self.dice = random.Random(number)  # noqa: S311
        self.client = Client(url, encoding=ENCODINGS[number % len(ENCODINGS)], options=QUICK)
        self.state: State = self.client.state(BOARD)
        self.made: list[asyncio.Future[int]] = []
        self.conflicts: list[Conflict] = []
        self.patches: list[Patched] = []
        self.states: list[StateSet] = []
        self.state.on_conflict(self.conflicts.append)
        self.client.subscribe(
            BOARD, on_message=print, on_patch=self.patches.append, on_state=self.states.append
        )
        self.client.connect()

    async def edit(self, times: int) -> None:
        for n in range(times):
            shared = {self.dice.choice("xyz"): self.dice.choice([None, n, {self.name: n, "deep": [n]}])}
            self.made.append(self.state.update({self.name: n, **shared}))
            await asyncio.sleep(self.dice.uniform(0, 0.03))


@dataclass
class Stage:
    """Gateways, a proxy for each editor, and the editors."""

    proxies: list[FaultProxy]
    pythons: list[PythonEditor]
    ask: Ask
    dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311

    async def report(self) -> list[Report]:
        reports: list[Report] = (await self.ask({"op": "report"}))["editors"]
        return reports

    async def edit(self, meanwhile: Callable[[], Awaitable[None]]) -> None:
        """Have all of them edit, twice, through bad connections; the first time `meanwhile` happens, too."""
        for turn in range(2):
            await self.ask({"op": "edit"})
            edits = [editor.edit(TIMES) for editor in self.pythons]
            await asyncio.gather(*edits, self.disturb(), *([meanwhile()] if turn == 0 else []))

    async def disturb(self) -> None:
        for _ in range(6):
            await asyncio.sleep(0.05)
            proxy = self.dice.choice(self.proxies)
            self.dice.choice((proxy.cut, partial(proxy.tear, "down", 1), partial(proxy.tear, "up", 1)))()

    async def keep_away(self, proxies: list[FaultProxy], seconds: float) -> None:
        """Keep some of them away for longer than patches are kept."""
        for proxy in proxies:
            proxy.refusing = True
            proxy.cut()
        await asyncio.sleep(seconds)
        for proxy in proxies:
            proxy.refusing = False

    async def copies(self) -> list[tuple[int, str]]:
        """Return version and value of every copy, once nothing is under way; else nothing."""
        reports = await self.report()
        if any(report["open"] or report["pending"] for report in reports):
            return []
        if any(e.state.pending or not all(made.done() for made in e.made) for e in self.pythons):
            return []
        copies = [(r["confirmed"]["version"], r["confirmed"]["value"], r["value"]) for r in reports]
        for editor in self.pythons:
            at = editor.state.position
            copies.append((at.offset if at else -1, editor.state.confirmed, editor.state.value))
        assert all(confirmed == shown for _, confirmed, shown in copies), "nothing is pending"
        return [(version, json.dumps(value, sort_keys=True)) for version, value, _ in copies]

    async def converge(self, gateways: list[GatewayProcess]) -> tuple[int, Any]:
        """Wait until all copies are that of the gateways; return version and value."""
        copies: list[tuple[int, str]] = []
        deadline = asyncio.get_running_loop().time() + WITHIN_S
        while True:
            copies = await self.copies()
            state = await asyncio.to_thread(read_state, gateways[0])
            if copies and set(copies) == {(state["version"], json.dumps(state["data"], sort_keys=True))}:
                break
            assert asyncio.get_running_loop().time() < deadline, f"no convergence: {state} {copies}"
            await asyncio.sleep(0.05)
        for gateway in gateways[1:]:
            assert await asyncio.to_thread(read_state, gateway) == state
        return state["version"], state["data"]

    async def check(self, gateways: list[GatewayProcess], *, one_life: bool = True) -> None:
        version, value = await self.converge(gateways)
        reports = await self.report()
        assert [report["failed"] for report in reports] == [[]] * len(reports)
        names = [*(editor.name for editor in self.pythons), *(report["name"] for report in reports)]
        assert {name: value.get(name) for name in names} == dict.fromkeys(names, TIMES - 1)
        if one_life:
            mine = [await made for editor in self.pythons for made in editor.made]
            # JavaScript sends edits that wait as one, which has one version.
            theirs = [v for report in reports for v in sorted(set(report["versions"]))]
            assert sorted(mine + theirs) == list(range(1, version + 1)), "each was carried out once"
        ours, others = (
            sum(len(editor.conflicts) for editor in self.pythons),
            sum(report["conflicts"] for report in reports),
        )
        # In the little that is left after a restart, perhaps nobody of one language meets anybody.
        assert (min if one_life else max)(ours, others) > 0
        # Beside the first state each was sent patches, and some a state when they came back.
        assert all(editor.patches for editor in self.pythons)
        assert all(report["patches"] for report in reports)
        returned = sum(len(e.states) for e in self.pythons) + sum(report["states"] for report in reports)
        assert returned > len(names), "nobody was away for so long that its patches were gone"


def read_state(gateway: GatewayProcess) -> Report:
    _, body = request(gateway.api, "GET", f"/api/channels/{BOARD}/state")
    state: Report = json.loads(body)
    return state


@asynccontextmanager
async def staged(node: str, ports: list[int]) -> AsyncIterator[Stage]:
    """Three editors of each language, each behind a proxy of its own, in turn at each of the gateways."""
    async with AsyncExitStack() as stack:
        proxies = [FaultProxy(("127.0.0.1", ports[n % len(ports)]), seed=n) for n in range(PYTHONS + NODES)]
        for proxy in proxies:
            await proxy.start()
            stack.push_async_callback(proxy.close)
        urls = [f"ws://{proxy.address}/ws" for proxy in proxies]
        pythons = [PythonEditor(number, url) for number, url in enumerate(urls[:PYTHONS])]
        for editor in pythons:
            stack.push_async_callback(editor.client.close)
        settings = json.dumps({"urls": urls[PYTHONS:], "board": BOARD, "times": TIMES})
        ask = await stack.enter_async_context(node_process(node, "editors.mjs", settings))
        stage = Stage(proxies, pythons, ask)
        async with asyncio.timeout(WITHIN_S):
            for editor in pythons:
                await editor.state.ready()
            while any(r["confirmed"]["version"] < 0 for r in await stage.report()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        yield stage


async def test_mixed_writers_of_one_gateway_converge(gateway_process: StartGateway, node: str) -> None:
    gateway = gateway_process(*FLAGS)
    async with staged(node, [gateway.edge_port]) as stage:
        await stage.edit(lambda: stage.keep_away(stage.proxies[::2], 1.5))
        await stage.check([gateway])


async def test_mixed_writers_converge_in_the_new_life_after_a_restart(
    gateway_process: StartGateway, node: str
) -> None:
    gateway = gateway_process(*FLAGS, unclean=True)
    again: list[GatewayProcess] = []

    async def restart() -> None:
        await asyncio.to_thread(gateway.stop, signal.SIGKILL)
        again.append(await asyncio.to_thread(gateway_process, *FLAGS, "--listen", gateway.edge, unclean=True))

    async with staged(node, [gateway.edge_port]) as stage:
        await stage.edit(restart)
        await stage.check(again, one_life=False)


async def test_mixed_writers_on_two_nodes_converge_although_one_is_killed(
    gateway_process: StartGateway, node: str, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        flags = ("--broker", redis.url, *NODE, *FLAGS)
        first, second = (gateway_process(*flags, unclean=True) for _ in range(2))
        async with staged(node, [first.edge_port, second.edge_port]) as stage:

            async def kill() -> None:
                await asyncio.to_thread(first.stop, signal.SIGKILL)
                for proxy in stage.proxies[:2]:  # one of each node, for whom it does not come back
                    proxy.target = ("127.0.0.1", second.edge_port)
                await asyncio.sleep(1.2)
                again.append(
                    await asyncio.to_thread(gateway_process, *flags, "--listen", first.edge, unclean=True)
                )

            again = [second]
            await stage.edit(kill)
            await stage.check(again)
