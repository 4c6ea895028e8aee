"""Ringgate against itself in its own scenarios: slow consumers, resume, several workers, many channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from bench.cases import POLICIES, Case
from bench.channels import run_channels
from bench.resume import run_resume
from bench.stalled import run_stalled
from bench.workers import run_workers
from gateway.bench.runs import Plan

from .ringgate import command, listening
from .rival import Rival

STALLED: Final = "Ringgate, one in ten stalled"
NOTHING_MISSED: Final = "Ringgate, nothing missed"
TEN_MISSED: Final = "Ringgate, ten messages missed"
ONE_PROCESS: Final = "Ringgate, one process"
TWO_WORKERS: Final = "Ringgate, 2 workers"
CHANNELS: Final = "Ringgate, ten subscribers each"
STALL_S: Final = 16.0
RATE: Final = 10.0  # messages a second for the healthy ones
_MISSED: Final = 10
_LARGE: Final = ("--max-connections=12000", "--session-resume-ttl=5m")
_PATIENT: Final = (
    *("--websocket-idle-timeout=10m", "--websocket-ping-interval=5m", "--session-max-publish-bytes=16KiB"),
    "--websocket-close-timeout=2m",  # so that the stalled see their close frame when they read in the end
)
_SLOW: Final = ("ring_bytes=64KiB", "history_size=10000", "history_bytes=64MiB", "presence=false")


def _with(*flags: str) -> Callable[[str], Sequence[str]]:
    return lambda scenario: [*command(scenario), *_LARGE, *flags]


def _both(line: str) -> str | None:
    """Find both addresses, with a space between them."""
    edge, api = listening(line, "edge"), listening(line, "api")
    return f"{edge} {api}" if edge else None


def _stalled(address: str, pid: int, case: Case, plan: Plan) -> dict[str, Any]:
    edge, _, api = address.partition(" ")
    plan = Plan(**{**vars(plan), "seconds": STALL_S / 2, "rate": RATE, "warm_up_s": 2.0})
    return run_stalled(
        edge, api, plan, policy=case.kind, clients=case.clients, size=case.size, stall_s=STALL_S
    )


def _resume(missed: int) -> Callable[[str, int, Case, Plan], dict[str, Any]]:
    def run(address: str, pid: int, case: Case, plan: Plan) -> dict[str, Any]:
        edge, _, api = address.partition(" ")
        return run_resume(edge, api, plan, clients=case.clients, channels=int(case.kind), missed=missed)

    return run


def _workers(address: str, pid: int, case: Case, plan: Plan) -> dict[str, Any]:
    return run_workers(address, pid, plan, subscribers=case.clients, size=case.size)


def _channels(address: str, pid: int, case: Case, plan: Plan) -> dict[str, Any]:
    return run_channels(f"ws://{address}/ws", plan, channels=case.clients, size=case.size)


def _edge(line: str) -> str | None:
    return listening(line, "edge")


_POLICY_FLAGS: Final = tuple(
    f"--namespace={policy}.{option}" for policy in POLICIES for option in (f"slow={policy}", *_SLOW)
)
SLOW_FLAGS: Final = (*_PATIENT, *_POLICY_FLAGS)
"""Flags of a gateway that has a namespace for each policy towards slow consumers, with rings of 64 KiB."""

RIVALS: Final = (
    Rival(STALLED, _with(*SLOW_FLAGS), address=_both, scenarios=("stalled",), run=_stalled),
    Rival(NOTHING_MISSED, _with(), address=_both, scenarios=("resume",), run=_resume(0)),
    Rival(TEN_MISSED, _with(), address=_both, scenarios=("resume",), run=_resume(_MISSED)),
    Rival(ONE_PROCESS, _with(), address=_edge, scenarios=("workers",), run=_workers, pinned=False),
    Rival(
        TWO_WORKERS, _with("--workers=2"), address=_edge, scenarios=("workers",), run=_workers, pinned=False
    ),
    Rival(CHANNELS, _with(), address=_edge, scenarios=("channels",), run=_channels),
)
