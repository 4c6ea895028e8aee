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

from .rivals.cluster import Addresses, Cluster

START_S: Final = 30.0
SETTLE_S: Final = 10.0
_CHANNEL: Final = b"bench"
# A subscriber that is slower than redis-benchmark is not to be dropped: it stands for a node.
_REDIS: Final = (("client-output-buffer-limit", "pubsub 0 0 0"),)


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
def shaped(redis: RedisServer, cluster: Cluster) -> Iterator[list[RedisServer]]:
    """Give the servers that a cluster wants: this one, which is emptied, and more beside it."""
    redis.ask("FLUSHALL")
    with contextlib.ExitStack() as stack:
        servers = [redis, *(stack.enter_context(redis_server()) for _ in range(cluster.shards - 1))]
        if cluster.aof:
            for server in servers:
                stack.callback(server.ask, "CONFIG", "SET", "appendonly", "no")
                server.ask("CONFIG", "SET", "appendonly", "yes")
        yield servers


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


class Published(NamedTuple):
    """What redis-benchmark reached, and what a PUBLISH cost Redis and redis-benchmark, in µs."""

    per_second: float
    redis_us: float
    own_us: float


def redis_benchmark(
    redis: RedisServer, *, connections: int, pipeline: int, size: int, seconds: float, subscriber: bool
) -> Published:
    """PUBLISH for about so long; with a `subscriber`, which takes everything.  Raises BenchError."""
    heard = _subscriber(redis) if subscriber else contextlib.nullcontext()
    with heard:
        rate = _publish(redis, connections, pipeline, size, 20_000)[0]
        count = max(int(rate * seconds), 20_000)
        redis_s = cpu_s(redis.pid)
        own_s = _children_s()
        rate, _ = _publish(redis, connections, pipeline, size, count)
        redis_us = 1e6 * (cpu_s(redis.pid) - redis_s) / count
        return Published(rate, redis_us, 1e6 * (_children_s() - own_s) / count)


def _children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _publish(redis: RedisServer, connections: int, pipeline: int, size: int, count: int) -> tuple[float, str]:
    command = ["redis-benchmark", "-h", redis.address[0], "-p", str(redis.port), "--csv"]
    command += ["-c", str(connections), "-P", str(pipeline), "-n", str(count)]
    command += ["PUBLISH", _CHANNEL.decode(), "x" * size]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - ours
    lines = done.stdout.strip().splitlines()
    try:
        return float(lines[-1].split('","')[1].strip('"')), done.stdout
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
