"""`ringgate bench` against a real gateway, and the C floor of the benchmarks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from bench.cases import Case
from bench.compare import measure
from bench.rivals import floor, ringgate
from gateway.bench import runs
from tests.support.process import StartGateway


def bench(*arguments: str, status: int = 0) -> dict[str, Any]:
    """Run the command and return its JSON."""
    command = [sys.executable, "-m", "gateway", "bench", *arguments, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == status, done.stderr + done.stdout
    assert done.stderr == ""  # no progress bar, since that is no terminal
    result: dict[str, Any] = json.loads(done.stdout)
    return result


QUICK = ("--time", "0.3s", "--warm-up", "0.1s")


@pytest.mark.parametrize("extra", [(), ("--in-flight", "16"), ("--channels", "3", "--rate", "100")])
def test_fanout_through_the_gateway_delivers_everything_once(
    gateway_process: StartGateway, extra: tuple[str, ...]
) -> None:
    gateway = gateway_process()
    result = bench(
        "fanout", gateway.ws_url, "--subscribers", "50", "--server-pid", str(gateway.pid), *QUICK, *extra
    )
    counts = result["counts"]
    assert counts["delivered"] == counts["expected"] > 0
    assert (counts["lost"], counts["doubled"], counts["reordered"], result["faults"]) == (0, 0, 0, [])
    assert sum(count for _, count in result["latency_histogram_ns"]) == counts["delivered"]


def test_fanout_publishes_over_http(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    url = f"{gateway.api_url}/api/publish"
    result = bench("fanout", gateway.ws_url, "--subscribers", "5", "--publish-url", url, *QUICK)
    assert result["counts"]["delivered"] == result["counts"]["expected"] > 0
    assert result["counts"]["others"] == 0  # every answer was 200


def test_fanout_tells_what_http_refused(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    arguments = (
        "fanout",
        gateway.ws_url,
        "--subscribers",
        "2",
        "--publish-url",
        f"{gateway.api_url}/api/nope",
    )
    result = bench(*arguments, "--time", "0.2s", "--warm-up", "0s", status=1)
    assert result["counts"]["delivered"] == 0
    assert "404" in result["faults"][-1]


def test_echo_connect_and_idle_against_the_gateway(gateway_process: StartGateway) -> None:
    gateway = gateway_process("--echo")
    pid = ("--server-pid", str(gateway.pid))
    echo = bench("echo", gateway.echo_url, "--connections", "10", "--binary", *QUICK, *pid)
    assert echo["counts"]["echoed"] == echo["counts"]["sent"] > 0
    assert echo["server_cpu_s"] > 0
    connect = bench("connect", gateway.ws_url, "--connections", "40", "--subscribe-message", "ringgate", *pid)
    assert connect["counts"]["opened"] == 40
    idle = bench("idle", gateway.ws_url, "--connections", "100", "--time", "0.2s", *pid)
    assert idle["server_memory_bytes"]["held"] > 1 << 20


def test_the_report_is_text_unless_json_is_wanted(gateway_process: StartGateway, tmp_path: Path) -> None:
    gateway = gateway_process("--echo")
    command = [sys.executable, "-m", "gateway", "bench", "echo", gateway.echo_url, *QUICK]
    command += ["--json", str(tmp_path / "raw.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    assert "latency, from sending to the echo" in done.stdout
    assert "99.9 %" in done.stdout
    assert "█" in done.stdout
    assert json.loads((tmp_path / "raw.json").read_text())["scenario"] == "echo"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (("echo", "ws://127.0.0.1:1/"), 1, "Connection refused"),
        (("echo", "wss://127.0.0.1:1/"), 1, "measure without TLS"),
        (("fanout", "ws://127.0.0.1:1/", "--time", "soon"), 1, "--time"),
        (("echo", "ws://127.0.0.1:1/", "--size", "15"), 1, "at least 16 bytes"),
        (("echo", "ws://127.0.0.1:1/", "--server-pid", "4194305"), 1, "process 4194305"),
        (("echo", "ws://127.0.0.1:1/", "--connections", "0"), 2, "--connections"),
        (("echo", "ws://127.0.0.1:1/", "--in-fligt", "2"), 2, "--in-flight"),
        ((), 2, "SCENARIO"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(
    arguments: tuple[str, ...], status: int, told: str
) -> None:
    command = [sys.executable, "-m", "gateway", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == status
    assert told in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def floor_server(mode: str) -> Iterator[str]:
    command = [str(floor.build()), mode, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"ws://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


def test_the_floor_echoes_messages_of_any_size() -> None:
    with floor_server("echo") as url, connect(url, compression=None, max_size=None) as client:
        for size in (0, 1, 125, 126, 1000, 65_535, 65_536, 1_000_000):
            client.send("é" * (size // 2))
            assert client.recv() == "é" * (size // 2)
            client.send(bytes(range(256)) * (size // 256))
            assert client.recv() == bytes(range(256)) * (size // 256)
        client.ping().wait(5)


def test_the_floor_sends_what_is_published_to_every_subscriber() -> None:
    with floor_server("fanout") as url:
        options: dict[str, Any] = {"compression": None, "max_size": None}
        with ExitStack() as stack:
            publisher = stack.enter_context(connect(f"{url}/publish", **options))
            first, second = (stack.enter_context(connect(f"{url}/subscribe", **options)) for _ in range(2))
            with connect(f"{url}/subscribe", **options) as leaving:
                publisher.send("first")
                assert leaving.recv() == "first"
            publisher.send("x" * 300_000)
            for subscriber in (first, second):
                assert [subscriber.recv(), subscriber.recv()] == ["first", "x" * 300_000]


@pytest.mark.parametrize("rival", [floor.RIVAL, ringgate.RIVAL], ids=["floor", "ringgate"])
@pytest.mark.parametrize("scenario", ["echo", "fanout", "connect", "idle"])
def test_the_comparison_measures_the_floor_and_the_gateway(rival: Any, scenario: str) -> None:
    record = measure(Case(scenario, 20), rival, 0.2, 0)
    assert record["result"]["faults"] == []
    assert record["result"]["units"] >= 20


def test_fanout_over_several_servers_and_publishers(gateway_process: StartGateway) -> None:
    gateway, other = gateway_process(), gateway_process()
    how = runs.Subscribing(channels=3, publishers=3, more_urls=[other.ws_url])
    plan = runs.Plan(
        seconds=0.2, in_flight=6, warm_up_s=0.0, drain_s=0.2, server_pids=[gateway.pid, other.pid]
    )
    result = runs.run_fanout(
        gateway.ws_url, plan, how, subscribers=6, size=16, progress=lambda what, part: None
    )
    # Nothing leads from one gateway to the other here: of each channel's two subscribers one hears nothing.
    counts = result.counts
    assert counts["delivered"] * 2 == counts["expected"] == counts["sent"] * 2
    assert counts["sent"] == 6  # as many as may be on their way
    assert counts["doubled"] == counts["reordered"] == 0
    assert len(result.usage.server_cpu_each_s) == 2
    assert sum(result.usage.server_cpu_each_s) == pytest.approx(result.usage.server_cpu_s)
