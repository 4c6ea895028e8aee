"""`ringgate publish` against small fake APIs."""

from __future__ import annotations

import asyncio
import io
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from gateway import Gateway
from gateway.cli import main
from gateway.client import Client


class FakeApi:
    """An HTTP server that answers every POST with `status` and `answer`, and keeps what it was asked."""

    def __init__(self) -> None:
        self.status = 200
        self.answer = b'{"epoch":"x1","offset":12}'
        self.path = ""
        self.body = b""
        self.headers: dict[str, str] = {}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                api.path, api.headers = self.path, dict(self.headers)
                api.body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(api.status)
                self.send_header("Content-Length", str(len(api.answer)))
                self.end_headers()
                self.wfile.write(api.answer)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base class)
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    monkeypatch.delenv("RINGGATE_API_KEYS", raising=False)
    fake = FakeApi()
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.server.shutdown()
    thread.join()
    fake.server.server_close()


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.rstrip("\n").isprintable()
    return shown.err


def test_publish_posts_and_prints_epoch_and_offset(api: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "chat:1", '{"text":"hello"}', "--api", api.url, "--key", "order-17"]) == 0
    assert json.loads(capsys.readouterr().out) == {"epoch": "x1", "offset": 12}
    assert api.path == "/api/publish"
    assert api.headers["Content-Type"] == "application/json"
    assert "Authorization" not in api.headers
    assert json.loads(api.body) == {"channel": "chat:1", "key": "order-17", "data": {"text": "hello"}}


@pytest.mark.parametrize("data", ['{ "n": 1.0e2 , "big":123456789012345678901 }', "null", '"é"', "-1", "[]"])
def test_publish_sends_json_byte_for_byte(api: FakeApi, data: str) -> None:
    assert main(["publish", "news", data, "--api", api.url]) == 0
    assert api.body == b'{"channel": "news","data":' + data.encode() + b"}"


def test_publish_text_sends_a_string(api: FakeApi) -> None:
    assert main(["publish", "news", 'a "b"\n', "--text", "--api", api.url]) == 0
    assert json.loads(api.body)["data"] == 'a "b"\n'


