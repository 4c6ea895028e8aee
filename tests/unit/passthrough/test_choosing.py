"""Which address a client gets: what it is known by, and how little moves."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from gateway.connection.request import Request, parse_request
from gateway.passthrough.choosing import Choosing, key_by
from gateway.passthrough.crossing import Client
from gateway.upstreams.options import HealthOptions, UpstreamOptions, parse_address
from gateway.upstreams.upstream import Upstream


def request(*headers: str, target: str = "/app/x?room=7&token=t") -> Request:
    lines = [f"GET {target} HTTP/1.1", "Host: edge.example", *headers]
    found = parse_request(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert isinstance(found, Request)
    return found


def upstream(targets: int, *, bound: float = 1.25) -> Upstream:
    addresses = tuple(parse_address(f"ws://127.0.0.1:{9000 + number}") for number in range(targets))
    options = UpstreamOptions(
        addresses=addresses, balance="hash", hash_bound=bound, health=HealthOptions(unhealthy_after=1)
    )

    async def resolve(host: str, port: int) -> list[str]:
        raise AssertionError

    def transport(options: UpstreamOptions) -> object:
        raise AssertionError

    loop = asyncio.get_running_loop()
    return Upstream("app", options, loop=loop, transport=transport, resolve=resolve)  # type: ignore[arg-type]


ADA = Client(request("X-Tenant: acme", "Cookie: a=b; sid=77"), "192.0.2.1", "ada", "login-1")


@pytest.mark.parametrize(
    ("stays_with", "known", "unknown"),
    [
        ("address", "192.0.2.1", "192.0.2.1"),
        ("user", "ada", "192.0.2.1"),
        ("session", "login-1", "192.0.2.1"),
        ("path", "/app/x", "/app/x"),
        ("header:X-Tenant", "acme", ""),
        ("cookie:sid", "77", ""),
        ("query:room", "7", "7"),
    ],
)
def test_key_is_what_the_client_is_known_by(stays_with: str, known: str, unknown: str) -> None:
    assert key_by(stays_with)(ADA) == known
    assert key_by(stays_with)(Client(request(), "192.0.2.1")) == unknown


async def test_who_comes_back_gets_the_same_address_and_when_one_goes_only_its_clients_move() -> None:
    group = upstream(4)
    choosing = Choosing(group, key_by("user"))
    clients = [ADA._replace(user=f"user{number}") for number in range(200)]
    before = {}
    for client in clients:  # one at a time, as when each reconnects alone
        lease = choosing.pick(client, [])
        assert lease is not None
        before[client.user] = lease.address.port
        lease.connected()
        lease.release()
    assert set(Counter(before.values())) == {9000, 9001, 9002, 9003}
    gone = next(target for target in group.targets if target.endpoint.address.port == 9001)
    gone.checked(0.0, ok=False)
    for client in clients:
        lease = choosing.pick(client, [])
        assert lease is not None
        if before[client.user] != 9001:
            assert lease.address.port == before[client.user]
        else:
            assert lease.address.port != 9001
        lease.connected()
        lease.release()


async def test_few_lasting_connections_stay_together_and_many_are_bounded() -> None:
    group = upstream(4)
    choosing = Choosing(group, key_by("path"))  # all of one room
    ports = []
    for _ in range(200):
        lease = choosing.pick(ADA, [])
        assert lease is not None
        lease.connected()
        ports.append(lease.address.port)
    assert len(set(ports[:16])) == 1
    assert max(Counter(ports).values()) <= 63  # 1.25 times a quarter of them, rounded up


async def test_connections_stay_where_they_are_when_there_is_nowhere_else() -> None:
    group = upstream(2)
    told: list[bool] = []
    group.watch(lambda: told.append(True))
    one, two = group.targets
    assert group.stays(one)
    one.checked(0.0, ok=False)
    assert not group.stays(one)
    assert group.stays(two)
    two.checked(0.0, ok=False)
    assert group.stays(one)
    one.checked(0.0, ok=True)
    one.checked(0.0, ok=True)
    assert group.stays(one)
    assert not group.stays(two)
