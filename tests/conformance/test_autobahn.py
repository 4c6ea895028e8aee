"""Autobahn|Testsuite against /echo: every case OK or, for the few that cannot fail, informational.

The runner beside this file, `autobahn`, lets NON-STRICT pass and FAILED BY CLIENT too; here neither does.
`make test` runs all of the groups that take seconds and a sample of the others, `make conformance` all.
Every case also runs over TLS, with two worker processes, and through a gateway that passes connections on
to another one: a sample in `make test`, all with `make conformance VARIANT=tls`, `workers` and `passed`.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.process import StartGateway
from tests.support.tls import Authority

RUNNER = Path(__file__).with_name("autobahn")
ALL = 517
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

# 9: text and binary, whole, in fragments and chopped; 12 and 13: sizes and offers, both directions
SAMPLE = (
    "9.1.1,9.1.6,9.2.1,9.2.6,9.3.1,9.4.1,9.5.3,9.6.3,9.7.1,9.8.1,"
    "12.1.1,12.1.5,12.1.12,12.2.3,12.3.4,12.4.2,12.5.8,"
    "13.1.3,13.2.4,13.3.8,13.4.6,13.5.12,13.6.2,13.7.3"
)
GROUPS = {"framing": "1,2,3,4,5,10", "text": "6", "close": "7", "sample": SAMPLE}

FLAGS = (
    "--echo",
    *("--websocket-max-message-bytes", "16MiB"),
    *("--websocket-max-fragments", "65537"),  # 9.3.1: 4 MiB in frames of 64 bytes, and an empty last one
    "--websocket-compression",
)
VARIANTS = ("plain", "tls", "workers", "passed")
# A few of every kind of case: what TLS and workers could change is how bytes are cut, gathered and sent.
VARIANT_SAMPLE = (
    "1.1.6,1.1.8,1.2.8,2.6,2.10,2.11,3.4,4.1.5,5.8,5.15,5.19,6.2.3,6.4.1,6.4.4,7.1.5,7.3.6,7.7.9,7.9.4,10.1.1,"
    "9.1.3,9.5.3,9.7.1,12.1.8,13.3.6"
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("cases", GROUPS.values(), ids=GROUPS)
def test_autobahn_quick_groups_all_strictly_ok(
    gateway_process: StartGateway, tmp_path: Path, cases: str
) -> None:
    gateway = gateway_process(*FLAGS)
    verdicts = run_autobahn(gateway.echo_url, tmp_path / "reports", cases)
    assert len(verdicts) >= cases.count(",") + 1
    assert not_ok(verdicts) == {}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "plain"])
def test_autobahn_sample_of_a_variant_all_strictly_ok(
    gateway_process: StartGateway, tmp_path: Path, variant: str
) -> None:
    url = start_variant(gateway_process, tmp_path, variant)
    verdicts = run_autobahn(url, tmp_path / "reports", VARIANT_SAMPLE)
    assert len(verdicts) == VARIANT_SAMPLE.count(",") + 1
    assert not_ok(verdicts, late=variant == "passed") == {}


@pytest.mark.full
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", VARIANTS)
def test_autobahn_whole_suite_all_strictly_ok(
    gateway_process: StartGateway, tmp_path: Path, variant: str
) -> None:
    url = start_variant(gateway_process, tmp_path, variant)
    verdicts = run_autobahn(url, tmp_path / "reports", "*")
    assert len(verdicts) == ALL
    assert not_ok(verdicts, late=variant == "passed") == {}


def start_variant(start: StartGateway, folder: Path, variant: str) -> str:
    """Start a gateway in one of VARIANTS; return the URL of its echo."""
    if variant == "tls":
        gateway = start(*FLAGS, *Authority(folder).flags)
        return f"wss://{gateway.edge}/echo"
    if variant == "passed":
        # A case that takes longer than that breaks off at the pong that answers a ping of the gateway's.
        rarely = ("--websocket-ping-interval", "20m", "--websocket-idle-timeout", "30m")
        return start(*passing_on(start(*FLAGS).edge, "/echo"), *rarely).echo_url
    gateway = start(*FLAGS, *(("--workers", "2") if variant == "workers" else ()))
    return gateway.echo_url


def passing_on(address: str, path: str) -> tuple[str, ...]:
    """Return the flags of a gateway that passes a path on to an address."""
    return (
        *("--upstream", f"there.addresses=ws://{address}"),
        *("--route", f"through.path={path}"),
        *("--route", "through.upstream=there"),
        *FLAGS[1:5],
    )


def run_autobahn(url: str, reports: Path, cases: str) -> dict[str, dict[str, str]]:
    """Run cases (as the runner's --cases names them) and return what its index says of each."""
    command = [sys.executable, str(RUNNER), url, "--cases", cases, "--out", str(reports), "--timeout", "1700"]
    run = subprocess.run(command, check=False)
    index = reports / "index.json"
    assert index.exists(), f"the runner ended with status {run.returncode} and wrote no report"
    (verdicts,) = json.loads(index.read_text()).values()
    assert run.returncode == (1 if failed(verdicts) else 0), f"the runner ended with status {run.returncode}"
    return dict(verdicts)


def failed(verdicts: dict[str, dict[str, str]]) -> bool:
    """Whether the runner should have ended with status 1."""
    bad = {"FAILED", "WRONG CODE", "UNCLEAN", "UNIMPLEMENTED"}
    return any(bad & {verdict["behavior"], verdict["behaviorClose"]} for verdict in verdicts.values())


def not_ok(verdicts: dict[str, dict[str, str]], *, late: bool = False) -> dict[str, tuple[str, str]]:
    """Tell which cases are not strictly OK, with the verdicts on the case and on its close.

    With `late`, what came before a frame that breaks a rule may remain unanswered: the gateway that passes
    frames on ends the connection before the answer is there.
    """
    wrong = {}
    for case, verdict in verdicts.items():
        allowed = {"OK", "INFORMATIONAL"} if case in INFORMATIONAL else {"OK"}
        if late and case.split(".")[0] in {"3", "4", "5"}:
            allowed.add("NON-STRICT")
        if verdict["behavior"] not in allowed or verdict["behaviorClose"] not in allowed:
            wrong[case] = (verdict["behavior"], verdict["behaviorClose"])
    return wrong