def test_publish_dash_reads_standard_input(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a":1}\n')))
    assert main(["publish", "news", "-", "--api", api.url]) == 0
    assert json.loads(api.body)["data"] == {"a": 1}


def test_publish_sends_the_key_of_flag_file_or_environment(
    api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("of-the-file\n")
    monkeypatch.setenv("RINGGATE_API_KEYS", "of-the-environment,second")
    for flags, expected in (
        (["--api-key", "of-the-flag"], "of-the-flag"),
        (["--api-key", f"file:{tmp_path}/key"], "of-the-file"),
        ([], "of-the-environment"),
    ):
        assert main(["publish", "news", "1", "--api", api.url, *flags]) == 0
        assert api.headers["Authorization"] == f"Bearer {expected}"


@pytest.mark.parametrize(
    ("status", "answer", "expected"),
    [
        (
            403,
            {"error": {"code": "permission_denied", "message": "no\x1b"}},
            "permission_denied: no\\x1b (HTTP 403)",
        ),
        (401, {"error": {"code": "unauthorized", "message": "who?"}}, "give one with --api-key (HTTP 401)"),
        (404, "nothing here", "this is not the API of a gateway (HTTP 404); --api names its URL"),
        (200, ["epoch", "offset"], "this is not the API of a gateway (HTTP 200)"),
        (302, {}, "this is not the API"),
    ],
)
def test_publish_that_was_refused_says_why(
    api: FakeApi, capsys: pytest.CaptureFixture[str], status: int, answer: object, expected: str
) -> None:
    api.status, api.answer = status, json.dumps(answer).encode()
    assert expected in error_of(["publish", "news", "1", "--api", api.url], capsys)


def test_publish_with_an_answer_that_is_no_json_says_so(
    api: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    api.answer = b"\xff<html>"
    assert "not the API" in error_of(["publish", "news", "1", "--api", api.url], capsys)


def test_publish_without_a_gateway_asks_whether_it_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        error = error_of(["publish", "news", "1", "--api", url], capsys)
    assert error.endswith("is `ringgate serve` running?\n")


@pytest.mark.parametrize(
    ("answer", "expected"), [(b"SSH-2.0\r\n", "cannot talk to"), (b"", "did not answer in time")]
)
def test_publish_to_something_else_ends_with_an_error(
    capsys: pytest.CaptureFixture[str], answer: bytes, expected: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(answer)
                while peer.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert expected in error_of(["publish", "news", "1", "--api", url, "--timeout", "300ms"], capsys)
        thread.join()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["news", "hello"],
            "DATA is not JSON: Expecting value: line 1 column 1 (char 0); --text sends it as a string",
        ),
        (["news", "NaN"], "NaN is not allowed in JSON"),
        (["news", "[" * 100_000], "DATA is not JSON"),
        (["news", ""], "DATA is not JSON"),
        (["a b", "1"], '"a b" is not the name of a channel; allowed: 1 to 200'),
        (["news", "1", "--api", "localhost:8001"], '"localhost:8001" is not a URL'),
        (["news", "1", "--api", "ftp://localhost"], "allowed: http://HOST:PORT or https://HOST:PORT"),
        (["news", "1", "--api", "http://localhost:99999"], "is not a URL"),
        (["news", "1", "--api", "http://h/\r\nX: y"], "is not a URL"),
        (["news", "1", "--timeout", "soon"], '--timeout is "soon"; allowed: a time'),
        (["news", "1", "--api-key", "a\nb"], "--api-key: a secret is empty, too long"),
        (["news", "1", "--api-key", "file:/nowhere"], "--api-key: cannot read"),
    ],
)
def test_publish_with_wrong_arguments_says_what_is_allowed(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert expected in error_of(["publish", *arguments], capsys)


def test_publish_posts_over_a_unix_socket(
    api: FakeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "api"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        served = threading.Thread(target=_relay, args=(listening, api.server.server_address))
        served.start()
        assert main(["publish", "news", "1", "--api", f"unix:{path}"]) == 0
        served.join()
    assert api.path == "/api/publish"
    assert json.loads(capsys.readouterr().out) == {"epoch": "x1", "offset": 12}


def _relay(listening: socket.socket, to: tuple[str, int]) -> None:
    """Pass one request with its answer on."""
    with listening.accept()[0] as near, socket.create_connection(to) as far:
        head = b""
        while b'"data":1}' not in head:
            head += near.recv(65536)
        far.sendall(head)
        while data := far.recv(65536):
            near.sendall(data)


def test_publish_says_that_nothing_listens_at_a_unix_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["publish", "news", "1", "--api", f"unix:{tmp_path}/none"]
    assert f"nothing listens at unix:{tmp_path}/none" in error_of(arguments, capsys)


async def test_publish_as_a_client_publishes_byte_for_byte_once(capsys: pytest.CaptureFixture[str]) -> None:
    server: dict[str, object] = {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"}
    async with Gateway({"server": server}) as gateway:
        arguments = ["publish", "news", '{"a": 1.50}', "--url", gateway.ws_url, "--key", "k"]
        for _ in range(2):
            assert await asyncio.to_thread(main, arguments) == 0
        answers = [json.loads(line)["offset"] for line in capsys.readouterr().out.splitlines()]
        assert answers == [1, 1]
        async with Client(gateway.ws_url) as client:
            page = await client.history("news")
            assert [message.data for message in page.messages] == [{"a": 1.5}]
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"{gateway.api_url}/api/channels/news/history")).text
            assert '{"a": 1.50}' in text
        refused = ["publish", "@bob", "1", "--url", gateway.ws_url]
        assert await asyncio.to_thread(main, refused) == 1
        assert "the gateway refused to publish: permission_denied" in capsys.readouterr().err


def test_publish_as_a_client_says_that_nothing_listens(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["publish", "news", "1", "--url", "ws://127.0.0.1:1/ws"]
    assert "nothing listens at 127.0.0.1:1: is `ringgate serve` running?" in error_of(arguments, capsys)
