"""SIGHUP with the real command: hooks, routes, origins; what cannot change; broken files."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from gripcontrol import GripPubControl, WebSocketMessageFormat, validate_sig
from pubcontrol import Item
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.api import get, metrics
from tests.support.app_service import AppService, says
from tests.support.grip import GRIP, GripService, control, text
from tests.support.grip import echo as grip_echo
from tests.support.process import GatewayProcess, StartGateway
from tests.support.waiting import until


class Site:
    """A gateway, its file, and how often it was read again."""

    def __init__(self, gateway: GatewayProcess, file: Path) -> None:
        self.gateway = gateway
        self.file = file
        self._reloads = 0

    async def reload(self, text: str, said: str = "configuration reloaded") -> None:
        before = self.gateway.log.count(said)
        self.file.write_text(text)
        os.kill(self.gateway.pid, signal.SIGHUP)
        await until(lambda: self.gateway.log.count(said) > before)

    async def info(self) -> Any:
        return (await asyncio.to_thread(get, self.gateway, "/api/info"))["config"]


async def ask(client: ClientConnection, **command: Any) -> Any:
    await client.send(json.dumps({"id": 1, **command}))
    while True:
        event = json.loads(await asyncio.wait_for(client.recv(), 20))
        if event.get("id") == 1:
            return event


async def is_refused(gateway: GatewayProcess, origin: str) -> bool:
    try:
        async with connect(gateway.ws_url, origin=origin):  # type: ignore[arg-type]
            return False
    except InvalidStatus as problem:
        return problem.response.status_code == 403


async def echo(socket: ServerConnection) -> None:
    async for message in socket:
        await socket.send(message)


def configured(service: AppService, more: str = "", **upstream: str) -> str:
    lines = "".join(f"{name} = {value}\n" for name, value in upstream.items())
    return (
        f'[upstream.app]\naddresses = ["{service.url}"]\n{lines}'
        f'[hooks]\ncall = "app/call"\nsecrets = ["hush"]\n{more}'
    )


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_services_routes_and_origins_change_while_clients_stay(
    workers: str, gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("")
    gateway = gateway_process("--config", str(file), "--workers", workers)
    site = Site(gateway, file)
    async with (
        AppService(says({"payload": "one"})) as one,
        AppService(says({"payload": "two"})) as two,
        serve(echo, "127.0.0.1", 0) as behind,
        connect(gateway.ws_url) as client,
    ):
        port = next(iter(behind.sockets)).getsockname()[1]
        assert (await ask(client, type="call", method="m"))["code"] == "permission_denied"
        first = await site.info()
        assert (first["reloads"], first["needs_restart"]) == (0, [])

        # Once the log says so, the new configuration holds in every worker: nothing below is tried again.
        await site.reload(configured(one))
        assert (await ask(client, type="call", method="m"))["payload"] == "one"
        assert (await site.info())["hash"] != first["hash"]

        ws = f'[upstream.ws]\naddresses = ["ws://127.0.0.1:{port}"]\n'
        route = f'[route.echo]\npath = "/chat"\nupstream = "ws"\nmove_within = "1s"\n{ws}'
        await site.reload(configured(one, route))

        for _ in range(10):
            async with connect(f"ws://{gateway.edge}/chat") as passed:
                await passed.send("hi")
                assert await passed.recv() == "hi"
        assert (await ask(client, type="call", method="m"))["payload"] == "one"
        (group,) = [
            group
            for group in (await asyncio.to_thread(get, gateway, "/api/upstreams"))["upstreams"]
            if group["name"] == "app" and group["targets"][0]["requests"]
        ]
        assert group["targets"][0]["requests"]["ok"] >= 2, "what did not change keeps what it knows"

        held = await connect(f"ws://{gateway.edge}/chat")
        origin = '[websocket]\norigins = ["https://a.example"]\n'
        await site.reload(configured(two, origin))
        assert (await ask(client, type="call", method="m"))["payload"] == "two"
        for _ in range(10):
            assert await is_refused(gateway, "http://b.example")
            assert not await is_refused(gateway, "https://a.example")
            with pytest.raises(InvalidStatus):
                await connect(f"ws://{gateway.edge}/chat")
        await held.wait_closed()
        assert held.close_code == 1012, "the route is gone, and so are its clients in their time"
        assert (await ask(client, type="ping"))["type"] == "reply"


async def test_broken_file_changes_nothing_and_what_needs_a_restart_is_named(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    async with AppService(says({"payload": "one"})) as service:
        file.write_text(configured(service))
        gateway = gateway_process("--config", str(file))
        site = Site(gateway, file)
        async with connect(gateway.ws_url) as client:
            for wrong in (
                "[hooks",
                configured(service).replace("app/call", "gone/call"),
                configured(service, timeout='"soon"'),
                configured(service, "hash_by = 'header:x'"),
            ):
                before = await site.info()
                await site.reload(wrong, said="the configuration was not reloaded")
                after = await site.info()
                assert after == {**before, "failed_reloads": before["failed_reloads"] + 1}
                assert (await ask(client, type="call", method="m"))["payload"] == "one"
            more = '[server]\nbacklog = 7\n[redis]\nlease = "20s"\n'
            await site.reload(configured(service, 'message = "app/message"\n' + more))
            info = await site.info()
            assert info["needs_restart"] == ["server.backlog", "redis.lease"]
            assert "redis.lease cannot change while the gateway runs: restart it" in gateway.log
            assert (await ask(client, type="send", data=1))["payload"] == "one"
            shown = await asyncio.to_thread(metrics, gateway)
            assert shown[f'ringgate_config_info{{hash="{info["hash"]}"}}'] == 1
            assert shown['ringgate_config_reloads_total{outcome="failed"}'] == 4
            assert shown['ringgate_config_reloads_total{outcome="taken"}'] == 1
            assert shown["ringgate_config_needs_restart"] == 2


OLD, NEW = "an-old-key-of-tests-0123456789abcdef", "a-new-key-of-tests-0123456789abcdef"


def speaking(key: str, *routes: tuple[str, str, str], channels: str = "grip:") -> str:
    """A file with routes (name, path, address) that speak GRIP."""
    lines = [f'[grip]\nkeys = ["{key}"]\nchannels = "{channels}"\npatience = 0.5']
    for name, path, url in routes:
        lines.append(f'[upstream.{name}]\naddresses = ["{url}"]\n[route.{name}]\npath = "{path}"')
        lines.append(f'upstream = "{name}"\nprotocol = "grip"')
    return "\n".join(lines)


def greeting() -> GripService:
    """A GRIP service whose clients hear `room`, and get back what they say."""
    service = GripService(lambda events: [text("m:" + event.content.decode()) for event in grip_echo(events)])
    service.headers = GRIP
    service.opens = (control('{"type":"subscribe","channel":"room"}'), text("m:welcome"))
    return service


def signers(service: GripService) -> set[str]:
    """With which keys the last request was signed."""
    shown = service.heard[-1].headers["Grip-Sig"]
    return {key for key in (OLD, NEW) if validate_sig(shown, key)}


async def enter(gateway: GatewayProcess, path: str) -> ClientConnection:
    client = await connect(f"ws://{gateway.edge}{path}")
    assert await client.recv() == "welcome"
    return client


async def is_gone(gateway: GatewayProcess, path: str) -> None:
    """Hold that no worker knows a path."""
    for _ in range(10):
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://{gateway.edge}{path}")
        assert refused.value.response.status_code == 404


async def publish(gateway: GatewayProcess, key: str, content: str) -> None:
    publisher = GripPubControl({"control_uri": gateway.api_url, "control_iss": "x", "key": key})
    await asyncio.to_thread(publisher.publish, "room", Item(WebSocketMessageFormat(content)), True)
    await asyncio.to_thread(publisher.close)


async def says_again(client: ClientConnection, what: str) -> None:
    await client.send(what)
    assert await client.recv() == what


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_routes_and_keys_of_grip_change_while_clients_stay(
    workers: str, gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "ringgate.toml"
    file.write_text("")
    gateway = await asyncio.to_thread(gateway_process, "--config", str(file), "--workers", workers)
    site = Site(gateway, file)
    async with greeting() as one, greeting() as two:
        await site.reload(speaking(OLD, ("one", "/one/*", one.url)))
        first = await enter(gateway, "/one/x")
        assert signers(one) == {OLD}
        await publish(gateway, OLD, "with the old key")
        assert await first.recv() == "with the old key"
        routes = (("one", "/moved/*", one.url), ("two", "/two/*", two.url))
        await site.reload(speaking(NEW, *routes, channels="else:"), "grip.channels cannot change")
        await is_gone(gateway, "/one/x")
        second, third = await enter(gateway, "/moved/x"), await enter(gateway, "/two/x")
        with pytest.raises(Exception, match="401"):
            await publish(gateway, OLD, "with a key that is gone")
        await publish(gateway, NEW, "with the new key")
        assert {await client.recv() for client in (first, second, third)} == {"with the new key"}
        await says_again(first, "still there")
        assert signers(one) == signers(two) == {NEW}
        shown = await asyncio.to_thread(metrics, gateway)
        assert shown['ringgate_grip_connections{route="two"}'] == 1
        await site.reload(speaking(NEW, ("two", "/two/*", two.url)))
        await is_gone(gateway, "/moved/x")
        await says_again(third, "of a route that stays")
        await first.send("to a service that is gone")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(first.recv(), 30)
        assert first.close_code == 1012
        await asyncio.gather(second.close(), third.close())
