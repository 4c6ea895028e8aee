"""What an authenticated connect costs the server, beside one without: processor time for each connection.

    python -m bench.connect_cost [--connects 1000] [--rounds 5]

Three gateways take turns: one in development mode, one whose clients all show the same RS256 token (it is
remembered), one whose clients show a token each (its signature is verified).  Every client connects, waits
for `hello` and goes.  The least of the rounds counts.  The load is this process; what is measured is the
processor time of the gateways alone.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from bench.hooks import cpu_s
from tests.support.process import GatewayProcess, start_gateway
from tests.support.tokens import claims, forge, public_pem, signer

AT_ONCE = 20
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def tokens(count: int) -> list[str]:
    """Return as many tokens, each of its own."""
    now = int(time.time())
    sign = signer("RS256")
    header = {"alg": "RS256", "kid": "main", "typ": "JWT"}
    return [
        forge(header, claims(sub=f"user-{n}", iat=now, exp=now + 3600, jti=f"id-{n}"), sign)
        for n in range(count)
    ]


async def connect(gateway: GatewayProcess, authorization: str) -> None:
    """Connect, wait for the hello, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.edge_port)
    head = (
        f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{gateway.edge_port}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{authorization}\r\n"
    )
    writer.write(head.encode())
    while b"hello" not in (data := await reader.read(4096)):
        if not data:
            raise SystemExit("the gateway did not let a client in")
    writer.close()
    await writer.wait_closed()


async def round_us(gateway: GatewayProcess, headers: list[str]) -> float:
    """Return microseconds of the gateway's processor time for each connection."""
    before = cpu_s(gateway.pid)
    for start in range(0, len(headers), AT_ONCE):
        await asyncio.gather(*(connect(gateway, header) for header in headers[start : start + AT_ONCE]))
    await asyncio.sleep(0.3)  # until the gateway noticed that they are gone
    return (cpu_s(gateway.pid) - before) / len(headers) * 1e6


async def measure(gateways: dict[str, GatewayProcess], headers: dict[str, list[str]], rounds: int) -> None:
    """Print the least of the rounds of each case."""
    least: dict[str, float] = {}
    for _ in range(rounds):
        for case, gateway in gateways.items():
            used = await round_us(gateway, headers[case])
            least[case] = min(used, least.get(case, used))
    for case, used in least.items():
        print(f"{case:<40} {used:7.0f} us a connection")


def main() -> None:
    """Start the gateways, measure, end them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connects", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key = Path(folder, "key.pem")
        key.write_bytes(public_pem("rsa"))
        keys = ("--auth-keys", f"RS256/main:file:{key}")
        made = [f"Authorization: Bearer {token}\r\n" for token in tokens(given.connects)]
        users = [f"X-Nothing: {header[15:]}" for header in made]  # as many bytes, and nobody looks
        headers = {
            "development mode": users,
            "RS256, the same token again and again": made[:1] * given.connects,
            "RS256, a token each": made,
        }
        flags = {
            "development mode": (),
            "RS256, the same token again and again": keys,
            "RS256, a token each": (*keys, "--auth-cache-size", "0"),
        }
        gateways: dict[str, GatewayProcess] = {}
        try:
            for number, (case, more) in enumerate(flags.items()):
                gateways[case] = start_gateway(*more, log_path=Path(folder, f"{number}.log"))
            asyncio.run(measure(gateways, headers, given.rounds))
        finally:
            for gateway in gateways.values():
                gateway.stop()


if __name__ == "__main__":
    main()
