"""What must stay inside: the internal port's paths, API keys, tokens, and what peers write into logs."""

from __future__ import annotations

import ast
import inspect
import json
import socket

import pytest

from gateway.http import keys
from tests.security.client import answer_to, connect, read_all, reset, upgrade
from tests.security.conftest import Launch, Watch
from tests.security.target import Target

CANARY = "canary-5f1e8b7a90c24d3e"
KEY = "a-key-that-is-long-enough-5bd0c1"
INTERNAL = (
    "/api", "/api/", "/api/publish", "/api/channels", "/api/connections", "/api/nodes", "/metrics",
    "/admin", "/admin/",
    "/demo", "/demo/", "/demo/app.js", "/openapi.json", "/health/ready", "/health", "/", "/ws/../metrics",
    "/WS",
    "/ws/", "//metrics", "/%6detrics", "/metrics?x=/ws", "/ws/..%2fmetrics", "/favicon.ico",
    "/.git/config", "/echo",
)  # fmt: skip


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


# -- exposed internals ------------------------------------------------------------------------


@pytest.mark.parametrize("path", INTERNAL)
def test_the_edge_port_knows_nothing_of_internal_paths(edge_only: Target, path: str) -> None:
    plain = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with edge_only.refuses("not_found", by=2):
        for request in (plain, upgrade(path)):
            answer = answer_to(edge_only.port, request)
            assert status_of(answer) == 404, answer
            assert answer.endswith(b"There is nothing here.\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_the_edge_port_takes_no_publication(edge_only: Target, method: str) -> None:
    body = b'{"channel":"c","data":1}'
    head = f"{method} /api/publish HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    before = edge_only.metric("ringgate_ring_frames_total")
    assert status_of(answer_to(edge_only.port, head.encode() + body)) in {404, 405}
    assert edge_only.metric("ringgate_ring_frames_total") == before


def test_only_liveness_is_told_on_the_edge_port(edge_only: Target) -> None:
    answer = answer_to(edge_only.port, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.endswith(b"\r\n\r\nok\n")


@pytest.fixture(scope="module")
def edge_only(_session_target_without_echo: Target) -> Target:
    return _session_target_without_echo


# -- API keys ---------------------------------------------------------------------------------


def test_every_operation_needs_the_key_and_wrong_ones_are_refused_alike(launch: Launch) -> None:
    target = launch(key=KEY)
    good = {"channel": "c", "data": 1}
    assert target.http("POST", "/api/publish", good)[0] == 200
    answers = set()
    for wrong in (
        "", "Bearer", "Bearer ", f"Bearer {KEY[:-1]}", f"Bearer {KEY}x", f"Bearer {KEY.upper()}",
        f"Basic {KEY}",         f"Bearer {KEY},{KEY}",
        f"Bearer {KEY} {KEY}", "Bearer \xff\xfe", "Bearer " + "x" * 5000,
        KEY, f"Bearer\t{KEY}", "Bearer null", "Bearer undefined", f"Token {KEY}",
    ):  # fmt: skip
        for method, path in (("POST", "/api/publish"), ("GET", "/api/channels"), ("GET", "/api/nothing")):
            headers = {"Authorization": wrong}
            status, body = target.http(method, path, good if method == "POST" else None, headers)
            assert status == 401, (wrong, path)
            answers.add(json.loads(body)["error"]["code"])
    assert answers == {"unauthorized"}
    assert target.http("GET", f"/api/channels?key={KEY}&token={KEY}", headers={"Authorization": ""})[0] == 401
    assert target.http("GET", "/health/live", headers={"Authorization": ""})[0] == 200
    assert KEY not in target.process.log


def test_a_key_given_twice_is_refused(launch: Launch) -> None:
    target = launch(key=KEY)
    head = f"GET /api/nodes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    for second, status in (
        (f"Authorization: Bearer {KEY}", 400),
        ("Authorization: Bearer x", 400),
        ("X: y", 200),
    ):
        answer = answer_to(target.process.api_port, f"{head}{second}\r\nConnection: close\r\n\r\n".encode())
        assert status_of(answer) == status


def test_keys_are_compared_in_constant_time_and_with_every_key() -> None:
    """`==` or `in` on a key, or leaving the loop at the first match, would tell something by its time."""
    body = ast.parse(inspect.getsource(keys.ApiKeys.caller).strip()).body[0]
    calls = [ast.unparse(node.func) for node in ast.walk(body) if isinstance(node, ast.Call)]
    assert calls.count("hmac.compare_digest") == 1
    loops = [node for node in ast.walk(body) if isinstance(node, ast.For)]
    assert len(loops) == 1
    assert not any(isinstance(node, ast.Break | ast.Return) for node in ast.walk(loops[0]))
    compared = {ast.unparse(node) for node in ast.walk(body) if isinstance(node, ast.Compare)}
    assert not [text for text in compared if "key" in text], compared


# -- leaks ------------------------------------------------------------------------------------


def test_a_token_reaches_no_log_no_metric_and_no_answer(launch: Launch) -> None:
    target = launch("--log-level", "debug", key=KEY)
    told = b""
    for path in (f"/ws?token={CANARY}", f"/nothing?token={CANARY}", f"/ws?access_token={CANARY}&a=1"):
        for headers in ({}, {"Authorization": f"Bearer {CANARY}"}, {"Origin": "http://evil.example"}):
            told += _told(target, upgrade(path, headers))
        told += _told(target, upgrade(path, {"Sec-WebSocket-Key": CANARY}))
        told += _told(target, upgrade(path).replace(b"HTTP/1.1", b"HTTP/9.9"))
    with target.client(f"/ws?token={CANARY}") as client:
        client.command("connect", id=1, token=CANARY)
        client.command("connect", id=2, token=CANARY, session=CANARY)
        told += json.dumps([client.answer(1), client.answer(2)]).encode()
        client.text(f'{{"type":"connect","token":"{CANARY}"')
        told += client.frame().payload
        shown = b"".join(
            target.http("GET", path)[1] for path in ("/api/connections", "/metrics", "/api/nodes")
        )
    for path in ("/api/nodes", "/nothing", "/api/channels"):
        target.http("GET", f"{path}?token={CANARY}", headers={"Authorization": f"Bearer {CANARY}"})
    told += shown
    target.process.stop()
    assert CANARY.encode() not in told
    assert CANARY not in target.process.log


def _told(target: Target, request: bytes) -> bytes:
    sock = connect(target.port)
    sock.sendall(request)
    data = sock.recv(65536)
    reset(sock)
    return data


def test_nothing_a_peer_sends_makes_a_log_line(launch: Launch, bystander: Watch) -> None:
    target = launch("--log-level", "debug")
    forged = '{"level":"error","message":"forged"}'
    with bystander(target):
        for byte in range(256):
            piece = bytes([byte]) + forged.encode() + b"\x1b[31m"
            for request in (
                b"GET /" + piece + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /ws HTTP/1.1\r\nHost: x\r\nX-" + piece + b": " + piece + b"\r\n\r\n",
                b"GET /ws HTTP/1.1\r\nHost: " + piece + b"\r\nOrigin: " + piece + b"\r\n\r\n",
                piece + b"\r\n\r\n",
            ):
                _send_and_go(target.port, request)
                _send_and_go(target.process.api_port, request)
        with target.client(f"/ws?user=%0a{forged}") as client:
            client.text(json.dumps({"type": "subscribe", "id": 1, "channel": f"a\n{forged}"}))
            assert client.answer(1)["code"] == "bad_request"
            client.text(json.dumps({"type": f"x\n{forged}", "id": 2}))
            assert client.answer(2)["code"] == "bad_request"
    assert target.process.stop() == 0
    lines = target.process.log.splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    fixed = {"listening", "stopped", "Invalid HTTP request received."}
    assert {record["message"] for record in records} <= fixed
    assert "forged" not in target.process.log
    assert "\x1b" not in target.process.log


def _send_and_go(port: int, request: bytes) -> None:
    with connect(port) as sock:
        try:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return
        read_all(sock)
