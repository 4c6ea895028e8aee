"""`ringgate serve` as its user meets it: banner, log, signals, exit statuses, and the commands beside it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.security.client import CLOSE, Client
from tests.support.api import get, metrics, post, request
from tests.support.frames import frame
from tests.support.process import LOOPBACK, GatewayProcess, StartGateway, start_gateway

ROOT = Path(__file__).resolve().parents[2]
SIGNALS = pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
DEVELOPMENT = (
    "  insecure   development mode: anyone who connects may subscribe and publish"
    " (no authentication is configured)"
)
NO_KEYS = "  insecure   no api.keys: whoever reaches the internal port may use it"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway as it comes, for the tests that do not stop it."""
    running = start_gateway(log_path=tmp_path_factory.mktemp("serve") / "gateway.log")
    yield running
    assert running.stop() == 0
    running.check()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gateway", *arguments]


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RINGGATE_")}
    return clean | more


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the gateway to its end."""
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command of the gateway with pipes; it is killed at the end if it still runs."""
    popen = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(20, popen.kill)  # ends what would wait for a line for ever
    watchdog.start()
    try:
        yield popen
    finally:
        watchdog.cancel()
        popen.kill()
        popen.communicate()


def read_line(popen: subprocess.Popen[str]) -> str:
    assert popen.stdout
    return popen.stdout.readline().rstrip("\n")


# -- banner and log -----------------------------------------------------------------------


def test_banner_goes_to_stdout_and_the_log_to_stderr_as_json() -> None:
    with running("serve", *LOOPBACK, "--log-format", "auto", "--echo") as popen:
        banner = [read_line(popen) for _ in range(8)]
        popen.terminate()
        rest, log = popen.communicate(timeout=15)
    assert popen.returncode == 0
    assert rest == ""
    first, clients, echo, services, demo, broker, *insecure = banner
    assert re.fullmatch(r"Ringgate \d+\.\d+\.\d+", first)
    edge = clients.removeprefix("  clients    ws://").removesuffix("/ws")
    api = services.removeprefix("  services   http://").removesuffix("/api/publish")
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", edge)
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d+", api)
    assert [echo, demo] == [f"  echo       ws://{edge}/echo", f"  demo       http://{api}/demo"]
    assert broker == "  broker     memory"
    assert insecure == [DEVELOPMENT, NO_KEYS]
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["message"] for line in lines] == ["listening", "stopped"]
    for line in lines:
        assert (line["level"], line["logger"]) == ("info", "gateway.server")
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (lines[0]["edge"], lines[0]["api"]) == (edge, api)


def test_key_is_required_where_there_is_one_and_is_never_shown(gateway_process: StartGateway) -> None:
    secret = "not-for-anybody-to-see-7391"  # noqa: S105
    gateway = gateway_process(env={"RINGGATE_API_KEYS": secret})
    url = gateway.api_url
    assert NO_KEYS not in gateway.log
    assert DEVELOPMENT in gateway.log
    refused = run("publish", "news", "1", "--api", url)
    assert refused.returncode == 1
    assert refused.stderr.startswith("ringgate: the gateway refused: unauthorized")
    assert refused.stderr.count("\n") == 1
    assert run("publish", "news", "1", "--api", url, "--api-key", secret).returncode == 0
    assert run("publish", "news", "1", "--api", url, RINGGATE_API_KEYS=secret).returncode == 0
    assert secret not in gateway.log


def test_log_for_people_and_its_level_can_be_chosen(tmp_path: Path) -> None:
    with running("serve", *LOOPBACK, "--log-format", "text", "--log-level", "info") as popen:
        assert read_line(popen).startswith("Ringgate ")
        popen.terminate()
        _, log = popen.communicate(timeout=15)
    assert re.fullmatch(
        r"\S+Z INFO +gateway\.server: listening edge=\S+ api=\S+\n\S+Z INFO +gateway\.server: stopped\n", log
    )
    with running("serve", *LOOPBACK, "--log-level", "warning") as popen:
        assert read_line(popen).startswith("Ringgate ")
        popen.terminate()
        assert popen.communicate(timeout=15)[1] == ""


