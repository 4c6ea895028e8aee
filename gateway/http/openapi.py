"""The OpenAPI document, generated from the records and the table of operations.

Nothing in it is written twice: a field's bounds are those that the decoder enforces.
No page that renders it is served; those load scripts from elsewhere.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from ..grip.items import ItemsBody
from .api import OPERATIONS, Operation
from .auth import GRIP_PATHS
from .gateway_view import HttpOptions
from .keys import ApiKeys
from .results import ErrorAnswer, HealthAnswer
from .scopes import Scope

_REF: Final = "#/components/schemas/{name}"
_TOKEN: Final = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "signed by HS256 with one of grip.keys, with an exp",
}
_EITHER: Final = (("data", "data64"), ("user", "client"))


def build_openapi(options: HttpOptions) -> dict[str, Any]:
    """Return the document as OpenAPI 3.1; the API key is required in it where one is configured."""
    kinds = [
        *(row.takes for row in OPERATIONS),
        *(row.gives for row in OPERATIONS),
        *(ErrorAnswer, HealthAnswer),
        *((ItemsBody,) if options.grip is not None else ()),
    ]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
    for schema in schemas.values():
        _require_either(schema)
    security: dict[str, Any] = {"key": {"type": "http", "scheme": "bearer"}}
    paths = _paths()
    if options.grip is not None:
        paths |= _grip_paths(options)
        security |= {"grip": _TOKEN} if options.grip.verifies is not None else {}
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Ringgate, the app-service side",
            "version": options.version,
            "description": "Publish to WebSocket clients and see who is there. Never expose this port.",
        },
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": security},
    }
    if ApiKeys(options):
        document["security"] = [{"key": []}]
    return document


def _paths() -> dict[str, Any]:
    paths = {row.path: {row.method.lower(): _operation(row)} for row in OPERATIONS}
    health = {"200": _json("Healthy", HealthAnswer), "503": _json("Not ready", HealthAnswer)}
    text = {"200": {"description": "Metrics", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    document = {"200": {"description": "This document", "content": {"application/json": {}}}}
    paths["/health/live"] = _open("live", "The process runs", {"200": health["200"]})
    paths["/health/ready"] = _open("ready", "This node should get traffic", health)
    paths["/metrics"] = _open("metrics", "Metrics in Prometheus' text format", text)
    paths["/openapi.json"] = _open("openapi", "This document", document)
    clients = {"200": {"description": "AsyncAPI 3.0", "content": {"application/json": {}}}}
    paths["/asyncapi.json"] = _open("asyncapi", "The description of the client side", clients)
    return paths


def _grip_paths(options: HttpOptions) -> dict[str, Any]:
    """Return the paths of publishers of GRIP, who show a token where that is asked for, or a key."""
    text = {"description": "Published", "content": {"text/plain": {"schema": {"type": "string"}}}}
    operation: dict[str, Any] = {
        "summary": "Publish items of GRIP",
        "x-scope": Scope.PUBLISH,
        "requestBody": {"required": True, "content": _content(ItemsBody)},
        "responses": {"200": text, "default": _json("Refused", ErrorAnswer)},
    }
    if options.grip is not None and options.grip.verifies is not None:
        operation["security"] = [{"grip": []}, *([{"key": []}] if ApiKeys(options) else [])]
    names = ("grip_publish", "grip_publish_slash")
    return {
        path: {"post": {"operationId": name, **operation}}
        for path, name in zip(GRIP_PATHS, names, strict=True)
    }


def _open(name: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    """Return a GET that never needs a key."""
    return {"get": {"operationId": name, "summary": summary, "security": [], "responses": responses}}


def _operation(row: Operation) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": row.name,
        "summary": row.summary,
        **({"x-scope": row.needs} if row.needs else {}),
        "responses": {"200": _json("Done", row.gives), "default": _json("Refused", ErrorAnswer)},
    }
    if row.method == "POST":
        operation["requestBody"] = {"required": True, "content": _content(row.takes)}
    else:
        operation["parameters"] = _parameters(row)
    return operation


def _parameters(row: Operation) -> list[dict[str, Any]]:
    schema = msgspec.json.schema_components([row.takes])[1][row.takes.__name__]
    found: list[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "schema": field}
        for name, field in schema["properties"].items()
    ]
    if "{channel}" in row.path:
        found.append({"name": "channel", "in": "path", "required": True, "schema": {"type": "string"}})
    return found


def _json(description: str, kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"description": description, "content": _content(kind)}


def _content(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=kind.__name__)}}}


def _require_either(schema: dict[str, Any]) -> None:
    """Say of request bodies (those that refuse unknown fields) that exactly one of two fields is required."""
    if schema.get("additionalProperties") is not False:
        return
    rules = [
        {"oneOf": [{"required": [name]} for name in pair]}
        for pair in _EITHER
        if all(name in schema.get("properties", {}) for name in pair)
    ]
    if rules:
        schema["allOf"] = rules
