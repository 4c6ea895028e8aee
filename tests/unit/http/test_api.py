"""The operations: what reaches the node, byte for byte, and what is answered."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from gateway.broker.interface import HistoryPage, PublishResult
from gateway.broker.outbox import Wanted
from gateway.draining import Drain
from gateway.errors import BrokerUnavailableError, CommandError, OutcomeUnknownError, StaleVersionError
from gateway.message.publication import Position

from .fakes import FakeNode, http_client, publication

JSON = {"content-type": "application/json"}


async def post(node: FakeNode, path: str, body: bytes, **options: Any) -> httpx.Response:
    async with http_client(node, **options) as client:
        return await client.post(path, content=body, headers=JSON)


async def get(node: FakeNode, path: str) -> httpx.Response:
    async with http_client(node) as client:
        return await client.get(path)


def error_code(response: httpx.Response) -> str:
    """The error's code, once it is certain that the answer has the one form of errors and nothing else."""
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    return str(body["error"]["code"])


@pytest.mark.parametrize(
    "text",
    [
        b'{ "b":1,\t"a" : 1.0e5 }',
        b'"\\u00e9 \xc3\xa9 \xf0\x9f\x98\x80"',
        b"12345678901234567890123456789",
        b"0.10000000000000000001",
        b'{"a":1,"a":2}',
        b"[ ]",
        b"null",
        b'{"a":\r\n [true , false]}',
    ],
)
async def test_publish_json_reaches_the_node_byte_for_byte(text: bytes) -> None:
    node = FakeNode()
    response = await post(node, "/api/publish", b'{"channel":"chat:1", "data": ' + text + b' , "key":"k"}')
    assert (response.status_code, response.json()) == (200, {"epoch": "e1", "offset": 1})
    arguments = {"channel": "chat:1", "data": text, "binary": False, "key": "k", "exclude": ""}
    assert node.calls == [("publish", arguments)]


async def test_publish_base64_reaches_the_node_as_bytes() -> None:
    node = FakeNode()
    payload = bytes(range(256))
    body = b'{"channel":"a","data64":"' + base64.b64encode(payload) + b'","exclude":"c9"}'
    assert (await post(node, "/api/publish", body)).status_code == 200
    assert node.calls[0][1] == {
        "channel": "a", "data": payload, "binary": True, "key": "", "exclude": "c9",
    }  # fmt: skip


async def test_publish_with_a_known_key_says_duplicate() -> None:
    response = await post(FakeNode(), "/api/publish", b'{"channel":"a","data":1,"key":"again"}')
    assert response.json() == {"epoch": "e1", "offset": 1, "duplicate": True}


async def test_update_reaches_the_node_byte_for_byte_and_tells_the_version() -> None:
    node = FakeNode()
    body = b'{"channel":"doc:1","base":3,"patch":{ "a" : 1.50, "b":null },"epoch":"e1","key":"k"}'
    response = await post(node, "/api/update", body)
    assert (response.status_code, response.json()) == (200, {"epoch": "e1", "version": 4})
    patch = b'{ "a" : 1.50, "b":null }'
    arguments = {"channel": "doc:1", "patch": patch, "base": Position("e1", 3), "key": "k"}
    assert node.calls == [("update", arguments)]
    response = await post(node, "/api/update", b'{"channel":"doc:1","base":3,"patch":1,"key":"again"}')
    assert response.json() == {"epoch": "e1", "version": 4, "duplicate": True}


async def test_update_on_an_old_version_is_answered_with_the_state() -> None:
    node = FakeNode()
    node.errors["doc:1"] = StaleVersionError("e2", 0, b'{ "a" : 1.0 }')
    response = await post(node, "/api/update", b'{"channel":"doc:1","base":3,"patch":{}}')
    assert response.status_code == 409
    error = {"code": "stale_version", "message": "the current version is 0"}
    assert response.json() == {"error": {**error, "epoch": "e2", "version": 0, "data": {"a": 1.0}}}
    assert b'{ "a" : 1.0 }' in response.content
    command = b'{"method":"update","channel":"doc:1","base":3,"patch":{}}'
    other = b'{"method":"update","channel":"doc:2","base":3,"patch":{}}'
    response = await post(node, "/api/batch", b'{"commands":[' + command + b"," + other + b"]}")
    first, second = response.json()["results"]
    assert (first["error"]["version"], second) == (0, {"epoch": "e1", "version": 4})


