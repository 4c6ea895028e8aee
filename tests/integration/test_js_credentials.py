"""The JavaScript client with tokens that end and with calls: in Node, with a gateway and an app service."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from gateway import Gateway
from tests.support.app_service import AppService, Heard, hangs, says
from tests.support.tokens import SECRET, make

SCRIPT = Path(__file__).parents[1] / "clients" / "credentials.mjs"
TOKEN_S = 4


def config_for(service: AppService) -> dict[str, Any]:
    return {
        "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
        "auth": {"keys": [f"HS256:{SECRET.decode()}"], "leeway": "0s"},
        "namespace": {"room": {"subscribe": "authenticated", "publish": "authenticated"}},
        "upstream": {"app": {"addresses": [service.url]}},
        "hooks": {"call": "app/call", "secrets": ["hush"]},
    }


async def serve(heard: Heard) -> Any:
    """Add, hang or refuse, as the method says."""
    method, payload = heard.json["method"], heard.json.get("payload")
    if method == "hang":
        return await hangs(heard)
    if method == "refuse":
        return await says({"refuse": {"code": "limit_exceeded", "message": "the cart is full"}})(heard)
    return await says({"payload": payload["a"] + payload["b"]})(heard)


async def test_tokens_are_renewed_before_they_end_and_calls_are_answered(node: str) -> None:
    async with AppService(serve) as service, Gateway(config_for(service)) as gateway:
        now = int(time.time())
        tokens = [make(iat=now, exp=now + TOKEN_S), make(iat=now, exp=now + 3600)]
        settings = {"url": gateway.ws_url, "tokens": tokens, "bad": make(iat=now - 20, exp=now - 10)}
        process = await asyncio.create_subprocess_exec(
            node, str(SCRIPT), json.dumps(settings), stdout=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(40):
                told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    outcome = json.loads(told)
    assert (outcome["sum"], outcome["after"], outcome["user"]) == (3, 4, "ada")
    assert outcome["aborted"] == ["aborted", True]
    assert outcome["refused"] == ["limit_exceeded", "the cart is full"]
    assert outcome["asked"] == 2
    assert outcome["told"] == [
        "connecting",
        "online",
        "offline",
    ]  # one connection, to the application's own end
    assert outcome["bad"]["code"] in {4001, "unauthorized"}
