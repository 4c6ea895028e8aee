"""The AsyncAPI document: complete, whole, and true for what a gateway says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
import yaml

from gateway import Gateway
from gateway.client.codecs import codec_for
from gateway.http.asyncapi import build_asyncapi
from gateway.message import events
from gateway.message.json import JsonCodec
from tests.support.peers import ANY_PORT, Peer, hang_up

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "docs" / "asyncapi.yaml"
SPECIFICATION = ROOT / "tests/clients/node_modules/@asyncapi/specs/schemas/3.0.0.json"
"""The official schema, as the makers of AsyncAPI publish it."""


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from references(item)
    elif isinstance(part, list):
        for item in part:
            yield from references(item)


def test_the_file_is_what_the_records_give() -> None:
    assert yaml.safe_load(FILE.read_text()) == json.loads(json.dumps(build_asyncapi())), "run: make asyncapi"


def test_every_reference_leads_somewhere() -> None:
    document = build_asyncapi()
    found = set(references(document))
    assert len(found) > 30
    for reference in found:
        part: Any = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def test_every_command_and_event_is_there_as_it_is_sent() -> None:
    document = build_asyncapi()
    operations = document["operations"]
    received = {
        ref["$ref"].rsplit("/")[-1]
        for o in operations.values()
        if o["action"] == "receive"
        for ref in o["messages"]
    }
    assert {"connect", "subscribe", "publish", "update", "call", "ping"} <= received
    sent = {ref["$ref"].rsplit("/")[-1] for ref in operations["tell"]["messages"]}
    assert sent == {kind.__name__.lower() for kind in events.Event.__subclasses__()}
    for name, message in document["components"]["messages"].items():
        schema = document["components"]["schemas"][message["payload"]["$ref"].rsplit("/")[-1]]
        assert schema["properties"]["type"]["enum"] == [name]
        assert message["summary"].endswith(".") or message["summary"]


def test_the_document_is_valid_by_the_official_schema() -> None:
    schema = json.loads(SPECIFICATION.read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    document = json.loads(json.dumps(build_asyncapi()))
    assert [error.message for error in validator.iter_errors(document)] == []
    document["operations"]["tell"]["action"] = "shout"
    assert not validator.is_valid(document), "it says what is wrong"


def examples() -> list[Any]:
    messages = build_asyncapi()["components"]["messages"]
    return [
        pytest.param(name, example["payload"], id=name)
        for name, message in messages.items()
        for example in message["examples"]
    ]


def test_every_message_has_an_example() -> None:
    messages = build_asyncapi()["components"]["messages"]
    assert [name for name, message in messages.items() if not message["examples"]] == []


@pytest.mark.parametrize(("name", "example"), examples())
def test_example_is_as_its_schema_says_and_the_codecs_read_it(name: str, example: dict[str, Any]) -> None:
    jsonschema.validate(example, schema_of(name))
    text = json.dumps(example).encode()
    record: Any
    if name in {kind.__name__.lower() for kind in events.Event.__subclasses__()}:
        record = codec_for("json").decode(text)
    else:
        (record,) = JsonCodec().decode(text, most=1)
    assert type(record).__name__.lower() == name
    said = json.loads(msgspec.json.encode(record))
    assert {field: said.get(field) for field in example} == example


def schema_of(name: str) -> dict[str, Any]:
    document = build_asyncapi()
    reference = document["components"]["messages"][name]["payload"]["$ref"]
    return {"$ref": reference, "components": document["components"]}


@pytest.mark.parametrize(
    "event",
    [
        events.Hello(client="c", session="s", ping=30.0),
        events.Reply(id=1, channel="news", epoch="e", offset=0, recovered=True),
        events.Reply(id=1, publications=[events.PublicationView(1, "i", 2, data64=b"x")], complete=True),
        events.Error(id=1, code="timeout", message="m", retry=True),
        events.Message(channel="c", id="i", data=msgspec.Raw(b"[1]"), from_=events.From("c"), time=1),
        events.Message(channel="c", id="i", data64=b"\x00", time=1),
        events.Gap(channel="c", from_=1, to=2, reason="slow"),
        events.Reconnect(after=(0, 2000), reason="drain"),
        events.State(channel="c", epoch="e", version=0, data=msgspec.Raw(b"null")),
    ],
    ids=lambda event: type(event).__name__,
)
def test_event_is_as_its_schema_says(event: events.Event) -> None:
    told = json.loads(JsonCodec().encode(event))
    jsonschema.validate(told, schema_of(told["type"]))


def test_schema_refuses_what_is_not_sent() -> None:
    wrong = [
        {"type": "message", "channel": "c", "id": "i", "time": 1},
        {"type": "message", "channel": "c", "id": "i", "time": 1, "data": 1, "data64": ""},
        {"type": "message", "channel": 5, "id": "i", "time": 1, "data": 1},
    ]
    for event in wrong:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(event, schema_of("message"))


async def test_a_gateway_serves_it_and_says_what_is_in_it() -> None:
    async with Gateway({"server": ANY_PORT}) as gateway, httpx.AsyncClient() as http:
        served = (await http.get(f"{gateway.api_url}/asyncapi.json")).json()
        assert served == json.loads(json.dumps(build_asyncapi()))
        peer = await Peer.connect(gateway)
        told = [peer.hello, await peer.ask("subscribe", channel="news"), await peer.ask("nonsense")]
        await gateway.publish("news", b"\x00")
        told += [await peer.event() for _ in range(2)]
        for event in told:
            jsonschema.validate(event, schema_of(event["type"]))
        await hang_up()
