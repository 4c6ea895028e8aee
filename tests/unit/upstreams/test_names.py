"""Names of services: what look-ups give, and that a name which is made to point elsewhere leads nowhere."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import Any

import pytest

from gateway.upstreams.http import HttpTransport, Request
from gateway.upstreams.names import Names
from gateway.upstreams.options import ServiceAddress, UpstreamOptions, parse_address
from gateway.upstreams.reach import Reach
from gateway.upstreams.upstream import Asked, Upstream
from tests.support.app_service import AppService, says
from tests.support.waiting import until

APP = ServiceAddress("http", "app.example", 9000)
LOCAL = ServiceAddress("http", "localhost", 9000)
LITERAL = ServiceAddress("http", "169.254.169.254", 80)


def names(answers: dict[str, list[str]], *addresses: ServiceAddress, networks: tuple[str, ...] = ()) -> Names:
    async def resolve(host: str, port: int) -> list[str]:
        if not answers[host]:
            raise socket.gaierror("nothing known")
        return answers[host]

    return Names(addresses, resolve, Reach(networks))


def ips(names: Names) -> list[str]:
    return [endpoint.ip for endpoint in names.endpoints]


@pytest.mark.parametrize(
    ("ip", "usual"),
    [
        ("10.0.0.7", True),
        ("172.16.5.4", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("203.0.113.9", True),
        ("2001:db8::7", True),
        ("fd12::7", True),
        ("127.0.0.1", False),
        ("127.255.255.254", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("2002:a9fe:a9fe::1", False),
        ("fe80::1", False),
        ("fe80::1%eth0", False),
        ("0.0.0.0", False),  # noqa: S104 - only an address to be refused
        ("::", False),
        ("224.0.0.1", False),
        ("ff02::1", False),
        ("255.255.255.255", False),
        ("240.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_where_a_name_may_lead(ip: str, usual: bool) -> None:
    assert Reach().allows("app.example", ip) is usual
    assert not Reach(("198.51.100.0/24",)).allows("app.example", ip)


def test_networks_are_all_that_is_allowed_where_they_are_given() -> None:
    reach = Reach(("10.1.0.0/16", "127.0.0.1/32", "fe80::/10"))
    for ip in ("10.1.2.3", "127.0.0.1", "::ffff:10.1.2.3", "fe80::1"):
        assert reach.allows("app.example", ip)
    for ip in ("10.2.0.1", "127.0.0.2", "2001:db8::1"):
        assert not reach.allows("app.example", ip)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "app.localhost", "localhost."])
def test_this_machine_may_be_meant_in_so_many_words(host: str) -> None:
    assert Reach().allows(host, "127.0.0.1")
    assert not Reach().allows("localhost.example", "127.0.0.1")


async def test_a_name_that_is_rebound_leads_to_where_it_led_before(caplog: pytest.LogCaptureFixture) -> None:
    answers = {"app.example": ["10.0.0.7", "10.0.0.8"]}
    found = names(answers, APP)
    assert await found.look_up()
    for rebound in (["127.0.0.1"], ["169.254.169.254", "::1"]):
        answers["app.example"] = rebound
        assert not await found.look_up()
        assert ips(found) == ["10.0.0.7", "10.0.0.8"]
    assert found.refused == 3
    assert len(caplog.records) == 1, "once, not every few seconds"
    assert "app.example: 127.0.0.1" in caplog.text
    answers["app.example"] = ["127.0.0.1", "10.0.0.9"]
    assert await found.look_up()
    assert ips(found) == ["10.0.0.9"], "what is good of an answer is taken"


async def test_an_address_of_the_configuration_is_the_operators_own_affair() -> None:
    found = names({"localhost": ["127.0.0.1"]}, LITERAL, LOCAL, networks=())
    await found.look_up()
    assert ips(found) == ["169.254.169.254", "127.0.0.1"]


async def test_name_that_is_rebound_to_this_machine_never_gets_a_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A service that must not be reached listens here; the name of another is made to point at it."""
    async with AppService(says({})) as inner:
        answers: list[Any] = [["127.0.0.1"]]

        async def resolve(host: str, port: int) -> list[str]:
            found: list[str] = answers[-1]
            return found

        def upstream(*networks: str) -> Upstream:
            address = parse_address(f"http://partner.example:{inner.port}")
            options = UpstreamOptions(
                addresses=(address,),
                resolve_interval_s=0.02,
                connect_timeout_s=0.2,
                timeout_s=0.5,
                networks=networks,
            )
            loop = asyncio.get_running_loop()
            return Upstream("partner", options, loop=loop, transport=HttpTransport, resolve=resolve)

        shut, opened = upstream(), upstream("127.0.0.0/8")
        await shut.start()
        await opened.start()
        try:
            await until(lambda: shut.refused_addresses > 2)
            with pytest.raises(Exception, match="no address works"):
                await shut.ask(Asked(Request("POST", "/", {}, b"")))
            assert not inner.heard
            assert (await opened.ask(Asked(Request("POST", "/", {}, b"")))).status == 200
        finally:
            await shut.stop()
            await opened.stop()
    assert logging.WARNING in {record.levelno for record in caplog.records}