@pytest.mark.parametrize(
    "body",
    [
        b'{"channel":"a","patch":{}}',
        b'{"channel":"a","base":0}',
        b'{"channel":"a","base":-1,"patch":{}}',
        b'{"channel":"a","base":9007199254740992,"patch":{}}',
        b'{"channel":"a","base":1.5,"patch":{}}',
        b'{"channel":"a","base":0,"patch":NaN}',
        b'{"channel":"a","base":0,"patch":"\\ud800"}',
        b'{"channel":"a","base":0,"patch":' + b'{"a":' * 65 + b"1" + b"}" * 65 + b"}",
        b'{"channel":"a","base":0,"patch":{},"data":1}',
    ],
)
async def test_update_that_is_malformed_does_not_reach_the_node(body: bytes) -> None:
    node = FakeNode()
    response = await post(node, "/api/update", body)
    assert (response.status_code, error_code(response)) == (400, "bad_request")
    assert node.calls == []


async def test_state_is_answered_byte_for_byte() -> None:
    response = await get(FakeNode(), "/api/channels/doc:1/state")
    assert response.content == b'{"epoch":"e1","version":4,"data":{ "a" : 1.0 }}'
    assert (await get(FakeNode(), "/api/channels/d%20c/state")).status_code == 400


async def test_broadcast_answers_for_each_channel_in_order() -> None:
    node = FakeNode()
    node.errors["b"] = CommandError("unknown_channel", "no such channel")
    response = await post(node, "/api/broadcast", b'{"channels":["a","b","c"],"data":[1]}')
    assert response.status_code == 200
    assert response.json()["results"] == [
        {"channel": "a", "epoch": "e1", "offset": 1},
        {"channel": "b", "error": {"code": "unknown_channel", "message": "no such channel"}},
        {"channel": "c", "epoch": "e1", "offset": 1},
    ]


async def test_send_answers_what_the_node_told() -> None:
    node = FakeNode()
    assert (await post(node, "/api/send", b'{"user":"ann","data":1}')).json() == {"epoch": "e1", "offset": 7}
    assert (await post(node, "/api/send", b'{"client":"c1","data":1}')).json() == {"connections": 1}


@pytest.mark.parametrize(
    ("path", "body", "connections"),
    [
        ("/api/subscribe", b'{"user":"ann","channel":"a"}', 2),
        ("/api/unsubscribe", b'{"client":"c1","channel":"a"}', 1),
        ("/api/disconnect", b'{"user":"ann","code":4123,"reason":"bye"}', 3),
    ],
)
async def test_control_answers_the_connections_reached(path: str, body: bytes, connections: int) -> None:
    node = FakeNode()
    assert (await post(node, path, body)).json() == {"connections": connections}
    assert [name for name, _ in node.calls] == [path.removeprefix("/api/")]


async def test_batch_carries_on_after_an_error_and_answers_in_order() -> None:
    node = FakeNode()
    node.errors["bad"] = CommandError("permission_denied", "not there")
    body = b"""{"commands":[
        {"method":"publish","channel":"a","data":{"x": 1.0}},
        {"method":"publish","channel":"bad","data":1},
        {"method":"subscribe","user":"ann","channel":"a"},
        {"method":"broadcast","channels":["a","b"],"data":2},
        {"method":"send","client":"c1","data":3},
        {"method":"unsubscribe","user":"ann","channel":"a"},
        {"method":"disconnect","client":"c1"}]}"""
    response = await post(node, "/api/batch", body)
    assert response.json()["results"] == [
        {"epoch": "e1", "offset": 1},
        {"error": {"code": "permission_denied", "message": "not there"}},
        {"connections": 2},
        {
            "results": [
                {"channel": "a", "epoch": "e1", "offset": 2},
                {"channel": "b", "epoch": "e1", "offset": 1},
            ]
        },
        {"connections": 1},
        {"connections": 1},
        {"connections": 3},
    ]
    assert node.calls[0][1]["data"] == b'{"x": 1.0}'


class FarNode(FakeNode):
    """A node whose broker is somewhere else: a publish ends when it was answered, which is noted, too."""

    async def publish(self, channel: str, data: bytes, **options: Any) -> PublishResult:
        done = await super().publish(channel, data, **options)
        await asyncio.sleep(0.01)
        self.calls.append(("published", {"data": data}))
        return done


