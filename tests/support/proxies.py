"""The real nginx and HAProxy, started from the files in `deploy/` as they are shipped.

Only names and ports are put in place of those that users have; everything that matters for WebSockets is what
the files say.  What always holds: a proxy that was started is over when the block is left.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.process import ROOT, GatewayProcess

DEPLOY: Final = ROOT / "deploy"
KINDS: Final = ("nginx", "haproxy")
_START_S: Final = 10.0


class ProxyError(AssertionError):
    """The proxy is not there, does not take its configuration, or did not start."""


@dataclass(frozen=True)
class Proxy:
    """A running proxy in front of gateways."""

    kind: str
    port: int

    @property
    def address(self) -> str:
        """HOST:PORT for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def ws_url(self) -> str:
        """Where clients connect."""
        return f"ws://{self.address}/ws"


@contextlib.contextmanager
def proxy(
    kind: str, gateways: Sequence[GatewayProcess], folder: Path, *, server_options: str = ""
) -> Iterator[Proxy]:
    """Start the proxy of `KINDS` in front of two gateways (nginx: or more).  Raises ProxyError.

    `server_options` are words that are added to HAProxy's lines of its servers.
    """
    port = free_port()
    path = folder / f"{kind}.conf"
    path.write_text(_adapted(kind, port, gateways, server_options))
    log = (folder / f"{kind}.log").open("wb")
    check, run = _commands(kind, path, folder)
    checked = subprocess.run(check, capture_output=True, text=True, check=False)
    if checked.returncode:
        raise ProxyError(checked.stderr)
    process = subprocess.Popen(run, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        _wait_for(port, process, folder / f"{kind}.log")
        yield Proxy(kind, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _adapted(kind: str, port: int, gateways: Sequence[GatewayProcess], server_options: str) -> str:
    """Return the shipped file with addresses of this machine."""
    if kind == "nginx":
        text = _replaced((DEPLOY / "nginx.conf").read_text(), "listen 80 ", f"listen 127.0.0.1:{port} ")
        # So many descriptors may be more than whoever runs the tests is allowed.
        text = _replaced(text, "worker_rlimit_nofile 131072;", "")
        text = _replaced(text, "worker_connections 65536", "worker_connections 1024")
        for number, gateway in enumerate(gateways[:2], 1):
            text = _replaced(text, f"server gateway-{number}:8000", f"server {gateway.edge}")
        second = f"server {gateways[1].edge} max_fails=0;"
        more = "".join(f" server {gateway.edge} max_fails=0;" for gateway in gateways[2:])
        return _replaced(text, second, second + more)
    text = _replaced((DEPLOY / "haproxy.cfg").read_text(), "bind :80 ", f"bind 127.0.0.1:{port} ")
    text = _replaced(text, "maxconn 65536", "maxconn 1024")
    for number, gateway in enumerate(gateways, 1):
        server = f"{gateway.edge} port {gateway.api_port} {server_options}".rstrip()
        text = _replaced(text, f"gateway-{number}:8000", server)
    return text


def _replaced(text: str, old: str, new: str) -> str:
    if len(re.findall(re.escape(old), text)) != 1:
        raise ProxyError(f"expected once in the shipped file: {old!r}")
    return text.replace(old, new)


def _commands(kind: str, path: Path, folder: Path) -> tuple[list[str], list[str]]:
    binary = shutil.which(kind) or shutil.which(kind, path="/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise ProxyError(f"no {kind} on this machine: `make test` installs it, or names the package")
    if kind == "haproxy":
        return [binary, "-c", "-q", "-f", str(path)], [binary, "-db", "-f", str(path)]
    errors = str(folder / "nginx-error.log")
    base = [binary, "-p", str(folder), "-e", errors, "-c", str(path)]
    place = f"pid {folder}/nginx.pid;"
    return [*base, "-t", "-q", "-g", place], [*base, "-g", f"{place} daemon off;"]


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise ProxyError(f"it ended with status {process.returncode}\n{log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise ProxyError(f"it does not listen\n{log.read_text()}")