def test_nothing_is_logged_per_connection_and_message(gateway: GatewayProcess) -> None:
    before = gateway.log
    with Client(gateway.edge_port, "/ws?token=very-secret&user=ann") as client:
        client.ask("subscribe", channel="news")
        client.text("no command")
        client.event("error")
        post(gateway, "/api/publish", {"channel": "news", "data": 1})
        client.event("message")
    request(gateway.edge, "GET", "/nowhere")
    assert gateway.log == before


# -- failures at the start ----------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--listen", "--api-listen"])
def test_port_in_use_is_told_in_one_line_and_ends_with_status_1(flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("serve", *LOOPBACK, flag, address)
    key = f"server.{flag[2:].replace('-', '_')}"
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"ringgate: {key}: cannot listen on {address}: Address already in use\n"


def test_second_gateway_on_the_same_ports_is_told_so_and_the_first_goes_on(gateway: GatewayProcess) -> None:
    done = run("serve", "--listen", gateway.edge, "--api-listen", gateway.api)
    assert done.returncode == 1
    assert done.stderr == (
        f"ringgate: server.listen: cannot listen on {gateway.edge}: Address already in use\n"
    )
    assert get(gateway, "/health/live") == {"status": "ok"}


@pytest.mark.parametrize(
    ("flags", "status", "told"),
    [
        (("--listen", "nonsense"), 1, "listen"),
        (("--listen", "0.0.0.0:0"), 1, "insecure"),
        (("--no-such-flag",), 2, "no-such-flag"),
        (("--config", "/nonexistent/ringgate.toml"), 1, "/nonexistent/ringgate.toml"),
    ],
)
def test_wrong_arguments_are_told_and_nothing_is_served(
    flags: tuple[str, ...], status: int, told: str
) -> None:
    done = run("serve", *flags)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


# -- the end ------------------------------------------------------------------------------


@SIGNALS
def test_stop_signal_closes_clients_with_4202_at_once(
    stop_signal: signal.Signals, gateway_process: StartGateway
) -> None:
    gateway = gateway_process()
    with Client(gateway.edge_port) as client:
        client.event("hello")
        started = time.monotonic()
        gateway.popen.send_signal(stop_signal)
        assert client.event("reconnect")["reason"] == "drain"
        last = client.frame()
        assert (last.opcode, last.close_code, last.payload[2:]) == (CLOSE, 4202, b"the gateway is stopping")
        client.send(frame(CLOSE, last.payload))
        assert client.hangs_up()
        client.sock.close()
        assert gateway.popen.wait(10) == 0
        assert time.monotonic() - started < 3
    with pytest.raises(ConnectionRefusedError):
        Client(gateway.edge_port)


def stall(gateway: GatewayProcess) -> Client:
    """A client for which more is waiting than the kernel takes, and that reads nothing."""
    client = Client(gateway.edge_port, receive_buffer=4096)
    client.ask("subscribe", channel="flood")
    for _ in range(100):
        post(gateway, "/api/publish", {"channel": "flood", "data": "x" * 30_000})
        if metrics(gateway)["ringgate_ring_lagging"]:
            return client
    raise AssertionError("the client was never behind")


@SIGNALS
def test_clients_that_do_not_answer_or_read_do_not_hold_the_stop_up(
    stop_signal: signal.Signals, gateway_process: StartGateway
) -> None:
    gateway = gateway_process("--shutdown-timeout", "2s", "--websocket-close-timeout", "20s")
    with Client(gateway.edge_port) as good, Client(gateway.edge_port) as deaf, stall(gateway):
        started = time.monotonic()
        gateway.popen.send_signal(stop_signal)
        assert good.closed_with() == 4202
        good.send(frame(CLOSE, (4202).to_bytes(2, "big")))
        assert good.hangs_up()
        assert time.monotonic() - started < 1.8, "one who answers has to wait for those who do not"
        assert deaf.closed_with() == 4202
        assert gateway.popen.wait(10) == 0
        assert 1.8 < time.monotonic() - started < 5
        assert deaf.hangs_up()


def test_close_timeout_ends_those_who_do_not_answer_earlier(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--shutdown-timeout", "20s", "--websocket-close-timeout", "300ms")
    with Client(gateway.edge_port) as deaf:
        started = time.monotonic()
        gateway.popen.terminate()
        assert deaf.closed_with() == 4202
        assert gateway.popen.wait(10) == 0
        assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (signal.SIGTERM, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGINT, signal.SIGTERM, -signal.SIGTERM),
        (signal.SIGTERM, signal.SIGINT, 130),
        (signal.SIGINT, signal.SIGINT, 130),
    ],
)
def test_second_signal_ends_at_once(
    first: signal.Signals, second: signal.Signals, status: int, gateway_process: StartGateway
) -> None:
    gateway = gateway_process("--shutdown-timeout", "60s", "--websocket-close-timeout", "60s", unclean=True)
    with Client(gateway.edge_port) as deaf:
        gateway.popen.send_signal(first)
        assert deaf.closed_with() == 4202
        started = time.monotonic()
        gateway.popen.send_signal(second)
        assert gateway.popen.wait(10) == status
        assert time.monotonic() - started < 2
    gateway.check()


