"""`ringgate upstreams`: how the addresses of app services do; one can be left, for a restart, and used again.

It speaks to the API of a running gateway, like `ringgate publish`.
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from ..logs import escape
from .asking import ask_api
from .parser import CommandFailedError, Commands, add_command
from .publish import add_api_flags

_PATH: Final = "/api/upstreams"
_EPILOG: Final = """\
  ringgate upstreams                                      what there is, and how it does
  ringgate upstreams drain app http://10.0.0.1:9000       nothing new goes there; connections move
  ringgate upstreams undrain app http://10.0.0.1:9000     it is used again"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "upstreams",
        "addresses of app services: list, drain, undrain",
        description="Look at the addresses of app services, have one left, or used again.",
        epilog=_EPILOG,
    )
    parser.add_argument(
        "what", choices=("list", "drain", "undrain"), nargs="?", default="list", help="what to do"
    )
    parser.add_argument("upstream", metavar="UPSTREAM", nargs="?", default="", help="which group")
    parser.add_argument(
        "address", metavar="ADDRESS", nargs="?", default="", help="which address, as `list` shows it"
    )
    parser.add_argument("--ip", default="", help="only this one of the IPs that the address leads to")
    add_api_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do it.  Raises CommandFailedError when the gateway did not say that it was done."""
    if arguments.what == "list":
        for group in ask_api(arguments, "GET", _PATH, None, "upstreams")["upstreams"]:
            if arguments.upstream in ("", group["name"]):
                for target in group["targets"]:
                    print(_line(group, target))
        return 0
    if not arguments.address:
        usage = f"ringgate upstreams {arguments.what} UPSTREAM ADDRESS"
        raise CommandFailedError(f"which address? {usage}")
    body = {"upstream": arguments.upstream, "address": arguments.address, "ip": arguments.ip}
    answer = ask_api(arguments, "POST", f"{_PATH}/{arguments.what}", json.dumps(body).encode(), "targets")
    print(json.dumps({"targets": answer["targets"], "pending": answer["pending"]}))
    return 0


def _line(group: dict[str, Any], target: dict[str, Any]) -> str:
    state = "draining" if target["draining"] else "up" if target["healthy"] else "unhealthy"
    if target["breaker"] != "closed":
        state += f", breaker {target['breaker']}"
    where = target["address"]
    if f"//{target['ip']}:" not in where and f"//[{target['ip']}]:" not in where:
        where += f" ({target['ip']})"
    worker = f"  worker {group['worker']}" if "worker" in group else ""
    return escape(f"{group['name']}  {where}  {state}  {target['pending']} pending{worker}")
