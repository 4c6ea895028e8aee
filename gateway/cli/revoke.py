"""`ringgate revoke`: refuses tokens on every gateway, and lists what is refused.

It speaks to the API of a running gateway, like `ringgate publish`.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from ..logs import escape
from .asking import ask_api
from .parser import CommandFailedError, Commands, add_command
from .publish import add_api_flags
from .reading import read_duration

_MOST: Final = 10_000
_DESCRIPTION = """\
Refuse tokens from now on, on every gateway of the cluster, and close the connections that they let in."""
_EPILOG = """\
  ringgate revoke --user ada              all tokens of ada issued up to now
  ringgate revoke --session 7f3a          all tokens of one login: those with this sid
  ringgate revoke --token eyJhbGciOi...   this token; its id (jti) alone will do
  ringgate revoke --list                  what is refused now"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "revoke",
        "refuse tokens of a user, a login, or one",
        description=_DESCRIPTION,
        epilog=_EPILOG,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--user", metavar="NAME", help="every token of this user issued up to now")
    which.add_argument(
        "--session", "--login", metavar="ID", dest="login", help="every token of this login (claim sid)"
    )
    which.add_argument("--token", metavar="ID|TOKEN", help="the token with this jti, or the token itself")
    which.add_argument("--list", action="store_true", help="list what is refused, the newest first")
    parser.add_argument(
        "--for", dest="life", metavar="TIME", help="for how long (default: auth.revocation_ttl)"
    )
    add_api_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Revoke, or list.  Raises CommandFailedError when the gateway did not say that it was done."""
    if arguments.list:
        answer = ask_api(arguments, "GET", f"/api/revocations?limit={_MOST}", None, "revocations")
        for entry in answer["revocations"]:
            print(_line(entry))
        return 0
    body = _target(arguments)
    if arguments.life is not None:
        body["ttl"] = read_duration("--for", arguments.life)
    answer = ask_api(arguments, "POST", "/api/revoke", json.dumps(body).encode(), "connections")
    print(json.dumps({"connections": answer["connections"]}))
    return 0


def _target(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.user is not None:
        return {"user": arguments.user}
    if arguments.login is not None:
        return {"login": arguments.login}
    return {"token": _id_of(arguments.token)}


def _id_of(text: str) -> str:
    """Return the id of a token; that of a whole token is read and not verified, since it is only refused."""
    parts = text.split(".")
    if len(parts) != 3:
        return text
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return text
    found = claims.get("jti") if isinstance(claims, dict) else None
    if not isinstance(found, str) or not found:
        raise CommandFailedError(
            "this token has no jti, so it cannot be refused alone: use --session or --user"
        )
    return found


def _line(entry: Mapping[str, Any]) -> str:
    at, until = (
        datetime.fromtimestamp(entry[name] / 1000, UTC).isoformat(timespec="seconds")
        for name in ("revoked_ms", "until_ms")
    )
    return f"{entry['kind']:5}  {escape(str(entry['value']))}  {at}  until {until}"
