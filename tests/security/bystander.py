"""A well-behaved pair of clients that must notice nothing: `python -m tests.security.bystander PORT`.

One publishes numbers, the other hears them; how long each took is recorded.  It is a process of its own, so
that what the attack costs the test's own process is not taken for the gateway's slowness.  It says `ready`,
measures until it reads a line from stdin, prints what it saw as JSON, and so on until stdin ends.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from tests.security.client import Client

ROOT: Final = Path(__file__).resolve().parents[2]
PAUSE_S: Final = 0.01


@dataclass(frozen=True)
class Seen:
    """What a bystander saw: how many messages, all in order, and their latencies in seconds."""

    messages: int
    p99_s: float
    longest_s: float


class Pair:
    """The two clients, inside the bystander's process."""

    def __init__(self, port: int) -> None:
        self._publisher = Client(port)
        self._subscriber = Client(port)
        self._channel = f"bystanders-{os.getpid()}"
        answer = self._subscriber.ask("subscribe", channel=self._channel)
        assert answer["type"] == "reply", answer
        self._number = 0

    def exchange(self) -> float:
        """Publish one number; return the seconds until it was heard.  Raises AssertionError, OSError."""
        self._number += 1
        started = time.perf_counter()
        self._publisher.command("publish", id=self._number, channel=self._channel, data=self._number)
        heard = self._subscriber.event("message")
        took = time.perf_counter() - started
        assert heard["data"] == heard["offset"] == self._number, heard
        assert self._publisher.answer(self._number)["type"] == "reply"
        return took


def main() -> None:
    """Exchange messages for as long as stdin is open."""
    pair = Pair(int(sys.argv[1]))
    print("ready", flush=True)
    while True:
        took = []
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            took.append(pair.exchange())
        took.append(pair.exchange())
        took.sort()
        seen = {"messages": len(took), "p99_s": took[int(len(took) * 0.99)], "longest_s": took[-1]}
        if not sys.stdin.readline():
            return
        print(json.dumps(seen), flush=True)


class Bystander:
    """The process, seen from the test.  `seen()` fails when the bystander was harmed."""

    def __init__(self, port: int) -> None:
        self.messages = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.security.bystander", str(port)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def wait_until_ready(self) -> None:
        """Return once messages are exchanged."""
        assert self._read() == "ready\n"

    def seen(self) -> Seen:
        """Return what it saw since it was asked last; fails when a message was lost or out of order."""
        stdin = self._pipe(self._process.stdin)
        stdin.write("\n")
        stdin.flush()
        seen = Seen(**json.loads(self._read()))
        self.messages += seen.messages
        return seen

    def stop(self) -> None:
        """End it."""
        self._pipe(self._process.stdin).close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._pipe(self._process.stdout).close()

    def _read(self) -> str:
        line = self._pipe(self._process.stdout).readline()
        assert line, "the bystander was harmed: its traceback is on stderr"
        return line

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


if __name__ == "__main__":
    main()
