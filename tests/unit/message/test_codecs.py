"""What every codec does: one suite over all of `tests.support.codecs.CASES`.

A test writes a command as Python values and reads an event back as such.  What is particular to an
encoding stands in the test file of its module.
"""

from __future__ import annotations

import random
from base64 import b64decode, b64encode
from typing import Any

import msgspec
import orjson
import pytest

from gateway._frames import BINARY, TEXT
from gateway.message.commands import (
    MAX_NUMBER,
    Call,
    Command,
    Connect,
    History,
    MalformedCommand,
    Ping,
    Presence,
    Publish,
    Send,
    Since,
    Subscribe,
    Unsubscribe,
    Update,
)
from gateway.message.events import (
    Error,
    Event,
    From,
    Gap,
    Hello,
    Join,
    Leave,
    MemberView,
    Message,
    Patch,
    Pong,
    PublicationView,
    Reconnect,
    Reply,
    Resumed,
    State,
    Subscribed,
    Unsubscribed,
)
from gateway.message.json import check_json
from gateway.message.publication import Member, Publication
from tests.support.codecs import CASES, Case, said_by


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


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
    ({"type": "call", "id": 4, "method": "cart.add"}, Call(id=4, method="cart.add")),
    (
        {"type": "call", "method": "m", "payload64": "AP8=", "timeout": 5000},
        Call(method="m", payload64=b"\0\xff", timeout=5000),
    ),
    ({"type": "send", "id": 5, "data64": "AP8="}, Send(id=5, data64=b"\0\xff")),
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
    assert bytes(command.data) == b'{"a":[1]}'


def test_call_keeps_its_payload_as_it_came(case: Case) -> None:
    (command,) = decode(case, {"type": "call", "id": 4, "method": "m", "payload": {"a": [1]}})
    assert isinstance(command, Call)
    assert bytes(command.payload) == b'{"a":[1]}'


def test_what_is_sent_to_the_service_keeps_its_data_as_it_came(case: Case) -> None:
    (command,) = decode(case, {"type": "send", "id": 4, "data": {"a": [1]}})
    assert isinstance(command, Send)
    assert (command.id, bytes(command.data), command.data64) == (4, b'{"a":[1]}', None)


def test_update_keeps_its_patch_as_it_came(case: Case) -> None:
    fields = {"channel": "c", "base": MAX_NUMBER, "patch": {"a": [1, None], "b": None}}
    (command,) = decode(case, {"type": "update", "id": 4, "epoch": "e", "key": "k", **fields})
    assert isinstance(command, Update)
    assert (command.id, command.channel, command.base) == (4, "c", MAX_NUMBER)
    assert (command.epoch, command.key) == ("e", "k")
    assert bytes(command.patch) == b'{"a":[1,null],"b":null}'


@pytest.mark.parametrize("data", [b"", b"\0\xff", bytes(range(256)) * 20])
def test_publish_of_bytes_has_the_bytes(case: Case, data: bytes) -> None:
    (command,) = decode(case, {"type": "publish", "channel": "c", "data64": b64encode(data).decode()})
    assert isinstance(command, Publish)
    assert (bytes(command.data), command.data64) == (b"", data)


@pytest.mark.parametrize("data64", ["A", "QQ", "!!!!", "Q Q="])
def test_publish_of_what_are_no_bytes_is_wrong(case: Case, data64: str) -> None:
    if case is not CASES["protobuf"]:  # there is no way to write it there
        (command,) = decode(case, {"type": "publish", "id": 3, "channel": "c", "data64": data64})
        assert isinstance(command, MalformedCommand)
        assert command.id == 3


def test_list_of_commands_keeps_its_order(case: Case) -> None:
    assert decode(case, [value for value, _ in COMMANDS]) == [command for _, command in COMMANDS]


def test_list_of_one_is_one_command(case: Case) -> None:
    assert decode(case, [{"type": "ping", "id": 3}]) == [Ping(id=3)]


