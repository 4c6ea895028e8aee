"""Fixtures that every test may use, and what holds for all tests.

    gateway_process   starts gateways as processes of their own, ends them, and shows their logs on failure
    chromium          path of the browser of the machine, for playwright's executable_path
    node              path of Node; scripts in tests/clients/ can import "ws"
    node22            path of a Node that has a WebSocket of its own

Asynchronous tests run on uvloop, as the gateway does.
"""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
import uvloop
from playwright.sync_api import expect

from tests.support.pages import PAGE_WAIT_MS
from tests.support.process import GatewayProcess, StartGateway, start_gateway

ROOT = Path(__file__).resolve().parents[1]

# The machines of CI are slow and shared: examples are bounded in number, not in time.
hypothesis.settings.register_profile("ringgate", deadline=None)
hypothesis.settings.load_profile("ringgate")

OWN_WEBSOCKET = 22  # from this Node on

_PROCESSES = pytest.StashKey[list[GatewayProcess]]()


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test another build than the one that is meant (see scripts/sanitize)."""
    expected = os.environ.get("GATEWAY_UNDER_TEST")
    if expected:
        import gateway

        if not Path(gateway.__file__ or "").resolve().is_relative_to(Path(expected).resolve()):
            raise pytest.UsageError(f"gateway was imported from {gateway.__file__} and not from {expected}")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every asynchronous test on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of a failed test's gateways to its report."""
    report = yield
    if report.failed:
        for gateway in item.stash.get(_PROCESSES, []):
            report.sections.append((f"log of gateway {gateway.pid}", gateway.log))
    return report


@pytest.fixture
def gateway_process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways (see StartGateway) that are ended when the test is over."""
    processes = request.node.stash.setdefault(_PROCESSES, [])
    with ExitStack() as stack:

        def start(*flags: str, env: Mapping[str, str] | None = None, unclean: bool = False) -> GatewayProcess:
            log_path = tmp_path / f"gateway-{len(processes)}.log"
            gateway = start_gateway(*flags, log_path=log_path, env=env)
            processes.append(gateway)
            stack.callback(_end, gateway, unclean)
            return gateway

        yield start


def _end(gateway: GatewayProcess, unclean: bool) -> None:
    status = gateway.stop()
    if not unclean:
        assert status == 0, f"the gateway ended with status {status}"
        gateway.check()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the machine's Chromium; a failure, and no skip, where there is none.

    A page has as long as it takes: other tests run beside it.
    """
    names = (os.environ.get("CHROMIUM", "chromium"), "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, "no Chromium on this machine: `make test` installs it, or names the package"
    expect.set_options(timeout=PAGE_WAIT_MS)
    return found


@pytest.fixture(scope="session")
def node() -> str:
    """Path of Node, with `ws` installed for scripts in tests/clients/; a failure where they are missing."""
    found = shutil.which("node")
    assert found, "no Node on this machine: `make test` installs it, or names the package"
    modules = ROOT / "tests" / "clients" / "node_modules" / "ws"
    assert modules.is_dir(), "Node's ws is not installed: `make test` installs it"
    return found


@pytest.fixture(scope="session")
def node22(node: str) -> str:
    """Path of a Node with a WebSocket of its own, so from 22 on: the machine's, or that of tests/clients/."""
    installed = (ROOT / "tests" / "clients" / "node_modules").glob("node-*/bin/node")
    for candidate in (node, *map(str, installed)):
        told = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=True).stdout
        if int(told.removeprefix("v").partition(".")[0]) >= OWN_WEBSOCKET:
            return candidate
    pytest.fail("no Node from 22 on: `make test` installs one for Linux; elsewhere install it")