async def test_publishes_in_a_row_are_under_way_together_and_nothing_overtakes_them() -> None:
    node = FarNode()
    body = b"""{"commands":[
        {"method":"subscribe","user":"ann","channel":"a"},
        {"method":"publish","channel":"a","data":1},
        {"method":"publish","channel":"a","data":2},
        {"method":"broadcast","channels":["a","b"],"data":3},
        {"method":"disconnect","client":"c1"}]}"""
    response = await post(node, "/api/batch", body)
    assert [answer.get("offset") for answer in response.json()["results"]] == [None, 1, 2, None, None]
    assert [(name, arguments.get("data")) for name, arguments in node.calls] == [
        ("subscribe", None),
        ("publish", b"1"), ("publish", b"2"), ("published", b"1"), ("published", b"2"),
        ("publish", b"3"), ("publish", b"3"), ("published", b"3"), ("published", b"3"),
        ("disconnect", None),
    ]  # fmt: skip


async def test_batch_with_one_malformed_command_does_nothing_at_all() -> None:
    node = FakeNode()
    body = b'{"commands":[{"method":"publish","channel":"a","data":1},{"method":"publish","channel":"a"}]}'
    response = await post(node, "/api/batch", body)
    assert (response.status_code, error_code(response)) == (400, "bad_request")
    assert "commands[1]" in response.json()["error"]["message"]
    assert node.calls == []


@pytest.mark.parametrize("count", [1000, 1001])
async def test_batch_is_bounded_in_publications(count: int) -> None:
    node = FakeNode()
    channels = b",".join(b'"c"' for _ in range(count - 1))
    body = (
        b'{"commands":[{"method":"publish","channel":"a","data":1},'
        b'{"method":"broadcast","data":1,"channels":[' + channels + b"]}]}"
    )
    response = await post(node, "/api/batch", body)
    assert response.status_code == (200 if count == 1000 else 400)
    assert len(node.calls) == (1000 if count == 1000 else 0)


async def test_channels_filters_counts_and_bounds() -> None:
    node = FakeNode()
    node.offsets = {"chat:1": 4, "chat:2": 5, "news": 6}
    body = (await get(node, "/api/channels?prefix=chat:&limit=1")).json()
    assert body == {
        "channels": [{"name": "chat:1", "subscribers": 1, "epoch": "e1", "offset": 4}], "total": 2,
    }  # fmt: skip


async def test_presence_shows_info_byte_for_byte() -> None:
    response = await get(FakeNode(), "/api/channels/chat%3A1/presence")
    expected = b'{"members":[{"client":"c1","user":"ann","info":{ "age" : 1.0 }},{"client":"c2"}]}'
    assert response.content == expected


async def test_history_shows_payloads_byte_for_byte() -> None:
    node = FakeNode()
    items = [publication(1, b"[1.0 ]", client="c1"), publication(2, b"\x00\xff", binary=True)]
    node.page = HistoryPage(items, Position("e9", 2), complete=True)
    response = await get(node, "/api/channels/chat:1/history?limit=5&before=3")
    assert node.calls == [("history", {"channel": "chat:1", "limit": 5, "before": 3})]
    assert b'"data":[1.0 ]' in response.content
    assert response.json() == {
        "epoch": "e9",
        "offset": 2,
        "complete": True,
        "publications": [
            {"offset": 1, "id": "p1", "time": 1000, "data": [1.0], "from": {"client": "c1"}},
            {"offset": 2, "id": "p2", "time": 1000, "data64": "AP8="},
        ],
    }


async def test_a_channel_with_slashes_is_one_channel() -> None:
    node = FakeNode()
    await get(node, "/api/channels/a/b%2Fhistory/history")
    assert node.calls[0][1]["channel"] == "a/b/history"


async def test_connections_and_nodes_are_listed() -> None:
    node = FakeNode()
    body = (await get(node, "/api/connections?limit=2")).json()
    assert (len(body["connections"]), body["total"]) == (2, 3)
    assert (await get(node, "/api/nodes")).json() == {"nodes": [{"node": "n1", "connections": 3}]}


async def test_an_address_is_drained_and_used_again() -> None:
    node = FakeNode()
    body = b'{"upstream":"app","address":"http://a:9000"}'
    assert (await post(node, "/api/upstreams/drain", body)).json() == {"targets": 1, "pending": 7}
    await post(node, "/api/upstreams/undrain", body[:-1] + b',"ip":"10.0.0.1"}')
    assert [call[1]["drain"] for call in node.calls] == [
        Drain("app", "http://a:9000", "", True),
        Drain("app", "http://a:9000", "10.0.0.1", False),
    ]
    for wrong in (b"{}", b'{"upstream":"app"}', body[:-1] + b',"worker":1}'):
        assert (await post(node, "/api/upstreams/drain", wrong)).status_code == 400


