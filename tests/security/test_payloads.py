"""What is not, not quite or barely JSON, as commands and as bodies: refused clearly, or passed on whole."""

from __future__ import annotations

import json

import pytest

from tests.security.client import TEXT
from tests.security.conftest import Launch, Watch
from tests.security.payload_table import ACCEPTED, MESSAGES, NOT_UTF8, REFUSED
from tests.security.target import Target
from tests.support.frames import frame

LEVELS = 1_000_000
OK = 'ringgate_api_requests_total{code="ok",operation="publish"}'
BAD = 'ringgate_api_requests_total{code="bad_request",operation="publish"}'


def publish_command(value: bytes, number: int = 7) -> bytes:
    return b'{"type":"publish","id":%d,"channel":"payloads","data":%s}' % (number, value)


def publish_body(value: bytes) -> bytes:
    return b'{"channel":"payloads","data":%s}' % value


def data_of(payload: bytes) -> bytes:
    """Return the text of `data`; only `time`, and from a client `from`, follow it in a message."""
    return payload.partition(b'"data":')[2].rpartition(b',"time":')[0].partition(b',"from":{"client":')[0]


def is_error(event: dict[str, object]) -> bool:
    return event["type"] == "error" and event["code"] == "bad_request" and event["retry"] is False


def test_the_table_is_a_test_suite_s_worth() -> None:
    every = {*ACCEPTED, *REFUSED, *NOT_UTF8, *MESSAGES}
    assert len(every) >= 300
    assert len({*ACCEPTED, *REFUSED}) == len(ACCEPTED) + len(REFUSED)


def test_every_valid_payload_of_a_command_goes_out_byte_for_byte(shared: Target) -> None:
    with shared.client() as publisher, shared.client() as subscriber:
        subscriber.ask("subscribe", channel="payloads")
        for number, text in enumerate(ACCEPTED, 1):
            publisher.text(publish_command(text.encode(), number))
            answer = publisher.answer(number)
            assert answer["type"] == "reply", (text[:80], answer)
            while b'"type":"message"' not in (heard := subscriber.frame().payload):
                pass
            assert data_of(heard) == text.encode().strip(b" \t\r\n"), text[:80]


def test_every_valid_payload_of_a_request_goes_out_byte_for_byte(shared: Target) -> None:
    with shared.counts(OK, by=len(ACCEPTED)), shared.client() as subscriber:
        subscriber.ask("subscribe", channel="payloads")
        for text in ACCEPTED:
            status, body = shared.http("POST", "/api/publish", publish_body(text.encode()))
            assert status == 200, (text[:80], body)
            while b'"type":"message"' not in (heard := subscriber.frame().payload):
                pass
            assert data_of(heard) == text.encode().strip(b" \t\r\n"), text[:80]


def test_every_invalid_payload_of_a_command_is_a_bad_request(shared: Target, bystander: Watch) -> None:
    with bystander(shared):
        for text in REFUSED:
            with shared.client() as client:
                client.text(publish_command(text.encode()))
                event = client.event()
                assert is_error(event), (text[:80], event)
                assert client.ask("ping", id=8)["type"] == "reply"


def test_every_invalid_payload_of_a_request_is_a_400(shared: Target, bystander: Watch) -> None:
    with bystander(shared), shared.counts(BAD, by=len(REFUSED)):
        for text in REFUSED:
            status, body = shared.http("POST", "/api/publish", publish_body(text.encode()))
            assert status == 400, (text[:80], body)
            assert json.loads(body)["error"]["code"] == "bad_request"


def test_invalid_utf_8_is_1007_in_a_message_and_400_in_a_body(shared: Target) -> None:
    with shared.closes(1007, by=len(NOT_UTF8)), shared.counts(BAD, by=len(NOT_UTF8)):
        for data in NOT_UTF8:
            with shared.client() as client:
                client.send(frame(TEXT, publish_command(data)))
                assert client.closed_with() == 1007, data
            status, body = shared.http("POST", "/api/publish", publish_body(data))
            assert status == 400, data
            assert json.loads(body)["error"]["code"] == "bad_request"


@pytest.mark.parametrize("text", MESSAGES, ids=lambda text: f"{text[:40]!r}-{len(text)}".replace(":", " "))
def test_a_message_that_is_no_command_is_a_bad_request_and_the_session_goes_on(
    shared: Target, text: str
) -> None:
    with shared.client() as client:
        client.text(text)
        event = client.event()
        assert is_error(event), event
        assert len(json.dumps(event)) < len(text) + 500
        client.text('{"type":"ping","id":99}')
        assert client.answer(99) == {"type": "reply", "id": 99}


def test_a_client_that_says_nothing_but_nonsense_is_closed_with_4000(shared: Target) -> None:
    with shared.closes(4000), shared.client() as client:
        for _ in range(10):
            client.text("{nonsense")
        assert client.closed_with() == 4000


