"""Starts what is measured: a Redis server of the run's own, the nodes of a cluster; and redis-benchmark.

What always holds: everything listens on 127.0.0.1 on free ports, and is ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.compare import ROOT
from gateway.bench.processes import cpu_s
from gateway.bench.target import BenchError
from tests.support.redis_servers import RedisServer
from tests.support.redis_sets import RedisCluster, SentinelSet

from .rivals.cluster import SENTINEL, Addresses, Cluster

START_S: Final = 30.0
SETTLE_S: Final = 10.0
_CHANNEL: Final = b"bench"
# A subscriber that is slower than redis-benchmark is not to be dropped: it stands for a node.
_REDIS: Final = (("client-output-buffer-limit", "pubsub 0 0 0"),)
_LONG_MS: Final = 30_000  # nobody is to be taken for dead because the machine is busy


class Node(NamedTuple):
    """A node that runs."""

    pid: int
    addresses: Addresses


@contextlib.contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis server that keeps nothing on disk."""
    if not shutil.which("redis-server") or not shutil.which("redis-benchmark"):
        raise BenchError("no redis-server or no redis-benchmark: apt-get install redis-server redis-tools")
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder), options=_REDIS) as server:
        yield server


@contextlib.contextmanager
def shaped(redis: RedisServer, cluster: Cluster) -> Iterator[tuple[str, list[RedisServer]]]:
    """Give the URL of what a cluster wants, and its servers: this one, emptied, and more beside it."""
    redis.ask("FLUSHALL")
    with contextlib.ExitStack() as stack:
        if cluster.deployment:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if cluster.deployment == SENTINEL:
                sentinels = SentinelSet(folder, down_after_ms=_LONG_MS, options=_REDIS)
                deployment: SentinelSet | RedisCluster = stack.enter_context(sentinels)
            else:
                masters = RedisCluster(folder, replicas=False, node_timeout_ms=_LONG_MS, options=_REDIS)
                deployment = stack.enter_context(masters)
            yield deployment.url, deployment.servers
            return
        servers = [redis, *(stack.enter_context(redis_server()) for _ in range(cluster.shards - 1))]
        if cluster.aof:
            for server in servers:
                stack.callback(server.ask, "CONFIG", "SET", "appendonly", "no")
                server.ask("CONFIG", "SET", "appendonly", "yes")
        yield " ".join(server.url for server in servers), servers


@contextlib.contextmanager
def running(cluster: Cluster, redis_url: str) -> Iterator[list[Node]]:
    """Start the nodes of a cluster, all at once.  Raises BenchError when one does not listen."""
    with contextlib.ExitStack() as stack:
        started = []
        for _ in range(cluster.nodes):
            log = stack.enter_context(tempfile.TemporaryFile("w+"))
            process = subprocess.Popen(  # noqa: S603 - a command of our own table
                cluster.command(redis_url),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            stack.callback(_end, process)
            started.append((process, log.fileno()))
        yield [Node(process.pid, _addresses(cluster, process, log)) for process, log in started]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def _addresses(cluster: Cluster, process: subprocess.Popen[bytes], log: int) -> Addresses:
    give_up_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < give_up_s:
        for line in os.pread(log, 1 << 16, 0).decode(errors="replace").splitlines(keepends=True):
            found = cluster.addresses(line) if line.endswith("\n") else None
            if found:
                return found
        time.sleep(0.02)
    said = os.pread(log, 1 << 16, 0).decode(errors="replace").strip()
    raise BenchError(f"{cluster.name} does not listen: {said[-300:]}")


KEEP_AND_PUBLISH: Final = """\
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('XADD', KEYS[2], 'MAXLEN', '=', 100, offset .. '-0', 'd', ARGV[1])
redis.call('PUBLISH', KEYS[3], ARGV[1])
return offset
"""
"""As little as one can do to number a publication, keep the last hundred, and publish it."""
_KEYS: Final = ("bench.meta", "bench.stream", _CHANNEL.decode())


class Published(NamedTuple):
    """What redis-benchmark reached, and what a publication cost Redis and redis-benchmark, in µs."""

    per_second: float
    redis_us: float
    own_us: float


def redis_benchmark(
    redis: RedisServer,
    *,
    connections: int,
    pipeline: int,
    size: int,
    seconds: float,
    subscriber: bool,
    keep: bool = False,
) -> Published:
    """PUBLISH for about so long, or (`keep`) have a script number, keep and publish.

    With a `subscriber`, which takes everything.  Raises BenchError.
    """
    command = ["PUBLISH", _CHANNEL.decode(), "x" * size]
    if keep:
        redis.ask("DEL", *_KEYS[:2])
        sha = redis.ask("SCRIPT", "LOAD", KEEP_AND_PUBLISH).decode()
        command = ["EVALSHA", sha, str(len(_KEYS)), *_KEYS, "x" * size]
    heard = _subscriber(redis) if subscriber else contextlib.nullcontext()
    with heard:
        rate = _publish(redis, connections, pipeline, command, 20_000)
        count = max(int(rate * seconds), 20_000)
        redis_s = cpu_s(redis.pid)
        own_s = _children_s()
        rate = _publish(redis, connections, pipeline, command, count)
        redis_us = 1e6 * (cpu_s(redis.pid) - redis_s) / count
        return Published(rate, redis_us, 1e6 * (_children_s() - own_s) / count)


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _publish(
    redis: RedisServer, connections: int, pipeline: int, command: Sequence[str], count: int
) -> float:
    tool = ["redis-benchmark", "-h", redis.address[0], "-p", str(redis.port), "--csv"]
    tool += ["-c", str(connections), "-P", str(pipeline), "-n", str(count), *command]
    done = subprocess.run(tool, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours
    lines = done.stdout.strip().splitlines()
    try:
        return float(lines[-1].split('","')[1].strip('"'))
    except (IndexError, ValueError):
        raise BenchError(f"redis-benchmark: {(done.stderr or done.stdout).strip()[-200:]}") from None


@contextlib.contextmanager
def _subscriber(redis: RedisServer) -> Iterator[None]:
    """Subscribe, and read whatever comes, as fast as one can without looking at it."""
    with socket.create_connection(redis.address) as connection:
        connection.sendall(b"SUBSCRIBE " + _CHANNEL + b"\r\n")
        connection.recv(1 << 16)
        reader = threading.Thread(target=_drain, args=(connection,), daemon=True)
        reader.start()
        try:
            yield
        finally:
            connection.shutdown(socket.SHUT_RDWR)
            reader.join()


def _drain(connection: socket.socket) -> None:
    room = bytearray(1 << 20)
    with contextlib.suppress(ConnectionResetError):  # ours, at the end
        while connection.recv_into(room):
            pass


def settle(pids: Sequence[int]) -> None:
    """Wait until processes have hardly anything to do: what closed connections left, at most `SETTLE_S`."""
    give_up_s = time.monotonic() + SETTLE_S
    while time.monotonic() < give_up_s:
        before_s = sum(cpu_s(pid) for pid in pids)
        time.sleep(0.2)
        if sum(cpu_s(pid) for pid in pids) - before_s <= 0.02:
            return


def lacking(clusters: Sequence[Cluster]) -> dict[str, str]:
    """Install what the clusters need; return what is missing all the same, by name."""
    return {cluster.name: missing for cluster in clusters if (missing := cluster.missing())}
