"""Serves the demo page: four files of this package, read once, under a strict policy.

`demo/app.js` is built from clients/js/demo by `make js`; a test compares.

Knows where the edge is, not how it works: the page talks to it by itself.  Nothing is loaded from
elsewhere; no path of a request ever reaches the file system.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .answers import Handler
from .auth import host_name
from .gateway_view import HttpOptions

_FILES: Final = {
    "/demo": ("index.html", "text/html; charset=utf-8"),
    "/demo/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/demo/style.css": ("style.css", "text/css; charset=utf-8"),
    "/demo/icon.svg": ("icon.svg", "image/svg+xml"),
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' {edge}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def demo_routes(options: HttpOptions) -> list[Route]:
    """Return the routes of the demo page.  Raises FileNotFoundError when the package lacks its files."""
    folder = files(__package__) / "demo"
    routes = [
        Route(path, _page(folder.joinpath(name).read_bytes(), media_type, options.ws_port), methods=["GET"])
        for path, (name, media_type) in _FILES.items()
    ]
    config = msgspec.json.encode(
        {
            "ws_port": options.ws_port,
            "tls": options.ws_tls,
            "path": options.ws_path,
            "login": options.login,
        }
    )
    routes.append(
        Route("/demo/config.json", _page(config, "application/json", options.ws_port), methods=["GET"])
    )
    return routes


def content_policy(host: str, ws_port: int) -> str:
    """Return the Content-Security-Policy of a page at `host`: scripts from here, sockets to the edge."""
    name = host_name(host.lower())
    # A source of that policy cannot be an IPv6 address, nor can it be left to a malformed header.
    edge = f"ws://{name}:{ws_port} wss://{name}:{ws_port}" if name and ":" not in name else "ws: wss:"
    return _POLICY.format(edge=edge)


def _page(content: bytes, media_type: str, ws_port: int) -> Handler:
    tag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'

    async def show(request: Request) -> Response:
        headers = {
            "etag": tag,
            "cache-control": "no-cache",
            "content-security-policy": content_policy(request.headers.get("host", ""), ws_port),
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return show
