"""Real redis-server processes for tests (`redis_sets` has Sentinels and a Cluster).

Everything listens on 127.0.0.1 on free ports and keeps its files under the folder that is given.  What always
holds: whatever was started is ended when the `with` block ends, by its process id, also when it is stopped.

    with RedisServer(tmp_path) as redis:
        redis.url, redis.kill(), redis.start(), redis.pause(), redis.resume(), redis.ask("GET", "x")
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

HOST = "127.0.0.1"
TlsFiles = tuple[Path, Path, Path]
"""Of an authority's certificate, a server's certificate, and its key."""


class RedisError(Exception):
    """An error reply."""


def free_port() -> int:
    """Return a port that nobody listens on, with the one 10,000 above it free, too (a Cluster's bus)."""
    for _ in range(100):
        with socket.socket() as one, socket.socket() as other:
            one.bind((HOST, 0))
            port = int(one.getsockname()[1])
            if port >= 55536:
                continue
            try:
                other.bind((HOST, port + 10000))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def wait_until(condition: Callable[[], object], what: str, within_s: float = 40.0) -> None:
    """Wait, blocking, until something holds; OSError and RedisError mean that it does not yet."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            if condition():
                return
        except (OSError, RedisError):
            pass
        assert time.monotonic() < deadline, f"waited {within_s:g} s for {what}"
        time.sleep(0.02)


def ask_redis(
    address: tuple[str, int] | str, *command: str | int | bytes, password: str = "", within_s: float = 5.0
) -> Any:
    """Give a command on a connection of its own, blocking.  Raises RedisError, OSError."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(within_s)
        sock.connect(address)
        reader = hiredis.Reader(notEnoughData=...)
        reply: Any = None
        commands = [("AUTH", password), command] if password else [command]
        for each in commands:
            sock.sendall(hiredis.pack_command(each))  # type: ignore[arg-type]
            while (reply := reader.gets()) is ...:
                data = sock.recv(65536)
                if not data:
                    raise ConnectionResetError("the server hung up")
                reader.feed(data)
            if isinstance(reply, hiredis.ReplyError):
                raise RedisError(str(reply))
        return reply


class RedisServer:
    """One redis-server process that can be killed, started again with what is on its disk, and stopped.

    `options` are settings of redis.conf.  `aof` keeps an append-only file; without it nothing is kept.
    `tls` are the paths of CA, certificate and key: it then listens with TLS on `tls_port`, too.
    """

    def __init__(
        self,
        folder: Path,
        *,
        options: Sequence[tuple[str, str]] = (),
        aof: bool = False,
        password: str = "",
        tls: TlsFiles | None = None,
        unix_socket: bool = False,
        port: int = 0,
        mode: str = "",
    ) -> None:
        self.port = port or free_port()
        self.tls_port = free_port() if tls else 0
        self.folder = folder / f"redis-{self.port}"
        self.folder.mkdir(parents=True)
        self.password = password
        self.socket_path = str(self.folder / "s") if unix_socket else ""
        self._mode = mode
        self._process: subprocess.Popen[bytes] | None = None
        settings = [("port", str(self.port)), ("bind", HOST), ("dir", str(self.folder)), ("save", '""')]
        settings += [("daemonize", "no"), ("loglevel", "notice"), ("repl-diskless-sync-delay", "0")]
        settings += [("repl-ping-replica-period", "1")]
        if mode != "--sentinel":
            settings += [("appendonly", "yes" if aof else "no")]
            # With `everysec` Redis may answer two seconds before it writes, and lose that when it is killed.
            settings += [("appendfsync", "always")] if aof else []
        else:
            settings = settings[:3]
        if password:
            settings += [("requirepass", password), ("masterauth", password)]
        if unix_socket:
            settings += [("unixsocket", self.socket_path)]
        if tls:
            ca, cert, key = tls
            settings += [("tls-port", str(self.tls_port)), ("tls-ca-cert-file", str(ca))]
            settings += [
                ("tls-cert-file", str(cert)),
                ("tls-key-file", str(key)),
                ("tls-auth-clients", "optional"),
            ]
        settings += options
        self._config = self.folder / "redis.conf"
        self._config.write_text("".join(f"{name} {value}\n" for name, value in settings))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def address(self) -> tuple[str, int]:
        return (HOST, self.port)

    @property
    def url(self) -> str:
        credentials = f":{self.password}@" if self.password else ""
        return f"redis://{credentials}{HOST}:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def config(self) -> str:
        return self._config.read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def ask(self, *command: str | int | bytes, within_s: float = 5.0) -> Any:
        """Give a command on a connection of its own, blocking.  Raises RedisError, OSError."""
        return ask_redis(self.address, *command, password=self.password, within_s=within_s)

    def launch(self) -> None:
        """Start the process with what is on its disk, and do not wait for it."""
        assert not self.running
        program = shutil.which("redis-server")
        assert program, "no redis-server on this machine: apt-get install redis-server"
        with (self.folder / "log").open("ab") as log:
            command = [program, str(self._config), *([self._mode] if self._mode else [])]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        self.launch()
        self.wait()

    def wait(self) -> None:
        """Wait until it answers."""

        def answers() -> bool:
            assert self.running, f"redis-server ended:\n{self.log}"
            return bool(self.ask("PING") in (b"PONG", "PONG"))

        wait_until(answers, f"redis-server on port {self.port}")

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost.  Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Kill it, and start it again with what is on its disk."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open, and nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def clients(self, *, pubsub: bool, name: str = "") -> list[str]:
        """The ids of connected clients in subscribed mode, or of those that are not, but for this question's.

        With a name, only clients that call themselves so.
        """
        found = []
        for line in self.ask("CLIENT", "LIST").decode().splitlines():
            fields = dict(field.split("=", 1) for field in line.split(" ") if "=" in field)
            alike = ("P" in fields["flags"]) == pubsub and fields.get("name", "") == (name or fields["name"])
            if alike and fields.get("cmd") != "client|list":
                found.append(fields["id"])
        return found
