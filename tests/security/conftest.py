"""Fixtures of the security tests.

    launch      starts a gateway as a `Target`; its log is looked through when the test is over
    shared      one `Target` for the session, for what needs no options of its own and measures no memory
    every       the same, and another one that has two workers
    bystander   `bystander(target)`: a context in which a bystander must notice nothing

With GATEWAY_TEST_FLAGS="--workers 2" all of it runs against worker processes; memory and descriptors
are then those of all processes.  Tests marked `soak` are the same attacks at full size; they are left out
unless `-m soak` asks for them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.security.bystander import Bystander
from tests.security.target import Target
from tests.support.process import StartGateway, special_python, start_gateway

LATENCY_S = 1.0
"""No message of a bystander may take longer: far above what shared machines do, far below any time limit."""


class Launch(Protocol):
    """Start a gateway with these flags; `key` is an API key that it shall ask for.

    An `impatient` one has a broker that forgets channels after a second (see `impatient.py`).  `descriptors`
    above 0 is how many its process may have.
    """

    def __call__(
        self, *flags: str, key: str = "", impatient: bool = False, descriptors: int = 0
    ) -> Target: ...


Watch = Callable[[Target], contextlib.AbstractContextManager[Bystander]]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "soak: an attack at full size: pytest -m soak tests/security")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave `soak` out unless it is asked for."""
    if "soak" in config.getoption("-m"):
        return
    soak = [item for item in items if item.get_closest_marker("soak")]
    if soak:
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


@pytest.fixture
def launch(gateway_process: StartGateway, tmp_path: Path) -> Iterator[Launch]:
    targets: list[Target] = []

    def start(*flags: str, key: str = "", impatient: bool = False, descriptors: int = 0) -> Target:
        env = {"RINGGATE_API_KEYS": key} if key else {}
        if impatient or descriptors:
            python = special_python(tmp_path, impatient=impatient, descriptors=descriptors)
            process = start_gateway(*flags, log_path=tmp_path / "special.log", env=env, python=python)
        else:
            process = gateway_process(*flags, env=env)
        targets.append(Target(process, key))
        return targets[-1]

    yield start
    for target in targets:
        assert target.process.stop() == 0
        target.check_log()


@pytest.fixture(scope="session")
def _session_target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    log_path = tmp_path_factory.mktemp("security") / "gateway.log"
    target = Target(start_gateway("--echo", "--log-level", "debug", log_path=log_path))
    yield target
    status = target.process.stop()
    target.check_log()
    assert status == 0


@pytest.fixture(scope="session")
def _session_target_of_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    log_path = tmp_path_factory.mktemp("security") / "gateway.log"
    flags = ("--echo", "--log-level", "debug", "--workers", "2")
    target = Target(start_gateway(*flags, log_path=log_path))
    yield target
    status = target.process.stop()
    target.check_log()
    assert status == 0


@pytest.fixture(scope="session")
def _session_target_without_echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    log_path = tmp_path_factory.mktemp("security") / "gateway.log"
    target = Target(start_gateway(log_path=log_path))
    yield target
    status = target.process.stop()
    target.check_log()
    assert status == 0


@pytest.fixture
def shared(_session_target: Target) -> Iterator[Target]:
    yield _session_target
    _session_target.check_log()


@pytest.fixture(params=["_session_target", "_session_target_of_workers"], ids=["one process", "two workers"])
def every(request: pytest.FixtureRequest) -> Iterator[Target]:
    target: Target = request.getfixturevalue(request.param)
    yield target
    target.check_log()


@pytest.fixture
def bystander() -> Watch:
    @contextlib.contextmanager
    def watch(target: Target) -> Iterator[Bystander]:
        person = Bystander(target.port)
        try:
            person.wait_until_ready()
            yield person
            seen = person.seen()
            assert person.messages > 1
            assert seen.longest_s < LATENCY_S, seen
        finally:
            person.stop()

    return watch
