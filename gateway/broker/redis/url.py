"""URLs of Redis deployments: what an operator writes, as typed records.

    redis://[user:password@]host[:6379][/database]          rediss:// for TLS
    unix://[user:password@]/path/of/socket[?db=0]
    redis+sentinel://[user:password@]host[:26379],host2/name-of-master[?db=0]     rediss+sentinel:// for TLS
    redis+cluster://[user:password@]host[:6379],host2       rediss+cluster:// for TLS

Options after `?`: `db`; with TLS `ca`, `cert`, `key` (paths of PEM files) and `verify` (full, ca or none);
with Sentinel `sentinel_user` and `sentinel_password`.  User, password and paths may be percent-encoded.
`#name` at the end gives a deployment a name of its own.

It knows nothing of connections.  What always holds: no message of an error holds a password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Final, NoReturn
from urllib.parse import parse_qsl, unquote

from ...errors import ConfigError
from .options import Address, Login, Tls

_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")
REDIS_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
_SCHEMES: Final = {
    "redis": ("single", False),
    "rediss": ("single", True),
    "unix": ("unix", False),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
_TLS_OPTIONS: Final = ("ca", "cert", "key", "verify")
_SENTINEL_OPTIONS: Final = ("sentinel_user", "sentinel_password")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """One deployment.  `topology` is `single`, `sentinel` or `cluster`; `addresses` are asked first."""

    topology: str
    addresses: tuple[Address, ...]
    login: Login
    tls: Tls | None = None
    master_name: str = ""
    sentinel_login: Login = field(default_factory=Login)
    given_name: str = ""

    @property
    def name(self) -> str:
        """What logs and metrics show, and what decides which channels are here: the name that was given
        after `#`, or else master and addresses.
        """
        if self.given_name:
            return self.given_name
        addresses = ",".join(map(str, self.addresses))
        return f"{self.master_name}@{addresses}" if self.master_name else addresses


def parse_url(url: str) -> RedisUrl:
    """Parse a URL.  Raises ConfigError with one line that says what is wrong and what is allowed."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in _SCHEMES:
        _fail("it has to begin with one of " + ", ".join(f"{known}://" for known in _SCHEMES))
    topology, tls = _SCHEMES[scheme]
    rest, hash_sign, given_name = rest.partition("#")
    if hash_sign and not _NAME.fullmatch(given_name):
        _fail("the name after '#' may have letters, digits, '.', '_' and '-'; a '#' before it is %23")
    rest, _, query = rest.partition("?")
    if "@" in query:
        _fail("there is a '?' in user or password; write it as %3F (and an '@' in an option as %40)")
    options = _options(query, topology, tls=tls)
    credentials, hosts = _split_credentials(rest)
    if topology == "unix":
        return replace(_unix(credentials, hosts, options), given_name=given_name)
    hosts, _, path = hosts.partition("/")
    path = unquote(path)
    port = SENTINEL_PORT if topology == "sentinel" else REDIS_PORT
    addresses = tuple(_address(host, port) for host in hosts.split(","))
    if topology == "single" and len(addresses) > 1:
        _fail("more than one host: is redis+cluster:// or redis+sentinel:// meant?")
    database = _database(topology, path, options)
    return RedisUrl(
        topology,
        addresses,
        _login(credentials, database),
        Tls(**{name: options[name] for name in _TLS_OPTIONS if name in options}) if tls else None,
        path if topology == "sentinel" else "",
        Login(options.get("sentinel_user", ""), options.get("sentinel_password", "")),
        given_name,
    )


def _unix(credentials: str, path: str, options: dict[str, str]) -> RedisUrl:
    path = unquote(path)
    if not path.startswith("/") or path == "/":
        _fail("the path of a Unix socket has to begin with '/': unix:///run/redis.sock")
    return RedisUrl(
        "single", (Address(path, 0),), _login(credentials, _number(options.get("db", "0"), "the database"))
    )


def _options(query: str, topology: str, *, tls: bool) -> dict[str, str]:
    allowed = ["db"] if topology != "cluster" else []
    allowed += _TLS_OPTIONS if tls else ()
    allowed += _SENTINEL_OPTIONS if topology == "sentinel" else ()
    found: dict[str, str] = {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        _fail("the options after '?' have to be name=value, joined by '&'")
    for name, value in pairs:
        if name in _TLS_OPTIONS and not tls:
            _fail(f"the option {name} is for TLS: write rediss:// or rediss+...://")
        if name not in allowed:
            _fail(f"there is no option {name[:40]!r} here; there is " + (", ".join(allowed) or "none"))
        if name in found:
            _fail(f"the option {name} stands there twice")
        found[name] = value
    if found.get("verify", "full") not in ("full", "ca", "none"):
        _fail("the option verify has to be full, ca or none")
    if "sentinel_user" in found and "sentinel_password" not in found:
        _fail("the option sentinel_user is there without sentinel_password")
    if "key" in found and "cert" not in found:
        _fail("the option key is there without cert")
    return found


def _split_credentials(rest: str) -> tuple[str, str]:
    credentials, at, hosts = rest.rpartition("@")
    if "/" in credentials:
        if not credentials.startswith("/"):
            _fail("there is a '/' in user or password; write it as %2F")
        return "", rest  # the path of a Unix socket that has an '@' in it
    return (credentials, hosts) if at else ("", rest)


def _login(credentials: str, database: int) -> Login:
    user, colon, password = credentials.partition(":")
    if credentials and not (colon and password):
        _fail("there is a user without a password; write user:password@ or :password@")
    return Login(unquote(user), unquote(password), database)


def _database(topology: str, path: str, options: dict[str, str]) -> int:
    if topology == "cluster":
        if path:
            _fail("a Redis Cluster has no databases: there is nothing to write after the hosts")
        return 0
    if topology == "sentinel":
        if not path or "/" in path:
            _fail("the name of the master is missing: redis+sentinel://host:26379/mymaster")
        return _number(options.get("db", "0"), "the database")
    if path and "db" in options:
        _fail("the database stands there twice")
    return _number(path or options.get("db", "0"), "the database")


def _address(text: str, default_port: int) -> Address:
    host, colon, port = text, "", ""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            _fail("an IPv6 address has to be written as [::1]:6379")
        colon, port = port[:1], port[1:]
    elif text.count(":") > 1:
        _fail("an IPv6 address has to be written as [::1]:6379")
    else:
        host, colon, port = text.partition(":")
    if not host:
        _fail("a host is missing")
    number = _number(port, "the port") if colon else default_port
    if not 1 <= number <= 65535:
        _fail("the port has to be a number from 1 to 65535")
    return Address(unquote(host), number)


def _number(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        _fail(f"{what} has to be a number")
    return int(text)


def _fail(problem: str) -> NoReturn:
    raise ConfigError(f"the URL of Redis is wrong: {problem}") from None
