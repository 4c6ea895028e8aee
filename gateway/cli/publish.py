"""`ringgate publish`: posts one message to a running gateway's publish API, or publishes it as a client.

The payload goes out byte for byte as it was given; it is only checked to be JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import socket
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import orjson

from ..config.kinds import Address, Secret, ValueRefusedError
from ..config.lists import Secrets
from ..http.key_hashes import is_hash
from ..logs import escape
from ..message.names import is_channel_name
from .connecting import add_client_flags, answer_to, client_of
from .parser import CommandFailedError, Commands, add_command
from .reading import read_duration, read_payload

_KEYS_VARIABLE: Final = "RINGGATE_API_KEYS"
_MAX_ANSWER_BYTES: Final = 1 << 20


class Target(NamedTuple):
    """Where to post.  `unix_path`: over this Unix socket, whatever the rest says."""

    secure: bool
    host: str
    port: int
    path: str
    unix_path: str = ""

    @property
    def name(self) -> object:
        """What to call it towards the user."""
        return f"unix:{self.unix_path}" if self.unix_path else Address(self.host, self.port)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def add(commands: Commands) -> None:
    """Describe the command."""
    parser = add_command(
        commands,
        "publish",
        "publish one message to a channel",
        description="Publish one message through a running gateway; print its epoch and offset as JSON.\n"
        "It goes to the internal port, or with --url, as a client's, to the client port.",
    )
    parser.add_argument("channel", metavar="CHANNEL", help="the name of the channel, such as news or chat:1")
    parser.add_argument("data", metavar="DATA", help="the payload, as JSON; - reads it from standard input")
    parser.add_argument("--text", action="store_true", help="DATA is plain text and is sent as a JSON string")
    parser.add_argument("--key", default="", help="idempotency key: repeating it does not publish again")
    add_api_flags(parser)
    add_client_flags(parser, url=None)
    parser.set_defaults(run=run)


def add_api_flags(parser: argparse.ArgumentParser) -> None:
    """Add what says where the internal port is, and how long to wait for it."""
    parser.add_argument(
        "--api",
        metavar="URL",
        default="http://127.0.0.1:8001",
        help="the internal port, http://HOST:PORT or unix:/PATH (default %(default)s)",
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"an api key, or file:/path with one in it (default: the first of {_KEYS_VARIABLE})",
    )
    parser.add_argument("--timeout", metavar="TIME", default="10s", help="longest wait (default %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Publish.  Raises CommandFailedError when the gateway did not say that it is published."""
    if not is_channel_name(arguments.channel):
        allowed = "1 to 200 characters of A-Z a-z 0-9 _ - = @ , . ; : / #"
        raise CommandFailedError(
            f'"{escape(arguments.channel)}" is not the name of a channel; allowed: {allowed}'
        )
    if arguments.url is not None:
        print(asyncio.run(_publish_as_client(arguments)))
        return 0
    body = _body(arguments.channel, read_payload(arguments.data, text=arguments.text), arguments.key)
    headers = {"Content-Type": "application/json"} | authorization(arguments.api_key, os.environ)
    target = target_of(arguments.api, "/api/publish")
    status, answer = exchange("POST", target, body, headers, read_duration("--timeout", arguments.timeout))
    print(_result(status, answer))
    return 0


async def _publish_as_client(arguments: argparse.Namespace) -> str:
    payload = read_payload(arguments.data, text=arguments.text)
    published = await answer_to(
        client_of(arguments),
        lambda client: client.publish(arguments.channel, orjson.Fragment(payload), key=arguments.key),
        "to publish",
    )
    return json.dumps({"epoch": published.epoch, "offset": published.offset})


def _body(channel: str, payload: bytes, key: str) -> bytes:
    head = json.dumps({"channel": channel} | ({"key": key} if key else {}))
    return b'%s,"data":%s}' % (head.removesuffix("}").encode(), payload)