WRONG: list[dict[str, Any]] = [
    {"type": "subscribe"},
    {"type": "subscribe", "channel": 5},
    {"type": "subscribe", "channel": None},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": -1}},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": 1.5}},
    {"type": "subscribe", "channel": "c", "since": {"epoch": "e", "offset": MAX_NUMBER + 1}},
    {"type": "publish", "data": 1},
    {"type": "publish", "channel": "c", "data": 1, "key": "k" * 201},
    {"type": "update", "base": 1, "patch": {}},
    {"type": "update", "channel": "c", "base": 1},
    {"type": "update", "channel": "c", "base": -1, "patch": {}},
    {"type": "update", "channel": "c", "base": MAX_NUMBER + 1, "patch": {}},
    {"type": "update", "channel": "c", "base": 1, "patch": {}, "key": "k" * 201},
    {"type": "history", "channel": "c", "limit": -1},
    {"type": "history", "channel": "c", "limit": True},
    {"type": "call"},
    {"type": "call", "method": ""},
    {"type": "call", "method": "m" * 201},
    {"type": "call", "method": "m", "timeout": -1},
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


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize(
    "fields",
    [
        {"type": "subscribe", "channel": "c", "since": {"epoch": "e"}},
        {"type": "history", "channel": "c", "before": "9"},
    ],
)
def test_field_that_is_missing_or_of_another_type_is_wrong_where_that_shows(
    name: str, fields: dict[str, Any]
) -> None:
    (command,) = decode(CASES[name], {"id": 7, **fields})
    assert isinstance(command, MalformedCommand)
    assert command.id == 7


@pytest.mark.parametrize(
    ("case", "bad"),
    [
        *[(case, number) for case in CASES.values() for number in (-1, MAX_NUMBER + 1, 2**64 - 1)],
        *[
            (CASES[name], bad)
            for name in ("json", "msgpack")  # in Protobuf a field of another type is an unknown one
            for bad in (1.0, 0.5, "1", True, None, [1], {"a": 1})
        ],
    ],
)
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
    (Reply(id=5, payload=msgspec.Raw(b'{"a":[1]}')), {"type": "reply", "id": 5, "payload": {"a": [1]}}),
    (Reply(id=6, payload=msgspec.Raw(b"null")), {"type": "reply", "id": 6, "payload": None}),
    (Reply(id=7, payload64=b"\0\xff"), {"type": "reply", "id": 7, "payload64": "AP8="}),
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
        Reply(
            id=7,
            members=[
                MemberView("c", "u", msgspec.Raw(b'{"n": [1.5]}')),
                MemberView("d", "", msgspec.Raw(b"0")),
            ],
            publications=[
                PublicationView(1, "i", 5, msgspec.Raw(b' {"a" : null}')),
                PublicationView(2, "j", 6, data64=b"\0\xff"),
                PublicationView(3, "k", 7, msgspec.Raw(b"null"), from_=From("c")),
                PublicationView(0, "l", 8, data64=b""),
            ],
        ),
        {
            "type": "reply",
            "id": 7,
            "members": [{"client": "c", "user": "u", "info": {"n": [1.5]}}, {"client": "d", "info": 0}],
            "publications": [
                {"offset": 1, "id": "i", "time": 5, "data": {"a": None}},
                {"offset": 2, "id": "j", "time": 6, "data64": "AP8="},
                {"offset": 3, "id": "k", "time": 7, "data": None, "from": {"client": "c"}},
                {"offset": 0, "id": "l", "time": 8, "data64": ""},
            ],
        },
    ),
    (
        Message(channel="c", id="i", data=msgspec.Raw(b"[]"), from_=From(user="u"), time=MAX_NUMBER),
        {"type": "message", "channel": "c", "id": "i", "data": [], "from": {"user": "u"}, "time": MAX_NUMBER},
    ),
    (
        Message(channel="c", offset=3, id="i", data64=b"a", time=1),
        {"type": "message", "channel": "c", "offset": 3, "id": "i", "data64": "YQ==", "time": 1},
    ),
    (
        Join(channel="c", client="x", user="u", info=msgspec.Raw(b"{}")),
        {"type": "join", "channel": "c", "client": "x", "user": "u", "info": {}},
    ),
    (Leave(channel="c", client="x"), {"type": "leave", "channel": "c", "client": "x"}),
    (Pong(), {"type": "pong"}),
    (
        State(channel="c", epoch="e", version=0, data=msgspec.Raw(b"null")),
        {"type": "state", "channel": "c", "epoch": "e", "version": 0, "data": None},
    ),
    (
        Patch(channel="c", version=7, id="i", patch=msgspec.Raw(b'{"a" : null}'), from_=From("x"), time=9),
        {
            "type": "patch",
            "channel": "c",
            "version": 7,
            "id": "i",
            "patch": {"a": None},
            "from": {"client": "x"},
            "time": 9,
        },
    ),
    (
        Error(
            id=4,
            code="stale_version",
            message="m",
            retry=False,
            epoch="e",
            version=0,
            data=msgspec.Raw(b"[1]"),
        ),
        {
            "type": "error",
            "id": 4,
            "code": "stale_version",
            "message": "m",
            "retry": False,
            "epoch": "e",
            "version": 0,
            "data": [1],
        },
    ),
    (Reply(id=8, version=3), {"type": "reply", "id": 8, "version": 3}),
    (
        Reply(id=9, publications=[PublicationView(3, "i", 5, patch=msgspec.Raw(b"null"))]),
        {"type": "reply", "id": 9, "publications": [{"offset": 3, "id": "i", "time": 5, "patch": None}]},
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
    assert case.read(case.codec.encode(event)) == said_by(case, value)


def test_every_event_is_in_the_suite() -> None:
    assert {type(event) for event, _ in EVENTS} == set(Event.__subclasses__())


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
    assert case.read(encode("c", publication(user="u")))["from"] == {"user": "u"}
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


VALUES: list[object] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        2**53 - 1,
        2**53 + 1,
        2**63,
        2**64 - 1,
        -(2**63),
        0.0,
        -0.5,
        1.0,
        1e300,
        5e-324,
    ),
    *(
        "",
        "x" * 70_000,
        'ä"\\\n\0\x7f\u2028\U0001f600',
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"a": {"a": [1, "1"]}},
    ),
    [list(range(20)), {str(number): number for number in range(70_000)}],
]
BYTES = [b"", b"\0", bytes(range(256)), b'{"a":1}', b"x" * 70_000]


