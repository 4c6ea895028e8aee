"""The demo page's files: served strictly, loading nothing from elsewhere, making no markup of remote text."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from gateway.http.demo_page import content_policy

from .fakes import FakeNode, http_client

FILES = ("index.html", "app.js", "style.css", "icon.svg")


def text_of(name: str) -> str:
    return (files("gateway.http") / "demo" / name).read_text()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/demo", "text/html; charset=utf-8"),
        ("/demo/app.js", "text/javascript; charset=utf-8"),
        ("/demo/style.css", "text/css; charset=utf-8"),
        ("/demo/icon.svg", "image/svg+xml"),
        ("/demo/config.json", "application/json"),
    ],
)
async def test_each_file_is_served_under_the_policy(path: str, media_type: str) -> None:
    async with http_client(FakeNode(), ws_port=9123) as client:
        response = await client.get(path)
        again = await client.get(path, headers={"if-none-match": response.headers["etag"]})
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
    assert "ws://127.0.0.1:9123 " in policy
    assert "unsafe" not in policy
    assert (again.status_code, again.content) == (304, b"")


async def test_config_says_where_the_edge_is() -> None:
    async with http_client(FakeNode(), ws_port=9123, ws_path="/live") as client:
        response = await client.get("/demo/config.json")
    assert response.json() == {"ws_port": 9123, "tls": False, "path": "/live", "login": False}


async def test_the_demo_can_be_left_out() -> None:
    async with http_client(FakeNode(), demo=False) as client:
        assert (await client.get("/demo")).status_code == 404


@pytest.mark.parametrize("host", ["a.example; script-src *", "a b", "", "x\ny", "[::1]:8001", "é"])
def test_a_host_never_writes_policy(host: str) -> None:
    policy = content_policy(host, 8000)
    assert policy.count(";") == content_policy("a.example:1", 8000).count(";")
    assert "connect-src 'self' ws: wss:;" in policy


@pytest.mark.parametrize("name", FILES)
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    addresses = re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\s\"'`]*", text_of(name))
    assert [a for a in addresses if not a.startswith("http://www.w3.org/")] == []
    assert "@import" not in text_of(name)


def test_remote_text_never_becomes_markup() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|new Function|ContextualFragment"
    assert re.findall(forbidden, text_of("app.js")) == []


def test_the_page_has_no_inline_script_or_style() -> None:
    page = text_of("index.html")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", page) == []
