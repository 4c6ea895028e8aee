"""Options of the fault matrix; `make chaos ARGS='--seed 7 -k killed'` passes them on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options to pytest, where this folder is named on its command line."""
    group = parser.getgroup("chaos")
    group.addoption("--seed", type=int, help="repeat the times and choices of a run that printed this seed")
    group.addoption("--chaos-clients", type=int, default=150, help="clients in the long form (150)")
    group.addoption("--chaos-crowd", type=int, default=2000, help="clients that are gone at once (2000)")
    group.addoption("--chaos-rate", type=float, default=200.0, help="messages a second, steady (200)")
    group.addoption("--chaos-hold", type=float, default=1.0, help="multiplies how long a fault lasts (1)")
    group.addoption("--chaos-logs", default="", help="a folder in which logs are left, also of good runs")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the matrix on Python's own loop: it holds sockets of all conditions, and no gateway.

    On uvloop some runs hung, and others failed when the loop was closed (EBUSY).  What has a gateway in
    its own process runs on uvloop, as the gateway does.
    """
    if item.path.name == "test_matrix.py":
        return {"asyncio": asyncio.new_event_loop}
    return {"uvloop": uvloop.new_event_loop}
