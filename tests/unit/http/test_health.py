"""Health: always an answer, in time, whatever the node does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from gateway.errors import BrokerUnavailableError

from .fakes import FakeNode, http_client


class SilentNode(FakeNode):
    async def ready(self) -> tuple[bool, Mapping[str, object]]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_live_does_not_ask_the_node() -> None:
    node = SilentNode()
    async with http_client(node) as client:
        response = await client.get("/health/live")
    assert (response.status_code, response.json(), node.calls) == (200, {"status": "ok"}, [])


@pytest.mark.parametrize(("ready", "status", "word"), [(True, 200, "ready"), (False, 503, "not_ready")])
async def test_ready_tells_what_the_node_tells(ready: bool, status: int, word: str) -> None:
    node = FakeNode()
    node.is_ready = (ready, {"draining": not ready, "probe_s": 0.5})
    async with http_client(node) as client:
        response = await client.get("/health/ready")
    assert response.status_code == status
    assert response.json() == {"status": word, "details": {"draining": not ready, "probe_s": 0.5}}


@pytest.mark.parametrize("error", [BrokerUnavailableError("at 10.0.0.7"), RuntimeError("at 10.0.0.7")])
async def test_ready_is_no_when_the_node_fails(error: Exception) -> None:
    node = FakeNode()
    node.error = error
    async with http_client(node) as client:
        response = await client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "not_ready")
    assert "10.0.0.7" not in response.text


async def test_ready_is_no_when_the_node_does_not_answer() -> None:
    async with http_client(SilentNode(), ready_timeout_s=0.05) as client, asyncio.timeout(5):
        response = await client.get("/health/ready")
    assert (response.status_code, response.json()["status"]) == (503, "not_ready")
