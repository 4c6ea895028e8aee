"""The OpenAPI document: valid, and telling of the routes that there are, no more and no less."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.http.api import OPERATIONS
from gateway.http.app import build_routes
from gateway.http.gateway_view import HttpOptions
from gateway.http.metrics import Metrics

from .fakes import FakeNode, http_client


async def document(**options: Any) -> dict[str, Any]:
    async with http_client(FakeNode(), **options) as client:
        response = await client.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    found: dict[str, Any] = response.json()
    return found


async def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(await document()).validate()


async def test_the_document_names_every_route_and_no_other() -> None:
    options = HttpOptions(version="1", demo=False)
    routes = build_routes(FakeNode(), options, Metrics(FakeNode(), options))
    served = {
        (re.sub(r":path}", "}", route.path), method)
        for route in routes
        for method in (route.methods or set()) - {"HEAD"}
    }
    told = {(path, method.upper()) for path, item in (await document())["paths"].items() for method in item}
    assert served == told
    assert len(served) == len(OPERATIONS) + 5


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
