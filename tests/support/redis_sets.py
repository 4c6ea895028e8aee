"""Real Redis deployments of several processes for tests: a Sentinel set, and a Cluster.

What always holds: as for `redis_servers`, everything that was started is ended when the `with` block ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.redis_servers import HOST, RedisError, RedisServer, TlsFiles, wait_until

MASTER_NAME = "mymaster"
BOTH_LOOPBACKS = ("bind", f"{HOST} -::1")
"""For servers that are reached as `localhost`, whatever that is on this machine."""
_QUICKLY = ("INFO-PERIOD", 500, "PUBLISH-PERIOD", 200, "PING-PERIOD", 100)
"""With as many pings as usual, a Sentinel would take the living for dead within such a `down_after_ms`."""
SLOTS = 16384


class _Set:
    """Servers that are ended together."""

    def __init__(self) -> None:
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        raise NotImplementedError


class SentinelSet(_Set):
    """A master, a replica, and Sentinels that promote the replica when the master is gone.

    `down_after_ms` is how long a server has to be silent before a Sentinel takes it for dead.  `tls` are the
    paths of CA, certificate and key: everybody then speaks TLS with everybody.  `host` is the name by which
    Sentinels know and announce servers.  `sentinel_password` is what Sentinels want to hear, and
    `sentinel_options` are settings of theirs.
    """

    def __init__(
        self,
        folder: Path,
        *,
        aof: bool = False,
        password: str = "",
        sentinels: int = 3,
        down_after_ms: int = 500,
        options: Sequence[tuple[str, str]] = (),
        tls: TlsFiles | None = None,
        host: str = HOST,
        sentinel_password: str = "",
        sentinel_options: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self._folder = folder
        self._password = password
        self._down_after_ms = down_after_ms
        self._count = sentinels
        self._tls = tls
        self._host = host
        self._sentinel_password = sentinel_password
        self._sentinel_options = sentinel_options
        settings = [*_encrypted(tls, host), *options]
        if host != HOST:
            settings += [("replica-announce-ip", host)]
        self.servers = [
            RedisServer(folder, aof=aof, password=password, options=settings, tls=tls) for _ in range(2)
        ]
        self.sentinels: list[RedisServer] = []

    @property
    def url(self) -> str:
        """Without the credentials of Sentinels, and what TLS needs: these are options."""
        credentials = f":{self._password}@" if self._password else ""
        hosts = ",".join(f"{self._host}:{_port(sentinel)}" for sentinel in self.sentinels)
        return f"redis{'s' if self._tls else ''}+sentinel://{credentials}{hosts}/{MASTER_NAME}"

    @property
    def master(self) -> RedisServer:
        """The server that the first Sentinel that runs names."""
        sentinel = next(sentinel for sentinel in self.sentinels if sentinel.running)
        _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return next(server for server in self.servers if _port(server) == int(port))

    @property
    def replica(self) -> RedisServer:
        """The other server."""
        master = self.master
        return next(server for server in self.servers if server is not master)

    def failover(self) -> None:
        """Ask for a failover while the master lives; return when every Sentinel names the new one.

        The old master goes on as one for some seconds, until the Sentinels make it a replica.
        """
        before = self.master
        wait_until(lambda: self.sentinels[0].ask("SENTINEL", "FAILOVER", MASTER_NAME), "a failover")
        for sentinel in self.sentinels:
            wait_until(partial(self._names_another, sentinel, before), "the new master")

    def follow(self) -> None:
        """Make the old master a replica, as the Sentinels would after some seconds, and wait for it."""
        replica = self.replica
        replica.ask("REPLICAOF", self._host, _port(self.master))
        wait_until(partial(_in_step, replica), "the replica to be in step")

    @staticmethod
    def _names_another(sentinel: RedisServer, before: RedisServer) -> bool:
        _, port = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return bool(int(port) != _port(before))

    def wait_promoted(self, before: RedisServer) -> None:
        """Wait until another server than `before` is the master, and knows it."""
        wait_until(lambda: self.master is not before, "the Sentinels to promote the replica")
        wait_until(lambda: self.master.ask("ROLE")[0] == b"master", "the replica to be master")

    def _start(self) -> None:
        master, replica = self.servers
        for server in self.servers:
            self._stack.enter_context(server)
        replica.ask("REPLICAOF", self._host, _port(master))
        wait_until(partial(_in_step, replica), "the replica to be in step")
        for _ in range(self._count):
            self._start_sentinel(_port(master))
        for sentinel in self.sentinels:
            wait_until(partial(self._complete, sentinel), "the Sentinels to know each other")

    def _start_sentinel(self, master_port: int) -> None:
        name = f"sentinel %s {MASTER_NAME}"
        settings = [*_encrypted(self._tls, self._host)]
        if self._host != HOST:
            settings += [("sentinel resolve-hostnames", "yes"), ("sentinel announce-hostnames", "yes")]
            settings += [("sentinel announce-ip", self._host)]
        settings += [(name % "monitor", f"{self._host} {master_port} {self._count // 2 + 1}")]
        settings += [(name % "down-after-milliseconds", str(self._down_after_ms))]
        settings += [(name % "failover-timeout", "2000")]
        if self._password:
            settings += [(name % "auth-pass", self._password)]
        if self._sentinel_password:
            settings += [("sentinel sentinel-pass", self._sentinel_password)]
        sentinel = RedisServer(
            self._folder,
            options=[*settings, *self._sentinel_options],
            mode="--sentinel",
            tls=self._tls,
            password=self._sentinel_password,
        )
        self.sentinels.append(self._stack.enter_context(sentinel))
        with suppress(RedisError):  # before version 7 they hear of each other, and of changes, seconds later
            sentinel.ask("SENTINEL", "DEBUG", *_QUICKLY)

    def _complete(self, sentinel: RedisServer) -> bool:
        reply = sentinel.ask("SENTINEL", "MASTER", MASTER_NAME)
        fields = dict(zip(reply[::2], reply[1::2], strict=True))
        known = int(fields[b"num-other-sentinels"]), int(fields[b"num-slaves"]), fields[b"flags"]
        return known == (self._count - 1, 1, b"master")


class RedisCluster(_Set):
    """A Redis Cluster: masters, with slots spread evenly, and a replica for each of them, if asked for.

    `tls` are the paths of CA, certificate and key: members then speak TLS with each other.  `host` is the
    name that they announce, besides their addresses.
    """

    def __init__(
        self,
        folder: Path,
        *,
        masters: int = 3,
        replicas: bool = True,
        aof: bool = False,
        password: str = "",
        node_timeout_ms: int = 500,
        options: Sequence[tuple[str, str]] = (),
        tls: TlsFiles | None = None,
        host: str = HOST,
    ) -> None:
        super().__init__()
        settings = [("cluster-enabled", "yes"), ("cluster-node-timeout", str(node_timeout_ms))]
        settings += [("cluster-replica-validity-factor", "0"), *_encrypted(tls, host)]
        settings += [("tls-cluster", "yes")] if tls else []
        settings += [("cluster-announce-hostname", host)] if host != HOST else []
        settings += options
        count = masters * (2 if replicas else 1)
        self.servers = [
            RedisServer(folder, aof=aof, password=password, options=settings, tls=tls) for _ in range(count)
        ]
        self._masters = masters
        self._password = password
        self._tls = tls
        self._host = host

    @property
    def url(self) -> str:
        credentials = f":{self._password}@" if self._password else ""
        hosts = ",".join(f"{self._host}:{_port(server)}" for server in self.servers[:3])
        return f"redis{'s' if self._tls else ''}+cluster://{credentials}{hosts}"

    @property
    def running(self) -> list[RedisServer]:
        return [server for server in self.servers if server.running]

    def owner(self, slot: int, asked: RedisServer | None = None) -> RedisServer:
        """The master of a slot, as one server sees it."""
        for first, last, master, *_ in (asked or self.running[0]).ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(server for server in self.servers if server.port == master[1])
        raise RedisError(f"nobody has slot {slot}")

    def replica_of(self, master: RedisServer) -> RedisServer:
        """A replica of a master."""
        name = master.ask("CLUSTER", "MYID").decode()
        for line in self.running[0].ask("CLUSTER", "NODES").decode().splitlines():
            words = line.split(" ")
            if words[3] == name:
                return next(each for each in self.servers if f":{each.port}@" in words[1])
        raise RedisError("it has no replica")

    def add_master(self) -> RedisServer:
        """Start one more server, without slots, and let the others know it."""
        first = self.servers[0]
        settings = [line.split(" ", 1) for line in first.config.splitlines() if line.startswith("cluster-")]
        server = RedisServer(
            first.folder.parent, password=self._password, options=[(name, value) for name, value in settings]
        )
        self._stack.enter_context(server)
        self.servers.append(server)
        first.ask("CLUSTER", "MEET", HOST, _port(server))
        name = server.ask("CLUSTER", "MYID")
        for each in self.running:
            wait_until(partial(_knows, each, name), "all to know the new one")
        wait_until(lambda: b"cluster_state:ok" in server.ask("CLUSTER", "INFO"), "the new one to be ready")
        return server

    def begin_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Mark a slot as moving."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))

    def move_keys(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Move the keys of a slot that is moving."""
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            auth = ("AUTH", self._password) if self._password else ()
            source.ask("MIGRATE", HOST, _port(target), "", 0, 5000, *auth, "KEYS", *keys)

    def end_move(self, slot: int, source: RedisServer, target: RedisServer) -> None:
        """Give the slot to its new master."""
        name = target.ask("CLUSTER", "MYID")
        target.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        try:
            source.ask("CLUSTER", "SETSLOT", slot, "NODE", name)
        except RedisError as problem:
            if "only with masters" not in str(problem):  # it had no other slot, and follows the new master
                raise

    def move(self, slot: int, target: RedisServer) -> None:
        """Move a slot with its keys."""
        source = self.owner(slot)
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target)
        self.end_move(slot, source, target)

    def wait_promoted(self, slot: int, before: RedisServer) -> None:
        """Wait until everybody sees another master than `before` for a slot, and the cluster is whole."""
        for server in self.running:
            wait_until(partial(self._promoted, slot, before, server), "the replica to be promoted")

    def _promoted(self, slot: int, before: RedisServer, asked: RedisServer) -> bool:
        whole = b"cluster_state:ok" in asked.ask("CLUSTER", "INFO")
        return whole and self.owner(slot, asked) is not before

    def _start(self) -> None:
        """Start the servers with the outcome of a CLUSTER MEET on their disks, which takes 10 s otherwise."""
        names = [f"{number:040x}" for number in range(1, len(self.servers) + 1)]
        for mine, server in zip(names, self.servers, strict=True):
            lines = [self._line(number, names, mine) for number in range(len(names))]
            lines.append(f"vars currentEpoch {self._masters} lastVoteEpoch 0")
            (server.folder / "nodes.conf").write_text("".join(f"{line}\n" for line in lines))
            self._stack.callback(server.kill)
            server.launch()
        replicas = self.servers[self._masters :]
        for server in self.servers:
            server.wait()
            wait_until(partial(self._whole, server, len(replicas)), "the cluster to be whole")
        for replica in replicas:
            wait_until(partial(_in_step, replica), "replicas in step")

    def _line(self, number: int, names: list[str], mine: str) -> str:
        """A server's line in the nodes.conf of the one that is called `mine`."""
        port = _port(self.servers[number])
        master = number % self._masters
        flags = ("myself," if names[number] == mine else "") + ("master" if number == master else "slave")
        name = f",{self._host}" if self._host != HOST else ""
        words = [names[number], f"{HOST}:{port}@{port + 10000}{name}", flags]
        words += ["-" if number == master else names[master], "0", "0", str(master + 1), "connected"]
        if number == master:
            first, end = (each * SLOTS // self._masters for each in (number, number + 1))
            words.append(f"{first}-{end - 1}")
        return " ".join(words)

    def _whole(self, server: RedisServer, replicas: int) -> bool:
        rows = server.ask("CLUSTER", "SLOTS")
        known = sum(len(row) - 3 for row in rows)
        return b"cluster_state:ok" in server.ask("CLUSTER", "INFO") and known == replicas


def _encrypted(tls: TlsFiles | None, host: str) -> list[tuple[str, str]]:
    """Return settings of a server that is reached by a name, and speaks TLS also with other servers."""
    settings = [BOTH_LOOPBACKS] if host != HOST else []
    return [*settings, ("tls-replication", "yes")] if tls else settings


def _port(server: RedisServer) -> int:
    """Return the port that others use."""
    return server.tls_port or server.port


def _in_step(replica: RedisServer) -> bool:
    return bool(replica.ask("ROLE")[3] == b"connected")


def _knows(server: RedisServer, name: bytes) -> bool:
    return name in server.ask("CLUSTER", "NODES")
