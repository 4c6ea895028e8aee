"""Where libraries of GRIP publish: who may, what becomes of the items, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from gateway.errors import BrokerUnavailableError
from gateway.http.gateway_view import GripOptions, NamedKeys
from gateway.message.filters import Terms

from .fakes import FakeNode, http_client

OPEN = GripOptions(prefix="grip:")
SIGNED = GripOptions(prefix="grip:", verifies=lambda shown: shown == "good")


def item(channel: str = "a", **message: Any) -> dict[str, Any]:
    return {"channel": channel, "formats": {"ws-message": message or {"content": "x"}}}


async def publish(
    *items: object, grip: GripOptions | None = OPEN, headers: dict[str, str] | None = None, **options: Any
) -> tuple[httpx.Response, FakeNode]:
    node = FakeNode()
    async with http_client(node, grip=grip, **options) as client:
        response = await client.post("/publish/", json={"items": items}, headers=headers)
    return response, node


def channels(node: FakeNode) -> list[tuple[str, str]]:
    return [(name, arguments["channel"]) for name, arguments in node.calls]


@pytest.mark.parametrize("path", ["/publish", "/publish/"])
async def test_items_are_carried_out_in_order(path: str) -> None:
    node = FakeNode()
    async with http_client(node, grip=OPEN) as client:
        body = {
            "items": [item("a"), item("b", action="close", code=4000), item("a", **{"content-bin": "/w=="})]
        }
        response = await client.post(path, json=body)
    assert (response.status_code, response.text) == (200, "Published\n")
    assert node.calls == [
        ("publish", {"channel": "grip:a", "data": b'"x"', "binary": False, "key": "", "exclude": ""}),
        ("close_bare", {"channel": "grip:b", "code": 4000, "reason": "", "exclude": ""}),
        ("publish", {"channel": "grip:a", "data": b"\xff", "binary": True, "key": "", "exclude": ""}),
    ]


async def test_what_filters_compare_goes_along() -> None:
    meta = {"meta": {"sender": "ada"}}
    _, node = await publish(item() | meta, item(action="close") | meta)
    assert [arguments["exclude"] for _, arguments in node.calls] == [Terms(sender="ada").written()] * 2


async def test_nothing_is_there_where_no_route_speaks_grip() -> None:
    response, node = await publish(item(), grip=None)
    assert (response.status_code, node.calls) == (404, [])


async def test_one_item_that_makes_no_sense_stops_all() -> None:
    response, node = await publish(item(), item("no such"))
    assert (response.status_code, response.json()["error"]["code"], node.calls) == (400, "bad_request", [])
    response, _ = await publish(*[item()] * 1001)
    assert response.status_code == 400


async def test_what_the_broker_says_is_told() -> None:
    node = FakeNode()
    node.error = BrokerUnavailableError("gone")
    async with http_client(node, grip=OPEN) as client:
        assert (await client.post("/publish/", json={"items": [item()]})).status_code == 503


@pytest.mark.parametrize(
    ("shown", "status"),
    [("Bearer good", 200), ("bearer good", 200), ("Bearer bad", 401), ("Basic good", 401), ("", 401)],
)
async def test_a_token_is_needed_where_there_are_secrets(shown: str, status: int) -> None:
    response, node = await publish(item(), grip=SIGNED, headers={"Authorization": shown} if shown else None)
    assert (response.status_code, len(node.calls)) == (status, int(status == 200))


@pytest.mark.parametrize(
    ("shown", "status"),
    [("good", 200), ("all", 200), ("publishing", 200), ("reading", 403), ("other", 401), ("room", 200)],
)
async def test_an_api_key_does_as_well_if_it_is_for_that(shown: str, status: int) -> None:
    named = (NamedKeys("room", ("room",), ("publish",), ("grip:*",)),)
    keys = {"keys": ("all",), "publish_keys": ("publishing",), "read_keys": ("reading",), "named_keys": named}
    response, _ = await publish(item(), grip=SIGNED, headers={"Authorization": f"Bearer {shown}"}, **keys)
    assert response.status_code == status


async def test_a_key_for_other_channels_publishes_nothing() -> None:
    named = (NamedKeys("room", ("room",), ("publish",), ("grip:a",)),)
    headers = {"Authorization": "Bearer room"}
    response, node = await publish(item("a"), item("b"), headers=headers, named_keys=named)
    assert (response.status_code, node.calls) == (403, [])


async def test_a_token_is_for_nothing_else() -> None:
    node = FakeNode()
    async with http_client(node, grip=SIGNED, keys=("all",)) as client:
        headers = {"Authorization": "Bearer good"}
        for path in ("/api/channels", "/api/connections", "/publish/more", "/publish/../api/channels"):
            assert (await client.get(path, headers=headers)).status_code == 401
    assert node.calls == []


async def test_web_pages_are_kept_out_with_and_without_secrets() -> None:
    for grip in (OPEN, SIGNED):
        headers = {"Origin": "https://evil.example"}
        assert (await publish(item(), grip=grip, headers=headers))[0].status_code in {401, 403}
        rebound = {"Host": "evil.example"}
        assert (await publish(item(), grip=grip, headers=rebound))[0].status_code in {401, 403}
    as_form = json.dumps({"items": [item()]}).encode()
    async with http_client(FakeNode(), grip=OPEN) as client:
        assert (await client.post("/publish/", content=as_form)).status_code == 415
