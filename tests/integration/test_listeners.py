"""Several addresses, Unix sockets, sockets handed in as systemd does it: real processes, real clients."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import websockets

from gateway import Gateway
from gateway.errors import UsageError
from tests.support.addresses import ask, close_code, http_at, next_message, open_at
from tests.support.handing import listening, start_handed
from tests.support.process import GatewayProcess, GatewayProcessError, StartGateway, start_gateway
from tests.support.tls import Authority
from tests.support.workers import eventually, is_running

WORKERS = pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "two workers"])
TCP = "127.0.0.1:0"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def serve(*flags: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `serve` with flags that it ends at once with."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RINGGATE_")}
    command = [sys.executable, "-m", "gateway", "serve", *flags]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=20, check=False, env={**clean, **(env or {})}
    )


# -- several addresses ----------------------------------------------------------------------


@WORKERS
async def test_clients_of_every_address_are_of_one_gateway(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    edge, api = f"unix:{folder}/edge.sock", f"unix:{folder}/api.sock"
    flags = ("--listen", TCP, "--listen", f"{edge},{TCP}", "--api-listen", api, "--api-listen", TCP)
    gateway = gateway_process(*flags, *workers)
    assert gateway.edges[1] == edge
    assert gateway.apis[0] == api
    assert len({*gateway.edges, *gateway.apis}) == 5
    await eventually(lambda: "no api.keys" in gateway.log, "the banner")
    clients = [await open_at(address, stack) for address in gateway.edges]
    for client in clients:
        assert (await ask(client, "subscribe", channel="news"))["type"] == "reply"
    for number, address in enumerate(gateway.apis, 1):
        status, answer = await asyncio.to_thread(
            http_at, address, "POST", "/api/publish", {"channel": "news", "data": number}
        )
        assert (status, answer["offset"]) == (200, number)
        for client in clients:
            assert await next_message(client) == number
    for line in (
        f"clients    {edge}:/ws",
        f"clients    ws://{gateway.edge}/ws",
        f"services   {api}:/api/publish",
    ):
        assert line in gateway.log
    _, found = await asyncio.to_thread(http_at, api, "GET", "/api/connections")
    remotes = sorted(connection["remote"].partition(":")[0] for connection in found["connections"])
    assert remotes == ["127.0.0.1", "127.0.0.1", "unix"]
    assert f"unix:pid={os.getpid()}" in [connection["remote"] for connection in found["connections"]]


@WORKERS
async def test_ipv4_and_ipv6_may_have_the_same_port(
    gateway_process: StartGateway, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    gateway_process("--listen", f"0.0.0.0:{port},[::]:{port}", "--insecure", *workers)
    for host in ("127.0.0.1", "[::1]"):
        await open_at(f"{host}:{port}", stack)


async def test_configuration_file_has_a_list_and_the_environment_commas(
    gateway_process: StartGateway, folder: Path
) -> None:
    file = folder / "ringgate.toml"
    file.write_text(f'[server]\nlisten = ["{TCP}", "unix:{folder}/a,b.sock"]\n')
    gateway = start_gateway_without_defaults(gateway_process, folder, "--config", str(file))
    assert gateway.edges[1] == f"unix:{folder}/a,b.sock"
    assert gateway.apis == (f"unix:{folder}/api.sock", f"unix:{folder}/other.sock")


def start_gateway_without_defaults(start: StartGateway, folder: Path, *flags: str) -> GatewayProcess:
    """Start one that hears where to listen from file and environment only: a command that drops our flags."""
    log = folder / "gateway.log"
    command = folder / "python"
    command.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "words = sys.argv[1:]\n"
        "for flag in ('--listen', '--api-listen'):\n"
        "    at = words.index(flag)\n"
        "    del words[at:at + 2]\n"
        "os.execv(sys.executable, [sys.executable, *words])\n"
    )
    command.chmod(0o755)
    env = {"RINGGATE_API_LISTEN": f"unix:{folder}/api.sock, unix:{folder}/other.sock"}
    gateway = start_gateway(*flags, log_path=log, env=env, python=str(command))
    assert gateway.stop() == 0
    return gateway


# -- Unix sockets -----------------------------------------------------------------------------


@WORKERS
async def test_unix_socket_is_for_its_owner_unless_said_and_gone_at_the_end(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    edge, api = folder / "edge.sock", folder / "api.sock"
    flags = ("--listen", f"unix:{edge}", "--api-listen", f"unix:{api}", *workers)
    first = gateway_process(*flags)
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (edge, api)} == {0o600}
    client = await open_at(f"unix:{edge}", stack)
    first.popen.send_signal(signal.SIGTERM)
    assert await close_code(client) == 4202
    assert await asyncio.to_thread(first.popen.wait, 10) == 0
    assert not edge.exists()
    assert not api.exists()
    gateway_process(*flags, "--socket-mode", "660")
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in (edge, api)} == {0o660}


@WORKERS
async def test_file_of_a_killed_gateway_is_replaced(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    edge = folder / "edge.sock"
    first = gateway_process("--listen", f"unix:{edge}", *workers, unclean=True)
    _, told = http_at(first.api, "GET", "/api/nodes")
    pids = [int(node["pid"]) for node in told["nodes"]] if workers else [first.pid]
    first.popen.kill()
    first.popen.wait()
    await eventually(lambda: not any(map(is_running, pids)), "nobody listens any more")
    assert edge.exists()
    gateway_process("--listen", f"unix:{edge}", *workers)
    await open_at(f"unix:{edge}", stack)


async def test_socket_of_a_running_gateway_is_refused_and_left_alone(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack
) -> None:
    edge = f"unix:{folder}/edge.sock"
    gateway_process("--listen", edge)
    other = await asyncio.to_thread(serve, "--listen", edge, "--api-listen", TCP)
    assert other.returncode == 1
    assert other.stderr == f"ringgate: server.listen: cannot listen on {edge}: Address already in use\n"
    await open_at(edge, stack)


def a_file(path: Path) -> None:
    path.write_text("precious")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [a_file, a_folder, a_link])
def test_what_is_no_socket_is_left_alone(folder: Path, make: Callable[[Path], None]) -> None:
    path = folder / "edge.sock"
    make(path)
    before = os.lstat(path)
    done = serve("--listen", f"unix:{path}", "--api-listen", TCP)
    says = f"ringgate: server.listen: cannot listen on unix:{path}: there is a file that is not a socket\n"
    assert (done.returncode, done.stderr) == (1, says)
    assert os.lstat(path).st_ino == before.st_ino


def test_socket_whose_process_does_not_answer_is_told_and_left_alone(folder: Path) -> None:
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX) as half_dead, socket.socket(socket.AF_UNIX) as waiting:
        half_dead.bind(str(path))
        half_dead.listen(0)
        waiting.connect(str(path))
        done = serve("--listen", f"unix:{path}", "--api-listen", TCP)
    assert done.returncode == 1
    assert done.stderr.endswith("another process listens there, and does not answer\n")
    assert path.exists()


def test_datagram_socket_is_told_and_left_alone(folder: Path) -> None:
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        done = serve("--listen", f"unix:{path}", "--api-listen", TCP)
    assert done.returncode == 1
    assert done.stderr.endswith("there is a socket that cannot be tried: a socket of another kind\n")
    assert path.exists()


def test_missing_folder_is_told_and_nothing_is_left_of_the_rest(folder: Path) -> None:
    good = folder / "good.sock"
    done = serve("--listen", f"unix:{good}", "--api-listen", f"unix:{folder}/none/api.sock")
    assert done.returncode == 1
    assert done.stderr.startswith("ringgate: server.api_listen: cannot listen on unix:")
    assert done.stderr.endswith("No such file or directory\n")
    assert not good.exists()


async def test_file_that_another_one_replaced_is_not_removed(
    gateway_process: StartGateway, folder: Path
) -> None:
    path = folder / "edge.sock"
    gateway = gateway_process("--listen", f"unix:{path}")
    path.unlink()
    path.write_text("somebody else's")
    assert gateway.stop() == 0
    assert path.read_text() == "somebody else's"


async def test_two_starts_at_once_make_one_gateway(folder: Path) -> None:
    path = folder / "edge.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    options = {"listen": f"unix:{path}", "api_listen": TCP}
    gateways = [Gateway({"server": options}) for _ in range(3)]
    results = await asyncio.gather(*(gateway.start() for gateway in gateways), return_exceptions=True)
    assert sorted(str(result).rpartition(": ")[2] for result in results) == [
        *["Address already in use"] * 2,
        "None",
    ]
    for gateway in gateways:
        await gateway.stop()
    assert not path.exists()


@WORKERS
async def test_origin_policy_holds_on_unix_sockets(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    edge = f"unix:{folder}/edge.sock"
    gateway_process("--listen", edge, "--websocket-origins", "https://good.example", *workers)
    await open_at(edge, stack, origin="https://good.example")
    with pytest.raises(websockets.InvalidStatus, match="403"):
        await open_at(edge, stack, origin="https://evil.example")


async def test_keyless_socket_of_services_answers_to_its_own_names_only(
    gateway_process: StartGateway, folder: Path
) -> None:
    api = f"unix:{folder}/api.sock"
    gateway_process("--api-listen", api)
    assert http_at(api, "GET", "/health/live")[0] == 200
    assert http_at(api, "GET", "/health/live", Host="evil.example")[0] == 403


@WORKERS
async def test_tls_is_for_tcp_and_unix_sockets_are_plain(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    authority = Authority(folder)
    edge = f"unix:{folder}/edge.sock"
    gateway = gateway_process("--listen", f"{TCP},{edge}", *authority.flags, *workers)
    secured = await open_at(gateway.edges[0], stack, ssl=authority.client())
    plain = await open_at(edge, stack)
    await ask(plain, "subscribe", channel="news")
    await ask(secured, "publish", channel="news", data="over")
    assert await next_message(plain) == "over"


async def test_stalled_client_on_a_unix_socket_meets_the_policy(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack
) -> None:
    edge = f"unix:{folder}/edge.sock"
    gateway = gateway_process("--listen", edge, "--namespace", "fast.ring_bytes=64KiB")
    good, stalled = await open_at(edge, stack), await open_at(edge, stack)
    for client in (good, stalled):
        await ask(client, "subscribe", channel="fast:a")
    stalled.transport.pause_reading()
    for number in range(100):
        body = {"channel": "fast:a", "data": f"{number}" + "x" * 20_000}
        await asyncio.to_thread(http_at, gateway.api, "POST", "/api/publish", body)
        assert str(await next_message(good)).rstrip("x") == f"{number}"
    stalled.transport.resume_reading()
    assert await close_code(stalled) == 4200


# -- inside a program ---------------------------------------------------------------------------


async def test_program_listens_on_several_addresses_and_a_socket(folder: Path, stack: AsyncExitStack) -> None:
    edge = f"unix:{folder}/edge.sock"
    options = {"listen": [edge, TCP], "api_listen": [f"unix:{folder}/api.sock"]}
    gateway = Gateway({"server": options})
    with pytest.raises(UsageError, match="not started"):
        _ = gateway.listeners
    async with gateway:
        assert [str(address) for address in gateway.listeners.edge_addresses] == [
            edge,
            str(gateway.edge_address),
        ]
        assert gateway.ws_url == f"ws://{gateway.edge_address}/ws"
        with pytest.raises(UsageError, match="no TCP port"):
            _ = gateway.api_url
        for address in gateway.listeners.edge_addresses:
            client = await open_at(str(address), stack)
            assert (await ask(client, "ping"))["type"] == "reply"
    assert os.listdir(folder) == []


# -- sockets that are handed in -----------------------------------------------------------------


@WORKERS
async def test_handed_in_sockets_are_served_and_outlive_the_gateway(
    gateway_process: StartGateway, folder: Path, stack: AsyncExitStack, workers: tuple[str, ...]
) -> None:
    with listening() as tcp, listening(folder / "edge.sock") as edge, listening(folder / "api.sock") as api:
        sockets = {"edge": tcp, "ringgate.socket": edge, "api": api}
        flags = ("--listen", "systemd", "--api-listen", "systemd:api", *workers)
        for life in range(2):
            gateway = start_handed(sockets, *flags, folder=folder)
            try:
                tcp_address = f"127.0.0.1:{tcp.getsockname()[1]}"
                assert gateway.edges == (tcp_address, f"unix:{folder}/edge.sock")
                assert gateway.apis == (f"unix:{folder}/api.sock",)
                await eventually(lambda: f"ws://{tcp_address}/ws" in gateway.log, "the banner")  # noqa: B023
                client, other = [await open_at(address, stack) for address in gateway.edges]
                await ask(client, "subscribe", channel="news")
                body = {"channel": "news", "data": life}
                assert http_at(gateway.api, "POST", "/api/publish", body)[0] == 200
                assert await next_message(client) == life
            finally:
                assert await asyncio.to_thread(gateway.stop) == 0
            gateway.check()
            assert await close_code(other) == 4202
            assert (folder / "edge.sock").is_socket()
            assert (folder / "api.sock").is_socket()
            with socket.socket(socket.AF_UNIX) as waits:  # for the next life: the sockets still listen
                waits.connect(str(folder / "edge.sock"))


@pytest.mark.parametrize("kind", ["unix", "handed in"])
async def test_every_worker_serves_what_is_shared_and_a_new_one_takes_the_place_of_a_killed_one(
    folder: Path, stack: AsyncExitStack, kind: str
) -> None:
    path = folder / "edge.sock"
    flags = ["--workers", "2", "--listen", f"unix:{path}"]
    async with AsyncExitStack() as ends:
        if kind == "handed in":
            sockets = {"edge": ends.enter_context(listening(path))}
            gateway = start_handed(sockets, *flags[:-1], "systemd", folder=folder)
        else:
            gateway = start_gateway(*flags, log_path=folder / "log")
        ends.callback(gateway.stop)

        def workers() -> list[int]:
            return [int(n["pid"]) for n in http_at(gateway.api, "GET", "/api/nodes")[1]["nodes"]]

        pids = await asyncio.to_thread(workers)
        for stopped in pids:  # who is stopped takes nobody, so the other one must
            os.kill(stopped, signal.SIGSTOP)
            try:
                await open_at(f"unix:{path}", stack)
            finally:
                os.kill(stopped, signal.SIGCONT)
        os.kill(pids[0], signal.SIGKILL)
        await eventually(lambda: "a worker was replaced" in gateway.log, "it is replaced")
        assert pids[0] not in await asyncio.to_thread(workers)
        os.kill(pids[1], signal.SIGSTOP)
        try:
            await open_at(f"unix:{path}", stack)
        finally:
            os.kill(pids[1], signal.SIGCONT)
        await stack.aclose()
        assert await asyncio.to_thread(gateway.stop) == 0


async def test_handed_in_tcp_socket_speaks_tls_where_there_is_a_certificate(
    folder: Path, stack: AsyncExitStack
) -> None:
    authority = Authority(folder)
    with listening() as tcp:
        flags = ("--listen", "systemd:edge", *authority.flags)
        gateway = start_handed({"edge": tcp}, *flags, folder=folder)
        try:
            await open_at(gateway.edge, stack, ssl=authority.client())
        finally:
            await stack.aclose()
            assert await asyncio.to_thread(gateway.stop) == 0


def failing(folder: Path, sockets: dict[str, socket.socket], *flags: str, **env: str) -> str:
    """Start a gateway that must not start; return what it says."""
    with pytest.raises(GatewayProcessError) as refused:
        start_handed(sockets, *flags, folder=folder, env=env)
    lines = str(refused.value).splitlines()
    assert "ended with status 1" in lines[0]
    assert "Traceback" not in str(refused.value)
    return "\n".join(lines[1:])


def test_handed_in_socket_open_to_the_network_is_refused_like_an_address(folder: Path) -> None:
    with listening(host="0.0.0.0") as tcp:  # noqa: S104 - for a moment, and nobody is let in
        said = failing(folder, {"edge": tcp}, "--listen", "systemd")
    assert "server.listen: found" in said
    assert "--insecure overrides" in said


@pytest.mark.parametrize(
    ("flag", "env", "says"),
    [
        (
            "systemd:api",
            {},
            "server.listen: no sockets for systemd:api: those that were handed in are named edge",
        ),
        (
            "systemd",
            {"LISTEN_PID": "1"},
            "server.listen: no sockets for systemd: they were handed to process 1",
        ),
        ("systemd", {"LISTEN_FDS": "x"}, "malformed: LISTEN_FDS is not a number"),
        ("systemd", {"LISTEN_FDS": "2"}, "malformed: LISTEN_FDNAMES has 1 names for 2 sockets"),
        ("systemd", {"LISTEN_FDS": "0", "LISTEN_FDNAMES": ""}, "none were handed in (LISTEN_FDS is 0)"),
        ("systemd", {"LISTEN_FDS": "200", "LISTEN_FDNAMES": ":" * 199}, "is not a socket"),
    ],
    ids=["another name", "another process", "no number", "names", "none", "no descriptor"],
)
def test_what_is_wrong_with_handed_in_sockets_is_told(
    folder: Path, flag: str, env: dict[str, str], says: str
) -> None:
    with listening() as tcp:
        assert says in failing(folder, {"edge": tcp}, "--listen", flag, **env)


def test_without_systemd_there_are_no_sockets_and_it_is_told() -> None:
    done = serve("--listen", "systemd", "--api-listen", TCP)
    assert (done.returncode, done.stderr) == (
        1,
        "ringgate: server.listen: no sockets for systemd: none were handed in (LISTEN_PID is not set)\n",
    )


def test_handed_in_socket_that_does_not_listen_is_told(folder: Path) -> None:
    with socket.socket() as idle, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        said = failing(folder, {"edge": idle}, "--listen", "systemd")
        assert "cannot use the socket edge from systemd: descriptor 3 does not listen" in said
        said = failing(folder, {"edge": datagrams}, "--listen", "systemd")
        assert "descriptor 3 is not a stream socket" in said


async def test_handed_in_socket_that_nobody_takes_is_warned_of(folder: Path) -> None:
    with listening() as tcp, listening() as other:
        for flags in ((), ("--listen", "systemd:edge")):
            gateway = start_handed({"edge": tcp, "other": other}, *flags, folder=folder)
            assert gateway.stop() == 0
            warned = [line for line in gateway.log.splitlines() if "is not listened on" in line]
            assert [json.loads(line)["socket_name"] for line in warned] == [*["edge"][: not flags], "other"]