def test_stop_during_a_storm_of_connections_and_publications_is_clean(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--shutdown-timeout", "3s", "--websocket-close-timeout", "500ms")
    over = threading.Event()

    def connect_again_and_again() -> None:
        while not over.is_set():
            try:
                with Client(gateway.edge_port) as client:
                    client.ask("subscribe", channel="news")
            except (OSError, AssertionError):  # also where it is a close frame that comes
                time.sleep(0.01)

    def publish_again_and_again() -> None:
        while not over.is_set():
            try:
                request(gateway.api, "POST", "/api/publish", b'{"channel":"news","data":1}', JSON)
            except (OSError, http.client.HTTPException):  # an answer cut short is no OSError
                time.sleep(0.01)

    threads = [threading.Thread(target=work) for work in (connect_again_and_again, publish_again_and_again)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.4)
        gateway.popen.terminate()
        assert gateway.popen.wait(10) == 0
    finally:
        over.set()
        for thread in threads:
            thread.join()


JSON = {"Content-Type": "application/json"}

# -- the commands beside it ---------------------------------------------------------------


def test_publish_and_subscribe_talk_through_the_gateway(gateway: GatewayProcess) -> None:
    with running("subscribe", "cli", "--url", gateway.ws_url) as subscriber:
        events: list[dict[str, Any]] = []
        while not events or events[-1]["type"] != "reply":
            events.append(json.loads(read_line(subscriber)))
        done = run("publish", "cli", '{"a" :  [1, 2.50]}', "--api", gateway.api_url)
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"epoch": events[-1]["epoch"], "offset": 1}
        line = read_line(subscriber)
        while json.loads(line)["type"] in {"join", "leave"}:
            line = read_line(subscriber)
        assert '"data":{"a" :  [1, 2.50]},' in line
        subscriber.send_signal(signal.SIGINT)
        _, problems = subscriber.communicate(timeout=10)
        assert (subscriber.returncode, problems) == (0, "")

    position = f"{events[-1]['epoch']}:0"
    with running("subscribe", "cli", "--url", gateway.ws_url, "--since", position) as late:
        while (event := json.loads(read_line(late)))["type"] != "message":
            pass
        assert (event["offset"], event["data"]) == (1, {"a": [1, 2.5]})


def test_publish_with_a_key_twice_publishes_once(gateway: GatewayProcess) -> None:
    answers = [run("publish", "keyed", "1", "--key", "k", "--api", gateway.api_url) for _ in range(2)]
    assert [answer.returncode for answer in answers] == [0, 0]
    assert answers[0].stdout == answers[1].stdout