async def test_dead_letters_are_shown_page_by_page_replayed_and_dropped() -> None:
    node = FakeNode()
    page = (await get(node, "/api/deadletters?limit=5&kind=disconnect")).json()
    (letter,) = page["dead_letters"]
    assert (letter["id"], letter["tries"], letter["body"]) == ("n1", 3, {"a": 1.0})
    assert page["next"] == "7"
    assert "next" not in (await get(node, "/api/deadletters?id=n1&after=7")).json()
    assert (await post(node, "/api/deadletters/replay", b'{"ids":["n1"]}')).json() == {"dead_letters": 1}
    assert (await post(node, "/api/deadletters/drop", b'{"all":true}')).json() == {"dead_letters": 2}
    await post(node, "/api/deadletters/drop", b'{"kind":"disconnect","key":"c1"}')
    assert [call[1] for call in node.calls] == [
        {"wanted": Wanted(kind="disconnect"), "limit": 5, "after": ""},
        {"wanted": Wanted(ids=frozenset({"n1"})), "limit": 1000, "after": "7"},
        {"wanted": Wanted(ids=frozenset({"n1"}))},
        {"wanted": Wanted()},
        {"wanted": Wanted(kind="disconnect", key="c1")},
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"ids":[]}',
        b'{"all":false}',
        b'{"ids":["n1"],"all":true}',
        b'{"id":"n1"}',
        b'{"kind":"disconnect","all":true}',
        b'{"ids":["n1"],"key":"c1"}',
    ],
)
async def test_which_dead_letters_are_meant_must_be_said(body: bytes) -> None:
    node = FakeNode()
    assert (await post(node, "/api/deadletters/drop", body)).status_code == 400
    assert node.calls == []


async def test_upstreams_are_shown_with_their_addresses() -> None:
    (group,) = (await get(FakeNode(), "/api/upstreams")).json()["upstreams"]
    assert (group["name"], group["targets"][0]["breaker"]) == ("app", "closed")
    assert "worker" not in group


@pytest.mark.parametrize(
    "path",
    [
        "/api/channels?limit=0",
        "/api/channels?limit=10001",
        "/api/channels?limit=x",
        "/api/channels?limit=1&limit=2",
        "/api/channels?colour=red",
        "/api/channels/a/history?before=-1",
        "/api/channels/a%20b/history",
        "/api/channels/%00/presence",
    ],
)
async def test_a_wrong_query_or_channel_is_refused(path: str) -> None:
    node = FakeNode()
    response = await get(node, path)
    assert (response.status_code, error_code(response), node.calls) == (400, "bad_request", [])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CommandError("permission_denied", "no"), 403, "permission_denied"),
        (CommandError("rate_limited", "slow down"), 429, "rate_limited"),
        (BrokerUnavailableError("redis at 10.0.0.7 is gone"), 503, "unavailable"),
        (OutcomeUnknownError("redis at 10.0.0.7 is gone"), 504, "timeout"),
        (RuntimeError("secret at 10.0.0.7"), 500, "internal"),
    ],
)
async def test_an_error_of_the_node_has_its_status_and_no_details(
    error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = FakeNode()
    node.error = error
    response = await post(node, "/api/publish", b'{"channel":"a","data":1}')
    assert (response.status_code, error_code(response)) == (status, code)
    assert "10.0.0.7" not in response.text
    assert ("secret at" in caplog.text) == (status == 500)


async def test_an_unexpected_error_inside_a_batch_has_no_details_either() -> None:
    node = FakeNode()
    node.errors["b"] = RuntimeError("secret at 10.0.0.7")
    response = await post(node, "/api/broadcast", b'{"channels":["a","b"],"data":1}')
    assert response.json()["results"][1]["error"]["code"] == "internal"
    assert "10.0.0.7" not in response.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/publish", 405),
        ("POST", "/api/channels", 405),
        ("DELETE", "/metrics", 405),
        ("OPTIONS", "/api/publish", 405),
        ("GET", "/api/nothing", 404),
        ("GET", "/", 404),
        ("GET", "/api/publish/", 404),
        ("GET", "/demo/../../etc/passwd", 404),
        ("GET", "/demo/%2e%2e/app.py", 404),
        ("GET", "/admin", 404),
    ],
)
async def test_a_wrong_path_or_method_is_refused_in_the_one_form(method: str, path: str, status: int) -> None:
    async with http_client(FakeNode()) as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert error_code(response) == "bad_request"
    assert ("allow" in response.headers) == (status == 405)
