"""Options of the fault matrix; `make chaos ARGS='--seed 7 -k killed'` passes them on."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add options to pytest, where this folder is named on its command line."""
    group = parser.getgroup("chaos")
    group.addoption("--seed", type=int, help="repeat the times and choices of a run that printed this seed")
    group.addoption("--chaos-clients", type=int, default=150, help="clients in the long form (150)")
    group.addoption("--chaos-crowd", type=int, default=2000, help="clients that are gone at once (2000)")
    group.addoption("--chaos-rate", type=float, default=200.0, help="messages a second, steady (200)")
    group.addoption("--chaos-hold", type=float, default=1.0, help="multiplies how long a fault lasts (1)")
    group.addoption("--chaos-logs", default="", help="a folder in which logs are left, also of good runs")
