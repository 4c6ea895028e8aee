"""Requests over one connection that is kept alive, one at a time: what the internal port can take.

The caller is Python, so its own time is in every request; it is the same for whatever is compared, and brings
ratios of requests a second nearer to 1.  The ratio of the server's CPU time is told beside it therefore.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from gateway.bench.processes import Meter
from gateway.bench.runs import Plan
from gateway.bench.target import BenchError

_BODY = b'{"channel":"bench","data":"' + b"x" * 64 + b'"}'


def request_bytes(address: str, path: str) -> bytes:
    """Return the request: a publication for an API path, else a GET."""
    head = f"Host: {address}\r\n".encode()
    if not path.startswith("/api/"):
        return f"GET {path} HTTP/1.1\r\n".encode() + head + b"\r\n"
    kind = b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
    return f"POST {path} HTTP/1.1\r\n".encode() + head + kind + _BODY


def run_http(address: str, path: str, plan: Plan) -> dict[str, Any]:
    """Ask again and again for `plan.seconds`; figures named as in `report.as_json`.  Raises BenchError."""
    host, _, port = address.rpartition(":")
    request = request_bytes(address, path)
    with socket.create_connection((host, int(port)), timeout=plan.drain_s) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer_bytes = _ask(connection, request)
        _ask_for(connection, request, answer_bytes, plan.warm_up_s)
        meter = Meter(plan.server_pids)
        latencies = sorted(_ask_for(connection, request, answer_bytes, plan.seconds))
    usage, n = meter.read(), len(latencies)
    return {
        "units": n,
        "units_per_second": n / usage.wall_s,
        "server_cpu_us_per_unit": 1e6 * usage.server_cpu_s / n,
        "server_share": usage.server_share,
        "own_share": usage.own_share,
        "latency_ns": {"50": latencies[n // 2], "99": latencies[n * 99 // 100]},
        "counts": {},
        "faults": [],
        "bottleneck": "",
    }


def _ask(connection: socket.socket, request: bytes) -> int:
    """Send the first request and return how long its answer is.  Raises BenchError."""
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _receive(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        raise BenchError(f"the answer is {head.partition(chr(13).encode())[0]!r}")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    wanted = int(lengths[0].partition(b":")[2])
    while len(body) < wanted:
        body += _receive(connection)
    return len(body)


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise BenchError("the server closed the connection")
    return data


def _ask_for(connection: socket.socket, request: bytes, body_bytes: int, seconds: float) -> list[int]:
    """Ask for so long; the latencies in nanoseconds.

    An answer is whole when its body is at least `body_bytes` long: offsets in it only grow.
    """
    latencies = []
    end_ns = time.perf_counter_ns() + round(seconds * 1e9)
    while (began_ns := time.perf_counter_ns()) < end_ns:
        connection.sendall(request)
        answer = _receive(connection)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"the answer is {answer[:40]!r}")
        while len(answer.partition(b"\r\n\r\n")[2]) < body_bytes:
            answer += _receive(connection)
        latencies.append(time.perf_counter_ns() - began_ns)
    return latencies
