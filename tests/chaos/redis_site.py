"""Three gateways that are nodes of one Redis: a server behind proxies, or Sentinels, or a Cluster.

What always holds: a node that is restarted listens on the ports that it had; no Redis is left at the end.
"""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
from pathlib import Path

from tests.support.process import GatewayProcess
from tests.support.redis_servers import RedisServer, wait_until
from tests.support.redis_sets import RedisCluster, SentinelSet

from .proxy import FaultProxy
from .site import Site


class NodesSite(Site):
    """Gateways that are nodes of one Redis, reached by `urls`, one for each node."""

    nodes = 3

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.urls: list[str] = []

    async def _start_nodes(self) -> None:
        starts = [self._launch("--broker", url) for url in self.urls]
        self.gateways = list(await asyncio.gather(*starts))
        for gateway in self.gateways:
            await self._stand_before(gateway)

    async def _again(self, number: int, old: GatewayProcess) -> GatewayProcess:
        ports = ("--listen", old.edge, "--api-listen", old.api)
        return await self._launch("--broker", self.urls[number], *ports)

    def servers(self) -> list[RedisServer]:
        """Every server that holds channels."""
        raise NotImplementedError

    def _more_values(self) -> dict[str, float]:
        """Count the channels of gateways that anybody is subscribed to."""
        names = set()
        for server in self.servers():
            for command in ("CHANNELS", "SHARDCHANNELS"):
                names |= set(server.ask("PUBSUB", command))
        return {"rig_redis_subscriptions": float(sum(name.startswith(b"ringgate") for name in names))}


class RedisSite(NodesSite):
    """`aof`: Redis keeps an append-only file, so that a restart loses nothing.

    `redis` is the master, `redis_proxies` are between each node and it.
    """

    def __init__(self, folder: Path, seed: int, *, aof: bool = False) -> None:
        super().__init__(folder, seed)
        self.redis = RedisServer(folder, aof=aof)
        self.redis_proxies: list[FaultProxy] = []
        self._servers = [self.redis]

    async def start(self) -> None:
        await asyncio.to_thread(self.redis.start)
        await self._start_before_redis()

    async def _start_before_redis(self) -> None:
        for number in range(self.nodes):
            proxy = FaultProxy(self.redis.address, seed=self._seed + number)
            await proxy.start()
            self.redis_proxies.append(proxy)
        self.urls = [f"redis://{proxy.address}" for proxy in self.redis_proxies]
        await self._start_nodes()

    def servers(self) -> list[RedisServer]:
        return [self.redis]

    async def start_replica(self) -> RedisServer:
        """Start a replica of the master, and wait until it has everything."""
        replica = RedisServer(self.folder)
        self._servers.append(replica)

        def start() -> None:
            replica.start()
            replica.ask("REPLICAOF", "127.0.0.1", self.redis.port)
            wait_until(lambda: b"master_link_status:up" in replica.ask("INFO", "replication"), "the replica")

        await asyncio.to_thread(start)
        return replica

    async def stop(self) -> None:
        try:
            for proxy in self.redis_proxies:
                proxy.heal()
            await super().stop()
        finally:
            for proxy in self.redis_proxies:
                await proxy.close()
            for server in self._servers:
                server.kill()


class SteppedSite(RedisSite):
    """Gateways and a Redis whose wall clocks can be stepped: `gateway_clock`, `redis_clock`."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.gateway_clock, self.redis_clock = Clock(folder / "gateways"), Clock(folder / "redis")

    async def start(self) -> None:
        library = self.folder / "clockstep.so"
        source = Path(__file__).with_name("clockstep.c")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"]
        await asyncio.to_thread(subprocess.run, command, check=True)
        try:
            os.environ |= {"LD_PRELOAD": str(library), "CHAOS_CLOCK": str(self.redis_clock.path)}
            await asyncio.to_thread(self.redis.start)
            os.environ["CHAOS_CLOCK"] = str(self.gateway_clock.path)
            await self._start_before_redis()
        finally:
            for name in ("LD_PRELOAD", "CHAOS_CLOCK"):
                os.environ.pop(name, None)


class Clock:
    """How far the clock of processes is stepped, in a file that they look at (clockstep.c)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step(0)

    def step(self, seconds: int) -> None:
        """Be so far from the true time, from now on."""
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("q", seconds))


class SentinelSite(NodesSite):
    """Nodes of a master and a replica with three Sentinels."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.redis = SentinelSet(folder, down_after_ms=1000)

    async def start(self) -> None:
        await asyncio.to_thread(self.redis.__enter__)
        for sentinel in self.redis.sentinels:
            # A replica of which a Sentinel has not heard for five of these it does not promote, and it asks
            # each second.
            sentinel.ask("SENTINEL", "DEBUG", "PING-PERIOD", 300)
        self.urls = [self.redis.url] * self.nodes
        await self._start_nodes()

    def servers(self) -> list[RedisServer]:
        return [server for server in self.redis.servers if server.running]

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            self.redis.__exit__(None, None, None)


class ClusterSite(NodesSite):
    """Nodes of a Redis Cluster of three masters with a replica each."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.redis = RedisCluster(folder)

    async def start(self) -> None:
        await asyncio.to_thread(self.redis.__enter__)
        self.urls = [self.redis.url] * self.nodes
        await self._start_nodes()

    def servers(self) -> list[RedisServer]:
        return self.redis.running

    async def stop(self) -> None:
        try:
            await super().stop()
        finally:
            self.redis.__exit__(None, None, None)
