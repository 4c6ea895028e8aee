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
    Histogram,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from .gateway_view import GatewayView, HttpOptions, MetricSample

PUBLISH_BUCKETS_S = (
    50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip


class Metrics:
    """The registry of one gateway, and the endpoint that shows it."""

    def __init__(self, node: GatewayView, options: HttpOptions) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(NodeCollector(node))
        build = Gauge(
            "ringgate_build_info",
            "Always 1; labels say what runs",
            ["version", "python"],
            registry=self._registry,
        )
        build.labels(options.version, platform.python_version()).set(1)
        self._publish = Histogram(
            "ringgate_publish_seconds",
            "Time from a publication's arrival at the node to its acknowledgement by the broker",
            buckets=PUBLISH_BUCKETS_S,
            registry=self._registry,
        )
        self._requests = Counter(
            "ringgate_api_requests", "API requests answered", ["operation", "code"], registry=self._registry
        )

    def observe_publish(self, seconds: float) -> None:
        """Record how long one publication took; the node calls it for services and clients alike."""
        self._publish.observe(seconds)

    def count_request(self, operation: str, code: str) -> None:
        """Count an API request: `code` is "ok" or an error code."""
        self._requests.labels(operation, code).inc()

    async def show(self, request: Request) -> Response:
        """Answer `GET /metrics` in the format that the scraper asks for."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(
            encode(self._registry), headers={"content-type": content_type, "cache-control": "no-store"}
        )


class NodeCollector(Collector):
    """Turns the node's samples into metric families at each scrape."""

    def __init__(self, node: GatewayView) -> None:
        self._node = node

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read the node."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return the node's samples, grouped by name."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._node.metrics():
            name, _, _, labels, value = sample
            if name not in families:
                families[name] = _family(sample)
            families[name].add_metric([str(labels[key]) for key in labels_of(labels)], value)
        return families.values()


def labels_of(labels: Mapping[str, str]) -> list[str]:
    """Return label names in an order that does not depend on who listed them."""
    return sorted(labels)


def _family(sample: MetricSample) -> CounterMetricFamily | GaugeMetricFamily:
    name, kind, help_text, labels, _ = sample
    if kind == "counter":
        return CounterMetricFamily(name, help_text, labels=labels_of(labels))
    return GaugeMetricFamily(name, help_text, labels=labels_of(labels))