def authorization(given: str | None, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the header for a key that was given, or the environment's.  Raises CommandFailedError."""
    text = environment.get(_KEYS_VARIABLE, "") if given is None else given
    try:
        keys: tuple[Secret, ...] = Secrets().from_text(text)
    except ValueRefusedError as error:
        name = _KEYS_VARIABLE if given is None else "--api-key"
        raise CommandFailedError(f"{name}: {error}") from None
    if keys and is_hash(keys[0].reveal()):
        raise CommandFailedError("this is the hash of an API key; --api-key wants the key itself")
    return {"Authorization": f"Bearer {keys[0].reveal()}"} if keys else {}


def target_of(url: str, default: str) -> Target:
    """Return where to send: to the URL's own path, or else `default`.

    Raises CommandFailedError when `url` is not one of HTTP.
    """
    if url.startswith("unix:"):
        return Target(secure=False, host="", port=0, path=default, unix_path=url.removeprefix("unix:"))
    parts, port = _split_url(url, {"http": 80, "https": 443})
    path = parts.path.rstrip("/")
    return Target(parts.scheme == "https", parts.hostname or "", port, path or default)


def _split_url(url: str, schemes: Mapping[str, int]) -> tuple[SplitResult, int]:
    """Return the parts of a URL with a host, and its port.  Raises CommandFailedError when it is not one.

    `schemes` are the allowed ones with their ports.
    """
    if url.isascii() and url.isprintable() and " " not in url:
        try:
            parts = urlsplit(url)
            if parts.scheme in schemes and parts.hostname and parts.username is None:
                return parts, schemes[parts.scheme] if parts.port is None else parts.port
        except ValueError:
            pass
    allowed = " or ".join(f"{scheme}://HOST:PORT" for scheme in schemes)
    raise CommandFailedError(f'"{escape(url)}" is not a URL to connect to; allowed: {allowed}')


def _connection(target: Target, timeout_s: float) -> http.client.HTTPConnection:
    if target.unix_path:
        return _UnixConnection(target.unix_path, timeout_s)
    make = http.client.HTTPSConnection if target.secure else http.client.HTTPConnection
    return make(target.host, target.port, timeout=timeout_s)


def exchange(
    method: str, target: Target, body: bytes | None, headers: dict[str, str], timeout_s: float
) -> tuple[int, bytes]:
    """Return status and body of the answer.  Raises CommandFailedError when there is none."""
    connection = _connection(target, timeout_s)
    try:
        connection.request(method, target.path, body, headers)
        response = connection.getresponse()
        return response.status, response.read(_MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise CommandFailedError(_connection_error(error, target.name)) from None
    finally:
        connection.close()


def _connection_error(error: Exception, address: object) -> str:
    """Return what to tell the user about a connection that failed, with a hint where there is one."""
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return f"nothing listens at {address}: is `ringgate serve` running?"
    if isinstance(error, TimeoutError):
        return f"{address} did not answer in time"
    reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    return f"cannot talk to {address}: {escape(reason)}"


def _result(status: int, answer: bytes) -> str:
    """Return epoch and offset as JSON.  Raises CommandFailedError when the gateway refused."""
    try:
        decoded = json.loads(answer)
    except (ValueError, RecursionError):
        decoded = None
    fields = decoded if isinstance(decoded, dict) else {}
    if status == http.client.OK and "epoch" in fields and "offset" in fields:
        return json.dumps({"epoch": fields["epoch"], "offset": fields["offset"]})
    raise refusal(status, fields)


def refusal(status: int, fields: Mapping[str, object]) -> CommandFailedError:
    """Return what to tell the user about an answer that is not the one that was wanted."""
    error = fields.get("error")
    if isinstance(error, dict):
        reason = escape(f"{error.get('code')}: {error.get('message')}")
        hint = "; give one with --api-key" if status == http.client.UNAUTHORIZED else ""
        return CommandFailedError(f"the gateway refused: {reason}{hint} (HTTP {status})")
    return CommandFailedError(f"this is not the API of a gateway (HTTP {status}); --api names its URL")