def test_subscriber_tells_how_to_go_on_when_the_gateway_stops(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    with running("subscribe", "news", "--once", "--url", gateway.ws_url) as subscriber:
        while json.loads(read_line(subscriber))["type"] != "reply":
            pass
        epoch = post(gateway, "/api/publish", {"channel": "news", "data": 1})["epoch"]
        while json.loads(read_line(subscriber))["type"] != "message":
            pass
        assert gateway.stop() == 0
        output, problems = subscriber.communicate(timeout=10)
        assert json.loads(output.splitlines()[-1])["type"] == "reconnect"
        assert subscriber.returncode == 1
        assert problems == (
            "ringgate: the gateway closed the connection: 4202 drain, the gateway is stopping;"
            f" --since {epoch}:1 resumes\n"
        )


@pytest.mark.parametrize("arguments", [("publish", "news", "1", "--api"), ("subscribe", "news", "--url")])
def test_commands_say_where_nothing_listens(arguments: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    done = run(*arguments, f"{'ws' if arguments[0] == 'subscribe' else 'http'}://{address}")
    assert done.returncode == 1
    assert done.stderr == f"ringgate: nothing listens at {address}: is `ringgate serve` running?\n"


# -- paths --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/echo", "/admin", "/demo", "/metrics", "/api/publish", "/health/ready", "/openapi.json"]
)
def test_edge_port_has_nothing_of_the_internal_port(path: str, gateway: GatewayProcess) -> None:
    assert request(gateway.edge, "GET", path)[0] == 404
    assert request(gateway.edge, "POST", path, b"{}", JSON)[0] in {404, 405, 413}
    with pytest.raises(ConnectionRefusedError, match="404"):
        Client(gateway.edge_port, path)


def test_internal_port_has_no_websockets(gateway: GatewayProcess) -> None:
    for path in ("/ws", "/echo"):
        assert request(gateway.api, "GET", path)[0] == 404
        with pytest.raises(ConnectionRefusedError):
            Client(gateway.api_port, path)


def test_echo_is_there_only_when_it_is_asked_for(gateway_process: StartGateway) -> None:
    with Client(gateway_process("--echo").edge_port, "/echo") as client:
        client.text("hello")
        assert client.frame().payload == b"hello"


def test_health_is_told_on_both_ports(gateway: GatewayProcess) -> None:
    assert request(gateway.edge, "GET", "/health/live")[0] == 200
    assert request(gateway.api, "GET", "/health/live") == (200, b'{"status":"ok"}')
    ready = get(gateway, "/health/ready")
    assert ready["status"] == "ready"
    assert ready["details"]["broker_round_trip_ms"] >= 0


def test_edge_port_asks_for_an_upgrade_on_its_path(gateway: GatewayProcess) -> None:
    assert request(gateway.edge, "GET", "/ws")[0] == 426


NAMES = {
    "broker_state_bytes", "config_info", "config_loaded_timestamp_seconds", "config_needs_restart",
    "config_reloads_total",
    "connections", "sessions", "channels", "connections_accepted_total", "handshakes_total",
    "messages_in_total", "bytes_in_total", "messages_out_total", "bytes_out_total", "pings_out_total",
    "handshakes_refused_total", "closes_total", "ring_bytes", "ring_lag_bytes", "ring_lagging",
    "ring_frames_total", "ring_sends_total", "ring_blocks_total", "frames_dropped_total",
    "slow_disconnects_total", "gaps_total", "broker_channels", "broker_publications",
    "broker_history_bytes", "broker_keys", "broker_members", "broker_sessions", "build_info",
    "rings", "tasks", "publish_seconds_bucket", "publish_seconds_sum", "publish_seconds_count",
    "api_requests_total",
}  # fmt: skip


def test_metrics_have_their_names_and_move(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    with Client(gateway.edge_port) as client, Client(gateway.edge_port) as other:
        client.ask("subscribe", channel="news")
        other.ask("subscribe", channel="news")
        for _ in range(3):
            post(gateway, "/api/publish", {"channel": "news", "data": 1})
            client.event("message")
            other.event("message")
        assert request(gateway.edge, "GET", "/nowhere")[0] == 404
        shown = metrics(gateway)
        assert shown["ringgate_connections"] == shown["ringgate_sessions"] == 2
        assert shown["ringgate_channels"] == 1
        assert shown['ringgate_handshakes_refused_total{reason="not_found"}'] == 1
        assert shown["ringgate_publish_seconds_count"] == 3
        assert shown['ringgate_api_requests_total{code="ok",operation="publish"}'] == 3
        assert shown['ringgate_messages_out_total{path="ring"}'] >= 6
        assert shown["ringgate_broker_publications"] == 3
        client.send(frame(CLOSE, (1000).to_bytes(2, "big")))
        assert client.hangs_up()
    names = {name.partition("{")[0] for name in metrics(gateway) if name.startswith("ringgate_")}
    ours = {name for name in names if not name.endswith("_created")}
    assert ours == {f"ringgate_{name}" for name in NAMES}
