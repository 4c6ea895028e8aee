"""The gateway and clients that nobody here wrote: websockets, aiohttp, picows, Node's ws.

Every test runs over every library that can do what it is about (see `tests.support.clients`).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.support.api import get, metrics, post
from tests.support.clients import DEFLATING, FRAGMENTING, LIBRARIES, Client, Closed, Library, connected
from tests.support.process import GatewayProcess, StartGateway, start_gateway

KIB, MIB = 1 << 10, 1 << 20
SIZES = (0, 1, 125, 126, 127, 65535, 65536, MIB)
BIG = ("--echo", "--websocket-max-message-bytes", "16MiB")
EVERY = pytest.mark.parametrize("library", LIBRARIES)

StartShared = Callable[..., GatewayProcess]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartShared]:
    """Gateways that the tests of this module share, one for each set of flags."""
    folder = tmp_path_factory.mktemp("shared-gateways")
    running: dict[tuple[str, ...], GatewayProcess] = {}

    def start(*flags: str) -> GatewayProcess:
        if flags not in running:
            running[flags] = start_gateway(*flags, log_path=folder / f"{len(running)}.log")
        return running[flags]

    yield start
    statuses = [gateway.stop() for gateway in running.values()]
    for gateway in running.values():
        gateway.check()
    assert statuses == [0] * len(running)


@pytest.fixture
def big(shared: StartShared) -> GatewayProcess:
    """A gateway that echoes messages of up to 16 MiB, without compression."""
    return shared(*BIG)


@pytest.fixture
def plain(shared: StartShared) -> GatewayProcess:
    """A gateway as it comes, with echo."""
    return shared("--echo")


def text_of(size: int) -> str:
    """A text of that many bytes in UTF-8, with characters of one to four bytes."""
    line = "plain ASCII, ünïcode, €uro, 🦀 "
    whole = line * (size // len(line.encode()))
    return whole + "x" * (size - len(whole.encode()))


def bytes_of(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(size % 251))


async def receive_event(client: Client) -> dict[str, Any]:
    text = await client.receive()
    assert isinstance(text, str)
    event: dict[str, Any] = json.loads(text)
    return event


async def subscribe(client: Client, channel: str) -> dict[str, Any]:
    """Subscribe, and return the hello; what comes before the reply is only presence."""
    hello = await receive_event(client)
    assert hello["type"] == "hello"
    await client.send(json.dumps({"type": "subscribe", "id": 1, "channel": channel}))
    while (event := await receive_event(client))["type"] != "reply":
        assert event["type"] in {"join", "leave"}
    assert (event["id"], event["channel"]) == (1, channel)
    return hello


# -- messages -----------------------------------------------------------------------------


@EVERY
async def test_text_of_every_size_comes_back(library: Library, big: GatewayProcess, node: str) -> None:
    async with connected(library, big.echo_url, node=node) as client:
        for size in (*SIZES, 16 * MIB):
            text = text_of(size)
            await client.send(text)
            assert await client.receive() == text, f"{size} bytes"


@EVERY
async def test_binary_of_every_size_comes_back(library: Library, big: GatewayProcess, node: str) -> None:
    async with connected(library, big.echo_url, node=node) as client:
        for size in (*SIZES, 16 * MIB):
            data = bytes_of(size)
            await client.send(data)
            assert await client.receive() == data, f"{size} bytes"


@EVERY
async def test_many_messages_at_once_come_back_in_order(
    library: Library, plain: GatewayProcess, node: str
) -> None:
    texts = [f"{n}:{'x' * (n * 37 % 900)}" for n in range(500)]
    async with connected(library, plain.echo_url, node=node) as client:
        for text in texts:
            await client.send(text)
        assert [await client.receive() for _ in texts] == texts


@pytest.mark.parametrize("library", FRAGMENTING)  # aiohttp cannot send fragments
async def test_fragments_come_back_as_one_message(library: Library, big: GatewayProcess, node: str) -> None:
    async with connected(library, big.echo_url, node=node) as client:
        for fragments, size in ((2, 2), (3, 126), (7, 65536), (100, MIB)):
            await client.send(text_of(size), fragments)
            assert await client.receive() == text_of(size), f"{size} bytes of text in {fragments}"
            await client.send(bytes_of(size), fragments)
            assert await client.receive() == bytes_of(size), f"{size} bytes in {fragments}"


@EVERY
async def test_message_above_the_bound_is_answered_by_1009(
    library: Library, plain: GatewayProcess, node: str
) -> None:
    async with connected(library, plain.echo_url, node=node) as client:
        await client.send(bytes_of(64 * KIB))
        assert await client.receive() == bytes_of(64 * KIB)
        await client.send(bytes_of(64 * KIB + 1))
        closed = await client.closed()
    assert closed.code == 1009


@pytest.mark.parametrize("library", FRAGMENTING)
async def test_fragments_above_the_bound_are_answered_by_1009(
    library: Library, plain: GatewayProcess, node: str
) -> None:
    async with connected(library, plain.echo_url, node=node) as client:
        await client.send(bytes_of(64 * KIB + 3), 3)
        closed = await client.closed()
    assert closed.code == 1009


# -- compression --------------------------------------------------------------------------


def compressing(bits: int, *, takeover: bool) -> tuple[str, ...]:
    return (
        *("--echo", "--websocket-max-message-bytes", "16MiB", "--websocket-compression"),
        *("--websocket-compression-window-bits", str(bits)),
        "--websocket-compression-takeover" if takeover else "--no-websocket-compression-takeover",
    )


def agreed(extensions: str) -> dict[str, str]:
    """The parameters of an answer that agrees to permessage-deflate."""
    name, *parameters = (part.strip() for part in extensions.split(";"))
    assert name == "permessage-deflate"
    pairs = (parameter.partition("=") for parameter in parameters)
    return {key: value for key, _, value in pairs}


COMPRESSION = [(9, False), (12, False), (12, True), (15, True)]


@pytest.mark.parametrize("library", DEFLATING)
@pytest.mark.parametrize(("bits", "takeover"), COMPRESSION)
async def test_compressed_messages_come_back(
    library: Library, bits: int, takeover: bool, shared: StartShared, node: str
) -> None:
    gateway = shared(*compressing(bits, takeover=takeover))
    expected = {} if takeover else {"server_no_context_takeover": "", "client_no_context_takeover": ""}
    if bits != 15:
        expected |= {"server_max_window_bits": str(bits), "client_max_window_bits": str(bits)}
    async with connected(library, gateway.echo_url, deflate=True, node=node) as client:
        assert agreed(client.extensions) == expected
        for size in (0, 1, 126, 5000, 5000, 65536, 200_000, 0, 126):
            await client.send(text_of(size))
            assert await client.receive() == text_of(size), f"{size} bytes of text"
            await client.send(bytes_of(size))
            assert await client.receive() == bytes_of(size), f"{size} bytes"


@pytest.mark.parametrize("library", ["websockets", "aiohttp", "ws"])
async def test_16_mib_compressed_come_back(library: Library, shared: StartShared, node: str) -> None:
    gateway = shared(*compressing(12, takeover=False))
    async with connected(library, gateway.echo_url, deflate=True, node=node) as client:
        await client.send(bytes_of(16 * MIB))
        assert await client.receive() == bytes_of(16 * MIB)


@pytest.mark.parametrize("library", DEFLATING)
async def test_message_above_the_bound_once_inflated_is_answered_by_1009(
    library: Library, shared: StartShared, node: str
) -> None:
    gateway = shared("--echo", "--websocket-compression")
    async with connected(library, gateway.echo_url, deflate=True, node=node) as client:
        await client.send("x" * (64 * KIB))
        assert await client.receive() == "x" * (64 * KIB)
        await client.send("x" * (10 * MIB))
        closed = await client.closed()
    assert closed.code == 1009


@pytest.mark.parametrize("takeover", [False, True])
async def test_compression_makes_what_is_sent_smaller_both_ways(takeover: bool, shared: StartShared) -> None:
    gateway = shared(*compressing(12, takeover=takeover))

    class Counting(ClientConnection):
        bytes_in = 0

        def data_received(self, data: bytes) -> None:
            self.bytes_in += len(data)
            super().data_received(data)

    message = json.dumps([{"name": f"n{n}", "n": n * 7919 % 1000} for n in range(200)])
    before = metrics(gateway)["ringgate_bytes_in_total"]
    async with websockets.connect(gateway.echo_url, create_connection=Counting, proxy=None) as connection:
        assert isinstance(connection, Counting)
        for _ in range(10):
            await connection.send(message)
            assert await connection.recv() == message
        received = connection.bytes_in
    sent = metrics(gateway)["ringgate_bytes_in_total"] - before
    # With the window kept, a message that came before costs next to nothing where it fits the window.
    bound = 10 * len(message) / 3
    assert 0 < sent < bound
    assert 0 < received < bound


OFFERS: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"server_max_window_bits": 10}, {"server_max_window_bits": "10", "client_max_window_bits": "12"}),
    ({"client_max_window_bits": 9}, {"server_max_window_bits": "12", "client_max_window_bits": "9"}),
    ({"client_max_window_bits": None}, {"server_max_window_bits": "12"}),
    (
        {"server_no_context_takeover": True, "server_max_window_bits": 15},
        {"server_no_context_takeover": "", "server_max_window_bits": "12", "client_max_window_bits": "12"},
    ),
    (
        {"client_no_context_takeover": True, "client_max_window_bits": 15},
        {"client_no_context_takeover": "", "server_max_window_bits": "12", "client_max_window_bits": "12"},
    ),
]


@pytest.mark.parametrize(("offer", "expected"), OFFERS, ids=[",".join(offer) for offer, _ in OFFERS])
async def test_what_a_client_asks_of_compression_is_agreed_to_and_kept(
    offer: dict[str, Any], expected: dict[str, str], shared: StartShared
) -> None:
    gateway = shared(*compressing(12, takeover=True))
    extensions = [ClientPerMessageDeflateFactory(**offer)]
    async with websockets.connect(
        gateway.echo_url, compression=None, extensions=extensions, proxy=None, max_size=MIB
    ) as connection:
        assert connection.response
        assert agreed(connection.response.headers["Sec-WebSocket-Extensions"]) == expected
        for size in (5000, 5000, 70_000, 5000):
            await connection.send(text_of(size))
            assert await connection.recv() == text_of(size)


async def test_node_ws_asking_for_small_windows_without_takeover_is_agreed_to(
    shared: StartShared, node: str
) -> None:
    gateway = shared(*compressing(12, takeover=True))
    options = {
        "serverMaxWindowBits": 9,
        "clientMaxWindowBits": 10,
        "serverNoContextTakeover": True,
        "clientNoContextTakeover": True,
        "threshold": 0,
    }
    async with connected("ws", gateway.echo_url, deflate=True, node_deflate=options, node=node) as client:
        assert agreed(client.extensions) == {
            "server_no_context_takeover": "",
            "client_no_context_takeover": "",
            "server_max_window_bits": "9",
            "client_max_window_bits": "10",
        }
        for size in (0, 1, 5000, 5000, 70_000):
            await client.send(text_of(size), 2)
            assert await client.receive() == text_of(size)


@pytest.mark.parametrize("library", DEFLATING)
async def test_compression_is_not_agreed_to_unless_both_want_it(
    library: Library, plain: GatewayProcess, shared: StartShared, node: str
) -> None:
    willing = shared(*compressing(12, takeover=False))
    for gateway, deflate in ((plain, True), (willing, False)):
        async with connected(library, gateway.echo_url, deflate=deflate, node=node) as client:
            assert client.extensions == ""
            await client.send(text_of(5000))
            assert await client.receive() == text_of(5000)


# -- pings --------------------------------------------------------------------------------


@EVERY
async def test_ping_of_the_client_is_answered_with_its_payload(
    library: Library, plain: GatewayProcess, node: str
) -> None:
    async with connected(library, plain.echo_url, node=node) as client:
        for payload in (b"\x00", b"how are you", b"p" * 125):
            await client.ping(payload)
        await client.send("still here")
        assert await client.receive() == "still here"


PINGING = ("--echo", "--websocket-ping-interval", "50ms", "--websocket-max-missed-pings", "2")


async def test_clients_answer_pings_and_are_kept(shared: StartShared, node: str) -> None:
    gateway = shared(*PINGING)
    async with AsyncExitStack() as stack:
        clients = {
            library: await stack.enter_async_context(connected(library, gateway.ws_url, node=node))
            for library in LIBRARIES
        }
        wanted = metrics(gateway)["ringgate_pings_out_total"] + 4 * len(clients)
        give_up = time.monotonic() + 20
        while metrics(gateway)["ringgate_pings_out_total"] < wanted:
            assert time.monotonic() < give_up, "the gateway sends no pings"
            await asyncio.sleep(0.05)
        for library, client in clients.items():
            await client.send('{"type":"ping"}')
            assert (await receive_event(client))["type"] == "hello"
            assert await client.receive() == '{"type":"pong"}', library


async def test_client_that_does_not_answer_pings_is_closed_with_4201(shared: StartShared) -> None:
    gateway = shared(*PINGING)
    async with connected("picows", gateway.echo_url, auto_pong=False) as client:
        assert await client.closed() == Closed(4201, "nothing heard")


# -- closing ------------------------------------------------------------------------------


@EVERY
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (4321, "fertig, schöne Grüße"), (3000, "r" * 123)])
async def test_close_of_the_client_is_answered_with_its_code(
    library: Library, code: int, reason: str, plain: GatewayProcess, node: str
) -> None:
    counted = f'ringgate_closes_total{{code="{code if code == 1000 else "other"}"}}'
    before = metrics(plain).get(counted, 0)
    async with connected(library, f"{plain.ws_url}?user=closer", node=node) as client:
        assert (await receive_event(client))["user"] == "closer"
        await client.close(code, reason)
        closed = await client.closed()
    assert closed.code == code
    assert metrics(plain)[counted] == before + 1
    assert "closer" not in str(get(plain, "/api/connections"))


async def test_close_without_a_code_is_answered_without_one(plain: GatewayProcess, node: str) -> None:
    async with connected("ws", plain.echo_url, node=node) as client:
        await client.close(0, "")
        assert await client.closed() == Closed(1005, "")


@EVERY
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, Closed(4004, "disconnected")),
        ({"code": 4004, "reason": "tschüß, bis bald"}, Closed(4004, "tschüß, bis bald")),
        ({"code": 1000, "reason": "r" * 123}, Closed(1000, "r" * 123)),
    ],
)
async def test_close_by_a_service_reaches_the_client(
    library: Library, asked: dict[str, object], expected: Closed, plain: GatewayProcess, node: str
) -> None:
    async with connected(library, plain.ws_url, node=node) as client:
        hello = await receive_event(client)
        assert post(plain, "/api/disconnect", {"client": hello["client"], **asked}) == {"connections": 1}
        assert await client.closed() == expected


async def test_stopping_gateway_tells_every_client_to_reconnect_and_closes_with_4202(
    gateway_process: StartGateway, node: str
) -> None:
    gateway = gateway_process()
    async with AsyncExitStack() as stack:
        clients = {
            library: await stack.enter_async_context(connected(library, gateway.ws_url, node=node))
            for library in LIBRARIES
        }
        for client in clients.values():
            await subscribe(client, "news")
        started = time.monotonic()
        gateway.popen.terminate()
        for library, client in clients.items():
            event: dict[str, Any] = {"type": "join"}
            while event["type"] in {"join", "leave"}:
                event = await receive_event(client)
            assert event["type"] == "reconnect", library
            assert event["reason"] == "drain"
            low, high = event["after"]
            assert 0 <= low <= high
            assert await client.closed() == Closed(4202, "the gateway is stopping"), library
        assert await asyncio.to_thread(gateway.popen.wait, 10) == 0
        assert time.monotonic() - started < 8


# -- subprotocols -------------------------------------------------------------------------


@EVERY
async def test_subprotocol_is_chosen_where_it_is_known(
    library: Library, plain: GatewayProcess, node: str
) -> None:
    offers = [("ringgate.v1.json",), ("chat.v7", "ringgate.v1.json")]
    for offer in offers:
        async with connected(library, plain.ws_url, subprotocols=offer, node=node) as client:
            assert client.subprotocol == "ringgate.v1.json"
            assert (await receive_event(client))["type"] == "hello"
    async with connected(library, plain.ws_url, node=node) as client:
        assert client.subprotocol == ""
        assert (await receive_event(client))["type"] == "hello"


@pytest.mark.parametrize("library", ["websockets", "aiohttp", "picows", "picows.websockets"])
async def test_client_that_offers_only_unknown_subprotocols_gets_none(
    library: Library, plain: GatewayProcess
) -> None:
    async with connected(library, plain.ws_url, subprotocols=("chat.v7",)) as client:
        assert client.subprotocol == ""
        assert (await receive_event(client))["type"] == "hello"


async def test_node_ws_gives_up_where_its_only_subprotocol_is_unknown(
    plain: GatewayProcess, node: str
) -> None:
    with pytest.raises(ConnectionError, match="Server sent no subprotocol"):
        async with connected("ws", plain.ws_url, subprotocols=("chat.v7",), node=node):
            pass


# -- publications -------------------------------------------------------------------------

PAYLOADS = (
    '{"a" :  1.50,\n\t"ü": "\\u00fc",  "big":12345678901234567890 , "none": null }',
    "  [ ]  ",
    '"just text, with a tail: \\ud83e\\udd80"',
    "-1.0E+2",
    json.dumps({"text": "x" * 30_000}),
)
CHANNELS = count()


@pytest.mark.parametrize(
    ("library", "deflate"), [*((name, False) for name in LIBRARIES), *((name, True) for name in DEFLATING)]
)
async def test_publication_over_http_arrives_byte_for_byte(
    library: Library, deflate: bool, plain: GatewayProcess, shared: StartShared, node: str
) -> None:
    gateway = shared("--websocket-compression") if deflate else plain
    channel = f"exact:{next(CHANNELS)}"
    async with connected(library, gateway.ws_url, deflate=deflate, node=node) as client:
        await subscribe(client, channel)
        for offset, payload in enumerate(PAYLOADS, 1):
            body = f'{{"channel":"{channel}","data":{payload}}}'
            assert post(gateway, "/api/publish", body.encode())["offset"] == offset
            text = await receive_message(client)
            assert f'"data":{payload.strip()},' in text
            assert json.loads(text)["data"] == json.loads(payload)
        post(gateway, "/api/publish", {"channel": channel, "data64": "AP8="})
        assert json.loads(await receive_message(client))["data64"] == "AP8="


async def receive_message(client: Client) -> str:
    """The text of the next `message` event."""
    while True:
        text = await client.receive()
        assert isinstance(text, str)
        if json.loads(text)["type"] == "message":
            return text
