"""Prove that an installed ringgate works: a message published over HTTP reaches a foreign client.

Runs in the environment that holds the wheel and `websockets`, and refuses to test a checkout instead.  The
gateway that it starts is ended by its id.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.request
from pathlib import Path

import websockets

TIMEOUT_S = 20.0
CHECKOUT = Path(__file__).resolve().parents[1]
SERVE = ("serve", "--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0", "--log-format", "json")


def check_environment() -> None:
    """End when the checkout would be tested, or a compiler is within reach that should not be."""
    sys.path = [
        entry for entry in sys.path if Path(entry or ".").resolve() not in (CHECKOUT, CHECKOUT / "scripts")
    ]
    import gateway

    where = Path(gateway.__file__ or "").resolve()
    if not where.is_relative_to(Path(sysconfig.get_path("purelib")).resolve()) and not where.is_relative_to(
        Path(sysconfig.get_path("platlib")).resolve()
    ):
        raise SystemExit(f"check_wheel: gateway is not the installed one but {where}")
    compilers = [name for name in ("cc", "gcc", "clang", "tcc") if shutil.which(name)]
    if compilers and not os.environ.get("CIBUILDWHEEL"):
        raise SystemExit(f"check_wheel: there is a compiler on PATH: {compilers}")


def addresses(log: Path, process: subprocess.Popen[bytes]) -> tuple[str, str]:
    """Wait for the log line that says where the gateway listens; edge and API as HOST:PORT."""
    give_up = time.monotonic() + TIMEOUT_S
    while time.monotonic() < give_up and process.poll() is None:
        for line in log.read_text().splitlines():
            if '"listening"' in line and line.startswith("{"):
                record = json.loads(line)
                return str(record["edge"]), str(record["api"])
        time.sleep(0.05)
    raise SystemExit(f"check_wheel: the gateway did not start\n{log.read_text()}")


def publish(api: str, channel: str, data: object) -> None:
    """Publish over HTTP; raises urllib.error.HTTPError when refused."""
    body = json.dumps({"channel": channel, "data": data}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{api}/api/publish", body, headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        answer.read()


async def deliver(edge: str, api: str) -> object:
    """Subscribe, publish, and return the data of the message that arrives."""
    async with websockets.connect(f"ws://{edge}/ws", proxy=None) as client:
        await client.send(json.dumps({"type": "subscribe", "id": 1, "channel": "wheel"}))
        while json.loads(await client.recv())["type"] != "reply":
            pass
        await asyncio.to_thread(publish, api, "wheel", {"text": "hello"})
        while True:
            event = json.loads(await client.recv())
            if event["type"] == "message":
                return event["data"]


def main() -> None:
    """Check it all; ends with a message when something is wrong."""
    check_environment()
    command = Path(sysconfig.get_path("scripts")) / "ringgate"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            process = subprocess.Popen([command, *SERVE], cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            got = asyncio.run(asyncio.wait_for(deliver(*addresses(log, process)), TIMEOUT_S))
            if got != {"text": "hello"}:
                raise SystemExit(f"check_wheel: another message arrived: {got}\n{log.read_text()}")
            process.terminate()
            status = process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        if status:
            raise SystemExit(f"check_wheel: the gateway ended with status {status}\n{log.read_text()}")
    print("check_wheel: a message was served")


if __name__ == "__main__":
    main()
