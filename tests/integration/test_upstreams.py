"""Upstreams as somebody who runs the gateway sees them: configuration, API and metrics."""

from __future__ import annotations

import httpx
import pytest

from gateway import Gateway
from gateway.errors import ConfigError
from tests.support.app_service import AppService, says
from tests.support.waiting import until


async def test_state_and_metrics_of_an_upstream_are_shown() -> None:
    async with AppService(says({})) as service:
        upstream = {"addresses": [service.url], "health_path": "/health", "health_interval": "50ms"}
        config = {
            "server": {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0"},
            "upstream": {"app": {**upstream, "unhealthy_after": 1}},
        }
        async with Gateway(config) as gateway, httpx.AsyncClient(base_url=gateway.api_url) as client:
            (group,) = (await client.get("/api/upstreams")).json()["upstreams"]
            assert (group["name"], group["targets"][0]["healthy"]) == ("app", True)
            service.answer = says({}, 500)

            async def is_out() -> bool:
                metrics = (await client.get("/metrics")).text
                return f'target_up{{target="{service.url}",upstream="app"}} 0.0' in metrics

            await until(is_out)
            (group,) = (await client.get("/api/upstreams")).json()["upstreams"]
            assert not group["targets"][0]["healthy"]


@pytest.mark.parametrize(
    ("upstream", "told"),
    [
        ({}, "upstream.app.addresses"),
        ({"addresses": ["http://a", "http://b"], "weights": [1]}, "one for each of the addresses"),
        ({"addresses": ["http://a/path"]}, "no path"),
        ({"addresses": ["http://user@a"]}, "allowed"),
        ({"addresses": ["http://a:0"]}, "a port"),
        ({"addresses": ["http://a", "http://a"]}, "twice"),
    ],
)
def test_wrong_upstream_is_told_in_words(upstream: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Gateway({"upstream": {"app": upstream}})
