"""API keys and revocation by the real commands: made, configured, used, changed, taken away."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.integration.test_serve import run
from tests.support.api import request
from tests.support.process import GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.tokens import SECRET, make
from tests.support.waiting import until


def new_key(*arguments: str) -> tuple[str, str]:
    """Return a key of `ringgate key`, and what the configuration says of it."""
    shown = run("key", *arguments).stdout
    return re.findall(r"rgk_\S+", shown)[0], shown[shown.index("[apikey") :]


def status(gateway: GatewayProcess, key: str, path: str, body: object = None) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    return request(gateway.api, "GET" if data is None else "POST", path, data, headers)[0]


async def test_key_of_the_command_is_good_for_its_part_until_it_is_taken_away(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    shop, configured = new_key("shop", "--scopes", "publish", "--channels", "shop:*")
    ops, more = new_key("ops", "--scopes", "admin")
    file = tmp_path / "ringgate.toml"
    file.write_text(configured + more)
    gateway = gateway_process("--config", str(file), "--workers", "2")
    publish = {"channel": "shop:1", "data": 1}
    assert status(gateway, shop, "/api/publish", publish) == 200
    assert status(gateway, shop, "/api/publish", {**publish, "channel": "news"}) == 403
    assert status(gateway, shop, "/api/nodes") == 403
    assert status(gateway, ops, "/api/nodes") == 200
    done = run("publish", "shop:1", "1", "--api", gateway.api_url, "--api-key", shop)
    assert done.returncode == 0, done.stderr
    refused = run("publish", "news", "1", "--api", gateway.api_url, "--api-key", shop)
    assert "is only for the channels `shop:*`" in refused.stderr
    hashed = re.findall(r"sha256:\w+", configured)[0]
    assert "is the hash of an API key" in run("publish", "a", "1", "--api-key", hashed).stderr

    newer, again = new_key("shop", "--scopes", "publish")
    file.write_text(again + more)
    os.kill(gateway.pid, signal.SIGHUP)
    await until(lambda: "configuration reloaded" in gateway.log)
    assert status(gateway, shop, "/api/publish", publish) == 401
    assert status(gateway, newer, "/api/publish", publish) == 200
    for secret in (shop, newer, ops):
        assert secret not in gateway.log


# -- revocation -----------------------------------------------------------------------------------


def flags(*more: str) -> list[str]:
    rules = ["--namespace", "default.subscribe=authenticated"]
    return ["--auth-keys", f"HS256:{SECRET.decode()}", *rules, *more]


def revoke(gateway: GatewayProcess, *arguments: str) -> Any:
    done = run("revoke", *arguments, "--api", gateway.api_url)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def come_in(gateway: GatewayProcess, token: str) -> ClientConnection:
    client = await connect(f"{gateway.ws_url}?token={token}")
    first = json.loads(await asyncio.wait_for(client.recv(), 20))
    assert first["type"] == "hello"
    return client


async def turned_away(gateway: GatewayProcess, token: str) -> bool:
    async with connect(f"{gateway.ws_url}?token={token}") as client:
        try:
            await asyncio.wait_for(client.recv(), 20)
        except ConnectionClosed:
            assert client.close_code == 4001
            return True
        return False


async def test_command_revokes_on_every_node_of_a_cluster(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    with RedisServer(tmp_path) as redis:
        await revoke_everywhere(gateway_process, redis)


async def revoke_everywhere(gateway_process: StartGateway, redis: RedisServer) -> None:
    one = gateway_process(*flags("--broker", redis.url))
    two = gateway_process(*flags("--broker", redis.url, "--workers", "2"))
    now = int(time.time())
    user, login, token = (
        make(sub=name, jti=f"j{n}", sid=f"s{n}", iat=now - 5, exp=now + 600)
        for n, name in enumerate(("ada", "bob", "eve"), 1)
    )
    clients = [await come_in(gateway, shown) for gateway in (one, two) for shown in (user, login, token)]
    assert json.loads(await asyncio.to_thread(revoke, one, "--user", "ada")) == {"connections": 2}
    assert json.loads(await asyncio.to_thread(revoke, two, "--session", "s2")) == {"connections": 2}
    assert json.loads(await asyncio.to_thread(revoke, one, "--token", token, "--for", "1h")) == {
        "connections": 2
    }
    for client in clients:
        await asyncio.wait_for(client.wait_closed(), 20)
        assert client.close_code == 4001
    for gateway in (one, two):
        for shown in (user, login, token):
            assert await turned_away(gateway, shown)
        listed = (await asyncio.to_thread(revoke, gateway, "--list")).splitlines()
        assert [line.split()[:2] for line in listed] == [["token", "j3"], ["login", "s2"], ["user", "ada"]]


def test_what_cannot_be_revoked_is_told(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    for arguments in (["--user", "ada"], ["--list"]):
        done = run("revoke", *arguments, "--api", gateway.api_url)
        assert (done.returncode, "no tokens are asked for here" in done.stderr) == (1, True)
    assert "has no jti" in run("revoke", "--token", make(sub="ada")).stderr
    for arguments in ([], ["--user", "a", "--token", "b"]):
        assert run("revoke", *arguments).returncode == 2
