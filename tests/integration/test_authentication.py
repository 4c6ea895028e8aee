"""Tokens as a user meets them: `ringgate token`, gateways of several processes or nodes, real clients."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from gateway.seldom import QUIET_S
from tests.support.api import metrics, post, request
from tests.support.process import ROOT, GatewayProcess, StartGateway
from tests.support.redis_servers import RedisServer
from tests.support.tokens import claims, forge, jwk, private_pem, public_pem, signer

SECRET = "canary-secret-0123456789abcdef0123456789abcdef"  # noqa: S105 of this test alone
CONFIG = f"""
[auth]
keys = ["HS256:{SECRET}", "RS256/main:file:KEY"]
audience = "ringgate"
cookie = "token"
connect_timeout = "1s"
leeway = "0s"

[namespace.default]
subscribe = "authenticated"

[namespace.room]
subscribe = ["token", "user-owned"]
publish = "subscribers"
"""
WAIT_S = 15.0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("auth")
    (folder / "key.pem").write_bytes(private_pem("rsa"))
    file = folder / "gateway.toml"
    file.write_text(CONFIG.replace("KEY", str(folder / "key.pem")))
    return file


def printed(config: Path, *arguments: str) -> str:
    """Return what `ringgate token` prints."""
    command = [sys.executable, "-m", "gateway", "token", "--config", str(config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30)
    assert done.stderr == ""
    return done.stdout.strip()


def token(user: str, *, lives_s: int = 600, **more: Any) -> str:
    """Return a token of a user, made as any issuer makes them."""
    now = int(time.time())
    payload = {"sub": user, "aud": "ringgate", "iat": now, "exp": now + lives_s, **more}
    return forge({"alg": "HS256", "typ": "JWT"}, payload, signer("HS256", secret=SECRET.encode()))


async def connect(gateway: GatewayProcess, query: str = "", **options: Any) -> ClientConnection:
    return await websockets.connect(gateway.ws_url + query, proxy=None, compression=None, **options)


async def event(client: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(await asyncio.wait_for(client.recv(), WAIT_S)))


async def close_code(client: ClientConnection) -> int:
    """Return the code with which the gateway closes a connection."""
    try:
        while True:
            await asyncio.wait_for(client.recv(), WAIT_S)
    except ConnectionClosed as closed:
        return int(closed.rcvd.code) if closed.rcvd is not None else 1006


def bearer(text: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {text}"}}


async def ask(client: ClientConnection, command: dict[str, Any]) -> dict[str, Any]:
    await client.send(json.dumps({"id": 7, **command}))
    while (answer := await event(client)).get("id") != 7:
        pass
    return answer


# -- one gateway -------------------------------------------------------------------------------


async def test_token_of_the_command_line_lets_in_by_every_way(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config))
    assert "clients    need a token (HS256, RS256)" in gateway.log
    assert "development mode" not in gateway.log
    for kid in ("", "main"):
        made = printed(config, "--user", "ada", *(("--kid", kid) if kid else ()))
        cookie = {"additional_headers": {"Cookie": f"token={made}"}}
        ways: list[tuple[str, dict[str, Any]]] = [("", bearer(made)), (f"?token={made}", {}), ("", cookie)]
        for query, options in ways:
            async with await connect(gateway, query, **options) as client:
                hello = await event(client)
                assert (hello["type"], hello["user"]) == ("hello", "ada")
                assert 3500 < hello["expires"] - time.time() <= 3600
        async with await connect(gateway) as client:
            reply = await ask(client, {"type": "connect", "token": made})
            assert reply["type"] == "reply"


async def test_what_is_not_stated_is_not_allowed_and_a_token_opens_a_channel(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config))
    async with await connect(gateway, **bearer(token("ada"))) as ada:
        assert (await event(ada))["user"] == "ada"
        room, news = {"channel": "room:7"}, {"channel": "news"}
        assert (await ask(ada, {"type": "subscribe", **news}))["type"] == "reply"
        assert (await ask(ada, {"type": "publish", **news, "data": 1}))["code"] == "permission_denied"
        assert (await ask(ada, {"type": "subscribe", **room}))["code"] == "permission_denied"
        assert (await ask(ada, {"type": "publish", **room, "data": 1}))["code"] == "permission_denied"
        for ticket in (token("bob", channel="room:7"), token("ada", channel="room:8")):
            answer = await ask(ada, {"type": "subscribe", **room, "token": ticket})
            assert answer["code"] == "permission_denied"
        ticket = printed(config, "--user", "ada", "--channel", "room:7", "--for", "1m")
        assert (await ask(ada, {"type": "subscribe", **room, "token": ticket}))["type"] == "reply"
        assert (await ask(ada, {"type": "publish", **room, "data": 1}))["type"] == "reply"
        assert (await ask(ada, {"type": "subscribe", "channel": "room:x#bob,ada"}))["type"] == "reply"
        assert (await ask(ada, {"type": "subscribe", "channel": "room:x#bob"}))["code"] == "permission_denied"
    async with await connect(gateway, **bearer(ticket)) as client:
        assert await close_code(client) == 4001


async def test_connection_outlives_its_token_only_if_it_was_renewed(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config))
    short = bearer(token("ada", lives_s=3))
    async with await connect(gateway, **short) as ends, await connect(gateway, **short) as stays:
        reply = await ask(stays, {"type": "connect", "token": token("ada")})
        assert reply["expires"] > time.time() + 300
        assert await close_code(ends) == 4001
        assert (await ask(stays, {"type": "ping"}))["type"] == "reply"
        async with await connect(gateway, **short) as again:
            assert await close_code(again) == 4001


async def test_who_shows_no_token_in_time_is_closed_with_4003(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config))
    begun = time.monotonic()
    async with await connect(gateway) as silent, await connect(gateway) as busy:

        async def talk() -> None:
            with contextlib.suppress(ConnectionClosed):
                for _ in range(9):
                    await busy.send('{"type":"ping"}')
                    await asyncio.sleep(0.3)

        talking = asyncio.create_task(talk())
        assert await close_code(silent) == 4003
        assert await close_code(busy) == 4003
        await talking
    assert time.monotonic() - begun >= 1.0
    assert metrics(gateway)['ringgate_tokens_refused_total{reason="missing"}'] == 2


async def test_no_token_and_no_secret_is_in_any_log_metric_or_answer(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config), "--workers", "2", "--log-level", "debug")
    tokens = [
        token("ada", canary="canary-claim"),
        forge({"alg": "HS256", "kid": "canary-kid"}, claims(canary="canary-claim"), signer("HS256")),
        forge({"alg": "none"}, claims(canary="canary-claim"), lambda data: b"canary"),
    ]
    told = ""
    for made in tokens:
        ways: list[tuple[str, dict[str, Any]]] = [(f"?token={made}", {}), (f"?a;token={made}", bearer(made))]
        for query, options in ways:
            async with await connect(gateway, query, **options) as client:
                with contextlib.suppress(ConnectionClosed):
                    told += str(await event(client))
                    told += str(await ask(client, {"type": "connect", "token": made}))
                    told += str(await ask(client, {"type": "connect", "token": tokens[1]}))
        async with await connect(gateway) as client:
            with contextlib.suppress(ConnectionClosed):
                told += str(await ask(client, {"type": "connect", "token": made}))
    for path in ("/metrics", "/api/connections", "/api/nodes", "/api/channels", "/openapi.json"):
        told += request(gateway.api, "GET", path)[1].decode()
    gateway.stop()
    told += gateway.log
    assert "a token was refused" in told
    for made in tokens:
        for part in made.split("."):
            assert len(part) < 12 or part not in told
    assert "canary" not in told


async def test_bad_tokens_again_and_again_make_one_line_that_says_how_many_it_stands_for(
    gateway_process: StartGateway, config: Path
) -> None:
    gateway = gateway_process("--config", str(config))
    begun = time.monotonic()
    for _ in range(100):
        async with await connect(gateway, "?token=a.b.c") as client:
            assert await close_code(client) == 4001
    refused = {k: v for k, v in metrics(gateway).items() if k.startswith("ringgate_tokens_refused")}
    assert sum(refused.values()) == 100, refused
    gateway.stop()
    assert gateway.log.count("a token was refused") <= 1 + (time.monotonic() - begun) // QUIET_S


# -- keys from elsewhere -------------------------------------------------------------------------


class Issuer(http.server.ThreadingHTTPServer):
    """Publishes a key set, or misbehaves."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.document: dict[str, Any] = {"keys": []}
        self.moved = ""
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/jwks"


