"""The supervisor: worker processes on one port, kept alive; the broker and the internal port are here.

It knows how many workers there should be and what they are told; clients it never sees.  How it works: a
bound socket that does not listen holds each TCP port; every worker listens on a socket of its own there
(SO_REUSEPORT), and the kernel spreads the clients.  Unix sockets and those that systemd handed in cannot be
shared so: workers inherit them, and take turns.  The broker's service, a node without subscribers and the
internal port live in this process.

What always holds: a worker that ends is replaced at once, unless it ends again and again, or the gateway
stops; after `stop` no worker is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import msgspec

from .broker.memory import MemoryBroker
from .broker.memory_outbox import MemoryOutbox
from .broker.redis.broker import RedisBroker
from .broker.redis.metrics import metrics
from .broker.service import BrokerService
from .cluster_view import WholeClusterView
from .config import Address, ApiOptions, Config
from .config.broker_url import MEMORY
from .config.load import Loaded
from .config.render import render_toml
from .connection._census import Census, make_memory
from .errors import BrokerError, GatewayError, UsageError
from .internal_port import InternalPort
from .limiting import WorkerTally
from .listeners import Listeners
from .node import Node
from .parts import change_node, make_broker, make_memory_broker, make_node
from .reload import Reload, log_reload, plan_reload
from .running import Running, show_config
from .server import log_listening
from .services import Services
from .whole_view import WholeView, WorkerId
from .worker import TcpPort, WorkerSettings
from .worker_process import WorkerFailedError, WorkerProcess

GATHER_TIMEOUT_S: Final = 2.0
_CHECK_S: Final = 5.0
_PATIENCE_S: Final = 30.0
_STOP_GRACE_S: Final = 3.0

_log = logging.getLogger("gateway.supervisor")


class Backoff:
    """How long to wait before a worker is replaced; times in seconds.

    Not at all, unless it served for less than `stable_s`, once more: then longer each time.
    """

    def __init__(self, *, first_s: float = 0.1, most_s: float = 10.0, stable_s: float = 1.0) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._stable_s = stable_s
        self._failures = 0

    def next(self, served_s: float) -> float:
        """Return the wait after a worker that served clients for `served_s`."""
        if served_s >= self._stable_s:
            self._failures = 0
        self._failures += 1
        if self._failures == 1:
            return 0.0
        return float(min(self._most_s, self._first_s * 2 ** min(self._failures - 2, 30)))


class Supervisor:
    """A gateway of `config.server.workers` processes, in the running loop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.running = Running(config)
        self.wanted = config.server.workers
        self.restarts = 0
        self._listeners: Listeners | None = None
        self._workers: dict[int, WorkerProcess] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._open = contextlib.ExitStack()
        self._service: BrokerService | None = None
        self._node: Node | None = None
        self._http: InternalPort | None = None
        self._services: Services | None = None
        self._tally: WorkerTally | None = None
        self._census: Census | None = None
        self._census_fd = -1
        self._stopping = False

    @property
    def listeners(self) -> Listeners:
        """Every socket that workers and the internal port listen on.  Raises UsageError before `start`."""
        if self._listeners is None:
            raise UsageError("the gateway was not started")
        return self._listeners

    # -- life ---------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; return when every worker serves clients.

        Raises GatewayError; nothing is left then.
        """
        if self._node is not None:
            raise UsageError("the gateway was started before")
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        log_listening(self.listeners)

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._listeners = Listeners(self.config, shared=True)
        self._open.callback(self._listeners.close)
        broker = make_broker(self.config, loop)
        memory = broker if isinstance(broker, MemoryBroker) else make_memory_broker(loop)
        self._service = BrokerService(memory, loop=loop)
        self._node = make_node(
            self.config, self._service if broker is memory else broker, loop, has_clients=False
        )
        await self._node.start()
        self._services = Services(self.config, loop)
        self._services.serve(self._node, broker)
        await self._services.start()
        self._tally = WorkerTally(self.config, self._node)
        self._make_census()
        await self._start_workers()
        if isinstance(broker, RedisBroker):
            view: WholeView = WholeClusterView(self._node, self, broker)
            view.broker_samples = lambda: metrics(broker.samples())
        else:
            view = WholeView(self._node, self)
        self._services.show(view)
        show_config(view, self.running)
        self._http = InternalPort(self.config, view, self._listeners)
        await self._http.start()
        self._keepers += [loop.create_task(self._keep(number)) for number in self._workers]
        self._keepers.append(loop.create_task(self._check(self._node)))

    def _make_census(self) -> None:
        """Share memory with the workers in which they count connections; this process only clears it."""
        most = self.config.server.max_connections
        self._census_fd = make_memory(self.wanted + 1, most)
        self._open.callback(os.close, self._census_fd)
        self._census = Census(self._census_fd, processes=self.wanted + 1, me=self.wanted, most=most)

    async def _start_workers(self) -> None:
        for number in range(self.wanted):
            await self._spawn(number)
        try:
            await asyncio.gather(*(worker.wait_until_listening() for worker in self._workers.values()))
        except WorkerFailedError as problem:
            raise GatewayError(f"a worker could not be started: {problem}") from None

    async def stop(self) -> None:
        """Have every worker let its clients go; end all within `server.shutdown_timeout`, or soon after."""
        self._stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        if self._node is not None:
            self._node.draining = True
        if self._listeners is not None:
            self._listeners.unlink_edge()
        await self._end_workers()
        if self._http is not None:
            await self._http.stop()
        self._open.close()
        if self._services is not None:
            await self._services.settle()
        if self._node is not None:
            await self._node.stop()
        if self._services is not None:
            await self._services.stop()
        if self._service is not None:
            await self._service.stop()
        if self._http is not None:
            _log.info("stopped")

    async def _end_workers(self) -> None:
        workers = list(self._workers.values())
        if not workers:
            return
        ends = [asyncio.ensure_future(worker.wait()) for worker in workers]
        for worker in workers:
            worker.terminate()
        _, late = await asyncio.wait(ends, timeout=self.config.server.shutdown_timeout + _STOP_GRACE_S)
        for worker in workers if late else ():
            worker.kill()
        await asyncio.gather(*ends)

    def reload(self, config: Config, then: Callable[[], None] | None = None) -> None:
        """Take from another configuration what can change, here and in the workers; log what cannot.

        Calls `then` once it holds everywhere.  Raises InvalidConfigError when that does not go together with
        what cannot change.
        """
        if self._node is None or self._http is None:
            raise UsageError("the gateway is not running")
        reload = plan_reload(self.config, config)
        self.listeners.check(reload.config)
        self.config = reload.config
        change_node(reload.config, self._node)
        self._http.reload(reload.config)
        if self._tally is not None:
            self._tally.reload(reload.config)
        text = self._worker_config().encode()
        told = [asyncio.ensure_future(_tell(worker, text)) for worker in self._workers.values()]
        self._node.spawn(self._finish_reload(self._node, reload, told, then))

    async def _finish_reload(
        self,
        node: Node,
        reload: Reload,
        told: Sequence[asyncio.Future[None]],
        then: Callable[[], None] | None,
    ) -> None:
        try:
            if self._services is not None:
                await self._services.reload(reload.config, node)
        finally:
            await asyncio.gather(*told)
        self.running.took(reload.config, reload.refused)
        log_reload(reload)
        if then is not None:
            then()

    # -- workers --------------------------------------------------------------------------

    async def _spawn(self, number: int) -> WorkerProcess:
        if self._service is None:
            raise UsageError("the gateway is not running")
        edge = self.listeners.edge
        settings = WorkerSettings(
            number=number,
            config=self._worker_config(),
            ports=[
                TcpPort(*held.address, held.only_ipv6)
                for held in edge
                if isinstance(held.address, Address) and held.holder
            ],
            sockets=[shared.sock.fileno() for shared in edge if not shared.holder],
            api_ports=list(self.listeners.api_ports),
            max_connections=self.config.server.max_connections,
            census=self._census_fd,
            processes=self.wanted + 1,
            log_format=self.config.server.log_format,
            broker=self.config.server.broker,
        )
        worker = self._workers[number] = await WorkerProcess.start(settings, self._service)
        if self._tally is not None:
            worker.on_notice = partial(self._tally.hear, worker)
        outbox = self._services.outbox if self._services is not None else None
        if isinstance(outbox, MemoryOutbox):
            _hand_over(worker, outbox)
        return worker

    def _worker_config(self) -> str:
        """Return what workers need of the configuration, as TOML: without the internal port and its keys.

        The keys of tokens are in it.
        """
        nowhere = (Address("127.0.0.1", 0),)
        server = replace(self.config.server, workers=1, listen=nowhere, api_listen=nowhere, broker=MEMORY)
        config = replace(self.config, server=server, api=ApiOptions(), api_keys={})
        return render_toml(Loaded(config, {}), reveal=True)

    async def _keep(self, number: int) -> None:
        """Replace a worker whenever it ends."""
        backoff, worker = Backoff(), self._workers[number]
        loop = asyncio.get_running_loop()
        while True:
            since = worker.listening_since
            how = await worker.wait()
            if self._census is not None:
                self._census.clear(number)
            wait_s = backoff.next(loop.time() - since if since is not None else 0.0)
            _log.warning(
                "a worker ended",
                extra={"worker": number, "pid": worker.pid, "how": how, "wait_ms": int(wait_s * 1000)},
            )
            await asyncio.sleep(wait_s)
            self.restarts += 1
            try:
                worker = await self._spawn(number)
                await worker.wait_until_listening()
                for drain in self._services.drained if self._services is not None else ():
                    await worker.ask("drain", msgspec.msgpack.encode(drain))
            except (OSError, WorkerFailedError) as problem:
                _log.error("a worker could not be started: %s", problem, extra={"worker": number})
            except Exception:  # noqa: BLE001 whatever it is, it must be tried again
                _log.exception("a worker could not be started", extra={"worker": number})
            else:
                _log.info("a worker was replaced", extra={"worker": number, "pid": worker.pid})

    async def _check(self, node: Node) -> None:
        """Kill workers that give no sign of life."""
        while True:
            await asyncio.sleep(_CHECK_S)
            for worker in self._workers.values():
                if worker.listening_since is not None:
                    node.spawn(worker.check(_PATIENCE_S))

    # -- what the view asks -----------------------------------------------------------------

    def listening(self) -> Sequence[WorkerId]:
        """Return the workers that serve clients now."""
        workers = self._workers.values()
        return [WorkerId(w.number, w.pid) for w in workers if w.listening_since is not None]

    async def gather(self, what: str, data: bytes = b"") -> Mapping[WorkerId, bytes]:
        """Ask all workers; one that does not answer within GATHER_TIMEOUT_S is left out."""
        asked = {
            asyncio.ensure_future(worker.ask(what, data)): WorkerId(worker.number, worker.pid)
            for worker in self._workers.values()
            if worker.listening_since is not None
        }
        if not asked:
            return {}
        done, late = await asyncio.wait(asked, timeout=GATHER_TIMEOUT_S)
        for question in late:
            question.cancel()
        return {asked[question]: question.result() for question in done if question.exception() is None}


def _hand_over(worker: WorkerProcess, outbox: MemoryOutbox) -> None:
    """Have an outbox hear what a worker tells of its clients, and of its end."""
    from .notice_parts import TOLD, from_worker

    owner = f"{worker.number}.{worker.pid}"

    others, gone = worker.on_notice, worker.on_gone

    def take(what: str, data: bytes) -> None:
        if what == TOLD:
            outbox.tell_of(owner, from_worker(data))
        else:
            others(what, data)

    def forget() -> None:
        outbox.forget(owner)
        gone()

    worker.on_notice, worker.on_gone = take, forget


async def _tell(worker: WorkerProcess, config: bytes) -> None:
    with contextlib.suppress(BrokerError):  # it is gone: the next one starts with the new configuration
        await worker.ask("reload", config)
