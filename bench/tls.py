"""What TLS costs: echo, fan-out and handshakes over TLS and without, in turn: a part of `make bench`.

    python -m bench.tls                writes build/bench/tls.json and its part of docs/benchmarks.md
    python -m bench.tls --rounds 5

Both ways go through the same relay (`bench.relay`) on the load's core, since the load tool speaks no TLS;
what counts is the CPU time of the gateway, and the ratio of the two in the same round.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import trustme

from bench import compare, page
from bench.cases import ECHO, FANOUT, FANOUT_16, Case
from bench.rivals.ringgate import RIVAL
from gateway.bench import report
from gateway.bench.target import BenchError
from gateway.cli.version import ringgate_version

OUT: Final = compare.OUT / "tls.json"
KEPT: Final = compare.ROOT / "docs" / "benchmarks" / "tls.json"
CASES: Final = (ECHO, replace(ECHO, size=16_384), FANOUT, FANOUT_16, Case("connect", 2000))
WAYS: Final = ("plain", "TLS")
US: Final = "server_cpu_us_per_unit"
_START_S: Final = 20.0


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results and the page; 1 when something was delivered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.tls", description="Measure what TLS costs.")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--seconds", metavar="S", type=float, default=3.0, help="each (default %(default)s)")
    options = parser.parse_args(argv)
    server_core, load_core = compare._cores()
    os.sched_setaffinity(0, {load_core})
    records: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = certificate(Path(folder))
        for case in CASES:
            for number in range(options.rounds):
                for way in WAYS:
                    result = measure(case, way, files, options.seconds, server_core)
                    records.append({"case": case.title, "way": way, "round": number, "result": result})
                    told = result.get(US, "; ".join(result["faults"]))
                    print(f"{case.title:<45} {way:<6} {told}", file=sys.stderr, flush=True)
    about = {"machine": report.machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    KEPT.write_text(json.dumps(about | {"results": condensed(records)}, indent=1) + "\n")
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"tls": table(records, about)}))
    return 1 if any(record["result"]["faults"] for record in records) else 0


def certificate(folder: Path) -> tuple[str, str, str]:
    """Write a certificate for this machine; return the paths of its chain, its key and who vouches for it."""
    paths = [folder / name for name in ("cert.pem", "key.pem", "ca.pem")]
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    paths[0].write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(paths[1]))
    authority.cert_pem.write_to_path(str(paths[2]))
    return str(paths[0]), str(paths[1]), str(paths[2])


def measure(
    case: Case, way: str, files: tuple[str, str, str], seconds: float, server_core: int
) -> dict[str, Any]:
    """Start a gateway and a relay, measure, end both.  What fails is told in the result."""
    cert, key, ca_file = files
    flags = (f"--tls-cert={cert}", f"--tls-key={key}") if way == "TLS" else ()
    rival = replace(RIVAL, command=lambda scenario: [*RIVAL.command(scenario), *flags])
    try:
        with (
            compare._running(rival, case.scenario, server_core) as (address, pid),
            relayed(address, ca_file if flags else "") as base_url,
        ):
            result = compare._run(case, rival, base_url, compare._plan(case, seconds, pid))
    except BenchError as error:
        return {"faults": [str(error).splitlines()[0]]}
    return report.as_json(result, url=address, version=ringgate_version())


@contextlib.contextmanager
def relayed(address: str, ca_file: str) -> Iterator[str]:
    """Start a relay to HOST:PORT; the base of URLs for the load tool.  Raises BenchError."""
    host, _, port = address.rpartition(":")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/relay.sock"
        command = [sys.executable, "-m", "bench.relay", path, host, port, *([ca_file] if ca_file else [])]
        root, pipe = compare.ROOT, subprocess.PIPE
        with subprocess.Popen(command, cwd=root, stdout=pipe) as process:  # noqa: S603 - ours
            try:
                if process.stdout is None or not process.stdout.readline():
                    raise BenchError("the relay does not listen")
                yield f"ws+unix:{path}:"
            finally:
                process.kill()


def condensed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cost of each case and way: each round's, in microseconds of the gateway's CPU time."""
    rows: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if US in record["result"]:
            cost = float(f"{record['result'][US]:.5g}")
            rows.setdefault((record["case"], record["way"]), []).append(cost)
    return [{"case": case, "way": way, "us_per_unit": costs} for (case, way), costs in rows.items()]


def table(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the part of the page: for each case the medians, and the median of the rounds' ratios."""
    costs = {(row["case"], row["way"]): row["us_per_unit"] for row in condensed(records)}
    machine = about["machine"]
    lines = [
        f"Measured {about['time']} on {machine['cpu']}, Python {machine['python']}: `python -m bench.tls`.",
        "",
        "| case | plain, µs | TLS, µs | times |",
        "|---|---:|---:|---:|",
    ]
    for case in dict.fromkeys(record["case"] for record in records):
        plain, tls = (costs.get((case, way), []) for way in WAYS)
        if plain and tls:
            ratios = [secured / open_ for open_, secured in zip(plain, tls, strict=False)]
            lines.append(f"| {case} | {median(plain):.3g} | {median(tls):.3g} | {median(ratios):.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
