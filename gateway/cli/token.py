"""`ringgate token`: makes a token that a gateway with the same configuration accepts.

For development and tests: it signs with a key of `auth.keys` that can sign.  In production tokens come from
whoever knows the users.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

from ..config.kinds import Duration, ValueRefusedError
from ..config.schema import AuthOptions
from .parser import CommandFailedError, Commands, add_command, add_option_flags, load_options

_LIFE = Duration(1.0, 365 * 86400.0)
_DESCRIPTION = """\
Print a token for clients, signed with a key of auth.keys: an HS secret, or a private key.
For development; in production tokens come from whoever knows your users."""
_EPILOG = """\
  ringgate token --config gateway.toml --user ada
  ringgate token --config gateway.toml --user ada --for 1h --subscribe news --claim role='"admin"'
  ringgate token --config gateway.toml --user ada --channel room:7        for this channel alone"""


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "token",
        "make a token for a client, for development",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        usage="ringgate token [--user NAME] [--for TIME] [--claim NAME=JSON] [--config FILE] [OPTION...]",
    )
    parser.add_argument("--user", metavar="NAME", default="", help="who the client is")
    parser.add_argument(
        "--for", dest="life", metavar="TIME", default="1h", help="how long it holds (default %(default)s)"
    )
    parser.add_argument("--channel", metavar="NAME", default="", help="make a token for this channel alone")
    parser.add_argument(
        "--subscribe",
        metavar="NAME",
        action="append",
        default=[],
        help="a channel that the client is subscribed to when it is let in; can be repeated",
    )
    parser.add_argument(
        "--claim",
        metavar="NAME=JSON",
        action="append",
        default=[],
        help="another claim; what is not JSON is a text; can be repeated",
    )
    parser.add_argument(
        "--kid", metavar="KID", help="the id of the key to sign with (default: the first that can)"
    )
    add_option_flags(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a token.  Raises CommandFailedError and InvalidConfigError."""
    from ..auth.minting import mint
    from ..auth_parts import make_keys

    options = load_options(arguments).config.auth
    keys = [key for key in make_keys(options) if key.signs and arguments.kid in {None, key.kid}]
    if not keys:
        which = "that can sign" if arguments.kid is None else "with this id that can sign"
        raise CommandFailedError(
            f"auth.keys has no key {which}: an HS secret, or a private key (--auth-keys HS256:...)"
        )
    print(mint(keys[0], _claims(arguments, options)))
    return 0


def _claims(arguments: argparse.Namespace, options: AuthOptions) -> Mapping[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {"iat": now, "exp": now + int(_life(arguments.life))}
    if options.issuer:
        claims["iss"] = options.issuer[0]
    if options.audience:
        claims["aud"] = options.audience[0]
    if arguments.user:
        claims[options.user_claim] = arguments.user
    if arguments.channel:
        claims["channel"] = arguments.channel
    if arguments.subscribe:
        claims[options.channels_claim] = arguments.subscribe
    return claims | dict(map(_claim, arguments.claim))


def _claim(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandFailedError("--claim: allowed: NAME=JSON")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _life(text: str) -> float:
    try:
        seconds: float = _LIFE.from_text(text)
    except ValueRefusedError:
        raise CommandFailedError(f"--for: allowed: {_LIFE.allowed()}") from None
    return seconds
