"""The ASGI application of the internal port: routes, wrapped handlers, and the guard around all.

The one place of `http/` that joins its parts; `server.HttpServer` serves what `build_app` returns.
Every answer of `/api`, and every refusal anywhere, is JSON in the one form.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .answers import Handler, answering, json_response, on_http_exception
from .api import OPERATIONS, Api, Operation
from .asyncapi import build_asyncapi
from .auth import CALLER, Guard
from .bodies import decode_body, decode_query
from .demo_page import demo_routes
from .gateway_view import GatewayView, HttpOptions
from .grip import grip_routes
from .health import Health
from .metrics import Metrics
from .openapi import build_openapi
from .permitting import Permits
from .reading import read_json_body
from .scopes import EVERYTHING


class CurrentApp:
    """An application that passes every request on to `app`, which can be replaced."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


class Direct:
    """An application that carries out the operations of fixed paths itself, and passes everything else on.

    A framework's router and its layers of exception handlers cost more than a publish.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        self._app = app
        self._handlers: dict[str, Handler] = {
            route.path: route.endpoint
            for route in routes
            if route.methods == {"POST"} and "{" not in route.path
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        handler = self._handlers.get(scope["path"]) if scope["method"] == "POST" else None
        if handler is None:
            await self._app(scope, receive, send)
            return
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)


def build_app(node: GatewayView, options: HttpOptions, metrics: Metrics) -> ASGIApp:
    """Return the application that serves `node`; it keeps no state but `metrics`."""
    routes = build_routes(node, options, metrics)
    inner = Starlette(routes=routes, exception_handlers={HTTPException: on_http_exception})
    inner.router.redirect_slashes = False
    return Guard(Direct(inner, routes), options, metrics.count_key)


def build_routes(node: GatewayView, options: HttpOptions, metrics: Metrics) -> list[Route]:
    """Return every route that there is."""
    api = Api(node)
    health = Health(node, options)
    routes = [_api_route(row, api, options.max_body_bytes, metrics) for row in OPERATIONS]
    routes += [
        _get("/health/live", health.live),
        _get("/health/ready", health.ready),
        _get("/metrics", metrics.show),
        _get("/openapi.json", _constant(build_openapi(options))),
        _get("/asyncapi.json", _constant(build_asyncapi())),
    ]
    if options.grip is not None:
        routes += grip_routes(
            node, options.grip, options.max_body_bytes, partial(metrics.count_request, "grip")
        )
    if options.demo:
        routes += demo_routes(options)
    return routes


def _api_route(row: Operation, api: Api, max_body_bytes: int, metrics: Metrics) -> Route:
    carry_out: Callable[..., Any] = getattr(api, row.name)

    permits = Permits(row, metrics.count_key)

    async def post(request: Request) -> Response:
        caller = request.scope.get(CALLER, EVERYTHING)
        permits.begin(caller)
        body = await read_json_body(request, max_body_bytes)
        asked = decode_body(body, row.takes)
        permits.carry_out(caller, asked)
        return json_response(await carry_out(asked))

    async def get(request: Request) -> Response:
        caller = request.scope.get(CALLER, EVERYTHING)
        permits.begin(caller)
        asked = decode_query(request.query_params.multi_items(), row.takes)
        permits.carry_out(caller, asked, **request.path_params)
        return json_response(await carry_out(asked, **request.path_params))

    def count(code: str) -> None:
        metrics.count_request(row.name, code)

    handler = answering(post if row.method == "POST" else get, count)
    # A channel's name may hold slashes, so its place in the path takes them too.
    return Route(row.path.replace("{channel}", "{channel:path}"), handler, methods=[row.method])


def _get(path: str, handler: Handler) -> Route:
    return Route(path, answering(handler, _not_counted), methods=["GET"])


def _not_counted(code: str) -> None:
    return None


def _constant(value: object) -> Handler:
    response = json_response(value)
    content = bytes(response.body)

    async def show(request: Request) -> Response:
        return json_response(msgspec.Raw(content))

    return show
