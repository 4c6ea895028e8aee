"""Ringgate, the C floor and what a user would pick instead, side by side: a part of `make bench`.

    python -m bench.compare                       what docs/benchmarks.md shows; --quick: only the targets
    python -m bench.compare --rivals 'floor|ringgate' --only 'fanout, 1,000' --rounds 5
    python -m bench.compare --resume              goes on where a run was broken off

In each round servers are started afresh, pinned to one core, and measured in turn by `gateway.bench` on
another core. Cases with a row in the targets are measured in all rounds, the others once and with Ringgate
and the floor only; other servers once, in the cases of the targets (--full: everything in all rounds). What
counts is the server's CPU time for each echo, delivery or connection, as a ratio to the floor's of the same
round; the median of the rounds is told. build/bench/compare.json holds every single measurement with the
description of the machine, build/bench/compare.md the tables.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from bench.cases import ALL, QUICK, Case
from bench.http_load import run_http
from bench.rivals.ringgate_variants import CONSTANT, FEW, MANY, PUBLISH
from bench.rivals.rival import Rival
from bench.subscriptions import Groups, run_subscriptions
from bench.tables import FLOOR, SAME_BYTES, markdown
from bench.workers import processes
from gateway.bench import report, runs
from gateway.bench.target import BenchError
from gateway.cli.version import ringgate_version

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "build" / "bench"
START_S: Final = 20.0
# Ringgate before the floor, which is measured once more with the bytes that Ringgate sent.
MODULES: Final = (
    "ringgate",
    "floor",
    "uvloop_protocol",
    "ringgate_variants",
    "ringgate_own",
    "picows_server",
    "websockets_server",
    "aiohttp_server",
    "starlette_server",
    "node_ws",
    "socketify_server",
    "socketio_server",
    "gorilla_hub",
    "nchan",
)
# Those that a target compares: measured in every round.
REFERENCES: Final = ("Ringgate", FLOOR, SAME_BYTES, "uvloop Protocol", FEW, MANY, PUBLISH, CONSTANT)
OWN: Final = ("stalled", "resume", "workers", "channels")  # scenarios in which Ringgate is measured alone


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results, print the tables; 1 when a server delivered wrongly."""
    options = _options(argv)
    rivals = _rivals(options.rivals)
    cases = [case for case in (QUICK if options.quick else ALL) if re.search(options.only, case.title)]
    server_core, load_core = _cores()
    os.sched_setaffinity(0, {load_core})
    code = fingerprint()
    result: dict[str, Any] = {
        "machine": report.machine(),
        "pinned": {"server": server_core, "load": load_core},
        "arguments": list(argv if argv is not None else sys.argv[1:]),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "notes": [],
        "done": {},
        "records": [],
    }
    if options.keep or options.resume:
        cases = take_over(result, options.out / "compare.json", cases, code if options.resume else "")
    records, notes = result["records"], result["notes"]
    options.out.mkdir(parents=True, exist_ok=True)
    for case in cases:
        for number in range(options.rounds if options.full or case in QUICK else 1):
            chosen = [rival for rival in rivals if _wanted(case, rival, number, full=options.full)]
            for record in _round(case, chosen, options.seconds, server_core):
                records.append(record | {"round": number})
                print(_line(records[-1]), file=sys.stderr, flush=True)
        if code != (code := fingerprint()):
            notes.append(f"Ringgate's code changed during or just before: {case.title}.")
        result["done"][case.title] = code
        (options.out / "compare.json").write_text(json.dumps(result, indent=1) + "\n")
        (options.out / "compare.md").write_text(markdown(result))
    print(markdown(result))
    return 1 if any(record["result"]["faults"] for record in records) else 0


def take_over(result: dict[str, Any], path: Path, cases: list[Case], code: str) -> list[Case]:
    """Take over what an earlier run measured in other cases than these; return the cases to measure.

    With `code`, a fingerprint, those that were measured to their end with the same code are left out.
    """
    if not path.exists():
        return cases
    earlier = json.loads(path.read_text())
    done = earlier.get("done", {})
    cases = [case for case in cases if not code or done.get(case.title) != code]
    titles = {case.title for case in cases}
    result["records"] += [record for record in earlier["records"] if record["case"] not in titles]
    result["done"] |= {title: by for title, by in done.items() if title not in titles}
    part = " ".join(["of", earlier["time"], *earlier["arguments"]])
    result["notes"] += [
        *earlier["notes"],
        f"What was not measured in this run is of an earlier one ({part}).",
    ]
    return cases


def fingerprint(folder: Path = ROOT / "gateway") -> str:
    """Return a digest of Ringgate's modules: two that differ are not the same program."""
    digest = hashlib.sha256()
    for path in sorted([*folder.rglob("*.py"), *folder.rglob("*.so")]):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description="Compare servers.")
    parser.add_argument("--quick", action="store_true", help="only what has a row in the targets")
    parser.add_argument("--full", action="store_true", help="every server, in all cases and rounds")
    parser.add_argument("--keep", action="store_true", help="keep what was measured in other cases")
    parser.add_argument("--resume", action="store_true", help="keep all that this code was measured in")
    parser.add_argument("--only", metavar="REGEX", default="", help="cases whose title matches")
    parser.add_argument("--rivals", metavar="REGEX", default="", help="servers whose module matches")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--seconds", metavar="S", type=float, default=3.0, help="each (default %(default)s)")
    parser.add_argument("--out", metavar="DIR", type=Path, default=OUT, help="(default build/bench)")
    return parser.parse_args(argv)