class Answering(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self) -> None:
        issuer = self.server
        assert isinstance(issuer, Issuer)
        issuer.asked += 1
        body = json.dumps(issuer.document).encode()
        self.send_response(302 if issuer.moved else 200)
        if issuer.moved:
            self.send_header("Location", issuer.moved)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as the library has it
        """Say nothing."""


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def issued(algorithm: str, kid: str, **more: Any) -> str:
    now = int(time.time())
    return forge({"alg": algorithm, "kid": kid}, claims(iat=now, exp=now + 600, **more), signer(algorithm))


async def test_keys_of_an_issuer_rotate_without_a_restart(
    gateway_process: StartGateway, issuer: Issuer
) -> None:
    issuer.document = {"keys": [jwk("rsa", kid="one")]}
    gateway = gateway_process("--auth-jwks", issuer.url, "--auth-jwks-cooldown", "500ms")
    async with await connect(gateway, **bearer(issued("RS256", "one"))) as client:
        assert (await event(client))["user"] == "ada"
    issuer.document = {"keys": [jwk("p-256", kid="two")]}
    await asyncio.sleep(0.6)
    async with await connect(gateway, **bearer(issued("ES256", "two"))) as client:
        assert (await event(client))["user"] == "ada"
    asked = issuer.asked
    issuer.moved = issuer.url
    for _ in range(20):
        async with await connect(gateway, **bearer(issued("ES256", "three"))) as client:
            assert await close_code(client) == 4001
    assert issuer.asked <= asked + 5  # one for each half second at most
    async with await connect(gateway, **bearer(issued("ES256", "two"))) as client:
        assert (await event(client))["user"] == "ada"


