"""Who may call: keys, and the guard of a keyless port against web pages."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.http.auth import same_host

from .fakes import FakeNode, http_client
from .test_api import error_code

ANY = "0.0.0.0"  # noqa: S104 - only a word here

BODY = b'{"channel":"a","data":1}'
KEYS = {"keys": ("first-secret", "second-secret")}


async def publish(headers: Any, **options: Any) -> tuple[httpx.Response, FakeNode]:
    node = FakeNode()
    async with http_client(node, **options) as client:
        given = {"content-type": "application/json", **headers}
        return await client.post("/api/publish", content=BODY, headers=given), node


@pytest.mark.parametrize("key", ["first-secret", "second-secret"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_each_configured_key_is_let_in(key: str, scheme: str) -> None:
    response, node = await publish({"authorization": f"{scheme} {key}"}, **KEYS)
    assert (response.status_code, len(node.calls)) == (200, 1)


@pytest.mark.parametrize(
    "authorization",
    [
        None, "", "Bearer", "Bearer ", "first-secret", "Basic first-secret", "Bearer first-secre", "Bearer  ",
        "Bearer first-secret2", "Bearer FIRST-SECRET", "Bearer first-secret second-secret",
        "Bearer " + "x" * 9000,
        "Bearer \xe9", "Bearer first-secretsecond-secret",
    ],
)  # fmt: skip
async def test_anything_else_is_unauthorized(authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization.encode("latin-1")}
    response, node = await publish(headers, **KEYS)
    assert (response.status_code, error_code(response), node.calls) == (401, "unauthorized", [])
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "secret" not in response.text


async def test_two_authorization_headers_are_refused() -> None:
    both = [("authorization", "Bearer first-secret"), ("authorization", "Bearer wrong")]
    async with http_client(FakeNode(), **KEYS) as client:
        assert (await client.get("/api/channels", headers=both)).status_code == 400


@pytest.mark.parametrize("path", ["/api/channels", "/api/nodes", "/api/nothing", "/api/channels/a/history"])
async def test_every_api_path_needs_the_key(path: str) -> None:
    async with http_client(FakeNode(), **KEYS) as client:
        assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize(
    "path", ["/health/live", "/health/ready", "/metrics", "/openapi.json", "/asyncapi.json", "/demo"]
)
async def test_what_shows_no_data_needs_no_key(path: str) -> None:
    async with http_client(FakeNode(), **KEYS) as client:
        assert (await client.get(path)).status_code == 200


@pytest.mark.parametrize(
    ("host", "listen_host", "hosts", "allowed"),
    [
        ("127.0.0.1:8001", "127.0.0.1", (), True),
        ("127.9.9.9", "127.0.0.1", (), True),
        ("localhost:8001", "127.0.0.1", (), True),
        ("LOCALHOST", "127.0.0.1", (), True),
        ("[::1]:8001", "127.0.0.1", (), True),
        ("evil.example", "127.0.0.1", (), False),
        ("localhost.evil.example:8001", "127.0.0.1", (), False),
        ("127.0.0.1.evil.example", "127.0.0.1", (), False),
        ("10.0.0.5:8001", "127.0.0.1", (), False),
        ("10.0.0.5:8001", ANY, (), True),
        ("[2001:db8::1]:8001", "::", (), True),
        ("evil.example:8001", ANY, (), False),
        ("gateway.internal:8001", "gateway.internal", (), True),
        ("ringgate:8001", ANY, ("ringgate",), True),
        ("anything", ANY, ("*",), True),
    ],
)
@pytest.mark.parametrize("path", ["/api/channels", "/demo", "/metrics"])
async def test_a_keyless_port_answers_only_to_its_own_names(
    path: str, host: str, listen_host: str, hosts: tuple[str, ...], allowed: bool
) -> None:
    async with http_client(FakeNode(), listen_hosts=(listen_host,), hosts=hosts) as client:
        response = await client.get(path, headers={"host": host})
    assert response.status_code == (200 if allowed else 403)
    assert allowed or error_code(response) == "permission_denied"


@pytest.mark.parametrize(
    "host", ["", "a b", "127.0.0.1:x", "127.0.0.1:8001, localhost", "user@127.0.0.1", "[::1"]
)
async def test_a_malformed_host_is_refused(host: str) -> None:
    async with http_client(FakeNode()) as client:
        assert (await client.get("/demo", headers={"host": host})).status_code == 400


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://127.0.0.1:8001", True),
        ("https://127.0.0.1:8001", True),
        ("http://127.0.0.1:8000", False),
        ("http://127.0.0.1", False),
        ("http://localhost:8001", False),
        ("http://evil.example", False),
        ("http://127.0.0.1:8001.evil.example", False),
        ("http://evil.example#127.0.0.1:8001", False),
        ("http://user@127.0.0.1:8001", False),
        ("null", False),
        ("file://", False),
        ("http://127.0.0.1:8001/", False),
    ],
)
async def test_a_web_page_of_another_origin_cannot_post(origin: str | None, allowed: bool) -> None:
    response, node = await publish({} if origin is None else {"origin": origin})
    assert response.status_code == (200 if allowed else 403)
    assert len(node.calls) == int(allowed)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_same_host_knows_default_ports(scheme: str) -> None:
    port = {"http": 80, "https": 443}[scheme]
    assert same_host(f"{scheme}://a.example", f"a.example:{port}")
    assert same_host(f"{scheme}://a.example:{port}", "a.example")
    assert not same_host(f"{scheme}://a.example", "a.example:8443")


@pytest.mark.parametrize(
    "content_type",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=a",
        "application/jsonp", "application/json; charset=latin-1", "application/json; charset=utf-16",
        "application/json, text/plain", "text/plain; application/json",
    ],
)  # fmt: skip
async def test_what_a_form_could_post_is_no_json(content_type: str | None) -> None:
    node = FakeNode()
    headers = {} if content_type is None else {"content-type": content_type}
    async with http_client(node) as client:
        response = await client.post("/api/publish", content=BODY, headers=headers)
    assert (response.status_code, error_code(response), node.calls) == (415, "bad_request", [])


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"']
)
async def test_json_by_any_spelling_is_taken(content_type: str) -> None:
    response, _ = await publish({"content-type": content_type})
    assert response.status_code == 200


async def test_a_compressed_body_is_refused() -> None:
    response, node = await publish({"content-encoding": "gzip"})
    assert (response.status_code, node.calls) == (415, [])


SCOPED = {"keys": ("all",), "publish_keys": ("p1", "p2"), "read_keys": ("r1",)}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/api/publish", {"all", "p1", "p2"}),
        ("POST", "/api/broadcast", {"all", "p1", "p2"}),
        ("POST", "/api/send", {"all", "p1", "p2"}),
        ("POST", "/api/update", {"all", "p1", "p2"}),
        ("POST", "/api/batch", {"all", "p1", "p2", "r1"}),  # each command in it is looked at
        ("POST", "/api/disconnect", {"all"}),
        ("POST", "/api/subscribe", {"all"}),
        ("POST", "/api/revoke", {"all"}),
        ("POST", "/api/unheard-of", {"all", "p1", "p2", "r1"}),  # 404
        ("GET", "/api/channels", {"all", "r1"}),
        ("GET", "/api/connections", {"all", "r1"}),
        ("GET", "/api/publish", {"all", "p1", "p2", "r1"}),  # 405
    ],
)
async def test_key_of_a_scope_is_good_for_that_alone(method: str, path: str, allowed: set[str]) -> None:
    found = set()
    async with http_client(FakeNode(), **SCOPED) as client:
        for key in ("all", "p1", "p2", "r1", "none"):
            headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            answer = await client.request(method, path, content=b"{}", headers=headers)
            if key == "none":
                assert answer.status_code == 401
            elif answer.status_code == 403:
                assert error_code(answer) == "permission_denied"
            else:
                assert answer.status_code != 401
                found.add(key)
    assert found == allowed


async def test_keys_of_one_scope_alone_shut_the_rest() -> None:
    async with http_client(FakeNode(), read_keys=("r1",)) as client:
        assert (await client.post("/api/publish", content=BODY)).status_code == 401
        headers = {"authorization": "Bearer r1"}
        assert (await client.get("/api/channels", headers=headers)).status_code == 200
