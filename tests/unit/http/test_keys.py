"""Keys by name: every operation with every scope, channels, hashes, batches; what logs and metrics show."""

from __future__ import annotations

import hashlib
import logging
from typing import Any

import httpx
import pytest

from gateway.http.api import OPERATIONS
from gateway.http.app import build_routes
from gateway.http.auth import is_public
from gateway.http.gateway_view import HttpOptions, NamedKeys
from gateway.http.key_hashes import hash_of
from gateway.http.metrics import Metrics
from gateway.http.permitting import Permits
from gateway.http.scopes import SCOPES, ApiCaller, Scope
from gateway.seldom import QUIET_S

from .fakes import FakeNode, http_client
from .test_api import error_code

ALL = frozenset(SCOPES)
PUBLISH = {"publish", "admin"}
CONNECTIONS = {"connections", "admin"}
READ = {"read", "admin"}

# Who may what, written down once more: a new operation has to be thought about here, too.
ALLOWED: dict[str, set[str]] = {
    "publish": PUBLISH,
    "update": PUBLISH,
    "broadcast": PUBLISH,
    "send": PUBLISH,
    "subscribe": CONNECTIONS,
    "unsubscribe": CONNECTIONS,
    "disconnect": CONNECTIONS,
    "revoke": CONNECTIONS,
    "revocations": READ,
    "channels": READ,
    "presence": {"presence", *READ},
    "history": {"history", *READ},
    "state": {"history", *READ},
    "connections": READ,
    "nodes": READ,
    "info": READ,
    "upstreams": READ,
    "dead_letters": READ,
    "replay_dead_letters": {"admin"},
    "drop_dead_letters": {"admin"},
    "drain_upstream": {"admin"},
    "undrain_upstream": {"admin"},
}

BODIES: dict[str, dict[str, Any]] = {
    "publish": {"channel": "a:1", "data": 1},
    "update": {"channel": "a:1", "base": 0, "patch": {}},
    "broadcast": {"channels": ["a:1", "a:2"], "data": 1},
    "send": {"user": "ann", "data": 1},
    "subscribe": {"user": "ann", "channel": "a:1"},
    "unsubscribe": {"user": "ann", "channel": "a:1"},
    "disconnect": {"user": "ann"},
    "revoke": {"user": "ann"},
    "replay_dead_letters": {"all": True},
    "drop_dead_letters": {"all": True},
    "drain_upstream": {"upstream": "app", "address": "http://a:9000"},
    "undrain_upstream": {"upstream": "app", "address": "http://a:9000"},
}


def named(name: str, *scopes: str, channels: tuple[str, ...] = ()) -> NamedKeys:
    return NamedKeys(name, (f"key-of-{name}",), scopes, channels)


async def ask(client: httpx.AsyncClient, name: str, key: str, body: Any = None) -> httpx.Response:
    (row,) = (row for row in OPERATIONS if row.name == name)
    path = row.path.replace("{channel}", "a:1")
    headers = {"authorization": f"Bearer {key}"}
    if row.method == "GET":
        return await client.get(path, headers=headers)
    return await client.post(path, headers=headers, json=BODIES[name] if body is None else body)


@pytest.mark.parametrize("name", [row.name for row in OPERATIONS if row.name != "batch"])
async def test_operation_is_for_its_scopes_and_no_others(name: str) -> None:
    node = FakeNode()
    async with http_client(node, named_keys=tuple(named(scope, scope) for scope in SCOPES)) as client:
        for scope in SCOPES:
            node.calls.clear()
            answer = await ask(client, name, f"key-of-{scope}")
            if scope in ALLOWED[name]:
                assert answer.status_code == 200, (scope, answer.text)
            else:
                assert (answer.status_code, error_code(answer)) == (403, "permission_denied")
                assert (
                    f"lacks the scope `{next(r for r in OPERATIONS if r.name == name).needs}`" in answer.text
                )
                assert node.calls == []


async def test_what_a_key_is_not_for_is_said_before_its_body_is_read() -> None:
    async with http_client(FakeNode(), named_keys=(named("shop", "publish"),)) as client:
        assert (await ask(client, "disconnect", "key-of-shop", {"no": "sense"})).status_code == 403


def test_every_route_is_public_or_an_operation_with_a_scope() -> None:
    options = HttpOptions(version="0")
    node = FakeNode()
    paths = {row.path.replace("{channel}", "{channel:path}") for row in OPERATIONS}
    for route in build_routes(node, options, Metrics(node, options)):
        assert is_public(route.path) or route.path in paths, f"{route.path}: who may ask for it?"
    assert [row.name for row in OPERATIONS if row.needs is None] == ["batch"]


BATCH = {
    "commands": [{"method": "publish", "channel": "a:1", "data": 1}, {"method": "disconnect", "user": "ann"}]
}


@pytest.mark.parametrize("scope", SCOPES)
async def test_batch_is_for_who_may_do_all_of_it(scope: str) -> None:
    node = FakeNode()
    async with http_client(
        node, named_keys=(named("it", scope), named("both", "publish", "connections"))
    ) as client:
        answer = await ask(client, "batch", "key-of-it", BATCH)
        if scope == "admin":
            assert answer.status_code == 200
        else:
            assert (answer.status_code, node.calls) == (403, []), "nothing of it was done"
            place = 1 if scope == "publish" else 0
            assert f"`$.commands[{place}]`" in answer.text
        assert (await ask(client, "batch", "key-of-both", BATCH)).status_code == 200


