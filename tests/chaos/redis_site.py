"""Three gateways that are nodes of one Redis, each behind a proxy of its own to it.

What always holds: a node that is restarted listens on the ports that it had; no Redis is left at the end.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.support.process import GatewayProcess
from tests.support.redis_servers import RedisServer, wait_until

from .proxy import FaultProxy
from .site import Site


class RedisSite(Site):
    """`aof`: Redis keeps an append-only file, so that a restart loses nothing.

    `redis` is the master, `redis_proxies` are between each node and it.
    """

    nodes = 3

    def __init__(self, folder: Path, seed: int, *, aof: bool = False) -> None:
        super().__init__(folder, seed)
        self.redis = RedisServer(folder, aof=aof)
        self.redis_proxies: list[FaultProxy] = []
        self._servers = [self.redis]

    async def start(self) -> None:
        await asyncio.to_thread(self.redis.start)
        for number in range(self.nodes):
            proxy = FaultProxy(self.redis.address, seed=self._seed + number)
            await proxy.start()
            self.redis_proxies.append(proxy)
        starts = [self._launch("--broker", f"redis://{p.address}") for p in self.redis_proxies]
        self.gateways = list(await asyncio.gather(*starts))
        for gateway in self.gateways:
            await self._stand_before(gateway)

    async def _again(self, number: int, old: GatewayProcess) -> GatewayProcess:
        ports = ("--listen", old.edge, "--api-listen", old.api)
        return await self._launch("--broker", f"redis://{self.redis_proxies[number].address}", *ports)

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

    def _more_values(self) -> dict[str, float]:
        """Count the channels that anybody is subscribed to."""
        return {"rig_redis_subscriptions": float(len(self.redis.ask("PUBSUB", "CHANNELS")))}

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
