"""A gateway process for tests: started, waited for until it listens, ended by its id.

Knows the command line and the first log line of the gateway, nothing else of it.  What always
holds: a process that `start_gateway` started is over when `stop` has returned, and nobody else's
process is ever signalled.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

START_S = 40.0
STOP_S = 40.0
ROOT = Path(__file__).resolve().parents[2]
EVERYWHERE = tuple(shlex.split(os.environ.get("GATEWAY_TEST_FLAGS", "")))
ANYWHERE = {"--listen": "127.0.0.1:0", "--api-listen": "127.0.0.1:0"}
LOOPBACK = (*(part for pair in ANYWHERE.items() for part in pair), "--log-format", "json")


class GatewayProcessError(AssertionError):
    """The process did not start, did not stop, or ended badly; the text holds its log."""


@dataclass
class GatewayProcess:
    """A running gateway.  `edge` and `api` are its real addresses, as HOST:PORT: the first ones of several.

    `edges` and `apis` are all of them, Unix sockets as unix:/PATH.
    """

    popen: subprocess.Popen[bytes]
    log_path: Path
    edge: str = ""
    api: str = ""
    edges: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """Id of the process."""
        return self.popen.pid

    @property
    def edge_port(self) -> int:
        """Port of the WebSocket side."""
        return int(self.edge.rpartition(":")[2])

    @property
    def api_port(self) -> int:
        """Port of the HTTP side."""
        return int(self.api.rpartition(":")[2])

    @property
    def ws_url(self) -> str:
        """Where clients connect."""
        return f"ws://{self.edge}/ws"

    @property
    def echo_url(self) -> str:
        """Where `--echo` sends everything back."""
        return f"ws://{self.edge}/echo"

    @property
    def api_url(self) -> str:
        """Base of the internal HTTP port, without a slash at its end."""
        return f"http://{self.api}"

    @property
    def log(self) -> str:
        """What it wrote to stdout and stderr so far."""
        return self.log_path.read_text(errors="replace")

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """End it and return its exit status (negative: the signal that ended it).

        Raises GatewayProcessError when it had to be killed since it did not end within STOP_S seconds.
        """
        if self.popen.poll() is None:
            self.popen.send_signal(sig)
        try:
            return self.popen.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise GatewayProcessError(f"the gateway did not stop within {STOP_S:g} s\n{self.log}") from None

    def check(self) -> None:
        """Raise GatewayProcessError when the log tells of an exception that nothing handled."""
        if "Traceback (most recent call last)" in self.log:
            raise GatewayProcessError(f"an exception was left unhandled in the gateway\n{self.log}")


class StartGateway(Protocol):
    """Start a gateway on free loopback ports, with more flags and environment variables as wanted.

    With `unclean` the fixture `gateway_process` does not ask at its end that the gateway stopped
    with status 0 and that no exception shows up in its log.
    """

    def __call__(
        self, *flags: str, env: Mapping[str, str] | None = None, unclean: bool = False
    ) -> GatewayProcess: ...


def start_gateway(
    *flags: str,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    pass_fds: tuple[int, ...] = (),
) -> GatewayProcess:
    """Start `gateway serve` on free loopback ports and return once it listens.

    `flags` follow the default ones, and those of the variable GATEWAY_TEST_FLAGS (such as "--workers 2", to
    run whole suites that way), and so override them (see `defaults`).  `env` is added to an environment from
    which the settings of the gateway (RINGGATE_*) were removed; `pass_fds` are kept open.  Raises
    GatewayProcessError when it ends or says nothing for START_S seconds.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RINGGATE_")}
    with log_path.open("wb") as log:
        popen = subprocess.Popen(
            [python, "-m", "gateway", "serve", *defaults(flags), *EVERYWHERE, *flags],
            cwd=ROOT,
            env={**clean, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )
    gateway = GatewayProcess(popen, log_path)
    try:
        _wait_until_it_listens(gateway)
    except BaseException:
        popen.kill()
        popen.wait()
        raise
    return gateway


def defaults(flags: tuple[str, ...]) -> list[str]:
    """Return what a gateway is given besides `flags`: addresses, which add up, only where those have none."""
    chosen = [(flag, address) for flag, address in ANYWHERE.items() if flag not in flags]
    return [*(part for pair in chosen for part in pair), "--log-format", "json"]


def special_python(folder: Path, *, impatient: bool = False, descriptors: int = 0) -> str:
    """Write a command that stands for `python` in `python -m gateway serve ...`; return its path.

    `impatient`: the broker forgets channels after a second (`tests.security.impatient`).  `descriptors` above
    0 is how many the process may have.
    """
    limit = f"ulimit -n {descriptors}\n" if descriptors else ""
    module = "-m tests.security.impatient " if impatient else ""
    command = folder / "python"
    command.write_text(f'#!/bin/sh\n{limit}exec {sys.executable} {module}"$@"\n')
    command.chmod(0o755)
    return str(command)


def _wait_until_it_listens(gateway: GatewayProcess) -> None:
    give_up = time.monotonic() + START_S
    while time.monotonic() < give_up:
        status = gateway.popen.poll()
        event = listening_event(gateway.log)
        if event is not None:
            gateway.edges, gateway.apis = tuple(event["edge"].split(", ")), tuple(event["api"].split(", "))
            gateway.edge, gateway.api = gateway.edges[0], gateway.apis[0]
            return
        if status is not None:
            raise GatewayProcessError(
                f"the gateway ended with status {status} before it listened\n{gateway.log}"
            )
        time.sleep(0.01)
    raise GatewayProcessError(f"the gateway did not listen within {START_S:g} s\n{gateway.log}")


def listening_event(log: str) -> dict[str, str] | None:
    """Find the log line that says where the gateway listens; None while it is not there (whole)."""
    for line in log.splitlines():
        if not line.startswith("{"):
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if record.get("message") == "listening":
            return {"edge": str(record["edge"]), "api": str(record["api"])}
    return None
