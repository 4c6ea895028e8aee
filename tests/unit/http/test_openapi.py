"""The OpenAPI document: valid, and telling of the routes that there are, no more and no less."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.errors import CommandError
from gateway.grip.items import read_items
from gateway.http.api import OPERATIONS
from gateway.http.app import build_routes
from gateway.http.auth import GRIP_PATHS
from gateway.http.gateway_view import GripOptions, HttpOptions
from gateway.http.metrics import Metrics
from gateway.http.openapi import build_openapi

from .fakes import FakeNode, http_client


async def document(**options: Any) -> dict[str, Any]:
    async with http_client(FakeNode(), **options) as client:
        response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


GRIP = GripOptions(prefix="grip:")
SIGNED = GripOptions(prefix="grip:", verifies=lambda shown: shown == "good")


@pytest.mark.parametrize("grip", [None, GRIP, SIGNED], ids=["alone", "grip", "signed grip"])
async def test_the_document_is_valid_openapi(grip: GripOptions | None) -> None:
    OpenAPIV31SpecValidator(await document(grip=grip)).validate()


@pytest.mark.parametrize("grip", [None, GRIP], ids=["alone", "grip"])
async def test_the_document_names_every_route_and_no_other(grip: GripOptions | None) -> None:
    options = HttpOptions(version="1", demo=False, grip=grip)
    routes = build_routes(FakeNode(), options, Metrics(FakeNode(), options))
    served = {
        (re.sub(r":path}", "}", route.path), method)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = {
        (path, method.upper())
        for path, item in (await document(grip=grip))["paths"].items()
        for method in item
    }
    assert served == told
    assert len(served) == len(OPERATIONS) + (5 if grip is None else 7)


async def test_the_document_tells_what_the_decoder_enforces() -> None:
    schemas = (await document())["components"]["schemas"]
    publish = schemas["PublishBody"]
    assert publish["additionalProperties"] is False
    assert publish["properties"]["channel"]["maxLength"] == 200
    assert publish["allOf"] == [{"oneOf": [{"required": ["data"]}, {"required": ["data64"]}]}]
    assert len(schemas["SendBody"]["allOf"]) == 2
    assert schemas["BatchBody"]["properties"]["commands"]["maxItems"] == 1000
    assert schemas["PublicationView"]["properties"]["from"]


@pytest.mark.parametrize("keys", [(), ("secret",)])
async def test_the_key_is_asked_for_where_one_is_configured(keys: tuple[str, ...]) -> None:
    found = await document(keys=keys)
    assert ("security" in found) == bool(keys)
    assert found["paths"]["/metrics"]["get"]["security"] == []


async def test_parameters_have_their_bounds() -> None:
    found = await document()
    parameters = found["paths"]["/api/channels/{channel}/history"]["get"]["parameters"]
    by_name = {item["name"]: item for item in parameters}
    assert set(by_name) == {"limit", "before", "channel"}
    assert by_name["limit"]["schema"]["maximum"] == 1000
    assert by_name["channel"]["required"] is True


# -- publishers of GRIP --------------------------------------------------------------------------


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields."""
    return st.fixed_dictionaries({}, optional={name.replace("_", "-"): how for name, how in fields.items()})


TEXTS = st.sampled_from(["", "a", "aGk=", "AP8=", "x" * 191, "x" * 124])  # what is not base64 no schema tells
CHANNELS = st.sampled_from(["a", "", 7, None, "x" * 201])
MESSAGES = _maybe(
    content=st.one_of(TEXTS, st.integers()),
    content_bin=st.sampled_from(["aGk=", "", 7]),
    action=st.sampled_from(["send", "close", "hint", "refresh", 1]),
    type=st.sampled_from(["text", "binary", "ping", None]),
    code=st.sampled_from([1000, 4000, "1000", 1.5]),
    reason=TEXTS,
    content_filters=st.sampled_from([[], ["var-subst"], "x"]),
    more=st.none(),
)
META = st.one_of(
    st.none(),
    st.fixed_dictionaries({}, optional={"sender": TEXTS, "skip_users": TEXTS, "require_sub": st.integers()}),
)
FORMATS = st.one_of(_maybe(ws_message=MESSAGES, http_stream=st.just({}), http_response=st.just(1)), st.none())
ITEMS = _maybe(channel=CHANNELS, id=TEXTS, prev_id=TEXTS, formats=FORMATS, ws_message=MESSAGES, meta=META)
GOOD = {"channel": "a", "ws-message": {"content": "x"}}
BODIES = st.one_of(
    _maybe(items=st.lists(st.one_of(ITEMS, ITEMS.map(lambda item: {**GOOD, **item})), max_size=2)),
    st.sampled_from([[], None, {"items": [GOOD] * 1001}, {"items": [GOOD] * 1000}]),
)


@given(BODIES)
def test_what_the_document_says_of_items_is_what_is_taken(body: Any) -> None:
    try:
        read_items(json.dumps(body).encode(), "")
        taken = True
    except CommandError:
        taken = False
    assert taken == ITEMS_VALIDATOR.is_valid(body)


def _items_validator() -> Any:
    schema = {"$ref": "#/components/schemas/ItemsBody"}
    told = {**schema, "components": build_openapi(HttpOptions(version="1", grip=GRIP))["components"]}
    return jsonschema.Draft202012Validator(told)


ITEMS_VALIDATOR = _items_validator()


@pytest.mark.parametrize("path", GRIP_PATHS)
@pytest.mark.parametrize(
    ("options", "bearers"),
    [
        ({"grip": GRIP}, None),
        ({"grip": SIGNED}, ["grip"]),
        ({"grip": SIGNED, "keys": ("k",)}, ["grip", "key"]),
    ],
    ids=["open", "signed", "signed, or a key"],
)
async def test_publishers_are_told_of_as_they_are_answered(
    path: str, options: dict[str, Any], bearers: list[str] | None
) -> None:
    told = (await document(**options))["paths"][path]["post"]
    assert told.get("security") == (None if bearers is None else [{name: []} for name in bearers])
    shown = {"grip": "good", "key": "k"}
    async with http_client(FakeNode(), **options) as client:
        for scheme in bearers or ["none"]:
            headers = {"Authorization": f"Bearer {shown[scheme]}"} if bearers else {}
            answer = await client.post(path, json={"items": [GOOD]}, headers=headers)
            assert answer.status_code == 200
            assert answer.headers["content-type"].partition(";")[0] in told["responses"]["200"]["content"]
            refused = await client.post(path, json={"items": [{}]}, headers=headers)
            assert (refused.status_code, list(refused.json())) == (400, ["error"])
        if bearers:
            assert (await client.post(path, json={"items": [GOOD]})).status_code == 401