def across(writer: Case, reader: Case, fields: dict[str, Any]) -> dict[str, Any]:
    """Publish in one encoding, and return the event as it is read in another."""
    (command,) = decode(writer, {"type": "publish", "channel": "c", **fields})
    assert isinstance(command, Publish), command
    binary = command.data64 is not None
    data = command.data64 if command.data64 is not None else check_json(bytes(command.data))
    return reader.read(reader.codec.encode_publication("c", publication(data=data, binary=binary)))


@pytest.mark.parametrize("writer", CASES)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:20])
def test_value_published_in_one_encoding_is_the_same_in_every_other(
    writer: str, case: Case, value: object
) -> None:
    event = across(CASES[writer], case, {"data": value})
    assert event["data"] == value
    assert repr(event["data"]) == repr(value), "also its types, and -0.0"
    assert "data64" not in event


@pytest.mark.parametrize("writer", CASES)
@pytest.mark.parametrize("data", BYTES, ids=lambda data: f"{len(data)} bytes")
def test_bytes_published_in_one_encoding_are_the_same_in_every_other(
    writer: str, case: Case, data: bytes
) -> None:
    event = across(CASES[writer], case, {"data64": b64encode(data).decode()})
    assert b64decode(event["data64"]) == data
    assert "data" not in event


@pytest.mark.parametrize(
    "text", [b"1E2", b"12345678901234567890123", b'{"a":1,"a":2}', b' [ "\\u00e9\\/" ] ']
)
def test_json_text_has_one_meaning_in_every_encoding(case: Case, text: bytes) -> None:
    event = case.read(case.codec.encode_publication("c", publication(data=text)))
    assert event["data"] == orjson.loads(text)


def test_opcode_fits_the_encoding(case: Case) -> None:
    assert case.codec.opcode in {TEXT, BINARY}
    assert case.codec.subprotocol.startswith("ringgate.v1.")
    if case.codec.opcode == TEXT:
        case.codec.encode(Error(code="internal", message="ü\x7f\U0001f600", retry=False)).decode()


def test_every_command_type_is_tagged_by_its_name() -> None:
    assert {type(command).__name__.lower() for _, command in COMMANDS} | {"publish"} == {
        "connect", "subscribe", "unsubscribe", "publish", "presence", "history", "call", "send",
        "ping",
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(Ping(id=1)), type=Ping) == Ping(id=1)
