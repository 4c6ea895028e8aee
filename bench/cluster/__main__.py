"""Two nodes around one Redis: Ringgate, redis-benchmark and what a user would pick instead.

    python -m bench.cluster                             what docs/benchmarks.md shows
    python -m bench.cluster --only relay --clusters 'Ringgate|redis-benchmark' --rounds 5

All on one Redis server of the run's own, but for other shapes of Redis.  In each round redis-benchmark,
Ringgate with and without history, and one gateway alone are measured in turn; the other clusters, and the
other shapes, once.  Nothing is pinned: four processes share what cores there are.  So the CPU time of each
process for each publication is told, which depends least on that.  build/bench/cluster.json holds every
single measurement.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bench.compare import OUT, fingerprint
from gateway.bench import report, runs
from gateway.bench.target import BenchError
from gateway.cli.version import ringgate_version
from tests.support.redis_servers import RedisServer

from .cases import ALL, RELAYS, SHAPES, SPREAD, Case
from .machinery import Node, lacking, redis_benchmark, redis_server, running, settle, shaped
from .rivals import django_channels, node_socketio, ringgate, socketio_redis
from .rivals.cluster import BATCH, HTTP, WS, Cluster

CLUSTERS: Final = (
    *ringgate.CLUSTERS,
    *socketio_redis.CLUSTERS,
    *node_socketio.CLUSTERS,
    *django_channels.CLUSTERS,
)
REFERENCE: Final = "redis-benchmark"
REFERENCE_HEARD: Final = "redis-benchmark, one subscriber"
REFERENCE_KEPT: Final = "redis-benchmark, kept"
_SHAPED: Final = ringgate.SHAPED
_EACH_ROUND: Final = (ringgate.NAME, ringgate.NO_HISTORY, ringgate.ALONE)
_OURS: Final = (*_EACH_ROUND, *_SHAPED)
_MARK: Final = "{payload}"

Record = dict[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and write the results; 1 when a cluster of ours delivered wrongly."""
    options = _options(argv)
    chosen = [cluster for cluster in CLUSTERS if re.search(options.clusters, cluster.name)]
    missing = lacking(chosen)
    records: list[Record] = []
    result: dict[str, Any] = {
        "machine": report.machine(),
        "version": ringgate_version(),
        "arguments": list(argv if argv is not None else sys.argv[1:]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "missing": missing,
        "records": records,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    before = fingerprint()
    with redis_server() as redis:
        result["redis"] = redis.ask("INFO", "server").decode().partition("redis_version:")[2].split()[0]
        for number in range(options.rounds):
            for record in _round(redis, chosen, number, options, missing):
                records.append(record | {"round": number})
                print(_line(record), file=sys.stderr, flush=True)
    result["code_changed"] = before != fingerprint()
    (options.out / "cluster.json").write_text(json.dumps(result, indent=1) + "\n")
    ours = [record for record in records if record["server"] in _OURS]
    return 1 if any(record["result"]["faults"] for record in ours) else 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description="Measure clusters.")
    parser.add_argument("--only", metavar="REGEX", default="", help="cases whose title matches")
    parser.add_argument("--clusters", metavar="REGEX", default="", help="clusters whose name matches")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--seconds", metavar="S", type=float, default=2.0, help="each (default %(default)s)")
    parser.add_argument("--out", metavar="DIR", type=Path, default=OUT, help="(default build/bench)")
    return parser.parse_args(argv)


def _round(
    redis: RedisServer,
    clusters: Sequence[Cluster],
    number: int,
    options: argparse.Namespace,
    missing: dict[str, str],
) -> Iterator[Record]:
    """Measure everything once; rivals, and Redis in other shapes, in the first round only."""
    cases = [case for case in ALL if re.search(options.only, case.title)]
    yield from _references(redis, cases, options)
    for cluster in clusters:
        if cluster.name in missing or (number and cluster.name not in _EACH_ROUND):
            continue
        of_cluster = [case for case in cases if _wanted(case, cluster)]
        try:
            with (
                shaped(redis, cluster) as (url, servers),
                running(cluster, url) as nodes,
            ):
                for case in of_cluster:
                    seconds = options.seconds if cluster.name in _OURS else min(options.seconds, 1.5)
                    yield measure(case, cluster, nodes, servers, seconds)
        except BenchError as error:
            faults = {"faults": [str(error).splitlines()[0]]}
            for case in of_cluster:
                yield {"server": cluster.name, "case": case.title, "result": faults}


def _references(redis: RedisServer, cases: Sequence[Case], options: argparse.Namespace) -> Iterator[Record]:
    """Measure redis-benchmark as it is compared with the cases, each way once.

    A PUBLISH, which the target names; one that is received; and what is nearest to what a node asks of Redis.
    """
    if not re.search(options.clusters, REFERENCE):
        return
    pipelines = dict.fromkeys((case.pipeline, case.size) for case in cases if case in RELAYS)
    for (connections, pipeline), size in pipelines:
        for name in (REFERENCE, REFERENCE_HEARD, REFERENCE_KEPT):
            got = redis_benchmark(
                redis, connections=connections, pipeline=pipeline, size=size, seconds=options.seconds / 2,
                subscriber=name != REFERENCE, keep=name == REFERENCE_KEPT,
            )  # fmt: skip
            each = {"redis": got.redis_us, "load": got.own_us}
            result = {"per_second": got.per_second, "cpu_us_each": each, "faults": []}
            case = reference_title((connections, pipeline))
            yield {"server": name, "case": case, "result": result}


def reference_title(pipeline: tuple[int, int]) -> str:
    """Return under which name redis-benchmark is recorded."""
    return f"PUBLISH, {pipeline[0]} connections, {pipeline[1]} in flight each"


def _wanted(case: Case, cluster: Cluster) -> bool:
    if cluster.name in _SHAPED:
        return case in SHAPES
    if case.publish not in cluster.publishing or (case.publishers > 1 and cluster.name not in _OURS):
        return False
    return cluster.nodes > 1 or case.publish == WS


def measure(
    case: Case, cluster: Cluster, nodes: Sequence[Node], servers: Sequence[RedisServer], seconds: float
) -> Record:
    """Measure a case.  What fails is told in the record."""
    record: Record = {"server": cluster.name, "case": case.title, "kind": case.kind}
    pids = [node.pid for node in nodes] + [server.pid for server in servers if cluster.nodes > 1]
    plan = runs.Plan(
        seconds=seconds,
        in_flight=case.in_flight,
        rate=case.rate,
        warm_up_s=min(0.5, seconds),
        drain_s=10.0,
        server_pids=pids,
    )
    url, how = _how(case, cluster, nodes)
    settle(pids)
    try:
        result = runs.run_fanout(
            url, plan, how, subscribers=case.subscribers * case.publishers, size=case.size, progress=_quiet
        )
    except BenchError as error:
        return record | {"result": {"faults": [str(error).splitlines()[0]]}}
    return record | {"result": _told(case, cluster, result, url)}


def _how(case: Case, cluster: Cluster, nodes: Sequence[Node]) -> tuple[str, runs.Subscribing]:
    """Return where subscribers connect first, and how everything is spoken to."""
    edges = [f"ws://{node.addresses.edge}{cluster.path}" for node in nodes]
    api = f"http://{nodes[0].addresses.api}/api/"
    urls = edges if case.kind == SPREAD else edges[-1:]
    how = replace(
        cluster.how,
        publish_url=edges[0] if case.publish == WS else api + {HTTP: "publish", BATCH: "batch"}[case.publish],
        more_urls=urls[1:],
        publishers=case.publishers,
        channels=case.publishers,
        channel_prefix=runs.Subscribing().channel_prefix,
        publish=_batch(case) if case.publish == BATCH else cluster.how.publish,
    )
    return urls[0], how


def _batch(case: Case) -> str:
    """Return a batch, of which the last publication is the one that is counted."""
    command = '{"method":"publish","channel":"{channel}","data":"' + _MARK + '"}'
    others = [command.replace(_MARK, "." * case.size)] * (case.batch - 1)
    return '{"commands":[' + ",".join([*others, command]) + "]}"


def _told(case: Case, cluster: Cluster, result: runs.Result, url: str) -> Record:
    """Return the record of a result, with what each process used for each publication."""
    told = report.as_json(result, url=url, version=ringgate_version())
    published = result.messages * case.batch
    each_s = [*result.usage.server_cpu_each_s, result.usage.own_cpu_s]
    servers = [f"redis {number}" if number > 1 else "redis" for number in range(1, len(each_s) - 2)]
    names = ["a", "b", *servers] if cluster.nodes > 1 else ["a"]
    told["per_second"] = published / result.usage.wall_s
    if published:
        told["cpu_us_each"] = {
            name: 1e6 * used_s / published for name, used_s in zip([*names, "load"], each_s, strict=True)
        }
    if result.counts["others"] < (case.batch - 1) * result.messages:
        told["faults"].append("publications of a batch were not delivered")
    if case.rate and result.counts["unsent"] > result.counts["sent"] // 100:
        told["faults"].append(f"{result.counts['unsent']} messages could not be sent in time")
    return told


def _quiet(what: str, part: float) -> None:
    """Show no progress: a line for each measurement is enough."""


def _line(record: Record) -> str:
    result = record["result"]
    each = ", ".join(f"{name} {us:.2f}" for name, us in result.get("cpu_us_each", {}).items())
    latency = result.get("latency_ns")
    p50 = f"p50 {latency['50'] / 1e6:.2f} ms p99 {latency['99'] / 1e6:.2f} ms" if latency else ""
    rate = f"{result.get('per_second', 0.0):10,.0f}/s"
    return f"{record['case']:<52} {record['server']:<32} {rate}  {each}  {p50} {'; '.join(result['faults'])}"


if __name__ == "__main__":
    raise SystemExit(main())