async def test_gateway_whose_issuer_cannot_be_reached_sends_clients_away_to_come_again(
    gateway_process: StartGateway, issuer: Issuer
) -> None:
    issuer.moved = issuer.url
    gateway = gateway_process("--auth-jwks", issuer.url)
    async with await connect(gateway, **bearer(issued("RS256", "one"))) as client:
        assert await close_code(client) == 4101


async def test_reload_takes_other_keys_and_who_is_in_stays(
    gateway_process: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "gateway.toml"
    (tmp_path / "rsa.pem").write_bytes(public_pem("rsa"))
    (tmp_path / "ec.pem").write_bytes(public_pem("p-256"))
    file.write_text(f'[auth]\nkeys = ["RS256:file:{tmp_path}/rsa.pem"]\n')
    gateway = gateway_process("--config", str(file), "--workers", "2")
    async with await connect(gateway, **bearer(issued("RS256", ""))) as stays:
        assert (await event(stays))["user"] == "ada"
        file.write_text(f'[auth]\nkeys = ["ES256:file:{tmp_path}/ec.pem"]\n')
        gateway.popen.send_signal(1)
        deadline = time.monotonic() + WAIT_S
        while gateway.log.count("configuration reloaded") < 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        while True:  # the workers take it a moment later
            async with await connect(gateway, **bearer(issued("RS256", ""))) as client:
                if "hello" not in await first(client):
                    break
            assert time.monotonic() < deadline
        async with await connect(gateway, **bearer(issued("ES256", ""))) as client:
            assert (await event(client))["user"] == "ada"
        assert (await ask(stays, {"type": "ping"}))["type"] == "reply"


async def first(client: ClientConnection) -> str:
    try:
        return str(await asyncio.wait_for(client.recv(), WAIT_S))
    except ConnectionClosed:
        return "closed"


# -- revocation everywhere -----------------------------------------------------------------------


@pytest.fixture(params=["workers", "nodes"])
async def several(
    request: pytest.FixtureRequest, gateway_process: StartGateway, config: Path, tmp_path: Path
) -> AsyncIterator[list[GatewayProcess]]:
    """Two workers, or two nodes on one Redis and one that can be started later."""
    if request.param == "workers":
        gateway = gateway_process("--config", str(config), "--workers", "2")
        yield [gateway, gateway]
        return
    with RedisServer(tmp_path, aof=False) as redis:
        flags = ("--config", str(config), "--broker", redis.url)
        first, second = gateway_process(*flags), gateway_process(*flags)
        yield [first, second]
        later = gateway_process(*flags)
        async with await connect(later, **bearer(token("ada", jti="j-ada"))) as client:
            assert await close_code(client) == 4001
        for gateway in (first, second, later):
            gateway.stop()


async def test_revocation_reaches_every_worker_and_node(several: list[GatewayProcess]) -> None:
    made, other = token("ada", jti="j-ada"), token("bob", jti="j-bob")
    async with contextlib.AsyncExitStack() as stack:

        async def come(gateway: GatewayProcess, shown: str) -> ClientConnection:
            client = await stack.enter_async_context(await connect(gateway, **bearer(shown)))
            assert (await event(client))["type"] == "hello"
            return client

        adas = [await come(gateway, made) for gateway in several * 6]  # on both workers, as good as surely
        bobs = [await come(gateway, other) for gateway in several]
        answer = await asyncio.to_thread(post, several[0], "/api/revoke", {"token": "j-ada"})
        assert answer == {"connections": 12}
        assert {await close_code(client) for client in adas} == {4001}
        for gateway in several * 4:
            async with await connect(gateway, **bearer(made)) as client:
                assert await close_code(client) == 4001
        for bob in bobs:
            assert (await ask(bob, {"type": "ping"}))["type"] == "reply"
        answer = await asyncio.to_thread(post, several[1], "/api/revoke", {"user": "bob"})
        assert answer == {"connections": 2}
        assert {await close_code(client) for client in bobs} == {4001}