def _rivals(pattern: str) -> list[Rival]:
    """Return the servers that can run here; the others are told."""
    found = []
    for name in MODULES:
        if not re.search(pattern, name):
            continue
        module = importlib.import_module(f"bench.rivals.{name}")
        for rival in getattr(module, "RIVALS", None) or (module.RIVAL,):
            if lacking := rival.missing():
                print(f"{rival.name} is left out: no {lacking}", file=sys.stderr)
            else:
                found.append(rival)
    return found


def _wanted(case: Case, rival: Rival, number: int, *, full: bool) -> bool:
    """Tell whether a server is measured in a round of a case."""
    if case.scenario not in rival.scenarios:
        return False
    return full or rival.name in REFERENCES or case.scenario in OWN or (case in QUICK and number == 0)


def _cores() -> tuple[int, int]:
    """Return a core for the server and one for the load; the same one where there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[-1]


def _round(case: Case, rivals: Sequence[Rival], seconds: float, server_core: int) -> Iterator[dict[str, Any]]:
    """Measure a case with every server in turn."""
    wire_bytes = 0
    for rival in rivals:
        record = measure(case, rival, seconds if rival.name in REFERENCES else min(seconds, 2.0), server_core)
        yield record
        counts = record["result"].get("counts", {})
        if rival.name == "Ringgate" and counts.get("delivered"):
            wire_bytes = round(counts["bytes_in"] / counts["delivered"])
        if rival.name == FLOOR and wire_bytes:
            same = replace(case, size=max(wire_bytes - _header_bytes(wire_bytes), 16))
            record = measure(same, rival, seconds, server_core)
            yield record | {"server": SAME_BYTES, "case": case.title}


def _header_bytes(wire_bytes: int) -> int:
    """Return how much of a server's frame is its header (RFC 6455 section 5.2)."""
    return 2 if wire_bytes < 128 else 4 if wire_bytes < 65_540 else 10


def measure(case: Case, rival: Rival, seconds: float, server_core: int) -> dict[str, Any]:
    """Start a server, measure it and end it.  What fails is told in the record."""
    record: dict[str, Any] = {"server": rival.name, "case": case.title, "scenario": case.scenario}
    try:
        with _running(rival, case.scenario, server_core) as (address, pid):
            if rival.run is not None:
                return record | {"result": rival.run(address, pid, case, _plan(case, seconds, pid))}
            if case.scenario == "http":
                return record | {"result": run_http(address, rival.path, _plan(case, seconds, pid))}
            result = _run(case, rival, f"ws://{address}", _plan(case, seconds, pid))
    except (BenchError, OSError, HTTPException) as error:
        return record | {"result": {"faults": [str(error).partition("\n")[0] or repr(error)]}}
    return record | {"result": report.as_json(result, url=address, version=ringgate_version())}


def _plan(case: Case, seconds: float, pid: int) -> runs.Plan:
    return runs.Plan(
        seconds=seconds,
        in_flight=case.in_flight,
        warm_up_s=min(0.5, seconds),
        drain_s=30.0,
        server_pids=(pid,),
    )


def _run(case: Case, rival: Rival, base_url: str, plan: runs.Plan) -> runs.Result:
    how, url = rival.how(base_url), base_url + rival.path
    if case.scenario == "echo":
        return runs.run_echo(
            base_url + rival.echo_path, plan, connections=case.clients, size=case.size, binary=False,
            progress=_quiet,
        )  # fmt: skip
    if isinstance(how, Groups):
        return run_subscriptions(url, plan, how, subscribers=case.clients, size=case.size)
    if case.scenario == "fanout":
        return runs.run_fanout(url, plan, how, subscribers=case.clients, size=case.size, progress=_quiet)
    scenario = runs.run_connect if case.scenario == "connect" else runs.run_idle
    return scenario(url, plan, how, connections=case.clients, progress=_quiet)


def _quiet(what: str, part: float) -> None:
    """Show no progress: a line for each measurement is enough."""


@contextlib.contextmanager
def _running(rival: Rival, scenario: str, core: int) -> Iterator[tuple[str, int]]:
    """Start a server on a core; its address and process id.  Raises BenchError when it does not listen."""
    with tempfile.TemporaryFile("w+") as log:
        cores = [core] if rival.pinned else range(os.cpu_count() or 1)
        process = subprocess.Popen(  # noqa: S603 - a command of our own table
            pinned(cores, rival.command(scenario)),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield _address(rival, process, log.fileno()), process.pid
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server; one with children gets the time to end them."""
    if processes(process.pid)[1:]:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    process.kill()
    process.wait()


def pinned(cores: Iterable[int], command: Sequence[str]) -> list[str]:
    """Return a command that runs another one on some cores."""
    pin = "os.sched_setaffinity(0, {*map(int, sys.argv[1].split(','))}); os.execvp(sys.argv[2], sys.argv[2:])"
    return [sys.executable, "-I", "-S", "-c", f"import os, sys; {pin}", ",".join(map(str, cores)), *command]


def _address(rival: Rival, process: subprocess.Popen[bytes], log: int) -> str:
    give_up_s = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < give_up_s:
        for line in os.pread(log, 1 << 16, 0).decode(errors="replace").splitlines(keepends=True):
            address = rival.address(line) if line.endswith("\n") else None
            if address:
                return address
        time.sleep(0.02)
    said = os.pread(log, 1 << 16, 0).decode(errors="replace").strip()
    raise BenchError(f"{rival.name} does not listen: {said[-300:]}")


def _line(record: dict[str, Any]) -> str:
    result = record["result"]
    each = result.get("server_cpu_us_per_unit")
    text = f"{each:8.3f} µs" if each is not None else "         -"
    notes = [*result.get("faults", []), *([result["bottleneck"]] if result.get("bottleneck") else [])]
    return f"{record['case']:<45} {record['server']:<22} {text}  {'; '.join(notes)}"


if __name__ == "__main__":
    raise SystemExit(main())