RESTRICTED: list[tuple[str, Any, bool]] = [
    ("publish", {"channel": "a:1", "data": 1}, True),
    ("publish", {"channel": "b:1", "data": 1}, False),
    ("publish", {"channel": "xa:1", "data": 1}, False),
    ("publish", {"channel": "@ann", "data": 1}, False),
    ("broadcast", {"channels": ["a:1", "news"], "data": 1}, True),
    ("broadcast", {"channels": ["a:1", "b:1"], "data": 1}, False),
    ("send", {"user": "vip-ann", "data": 1}, True),
    ("send", {"user": "ann", "data": 1}, False),
    ("send", {"client": "c1", "data": 1}, False),
    ("update", {"channel": "b:1", "base": 0, "patch": {}}, False),
    ("subscribe", {"user": "ann", "channel": "a:1"}, True),
    ("unsubscribe", {"user": "ann", "channel": "b:1"}, False),
    ("disconnect", {"user": "ann"}, False),
    ("revoke", {"user": "ann"}, False),
    ("presence", None, True),
    ("connections", None, False),
    ("nodes", None, False),
    ("revocations", None, False),
    ("info", None, False),
    ("upstreams", None, False),
    ("dead_letters", None, False),
    ("drop_dead_letters", None, False),
    ("batch", {"commands": [{"method": "publish", "channel": "a:1", "data": 1}]}, True),
    ("batch", {"commands": [{"method": "publish", "channel": "b:1", "data": 1}]}, False),
    ("batch", {"commands": [{"method": "disconnect", "user": "ann"}]}, False),
]


@pytest.mark.parametrize(("name", "body", "allowed"), RESTRICTED)
async def test_key_for_some_channels_is_for_no_others(name: str, body: Any, allowed: bool) -> None:
    node = FakeNode()
    key = named("a", "admin", channels=("a:*", "news", "@vip-*"))
    async with http_client(node, named_keys=(key,)) as client:
        answer = await ask(client, name, "key-of-a", body)
    assert answer.status_code == (200 if allowed else 403), answer.text
    if not allowed:
        assert "`a:*`, `news`, `@vip-*`" in answer.text
        assert node.calls == []


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/channels/a:2/history", True),
        ("/api/channels/b:2/history", False),
        ("/api/channels?prefix=a:", True),
        ("/api/channels?prefix=a:2", True),
        ("/api/channels?prefix=a", False),
        ("/api/channels?prefix=news", False),
        ("/api/channels", False),
    ],
)
async def test_key_for_some_channels_looks_at_these_alone(path: str, allowed: bool) -> None:
    key = named("a", "read", channels=("a:*", "news"))
    async with http_client(FakeNode(), named_keys=(key,)) as client:
        answer = await client.get(path, headers={"authorization": "Bearer key-of-a"})
    assert answer.status_code == (200 if allowed else 403)


async def test_a_hash_stands_for_its_key_and_is_none_itself() -> None:
    hashed = "sha256:" + hashlib.sha256(b"key").hexdigest()
    assert hash_of("key") == hashed
    for options in ({"keys": (hashed,)}, {"named_keys": (NamedKeys("n", (hashed,), ("read",)),)}):
        async with http_client(FakeNode(), **options) as client:
            for key, status in (("key", 200), (hashed, 401), (hashed.removeprefix("sha256:"), 401)):
                headers = {"authorization": f"Bearer {key}"}
                assert (await client.get("/api/nodes", headers=headers)).status_code == status, key


async def test_several_keys_of_a_name_are_good_while_it_is_changed() -> None:
    keys = (NamedKeys("n", ("old", hash_of("new")), ("read",)),)
    async with http_client(FakeNode(), named_keys=keys) as client:
        for key in ("old", "new"):
            answer = await client.get("/api/nodes", headers={"authorization": f"Bearer {key}"})
            assert answer.status_code == 200


async def test_what_is_not_public_needs_a_key_whether_it_is_there_or_not() -> None:
    async with http_client(FakeNode(), named_keys=(named("a", "read"),)) as client:
        for path in ("/api/nothing", "/", "/publish", "/demos", "/metrics/x", "/health"):
            assert (await client.get(path)).status_code == 401, path
            answer = await client.get(path, headers={"authorization": "Bearer key-of-a"})
            assert answer.status_code == 404, path


async def test_metrics_and_log_name_the_key_and_never_show_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        async with http_client(
            FakeNode(), named_keys=(named("shop", "publish"),), keys=("master",)
        ) as client:
            await ask(client, "publish", "key-of-shop")
            for _ in range(3):
                await ask(client, "disconnect", "key-of-shop")
            await ask(client, "disconnect", "wrong-key")
            await ask(client, "nodes", "master")
            shown = (await client.get("/metrics")).text
    for line in (
        'ringgate_api_keys_total{key="shop",outcome="known"} 4.0',
        'ringgate_api_keys_total{key="shop",outcome="denied"} 3.0',
        'ringgate_api_keys_total{key="",outcome="unauthorized"} 1.0',
        'ringgate_api_keys_total{key="api.keys",outcome="known"} 1.0',
    ):
        assert line in shown
    told = [vars(record) for record in caplog.records if record.name == "gateway.http"]
    assert [(line["key"], line["operation"]) for line in told] == [("shop", "disconnect")], "once, not thrice"
    for secret in ("key-of-shop", "master", "wrong-key"):
        assert secret not in shown
        assert secret not in repr(told)


def test_refusal_is_logged_again_after_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    (row,) = (row for row in OPERATIONS if row.name == "revoke")
    permits = Permits(row, lambda name, outcome: None, lambda: now)
    caller = ApiCaller("shop", frozenset({Scope.PUBLISH}))
    for now in (0.0, QUIET_S / 2, QUIET_S, QUIET_S + 1):  # noqa: B007 - the clock reads it
        with pytest.raises(Exception, match="lacks the scope `connections`"):
            permits.begin(caller)
    assert len(caplog.records) == 2
