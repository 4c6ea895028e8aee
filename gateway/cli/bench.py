"""`ringgate bench`: puts load on a WebSocket server and tells what it cost.

This module knows arguments, the progress bar and where the report goes; `gateway.bench` does the work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..config.kinds import Duration, ValueRefusedError
from ..logs import escape
from .parser import CommandFailedError, Commands, HelpFormatter, add_command
from .version import ringgate_version

if TYPE_CHECKING:
    from ..bench.runs import Plan, Result, Subscribing

_TIME = Duration(0.0, 86_400.0)
_BAR_COLUMNS: Final = 30
_RINGGATE: Final = "ringgate"  # the default form of messages: those of our own protocol

_EPILOG = """\
examples:
  ringgate bench echo ws://127.0.0.1:8000/echo --connections 100 --in-flight 16
  ringgate bench fanout ws://127.0.0.1:8000/ws --subscribers 1000 --server-pid 4711
  ringgate bench fanout ws://127.0.0.1:8000/ws --rate 200 --publish-url http://127.0.0.1:8001/api/publish
  ringgate bench connect ws://127.0.0.1:8000/ws --connections 5000 --at-once 50
  ringgate bench idle ws://127.0.0.1:8000/ws --connections 10000 --time 10s --server-pid 4711

Exit status 0: all arrived as it should, 1: it did not, or could not be measured."""


def add(commands: Commands) -> None:
    """Describe the command and its four scenarios."""
    parser = add_command(
        commands,
        "bench",
        "put load on a WebSocket server",
        description="Put load on Ringgate or another WebSocket server, and tell speed, latencies and cost.",
        epilog=_EPILOG,
    )
    scenarios = parser.add_subparsers(
        title="scenarios", metavar="SCENARIO", dest="scenario", required=True, prog="ringgate bench"
    )
    _add_echo(_scenario(scenarios, "echo", "every connection sends messages and gets them back"))
    _add_fanout(_scenario(scenarios, "fanout", "one publishes, many subscribers receive"))
    _add_connect(_scenario(scenarios, "connect", "connections are opened, one after the other"))
    _add_idle(_scenario(scenarios, "idle", "connections are held and nothing is said"))


def _scenario(scenarios: Commands, name: str, summary: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = scenarios.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("url", metavar="URL", help="ws://HOST:PORT/PATH or ws+unix:/SOCKET:/PATH")
    parser.add_argument(
        "--server-pid", metavar="PID", type=_positive, action="append", default=[],
        help="measure CPU time and memory of this process too; can be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--header",
        metavar="LINE",
        action="append",
        default=[],
        help="a header of the upgrade; can be repeated",
    )
    parser.add_argument(
        "--open-timeout", metavar="TIME", default="60s",
        help="longest wait until all connections are ready (default %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", metavar="FILE", help="write the raw result there; - is standard output")
    parser.add_argument("--no-plot", action="store_true", help="leave out the histogram")
    parser.set_defaults(run=run, parser=parser)
    return parser


def _add_echo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", metavar="N", type=_positive, default=100, help="(default %(default)s)"
    )
    parser.add_argument("--binary", action="store_true", help="send binary messages instead of text")
    _add_loop(parser, "messages in flight on each connection, when there is no --rate (default %(default)s)")


def _add_fanout(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--subscribers", metavar="N", type=_positive, default=1000, help="(default %(default)s)"
    )
    parser.add_argument(
        "--publish-message", metavar="TEXT", default=_RINGGATE,
        help="what publishes, with {payload} and {channel} (default: Ringgate's command, or API body)",
    )  # fmt: skip
    parser.add_argument(
        "--publish-url", metavar="URL", default="",
        help="where to publish, ws:// or http:// (default: over a connection to URL)",
    )  # fmt: skip
    _add_subscribing(parser, default=_RINGGATE)
    _add_loop(
        parser, "messages published and not yet with everybody, when there is no --rate (default %(default)s)"
    )


def _add_connect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", metavar="N", type=_positive, default=2000, help="(default %(default)s)"
    )
    parser.add_argument("--at-once", metavar="N", type=_positive, default=50, help="(default %(default)s)")
    parser.add_argument(
        "--rate", metavar="R", type=_rate, default=0.0, help="begin R connections a second instead"
    )
    _add_subscribing(parser, default="")


def _add_idle(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connections", metavar="N", type=_positive, default=1000, help="(default %(default)s)"
    )
    parser.add_argument("--at-once", metavar="N", type=_positive, default=50, help="(default %(default)s)")
    parser.add_argument(
        "--time", metavar="TIME", default="5s", help="how long to hold them (default %(default)s)"
    )
    _add_subscribing(parser, default="")


def _add_subscribing(parser: argparse.ArgumentParser, *, default: str) -> None:
    parser.add_argument(
        "--channels",
        metavar="M",
        type=_positive,
        default=1,
        help="spread over M channels (default %(default)s)",
    )
    parser.add_argument(
        "--subscribe-message", metavar="TEXT", default=default,
        help=f'what subscribes to {{channel}}; "": nothing; {_RINGGATE}: its command (default "{default}")',
    )  # fmt: skip
    parser.add_argument(
        "--subscribed-when", metavar="TEXT", default=None,
        help='part of the answer to it; "": none is waited for (default for Ringgate\'s: its reply)',
    )  # fmt: skip


def _add_loop(parser: argparse.ArgumentParser, in_flight: str) -> None:
    parser.add_argument("--in-flight", metavar="N", type=_positive, default=1, help=in_flight)
    parser.add_argument(
        "--rate", metavar="R", type=_rate, default=0.0,
        help="R messages a second whatever comes back; latency counts from when each was due",
    )  # fmt: skip
    parser.add_argument(
        "--size",
        metavar="BYTES",
        type=_positive,
        default=64,
        help="of the payload, 16 or more (default %(default)s)",
    )
    parser.add_argument(
        "--time", metavar="TIME", default="5s", help="how long to measure (default %(default)s)"
    )
    parser.add_argument("--messages", metavar="N", type=_positive, default=0, help="stop after N messages")
    parser.add_argument(
        "--warm-up", metavar="TIME", default="1s", help="load that is not measured (default %(default)s)"
    )


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1 << 40:
        raise ValueError
    return number


def _rate(text: str) -> float:
    rate = float(text)
    if not 0.0 < rate <= 1e8:
        raise ValueError
    return rate


def run(arguments: argparse.Namespace) -> int:
    """Measure and report.  Raises CommandFailedError or BenchError."""
    from ..bench import report

    progress = _Progress()
    try:
        result = _measure(arguments, progress)
    except OSError as error:
        raise CommandFailedError(f"cannot measure: {error.strerror}") from None
    finally:
        progress.end()
    if arguments.json != "-":
        print(escape_lines(report.as_text(result, plot=not arguments.no_plot)))
    if arguments.json:
        record = report.as_json(result, url=arguments.url, version=ringgate_version())
        _write(arguments.json, json.dumps(record, indent=1) + "\n")
    return 1 if report.faults(result) else 0


def escape_lines(text: str) -> str:
    """Return text in which nothing that a server said can reach the terminal unescaped."""
    return "\n".join(line if line.isprintable() else escape(line) for line in text.split("\n"))


def _measure(arguments: argparse.Namespace, progress: Callable[[str, float], None]) -> Result:
    from ..bench import runs

    plan = _plan(arguments)
    if arguments.scenario == "echo":
        return runs.run_echo(
            arguments.url, plan, connections=arguments.connections, size=arguments.size,
            binary=arguments.binary, progress=progress,
        )  # fmt: skip
    how = _subscribing(arguments)
    if arguments.scenario == "fanout":
        return runs.run_fanout(
            arguments.url,
            plan,
            how,
            subscribers=arguments.subscribers,
            size=arguments.size,
            progress=progress,
        )
    scenario = runs.run_connect if arguments.scenario == "connect" else runs.run_idle
    return scenario(arguments.url, plan, how, connections=arguments.connections, progress=progress)


def _plan(arguments: argparse.Namespace) -> Plan:
    from ..bench.runs import Plan

    given = vars(arguments)
    names = {"in_flight", "rate", "messages", "at_once"}
    options: dict[str, Any] = {name: given[name] for name in names if name in given}
    times = {"time": "seconds", "warm_up": "warm_up_s", "open_timeout": "open_timeout_s"}
    for name, option in times.items():
        if name in given:
            options[option] = _seconds(f"--{name.replace('_', '-')}", given[name])
    return Plan(server_pids=tuple(arguments.server_pid), headers=tuple(arguments.header), **options)


def _subscribing(arguments: argparse.Namespace) -> Subscribing:
    from ..bench.runs import SUBSCRIBE, SUBSCRIBED, Subscribing

    ours = arguments.subscribe_message == _RINGGATE
    confirmation = arguments.subscribed_when
    publish = getattr(arguments, "publish_message", "")
    return Subscribing(
        subscribe=SUBSCRIBE if ours else arguments.subscribe_message,
        confirmation=confirmation if confirmation is not None else SUBSCRIBED if ours else "",
        publish="" if publish == _RINGGATE else publish,
        publish_url=getattr(arguments, "publish_url", ""),
        channels=arguments.channels,
    )


def _seconds(flag: str, text: str) -> float:
    try:
        seconds: float = _TIME.from_text(text)
    except ValueRefusedError:
        raise CommandFailedError(f'{flag} is "{escape(text)}"; allowed: {_TIME.allowed()}') from None
    return seconds


def _write(name: str, text: str) -> None:
    if name == "-":
        sys.stdout.write(text)
        return
    try:
        Path(name).write_text(text)
    except OSError as error:
        raise CommandFailedError(f"cannot write {escape(name)}: {error.strerror}") from None


class _Progress:
    """A bar on standard error, when that is a terminal."""

    def __init__(self) -> None:
        self._shown = 0
        self._terminal = sys.stderr.isatty()

    def __call__(self, what: str, part: float) -> None:
        """Show that `part` (0 to 1) of something is done."""
        if self._terminal:
            part = min(max(part, 0.0), 1.0)
            full = round(part * _BAR_COLUMNS)
            line = f"{what} [{'#' * full}{'.' * (_BAR_COLUMNS - full)}] {100 * part:3.0f} %"
            sys.stderr.write(f"\r{line:<{self._shown}}")
            sys.stderr.flush()
            self._shown = len(line)

    def end(self) -> None:
        """Take the bar away."""
        if self._shown:
            sys.stderr.write(f"\r{'':<{self._shown}}\r")
            sys.stderr.flush()
