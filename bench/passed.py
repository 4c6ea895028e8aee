"""What it costs to pass a WebSocket through: Ringgate, nginx and HAProxy in front of the same bare C echo.

    python -m bench.passed             writes build/bench/passed.json and its part of docs/benchmarks.md
    python -m bench.passed --rounds 5

HAProxy is in TCP mode, since the echo does not read what it makes of HTTP.  Each proxy has one process and
one thread on a core of its own; load tool and echo share the other.  What counts is the proxy's CPU time for
a message there and back, which is two recv and two send at least.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import compare, page
from bench.cases import ECHO, ECHO_16, Case
from bench.rivals import floor
from bench.rivals.rival import Rival
from gateway.bench import report
from gateway.bench.target import BenchError
from gateway.cli.version import ringgate_version

OUT: Final = compare.OUT / "passed.json"
KEPT: Final = compare.ROOT / "docs" / "benchmarks" / "passed.json"
CASES: Final = (ECHO, ECHO_16, replace(ECHO, size=16_384), Case("connect", 5000))
US: Final = "server_cpu_us_per_unit"
_START_S: Final = 20.0
_REST_S: Final = 0.5  # after the first handshake, for whatever a start leaves to do
_HANDSHAKE: Final = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_NGINX: Final = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log crit;
worker_rlimit_nofile 20000;
events {{ worker_connections 18000; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://{upstream};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection upgrade;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""
_HAPROXY: Final = """
global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 300s
  timeout server 300s
frontend in
  bind 127.0.0.1:{port} backlog 4096
  default_backend out
backend out
  server echo {upstream}
"""

Command = Callable[[str, Path, int], list[str]]
"""Makes a command from the upstream's HOST:PORT, a folder for files, and a free port."""


def _ringgate(upstream: str, folder: Path, port: int) -> list[str]:
    route = ("--route=all.path=/*", "--route=all.upstream=echo")
    return [
        *(sys.executable, "-m", "gateway", "serve", f"--upstream=echo.addresses=ws://{upstream}", *route),
        *(f"--listen=127.0.0.1:{port}", "--api-listen=127.0.0.1:0", "--log-format=json"),
    ]


def _nginx(upstream: str, folder: Path, port: int) -> list[str]:
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream))
    return ["nginx", "-c", str(file), "-e", "stderr"]


def _haproxy(upstream: str, folder: Path, port: int) -> list[str]:
    file = folder / "haproxy.cfg"
    file.write_text(_HAPROXY.format(port=port, upstream=upstream))
    return ["haproxy", "-q", "-f", str(file)]


PROXIES: Final[dict[str, Command]] = {"Ringgate": _ringgate, "nginx": _nginx, "HAProxy": _haproxy}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, write the results and the page; 1 when something was delivered wrongly."""
    parser = argparse.ArgumentParser(prog="python -m bench.passed", description="Measure pass-through.")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--seconds", metavar="S", type=float, default=3.0, help="each (default %(default)s)")
    options = parser.parse_args(argv)
    server_core, load_core = compare._cores()
    os.sched_setaffinity(0, {load_core})
    records: list[dict[str, Any]] = []
    for case in CASES:
        for number in range(options.rounds):
            for name in PROXIES:
                result = measure(case, name, options.seconds, server_core)
                records.append({"case": case.title, "proxy": name, "round": number, "result": result})
                told = result.get(US, "; ".join(result["faults"]))
                print(f"{case.title:<45} {name:<9} {told}", file=sys.stderr, flush=True)
    about = {"machine": report.machine(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(about | {"records": records}, indent=1) + "\n")
    KEPT.write_text(json.dumps(about | {"results": condensed(records)}, indent=1) + "\n")
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"passed": table(records, about)}))
    return 1 if any(record["result"]["faults"] for record in records) else 0


def measure(case: Case, name: str, seconds: float, server_core: int) -> dict[str, Any]:
    """Start the echo and a proxy, measure, end both.  What fails is told in the result."""
    if not shutil.which("nginx" if name == "nginx" else "haproxy" if name == "HAProxy" else "cc"):
        return {"faults": [f"{name} is not installed"]}
    target = Rival(name, lambda scenario: [], path="/echo", how=floor.RIVAL.how)
    load_core = next(iter(os.sched_getaffinity(0)))
    try:
        with (
            compare._running(floor.RIVAL, "echo", load_core) as (upstream, _),
            proxied(name, upstream, server_core) as (address, pid),
        ):
            result = compare._run(case, target, f"ws://{address}", compare._plan(case, seconds, pid))
    except BenchError as error:
        return {"faults": [str(error).splitlines()[0]]}
    return report.as_json(result, url=address, version=ringgate_version())


@contextlib.contextmanager
def proxied(name: str, upstream: str, core: int) -> Iterator[tuple[str, int]]:
    """Start a proxy on a core; its HOST:PORT and process id.  Raises BenchError."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(  # noqa: S603 - a command of our own table
            compare.pinned([core], PROXIES[name](upstream, Path(folder), port)),
            cwd=compare.ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(name, process, port)
            yield f"127.0.0.1:{port}", process.pid
        finally:
            process.kill()
            process.wait()


def _wait_for(name: str, process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a handshake passes: who listens may still be starting, which would be measured, too."""
    give_up_s = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < give_up_s:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), _START_S) as probe:
            probe.sendall(_HANDSHAKE)
            if probe.recv(1024).startswith(b"HTTP/1.1 101 "):
                time.sleep(_REST_S)
                return
        time.sleep(0.05)
    raise BenchError(f"{name} passes nothing through")


def condensed(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cost of each case and proxy: each round's, in microseconds of the proxy's CPU time."""
    rows: dict[tuple[str, str], list[float]] = {}
    for record in records:
        if US in record["result"]:
            cost = float(f"{record['result'][US]:.5g}")
            rows.setdefault((record["case"], record["proxy"]), []).append(cost)
    return [{"case": case, "proxy": proxy, "us_per_unit": costs} for (case, proxy), costs in rows.items()]


def table(records: Sequence[dict[str, Any]], about: dict[str, Any]) -> str:
    """Return the part of the page: for each case the medians, and the medians of the rounds' ratios."""
    costs = {(row["case"], row["proxy"]): row["us_per_unit"] for row in condensed(records)}
    where = f"{about['machine']['cpu']}, Python {about['machine']['python']}"
    lines = [
        f"Measured {about['time']} on {where}: `python -m bench.passed`.",
        "",
        "| case | Ringgate, µs | nginx, µs | HAProxy, µs | to nginx | to HAProxy |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for case in dict.fromkeys(record["case"] for record in records):
        ours, *others = (costs.get((case, name), []) for name in PROXIES)
        if not ours or not all(others):
            continue
        cells = [f"{median(each):.3g}" for each in (ours, *others)]
        cells += [f"{median(a / b for a, b in zip(ours, other, strict=False)):.2f}" for other in others]
        lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
