"""Metrics in Prometheus' text format: what the node counts, and what the HTTP side measures itself.

A registry of its own (nothing global), so that two gateways can live in one process.  The node is
read when a scrape comes, never before.  Labels are reasons and operations, never channels,
users or clients: their number is bounded by the program, not by its callers.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from .gateway_view import GatewayView, HttpOptions, MetricSample


class Metrics:
    """The registry of one gateway, and the endpoint that shows it."""

    def __init__(self, node: GatewayView, options: HttpOptions) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._node = node
        self._collector = NodeCollector()
        self._registry.register(self._collector)
        build = Gauge(
            "ringgate_build_info",
            "Always 1; labels say what runs",
            ["version", "python"],
            registry=self._registry,
        )
        build.labels(options.version, platform.python_version()).set(1)
        self._requests = Counter(
            "ringgate_api_requests", "API requests answered", ["operation", "code"], registry=self._registry
        )

        self._keys = Counter(
            "ringgate_api_keys",
            "requests that showed an API key, by its name: known, denied, unauthorized (no such key)",
            ["key", "outcome"],
            registry=self._registry,
        )

    def count_key(self, name: str, outcome: str) -> None:
        """Count a key that was shown, by its name in the configuration."""
        self._keys.labels(name, outcome).inc()

    def count_request(self, operation: str, code: str) -> None:
        """Count an API request: `code` is "ok" or an error code."""
        self._requests.labels(operation, code).inc()

    async def show(self, request: Request) -> Response:
        """Answer `GET /metrics` in the format that the scraper asks for."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        self._collector.samples = await self._node.metrics()
        return Response(
            encode(self._registry), headers={"content-type": content_type, "cache-control": "no-store"}
        )


class NodeCollector(Collector):
    """Turns the node's samples, which were read just before, into metric families."""

    def __init__(self) -> None:
        self.samples: Iterable[MetricSample] = ()

    def describe(self) -> Iterable[Metric]:
        """Return nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the samples, grouped by name."""
        families: dict[str, Metric] = {}
        for name, kind, help_text, labels, value in self.samples:
            family = families.get(name)
            if family is None:
                family = families[name] = Metric(name.removesuffix("_total"), help_text, kind)
            family.add_sample(_sample_name(family, labels), dict(labels), value)
            if labels.get("le") == "+Inf":
                family.add_sample(f"{family.name}_count", {}, value)
        return families.values()


def _sample_name(family: Metric, labels: Mapping[str, str]) -> str:
    if family.type == "counter":
        return f"{family.name}_total"
    if family.type == "histogram":
        return f"{family.name}_bucket" if "le" in labels else f"{family.name}_sum"
    return family.name
