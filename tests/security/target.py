"""The gateway under attack, looked at from outside: its metrics, memory, descriptors and log.

It knows the process, and its workers if it has any, `/metrics` and /proc; nothing of the gateway's inside.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.security.client import Client, wait_for
from tests.support.process import GatewayProcess

MARKS: Final = ("Traceback (most recent call last)", "internal error", "exception", "a command failed")
"""What a log of a gateway that only met bad input must not hold."""

_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


class Target:
    """A running gateway; `key` is sent as API key where there is one."""

    def __init__(self, process: GatewayProcess, key: str = "") -> None:
        self.process = process
        self.port = process.edge_port
        self._key = key
        self._log_seen = 0

    # -- the log ----------------------------------------------------------------------------

    def check_log(self) -> None:
        """Fail if the log grew by a trace of an exception since it was checked last."""
        text = self.process.log[self._log_seen :]
        self._log_seen += len(text)
        for line in text.splitlines():
            assert not any(mark in line for mark in MARKS), line

    # -- HTTP -------------------------------------------------------------------------------

    def http(
        self,
        method: str,
        path: str,
        body: bytes | object = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 10.0,
    ) -> tuple[int, bytes]:
        """Send a request to the internal port; `body` goes as it is when bytes, else as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if self._key:
            sent["Authorization"] = f"Bearer {self._key}"
        connection = http.client.HTTPConnection("127.0.0.1", self.process.api_port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method, path, data, {**sent, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read()

    def publish(self, channel: str, data: object, **fields: object) -> int:
        """Publish through the API; return the offset."""
        status, body = self.http("POST", "/api/publish", {"channel": channel, "data": data, **fields})
        assert status == 200, body
        return int(json.loads(body)["offset"])

    # -- counters ---------------------------------------------------------------------------

    def metrics(self) -> dict[str, float]:
        """Return every sample by its name and labels, such as `ringgate_closes_total{code="1009"}`."""
        status, body = self.http("GET", "/metrics")
        assert status == 200
        return {
            f"{name}{{{labels}}}" if labels else name: float(value)
            for name, labels, value in _SAMPLE.findall(body.decode())
        }

    def metric(self, name: str) -> float:
        """Return one sample; 0 when it was never counted."""
        return self.metrics().get(name, 0.0)

    @contextlib.contextmanager
    def counts(self, *names: str, by: float = 1) -> Iterator[None]:
        """Assert that each of the counters `names` grows by at least `by` meanwhile."""
        before = self.metrics()
        yield

        def grown() -> bool:
            now = self.metrics()
            return all(now.get(name, 0) - before.get(name, 0) >= by for name in names)

        wait_for(grown, f"{names} counted {by:g} more", timeout_s=5)

    def closes(self, code: int, by: float = 1) -> contextlib.AbstractContextManager[None]:
        """Assert that closing handshakes with `code` are counted."""
        return self.counts(f'ringgate_closes_total{{code="{code}"}}', by=by)

    def refuses(self, reason: str, by: float = 1) -> contextlib.AbstractContextManager[None]:
        """Assert that refused handshakes are counted under `reason`."""
        return self.counts(f'ringgate_handshakes_refused_total{{reason="{reason}"}}', by=by)

    def connections(self) -> int:
        """Open client connections, as the gateway counts them."""
        return int(self.metric("ringgate_connections"))

    # -- the process ------------------------------------------------------------------------

    def memory(self) -> int:
        """Bytes of anonymous memory that are resident, in all processes: heap and stacks, no files."""
        return self._status("RssAnon")

    def peak_memory(self) -> int:
        """The most bytes that were resident since `reset_peak`, less the files that are.

        Of several processes it is the sum of their peaks, whenever each was.
        """
        return self._status("VmHWM") - self._status("RssFile") - self._status("RssShmem")

    def reset_peak(self) -> None:
        """Let `peak_memory` begin anew."""
        for pid in self.pids():
            Path(f"/proc/{pid}/clear_refs").write_text("5")

    def virtual_memory(self) -> int:
        """Bytes of memory that were asked for, used or not."""
        return self._status("VmData")

    def pids(self) -> list[int]:
        """The process, and its workers where it has any."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [self.process.pid, *map(int, children.split())]

    def _status(self, name: str) -> int:
        total = 0
        for pid in self.pids():
            found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            assert found, name
            total += int(found[1]) * 1024
        return total

    def descriptors(self) -> int:
        """Open file descriptors of all processes."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in self.pids())

    # -- clients ----------------------------------------------------------------------------

    def client(self, path: str = "/ws", **options: Any) -> Client:
        """Return a client; on `/ws` its hello was read."""
        made = Client(self.port, path, **options)
        if path.startswith("/ws"):
            assert made.event()["type"] == "hello"
        return made