def test_repeated_fields_have_one_meaning_the_last(shared: Target) -> None:
    with shared.client() as client:
        client.text('{"type":"subscribe","id":1,"id":2,"channel":"first","channel":"second"}')
        answer = client.event()
        assert (answer["id"], answer["channel"]) == (2, "second")


def test_a_position_beyond_every_integer_of_a_machine_is_refused_and_subscribes_to_nothing(
    shared: Target,
) -> None:
    with shared.client() as client:
        published = client.ask("publish", channel="beyond", data=1)
        since = {"epoch": published["epoch"], "offset": 1 << 64}
        assert is_error(client.ask("subscribe", id=2, channel="beyond", since=since))
        assert client.ask("subscribe", id=3, channel="beyond")["type"] == "reply"


@pytest.mark.parametrize(
    "shape",
    [
        b"[" * LEVELS,
        b'{"a":' * (LEVELS // 5),
        b"[" * (LEVELS // 2) + b"]" * (LEVELS // 2),
        b'{"data":[' * 100_000,
    ],
    ids=["arrays", "objects", "closed", "mixed"],
)
def test_a_million_levels_are_refused_without_using_a_stack(
    launch: Launch, bystander: Watch, shape: bytes
) -> None:
    target = launch("--websocket-max-message-bytes", "2MiB")
    with bystander(target), target.client() as client:
        before = target.memory()
        for data in (shape, publish_command(shape)):
            client.text(data)
            assert is_error(client.event())
        for body in (shape, publish_body(shape)):
            status, answer = target.http("POST", "/api/publish", body)
            assert status == 400, answer
        assert client.ask("ping")["type"] == "reply"
        assert target.memory() - before < 32 << 20


def test_a_number_of_a_million_digits_is_refused_at_once(launch: Launch, bystander: Watch) -> None:
    target = launch("--websocket-max-message-bytes", "2MiB")
    digits = b"9" * LEVELS
    with bystander(target), target.client() as client:
        for data in (
            b'{"type":"ping","id":%s}' % digits,
            publish_command(digits),
            publish_command(b"-" + digits),
        ):
            client.text(data)
            assert is_error(client.event())
        status, _ = target.http("POST", "/api/publish", publish_body(digits))
        assert status == 400


def test_requests_that_are_wrong_in_every_other_way_are_4xx(shared: Target) -> None:
    good = b'{"channel":"c","data":1}'
    for method, path, body, headers, wanted in (
        ("POST", "/api/publish", good, {"Content-Type": "text/plain"}, 415),
        ("POST", "/api/publish", good, {"Content-Type": "application/json; charset=latin-1"}, 415),
        ("POST", "/api/publish", good, {"Content-Encoding": "gzip"}, 415),
        ("POST", "/api/publish", good, {"Host": "evil.example"}, 403),
        ("POST", "/api/publish", good, {"Origin": "http://evil.example"}, 403),
        ("POST", "/api/publish", b"x" * ((1 << 20) + 1), {}, 413),
        ("POST", "/api/publish", b"", {}, 400),
        ("POST", "/api/publish", good[:-1] + b',"extra":1}', {}, 400),
        ("POST", "/api/publish", b'{"channel":"a\\nb","data":1}', {}, 400),
        ("POST", "/api/publish", b'{"channel":"c","data":1,"key":"' + b"k" * 201 + b'"}', {}, 400),
        ("POST", "/api/broadcast", b'{"channels":[' + b'"c",' * 1000 + b'"c"],"data":1}', {}, 400),
        ("POST", "/api/batch", b'{"commands":[{"method":"eval"}]}', {}, 400),
        ("POST", "/api/disconnect", b'{"client":"c","code":1005}', {}, 400),
        ("GET", "/api/publish", None, {}, 405),
        ("DELETE", "/api/channels", None, {}, 405),
        ("GET", "/api/nothing", None, {}, 404),
        ("GET", "/api/channels/%00/history", None, {}, 400),
        ("GET", "/api/channels/%ff%fe/history", None, {}, 400),
        ("GET", "/api/channels/..%2f..%2fetc/history", None, {}, 200),
        ("GET", "/api/channels/c/history?limit=99999999999999999999999", None, {}, 400),
        ("GET", "/api/channels/c/history?before=" + "9" * 5000, None, {}, 400),
        ("GET", "/api/channels/c/history?limit=1&limit=2", None, {}, 400),
        ("GET", "/api/channels?prefix=%ff", None, {}, 200),
        ("GET", "/api/channels?limit=-1", None, {}, 400),
    ):
        status, answer = shared.http(method, path, body, headers)
        assert status == wanted, (method, path, status, answer)
        if status >= 400:
            assert set(json.loads(answer)["error"]) == {"code", "message"}, path
