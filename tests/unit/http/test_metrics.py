"""Metrics: the node's samples and our own, in a format that Prometheus reads."""

from __future__ import annotations

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from gateway.publish_times import PublishTimes

from .fakes import FakeNode, http_client


def values(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def scrape(node: FakeNode) -> str:
    async with http_client(node) as client:
        response = await client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return response.text


async def test_samples_of_the_node_appear_with_kind_labels_and_value() -> None:
    node = FakeNode()
    node.samples = [
        ("ringgate_connections", "gauge", "Open connections", {}, 3),
        ("ringgate_drops_total", "counter", "Messages dropped", {"reason": "skip"}, 5),
        ("ringgate_bytes_in_total", "counter", "Bytes", {}, 7),
        ("ringgate_drops_total", "counter", "Messages dropped", {"reason": "latest"}, 6),
    ]
    text = await scrape(node)
    found = values(text)
    assert found["ringgate_connections", ()] == 3
    assert found["ringgate_drops_total", (("reason", "skip"),)] == 5
    assert found["ringgate_drops_total", (("reason", "latest"),)] == 6
    assert found["ringgate_bytes_in_total", ()] == 7
    assert "# TYPE ringgate_connections gauge" in text
    assert "# TYPE ringgate_drops_total counter" in text


async def test_a_hostile_label_cannot_break_the_format() -> None:
    node = FakeNode()
    reason = 'a"} 1\n# TYPE evil counter\nevil\\'
    node.samples = [("ringgate_refusals_total", "counter", "Refusals", {"reason": reason}, 1)]
    found = values(await scrape(node))
    assert found["ringgate_refusals_total", (("reason", reason),)] == 1
    assert not any(name.startswith("evil") for name, _ in found)


async def test_process_and_build_are_told() -> None:
    found = values(await scrape(FakeNode()))
    names = {name for name, _ in found}
    assert {"process_resident_memory_bytes", "process_open_fds", "python_gc_collections_total"} <= names
    build = [dict(labels) for name, labels in found if name == "ringgate_build_info"]
    assert [item["version"] for item in build] == ["1.2.3"]


async def test_publish_times_land_in_their_buckets() -> None:
    node = FakeNode()
    times = PublishTimes()
    for seconds in (20e-6, 0.003, 60.0):
        times.observe(seconds)
    node.samples = [*times.samples()]
    text = await scrape(node)
    assert "# TYPE ringgate_publish_seconds histogram" in text
    found = values(text)
    assert found["ringgate_publish_seconds_bucket", (("le", "5e-05"),)] == 1
    assert found["ringgate_publish_seconds_bucket", (("le", "0.005"),)] == 2
    assert found["ringgate_publish_seconds_bucket", (("le", "5.0"),)] == 2
    assert found["ringgate_publish_seconds_bucket", (("le", "+Inf"),)] == 3
    assert found["ringgate_publish_seconds_count", ()] == 3
    assert abs(found["ringgate_publish_seconds_sum", ()] - 60.00302) < 1e-9


async def test_requests_are_counted_by_operation_and_code_and_nothing_of_the_caller() -> None:
    node = FakeNode()
    async with http_client(node) as client:
        for i in range(20):
            await client.get(f"/api/channels/name-{i}/presence")
            await client.get(f"/api/channels/na%20me-{i}/presence")
            await client.get(f"/nothing/{i}")
        text = (await client.get("/metrics")).text
    found = values(text)
    assert found["ringgate_api_requests_total", (("code", "ok"), ("operation", "presence"))] == 20
    assert found["ringgate_api_requests_total", (("code", "bad_request"), ("operation", "presence"))] == 20
    assert "name-1" not in text
    assert "nothing" not in text


async def test_nothing_is_registered_globally_and_two_gateways_do_not_mix() -> None:
    before = set(REGISTRY._names_to_collectors)
    first, second = FakeNode(), FakeNode()
    first.samples = [("ringgate_connections", "gauge", "Open connections", {}, 1)]
    second.samples = [("ringgate_connections", "gauge", "Open connections", {}, 2)]
    assert values(await scrape(first))["ringgate_connections", ()] == 1
    assert values(await scrape(second))["ringgate_connections", ()] == 2
    assert set(REGISTRY._names_to_collectors) == before


async def test_openmetrics_is_given_to_who_asks_for_it() -> None:
    async with http_client(FakeNode()) as client:
        response = await client.get(
            "/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
        )
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
