"""What every codec does; a new one is added to CODECS and passes the same suite.

A test writes a command as Python values and reads an event back as such.  What is particular to
JSON text stands at the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson
import pytest

from gateway._frames import BINARY, TEXT
from gateway.errors import CommandError
from gateway.message.codec import Codec
from gateway.message.commands import (
    MAX_NUMBER,
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    Since,
    Subscribe,
    Unsubscribe,
)
from gateway.message.events import (
    Error,
    Event,
    From,
    Gap,
    Hello,
    MemberView,
    PublicationView,
    Reconnect,
    Reply,
    Resumed,
    Subscribed,
    Unsubscribed,
)
from gateway.message.json import MAX_DEPTH, JsonCodec, check_json
from gateway.message.publication import Member, Publication


@dataclass(frozen=True)
class Case:
    """A codec, and another implementation of its encoding to check it with."""

    codec: Codec
    write: Callable[[Any], bytes]
    read: Callable[[bytes], Any]


CODECS = {"json": Case(JsonCodec(), orjson.dumps, orjson.loads)}


@pytest.fixture(params=CODECS)
def case(request: pytest.FixtureRequest) -> Case:
    return CODECS[request.param]


def decode(case: Case, value: Any, most: int = 100) -> list[Command]:
    return list(case.codec.decode(case.write(value), most=most))


COMMANDS: list[tuple[dict[str, Any], Command]] = [
    ({"type": "connect", "id": 1, "token": "t", "session": "s"}, Connect(id=1, token="t", session="s")),  # noqa: S106
    (
        {"type": "connect", "since": {"news": {"epoch": "e", "offset": 4}}},
        Connect(since={"news": Since("e", 4)}),
    ),
    ({"type": "subscribe", "id": 2, "channel": "news"}, Subscribe(id=2, channel="news")),
    (
        {"type": "subscribe", "channel": "news", "since": {"epoch": "e", "offset": MAX_NUMBER}},
        Subscribe(channel="news", since=Since("e", MAX_NUMBER)),
    ),
    ({"type": "subscribe", "channel": "news", "since": None}, Subscribe(channel="news")),
    ({"type": "unsubscribe", "channel": "news"}, Unsubscribe(channel="news")),
    ({"type": "presence", "id": 3, "channel": "news"}, Presence(id=3, channel="news")),
    ({"type": "history", "channel": "news"}, History(channel="news", limit=50, before=0)),
    (
        {"type": "history", "channel": "news", "limit": 0, "before": 9},
        History(channel="news", limit=0, before=9),
    ),
    ({"type": "ping"}, Ping()),
    ({"type": "ping", "id": MAX_NUMBER}, Ping(id=MAX_NUMBER)),
    ({"type": "ping", "id": 1, "unknown": [{"to": "us"}]}, Ping(id=1)),
]


# -- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "command"), COMMANDS)
def test_command_is_understood(case: Case, value: dict[str, Any], command: Command) -> None:
    assert decode(case, value) == [command]


def test_publish_keeps_its_data_as_it_came(case: Case) -> None:
    (command,) = decode(case, {"type": "publish", "id": 4, "channel": "c", "data": {"a": [1]}, "key": "k"})
    assert isinstance(command, Publish)
    assert (command.id, command.channel, command.key, command.data64) == (4, "c", "k", None)
    assert case.read(bytes(command.data)) == {"a": [1]}


def test_list_of_commands_keeps_its_order(case: Case) -> None:
    assert decode(case, [value for value, _ in COMMANDS]) == [command for _, command in COMMANDS]


def test_list_of_one_is_one_command(case: Case) -> None:
    assert decode(case, [{"type": "ping", "id": 3}]) == [Ping(id=3)]


WRONG: list[dict[str, Any]] = [
    {"type": "subscribe"},
    {"type": "subscribe", "channel": 5},
    {"type": "subscribe", "channel": None},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e"}},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": -1}},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": 1.5}},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": MAX_NUMBER + 1}},
    {"type": "publish", "data": 1},
    {"type": "publish", "channel": "c", "data": 1, "key": "k" * 201},
    {"type": "history", "channel": "c", "limit": -1},
    {"type": "history", "channel": "c", "limit": True},
    {"type": "history", "channel": "c", "before": "9"},
    {"type": "connect", "since": {"news": 4}},
    {"type": "connect", "token": 4},
    {"type": "fly"},
    {"type": "Ping"},
    {"type": "malformedcommand", "message": "m"},
    {"type": "command"},
    {"type": "hello"},
    {"type": 5},
    {"type": ["ping"]},
    {},
]


@pytest.mark.parametrize("value", WRONG)
def test_command_that_is_wrong_keeps_its_id_and_its_place(case: Case, value: dict[str, Any]) -> None:
    ping = {"type": "ping", "id": 1}
    before, wrong, after = decode(case, [ping, {"id": 7, **value}, ping])
    assert before == after == Ping(id=1)
    assert isinstance(wrong, MalformedCommand)
    assert wrong.id == 7
    assert 0 < len(wrong.message) < 300
    (alone,) = decode(case, {"id": 8, **value})
    assert isinstance(alone, MalformedCommand)
    assert alone.id == 8


@pytest.mark.parametrize("bad", [-1, MAX_NUMBER + 1, 2**64 - 1, 1.0, 0.5, "1", True, None, [1], {"a": 1}])
def test_id_that_is_wrong_is_no_id(case: Case, bad: object) -> None:
    for fields in ({"type": "ping"}, {"type": "fly"}):
        (command,) = decode(case, {**fields, "id": bad})
        assert isinstance(command, MalformedCommand)
        assert command.id == 0


@pytest.mark.parametrize(
    "value", [None, True, 5, 1.5, "ping", [[]], [None], [5], ["ping"], [[{"type": "ping"}]]]
)
def test_what_is_no_command_is_malformed_without_id(case: Case, value: object) -> None:
    (command,) = decode(case, value)
    assert isinstance(command, MalformedCommand)
    assert command.id == 0


def test_empty_list_is_no_command(case: Case) -> None:
    (command,) = decode(case, [])
    assert isinstance(command, MalformedCommand)


@pytest.mark.parametrize("other", [{"type": "ping", "id": 2}, {"type": "fly"}, 5])
def test_list_may_be_as_long_as_allowed_and_no_longer(case: Case, other: object) -> None:
    values = [{"type": "ping", "id": 1}] * 9 + [other]
    assert len(decode(case, values, most=10)) == 10
    (refusal,) = decode(case, values, most=9)
    assert isinstance(refusal, MalformedCommand)
    assert refusal.id == 0


def test_huge_values_are_not_told_back(case: Case) -> None:
    (command,) = decode(case, {"type": "x" * 50_000, "id": 1})
    assert isinstance(command, MalformedCommand)
    assert len(command.message) < 300


def test_noise_never_raises(case: Case) -> None:
    dice = random.Random(7)  # noqa: S311 not for secrets
    samples = [case.write([value for value, _ in COMMANDS]), *(case.write(value) for value, _ in COMMANDS)]
    for _ in range(3000):
        data = bytearray(dice.choice(samples))
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        commands = case.codec.decode(bytes(data[: dice.randrange(len(data) + 1)]), most=100)
        assert 1 <= len(commands) <= 100
        assert all(0 <= command.id <= MAX_NUMBER for command in commands)


# -- events -------------------------------------------------------------------------------------

EVENTS: list[tuple[Event, dict[str, Any]]] = [
    (
        Hello(client="c", session="s", ping=30.0),
        {"type": "hello", "client": "c", "session": "s", "ping": 30.0},
    ),
    (
        Hello(client="c", session="s", user="u", ping=0.5, expires=9),
        {"type": "hello", "client": "c", "session": "s", "user": "u", "ping": 0.5, "expires": 9},
    ),
    (Reply(id=1), {"type": "reply", "id": 1}),
    (
        Reply(id=2, channel="c", epoch="e", offset=0, recovered=False),
        {"type": "reply", "id": 2, "channel": "c", "epoch": "e", "offset": 0, "recovered": False},
    ),
    (Reply(id=3, duplicate=True), {"type": "reply", "id": 3, "duplicate": True}),
    (
        Reply(id=4, members=[MemberView("c"), MemberView("d", "u")], publications=[]),
        {
            "type": "reply",
            "id": 4,
            "members": [{"client": "c"}, {"client": "d", "user": "u"}],
            "publications": [],
        },
    ),
    (
        Reply(id=5, session="s", subscriptions=[Resumed("c", "e", 3, True), Resumed("d", "e", 0)]),
        {
            "type": "reply",
            "id": 5,
            "session": "s",
            "subscriptions": [
                {"channel": "c", "epoch": "e", "offset": 3, "recovered": True},
                {"channel": "d", "epoch": "e", "offset": 0},
            ],
        },
    ),
    (
        Reply(id=6, publications=[PublicationView(1, "i", 5, from_=From("c", "u"))], complete=False),
        {
            "type": "reply",
            "id": 6,
            "publications": [{"offset": 1, "id": "i", "time": 5, "from": {"client": "c", "user": "u"}}],
            "complete": False,
        },
    ),
    (
        Error(id=4, code="bad_request", message='ä"\\\n', retry=False),
        {"type": "error", "id": 4, "code": "bad_request", "message": 'ä"\\\n', "retry": False},
    ),
    (
        Error(code="internal", message="m", retry=True),
        {"type": "error", "code": "internal", "message": "m", "retry": True},
    ),
    (
        Gap(channel="c", from_=3, to=4, reason="slow"),
        {"type": "gap", "channel": "c", "from": 3, "to": 4, "reason": "slow"},
    ),
    (
        Gap(channel="c", epoch="e", reason="lost"),
        {"type": "gap", "channel": "c", "epoch": "e", "reason": "lost"},
    ),
    (
        Subscribed(channel="c", epoch="e", offset=0),
        {"type": "subscribed", "channel": "c", "epoch": "e", "offset": 0},
    ),
    (Unsubscribed(channel="c", code="x"), {"type": "unsubscribed", "channel": "c", "code": "x"}),
    (
        Reconnect(after=(0, 2000), reason="drain"),
        {"type": "reconnect", "after": [0, 2000], "reason": "drain"},
    ),
]


@pytest.mark.parametrize(("event", "value"), EVENTS)
def test_event_says_what_is_set_and_no_more(case: Case, event: Event, value: dict[str, Any]) -> None:
    assert case.read(case.codec.encode(event)) == value


def publication(**fields: Any) -> Publication:
    return Publication(**{"id": "i", "data": b"1", "time_ms": 5, "offset": 7, **fields})


def test_publication_of_a_service_and_of_a_client(case: Case) -> None:
    encode = case.codec.encode_publication
    assert case.read(encode("c", publication())) == {
        "type": "message",
        "channel": "c",
        "offset": 7,
        "id": "i",
        "data": 1,
        "time": 5,
    }
    assert case.read(encode("c", publication(client="x", user="u")))["from"] == {"client": "x", "user": "u"}
    assert case.read(encode("c", publication(client="x")))["from"] == {"client": "x"}
    assert "offset" not in case.read(encode("c", publication(offset=0)))


@pytest.mark.parametrize(("joined", "kind"), [(True, "join"), (False, "leave")])
def test_join_and_leave(case: Case, joined: bool, kind: str) -> None:
    encode = case.codec.encode_join if joined else case.codec.encode_leave
    assert case.read(encode("c", Member(client="x"))) == {"type": kind, "channel": "c", "client": "x"}
    assert case.read(encode("c", Member(client="x", user="u", info=b'{"n": 1}'))) == {
        "type": kind,
        "channel": "c",
        "client": "x",
        "user": "u",
        "info": {"n": 1},
    }


def test_opcode_fits_the_encoding(case: Case) -> None:
    assert case.codec.opcode in {TEXT, BINARY}
    assert case.codec.subprotocol.startswith("ringgate.v1.")
    if case.codec.opcode == TEXT:
        case.codec.encode(Error(code="internal", message="ü\x7f\U0001f600", retry=False)).decode()


# -- JSON text ----------------------------------------------------------------------------------

JSON = JsonCodec()


@pytest.mark.parametrize(
    "data",
    [b'{"b" : 1.50, "a":\t[1e400, 1E2],"b":2}', b'"\\u00e9\\/"', b"null", b"12345678901234567890123", b'""'],
)
def test_json_data_goes_out_byte_for_byte(data: bytes) -> None:
    (command,) = JSON.decode(b'{"type":"publish","channel":"c","data":%s}' % data, most=1)
    assert isinstance(command, Publish)
    assert bytes(command.data) == data
    assert b'"data":' + data + b"," in JSON.encode_publication("c", publication(data=data))


@pytest.mark.parametrize(("data", "text"), [(b"", ""), (b"\x00\xff", "AP8="), (b"abc", "YWJj")])
def test_bytes_go_out_as_base64(data: bytes, text: str) -> None:
    event = orjson.loads(JSON.encode_publication("c", publication(data=data, binary=True)))
    assert event["data64"] == text
    assert "data" not in event


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b" ",
        b"{",
        b'{"type":"ping"',
        b'{"type":"ping"}}',
        b'{"type":"ping"}{"type":"ping"}',
        b'[{"type":"ping"},]',
        b"{'type':'ping'}",
        b'{"type":"ping","id":01}',
        b'{"type":"ping","id":NaN}',
        b'{"type":"ping","id":"\xff"}',
        b'\xef\xbb\xbf{"type":"ping"}',
        b'{"type":"ping","x":"\\ud800"}',
        b"\x00",
        b"[" * 60_000,
        b'{"type":"ping","x":' + b"[" * 60_000,
        b"[" * 30_000 + b"]" * 30_000,
    ],
)
def test_text_that_is_no_json_is_one_malformed_command(text: bytes) -> None:
    (command,) = JSON.decode(text, most=100)
    assert isinstance(command, MalformedCommand)
    assert command.id == 0


def test_blanks_around_commands_do_not_matter() -> None:
    assert JSON.decode(b' \n\t{"type" : "ping" , "id" : 1 } ', most=1) == (Ping(id=1),)
    first, second = JSON.decode(b' \r\n[ {"type":"ping"} , {"type":"fly","id":2} ] ', most=2)
    assert first == Ping()
    assert (type(second), second.id) == (MalformedCommand, 2)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (b"1", True),
        (b'{"a":[{}]}', True),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, True),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), False),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), False),
        (b"[" + b"[]," * 500 + b"1]", True),
        (b'"' + b"[" * 500 + b'"', True),
        (b"[" * 100_000, False),
        (b"", False),
        (b"NaN", False),
        (b"Infinity", False),
        (b'"\\ud800"', False),
        (b'"\xed\xa0\x80"', False),
        (b'"\xff"', False),
        (b"'x'", False),
        (b"1 2", False),
        (b"// x\n1", False),
    ],
)
def test_check_json_takes_what_every_client_can_parse(text: bytes, good: bool) -> None:
    if good:
        assert check_json(memoryview(text)) == text
    else:
        with pytest.raises(CommandError, match="bad_request"):
            check_json(text)


def test_every_command_type_is_tagged_by_its_name() -> None:
    assert {type(command).__name__.lower() for _, command in COMMANDS} | {"publish"} == {
        "connect", "subscribe", "unsubscribe", "publish", "presence", "history", "ping",
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(Ping(id=1)), type=Ping) == Ping(id=1)
