"""A worker as its supervisor sees it: how it begins, is checked, and ends."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

from gateway import worker_process
from gateway.broker import wire
from gateway.broker.memory import MemoryBroker
from gateway.broker.service import BrokerService
from gateway.config import Address, from_mapping
from gateway.errors import ConfigError, GatewayError
from gateway.server import Gateway
from gateway.supervisor import Supervisor
from gateway.worker_process import WorkerFailedError, WorkerProcess
from tests.unit.broker.harness import RecordingRelay


class FakeProcess:
    """A child that does nothing but take signals; SIGKILL ends it."""

    def __init__(self) -> None:
        self.pid = 4711
        self.returncode: int | None = None
        self.signals: list[int] = []
        self._ended = asyncio.Event()

    def send_signal(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGKILL:
            self.end(-signal.SIGKILL)

    def end(self, status: int) -> None:
        self.returncode = status
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode


class Rig:
    """A worker of which the test is the process: `theirs` is its end of the link."""

    def __init__(self, service: BrokerService) -> None:
        self.service = service
        self.process = FakeProcess()

    async def begin(self) -> None:
        ours, self.theirs = socket.socketpair()
        peer = await self.service.attach(ours)
        self.worker = WorkerProcess(0, cast(Any, self.process), peer)

    async def say(self, what: str, data: bytes = b"") -> None:
        self.theirs.send(wire.pack(wire.Notice(what, data)))
        await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    loop = asyncio.get_running_loop()
    service = BrokerService(MemoryBroker(clock=loop.time, random_id=lambda: "x"), loop=loop)
    await service.start(RecordingRelay())
    made = Rig(service)
    await made.begin()
    yield made
    made.theirs.close()
    await service.stop()


async def test_worker_serves_from_when_it_says_so_until_its_link_is_lost(rig: Rig) -> None:
    assert not rig.worker.listening_since
    await rig.say("listening")
    await rig.worker.wait_until_listening()
    assert rig.worker.listening_since
    rig.theirs.close()
    await asyncio.sleep(0.01)
    assert not rig.worker.listening_since


async def test_process_does_not_outlive_its_link(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_LINGER_S", 0.03)
    rig.theirs.close()
    await asyncio.sleep(0.01)
    assert rig.process.signals == []
    assert await rig.worker.wait() == "signal SIGKILL"


async def test_worker_that_says_why_it_failed_is_quoted(rig: Rig) -> None:
    await rig.say("failed", b"server.listen: no")
    rig.process.end(1)
    with pytest.raises(WorkerFailedError, match=r"^server.listen: no$"):
        await rig.worker.wait_until_listening()


async def test_worker_that_does_not_begin_in_time_is_killed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "START_TIMEOUT_S", 0.03)
    with pytest.raises(WorkerFailedError, match="did not begin"):
        await rig.worker.wait_until_listening()
    assert rig.process.signals == [signal.SIGKILL]


async def test_worker_that_gives_no_sign_of_life_is_killed_after_the_patience(rig: Rig) -> None:
    checks = [asyncio.ensure_future(rig.worker.check(0.05))]
    await asyncio.sleep(0.01)
    await rig.worker.check(0.05)
    assert rig.process.signals == []
    await asyncio.sleep(0.05)
    await rig.worker.check(0.05)
    assert rig.process.signals == [signal.SIGKILL]
    rig.theirs.close()
    await asyncio.gather(*checks)


async def test_worker_that_answers_is_left_alone(rig: Rig) -> None:
    for number in range(1, 4):
        check = asyncio.ensure_future(rig.worker.check(0.0))
        await asyncio.sleep(0.01)
        rig.theirs.send(wire.pack(wire.Answer(number, b"", 0)))
        await check
    assert rig.process.signals == []


async def test_ended_process_is_not_signalled(rig: Rig) -> None:
    rig.process.end(0)
    rig.worker.kill()
    rig.worker.terminate()
    assert rig.process.signals == []
    assert await rig.worker.wait() == "exit status 0"


# -- starting several -------------------------------------------------------------------------

LOOPBACK = {"listen": "127.0.0.1:0", "api_listen": "127.0.0.1:0", "workers": 2}


async def test_gateway_whose_workers_cannot_start_does_not_start_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    supervisor = Supervisor(from_mapping({"server": LOOPBACK}))
    with pytest.raises(GatewayError, match="a worker could not be started: it ended: exit status 1"):
        await supervisor.start()
    for address in (*supervisor.listeners.edge_addresses, *supervisor.listeners.api_addresses):
        assert isinstance(address, Address)
        with socket.socket() as again:
            again.bind((address.host, address.port))


@pytest.mark.parametrize("workers", [2, "auto"])
async def test_gateway_in_a_program_refuses_to_be_several_processes(workers: object) -> None:
    gateway = Gateway({"server": LOOPBACK | {"workers": workers}})
    with pytest.raises(ConfigError, match=r"server\.workers"):
        await gateway.start()
