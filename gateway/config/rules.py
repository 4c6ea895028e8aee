"""Rules that join several options: what is only safe, or only makes sense, together.

Each rule is a function from the configuration to the problems with it, and the table `RULES` says which
values it reads.  An address other than loopback needs either protection or the word `insecure`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from ..http.key_hashes import digest_of
from ..http.scopes import SCOPES
from .endpoints import Endpoint
from .kinds import Address, format_duration, format_size, quote
from .problems import Problem
from .scan import KeyPath
from .schema import DEFAULT_NAMESPACE, Config
from .services import split_place

_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 (compared with, not bound to)
_LOOPBACK: Final = "a loopback address (127.0.0.1, [::1] or localhost) or a Unix socket"

Where = Callable[[KeyPath], str]
Rule = Callable[[Config, Where], Iterator[Problem]]


def check_rules(
    config: Config, sources: Mapping[KeyPath, str], refused: Collection[KeyPath] = ()
) -> list[Problem]:
    """Return every broken rule.

    `sources` says where values that are not defaults were set.  Rules that read a path in
    `refused` are left out, since its value is not known.
    """

    def where(path: KeyPath) -> str:
        fallback = ("namespace", DEFAULT_NAMESPACE, path[-1]) if path[0] == "namespace" else path
        return sources.get(path) or sources.get(fallback) or "default"

    kept = [rule for reads, rule in RULES if not any(path in refused for path in reads)]
    return [problem for rule in kept for problem in rule(config, where)]


def check_exposure(config: Config, source: str) -> list[Problem]:
    """Return who could connect and should not; `source` says where the addresses in `config` come from."""
    return [
        problem for rule in (_edge_is_private, _api_is_private) for problem in rule(config, lambda _: source)
    ]


def _edge_is_private(config: Config, where: Where) -> Iterator[Problem]:
    """Without authentication of clients the edge is for this machine only."""
    if config.server.insecure or config.authenticates:
        return
    allowed = f"{_LOOPBACK} while no authentication of clients is configured; --insecure overrides"
    for endpoint in _open_to_others(config.server.listen):
        yield Problem("server.listen", where(_LISTEN), quote(str(endpoint)), allowed)


def _api_is_private(config: Config, where: Where) -> Iterator[Problem]:
    """Without a key the internal port is for this machine only."""
    if config.server.insecure or config.every_api_key:
        return
    allowed = f"{_LOOPBACK} while api.keys is empty; --insecure overrides"
    for endpoint in _open_to_others(config.server.api_listen):
        yield Problem("server.api_listen", where(_API_LISTEN), quote(str(endpoint)), allowed)


def _api_keys_are_whole(config: Config, where: Where) -> Iterator[Problem]:
    """A name has a key and is for something; a key has one name, so that it is clear what it is for."""
    owners = {digest_of(key.reveal()): "[api]" for key in config.api.every_key}
    for name, options in config.api_keys.items():
        path = ("apikey", name, "keys")
        if not options.keys:
            yield Problem(".".join(path), where(path), "[]", "at least one key, or its hash")
        if not options.scopes:
            scopes = ("apikey", name, "scopes")
            yield Problem(".".join(scopes), where(scopes), "[]", f"at least one of {', '.join(SCOPES)}")
        for key in options.keys:
            owner = owners.setdefault(digest_of(key.reveal()), f"[apikey.{name}]")
            if owner != f"[apikey.{name}]":
                found = f"a key that {owner} has, too"
                yield Problem(".".join(path), where(path), found, "keys that no other name has")


def _open_to_others(endpoints: tuple[Endpoint, ...]) -> Iterator[Endpoint]:
    return (endpoint for endpoint in endpoints if not endpoint.is_loopback)


def _endpoints_differ(config: Config, where: Where) -> Iterator[Problem]:
    """Nothing can be listened on twice, be it by one side or by both."""
    edge, api = config.server.listen, config.server.api_listen
    for path, endpoints in ((_LISTEN, edge), (_API_LISTEN, api)):
        for twice in dict.fromkeys(e for n, e in enumerate(endpoints) if _is_taken(e, endpoints[:n])):
            yield Problem(".".join(path), where(path), f"{quote(str(twice))} twice", "every address once")
    for endpoint in api:
        for other in edge:
            if _overlap(endpoint, other):
                found = quote(str(endpoint))
                allowed = f"another address than server.listen, which is {quote(str(other))}"
                yield Problem("server.api_listen", where(_API_LISTEN), found, allowed)


def _is_taken(endpoint: Endpoint, others: tuple[Endpoint, ...]) -> bool:
    return any(endpoint == other and _overlap(endpoint, other) for other in others)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    if not isinstance(one, Address) or not isinstance(other, Address):
        return one == other
    if not one.port or one.port != other.port:
        return False
    return one.host == other.host or one.host in _WILDCARDS or other.host in _WILDCARDS


def _tls_is_whole(config: Config, where: Where) -> Iterator[Problem]:
    """A certificate needs its key, and a key its certificate."""
    cert, key = config.server.tls_cert, config.server.tls_key
    if bool(cert) != bool(key):
        missing, given = ("tls_key", "tls_cert") if cert else ("tls_cert", "tls_key")
        allowed = f"a file, since server.{given} is set; or neither of the two"
        yield Problem(f"server.{missing}", where(("server", missing)), quote(""), allowed)


def _pings_come_before_idle(config: Config, where: Where) -> Iterator[Problem]:
    """A healthy but silent client must be pinged before it counts as gone."""
    options = config.websocket
    if options.idle_timeout <= options.ping_interval:
        found = quote(format_duration(options.idle_timeout))
        allowed = (
            f"more than websocket.ping_interval, which is {quote(format_duration(options.ping_interval))}"
        )
        yield Problem("websocket.idle_timeout", where(("websocket", "idle_timeout")), found, allowed)


def _proxies_are_known(config: Config, where: Where) -> Iterator[Problem]:
    """Anybody could write what proxies write: whose word is taken must be said."""
    options = config.edge
    if options.trusted_proxies:
        return
    if options.forwarded_header != "none":
        path = ("edge", "forwarded_header")
        allowed = '"none" while edge.trusted_proxies is empty'
        yield Problem(".".join(path), where(path), quote(options.forwarded_header), allowed)
    if options.proxy_protocol:
        path = ("edge", "proxy_protocol")
        yield Problem(".".join(path), where(path), "true", "false while edge.trusted_proxies is empty")


def _ring_holds_a_message(config: Config, where: Where) -> Iterator[Problem]:
    """The largest publication must fit into a ring: with its envelope, and in base64 when it is binary.

    A ring uses the largest power of two within its bound.
    """
    twice_bytes = 2 * config.session.max_publish_bytes
    least_bytes = 1 << (twice_bytes - 1).bit_length()
    for name, options in config.namespaces.items():
        if options.ring_bytes < least_bytes:
            path = ("namespace", name, "ring_bytes")
            found = quote(format_size(options.ring_bytes))
            allowed = (
                f"at least {quote(format_size(least_bytes))}: "
                "twice session.max_publish_bytes, rounded up to a power of two"
            )
            yield Problem(f"namespace.{name}.ring_bytes", where(path), found, allowed)


def _key_sets_are_authentic(config: Config, where: Where) -> Iterator[Problem]:
    """Whoever could answer in place of the issuer could let anybody in."""
    if config.server.insecure:
        return
    for place in config.auth.jwks:
        parts = urlsplit(place)
        if parts.scheme == "http" and not Address(parts.hostname or "", 0).is_loopback:
            allowed = "https:// unless the host is this machine; --insecure overrides"
            yield Problem("auth.jwks", where(_AUTH_JWKS), quote(place), allowed)


def _tokens_have_keys(config: Config, where: Where) -> Iterator[Problem]:
    """A token for a channel can only be shown where there are keys that verify it."""
    if config.auth.configured:
        return
    for name, options in config.namespaces.items():
        if "token" in options.subscribe:
            path = ("namespace", name, "subscribe")
            allowed = "other words while auth.keys and auth.jwks are empty"
            yield Problem(".".join(path), where(path), quote("token"), allowed)


def _states_can_be_kept_up(config: Config, where: Where) -> Iterator[Problem]:
    """Whoever missed a patch must get the state, and can by resuming; it goes out through the ring, too.

    Personal channels are of the default namespace, and are published to.
    """
    for name, options in config.namespaces.items():
        if not options.state:
            continue
        path = f"namespace.{name}."
        if name == DEFAULT_NAMESPACE:
            allowed = "false: only a namespace of its own can be one of state channels"
            yield Problem(f"{path}state", where(("namespace", name, "state")), "true", allowed)
        if options.slow != "disconnect":
            allowed = '"disconnect", since the namespace is one of state channels: who missed a patch resumes'
            yield Problem(f"{path}slow", where(("namespace", name, "slow")), quote(options.slow), allowed)
        least_bytes = 1 << (2 * options.max_state_bytes - 1).bit_length()
        if options.ring_bytes < least_bytes:
            found = quote(format_size(options.ring_bytes))
            allowed = f"at least {quote(format_size(least_bytes))}: twice max_state_bytes, as a power of two"
            yield Problem(f"{path}ring_bytes", where(("namespace", name, "ring_bytes")), found, allowed)


def _upstreams_are_whole(config: Config, where: Where) -> Iterator[Problem]:
    """An upstream is somewhere, and where addresses have weights, each has one."""
    for name, options in config.upstreams.items():
        path = ("upstream", name, "addresses")
        if not options.addresses:
            yield Problem(".".join(path), where(path), "[]", "at least one URL")
        elif options.weights and len(options.weights) != len(options.addresses):
            path = ("upstream", name, "weights")
            found, allowed = f"{len(options.weights)} of them", "one for each of the addresses, or none"
            yield Problem(".".join(path), where(path), found, allowed)


def _hooks_that_are_asked_are_there(config: Config, where: Where) -> Iterator[Problem]:
    """Where a namespace says that an app service is asked there has to be one."""
    for name, options in config.namespaces.items():
        for action in ("subscribe", "publish"):
            if "hook" in getattr(options, action) and not getattr(config.hooks, action):
                path = ("namespace", name, action)
                yield Problem(
                    ".".join(path), where(path), quote("hook"), f"other words while hooks.{action} is empty"
                )


def _routes_lead_somewhere(config: Config, where: Where) -> Iterator[Problem]:
    """A route has a path that nothing else has, and an upstream that there is."""
    own = ("/ws", "/health/live", *(["/echo"] if config.server.echo else []))
    taken = {path: f"{path} is the gateway's own" for path in own}
    for name, options in config.routes.items():
        path = ("route", name, "path")
        if not options.path or options.path in taken:
            found = quote(options.path)
            yield Problem(
                ".".join(path), where(path), found, "a path of its own", taken.get(options.path, "")
            )
        taken[options.path] = f"{options.path} is the path of route.{name}"
        path = ("route", name, "upstream")
        if options.upstream not in config.upstreams:
            known = ", ".join(config.upstreams) or "there is none"
            found = quote(options.upstream)
            yield Problem(".".join(path), where(path), found, f"the name of an upstream ({known})")


def _hooks_lead_somewhere(config: Config, where: Where) -> Iterator[Problem]:
    """A hook's upstream is configured; what leaves this machine is signed."""
    hooks = config.hooks
    for name in ("connect", "subscribe", "publish", "call", "message", "notices"):
        place = getattr(hooks, name)
        if not place:
            continue
        path, (wanted, _) = ("hooks", name), split_place(place)
        upstream = config.upstreams.get(wanted)
        if upstream is None:
            allowed = f"an upstream that there is: [upstream.{wanted}] is missing"
            yield Problem(".".join(path), where(path), quote(place), allowed)
        elif not hooks.secrets and not config.server.insecure and not all(map(_is_here, upstream.addresses)):
            allowed = f"at least one, since {quote(place)} is another machine; --insecure overrides"
            yield Problem("hooks.secrets", where(("hooks", "secrets")), "[]", allowed)


def _hash_by_is_seen(config: Config, where: Where) -> Iterator[Problem]:
    """Requests can only be kept together by a header that the gateway keeps of the handshake."""
    hash_by, headers = config.hooks.hash_by, config.hooks.headers
    name = hash_by.removeprefix("header:")
    if name != hash_by and name not in headers:
        known = (
            ", ".join(quote(f"header:{header}") for header in headers) or "none, since hooks.headers is empty"
        )
        allowed = f'"user", "session", "channel", "address", or a header of hooks.headers ({known})'
        yield Problem("hooks.hash_by", where(("hooks", "hash_by")), quote(hash_by), allowed)


def _grip_is_signed(config: Config, where: Where) -> Iterator[Problem]:
    """What a service of GRIP is told has to be known as the gateway's, once it leaves this machine."""
    if config.grip.keys or config.server.insecure:
        return
    for name, route in config.routes.items():
        upstream = config.upstreams.get(route.upstream)
        if route.protocol == "grip" and upstream is not None and not all(map(_is_here, upstream.addresses)):
            allowed = f"at least one, since route.{name} leads to another machine; --insecure overrides"
            yield Problem("grip.keys", where(("grip", "keys")), "[]", allowed)


def _is_here(url: str) -> bool:
    return Address(urlsplit(url).hostname or "", 0).is_loopback


_LISTEN: Final = ("server", "listen")
_API_LISTEN: Final = ("server", "api_listen")
_INSECURE: Final = ("server", "insecure")
_AUTH_KEYS: Final = ("auth", "keys")
_AUTH_JWKS: Final = ("auth", "jwks")
_TLS_CERT: Final = ("server", "tls_cert")
_TLS_KEY: Final = ("server", "tls_key")

RULES: Final[tuple[tuple[tuple[KeyPath, ...], Rule], ...]] = (
    ((_LISTEN, _INSECURE, _AUTH_KEYS, _AUTH_JWKS), _edge_is_private),
    ((_API_LISTEN, _INSECURE, ("api", "keys")), _api_is_private),
    ((_LISTEN, _API_LISTEN), _endpoints_differ),
    ((), _api_keys_are_whole),
    ((_TLS_CERT, _TLS_KEY), _tls_is_whole),
    ((("websocket", "idle_timeout"), ("websocket", "ping_interval")), _pings_come_before_idle),
    (
        (("edge", "trusted_proxies"), ("edge", "forwarded_header"), ("edge", "proxy_protocol")),
        _proxies_are_known,
    ),
    ((("session", "max_publish_bytes"),), _ring_holds_a_message),
    ((_AUTH_JWKS, _INSECURE), _key_sets_are_authentic),
    ((_AUTH_KEYS, _AUTH_JWKS), _tokens_have_keys),
    ((), _states_can_be_kept_up),
    ((), _upstreams_are_whole),
    ((("hooks", "secrets"), _INSECURE), _hooks_lead_somewhere),
    ((("hooks", "hash_by"), ("hooks", "headers")), _hash_by_is_seen),
    ((("grip", "keys"), _INSECURE), _grip_is_signed),
    ((), _hooks_that_are_asked_are_there),
    ((), _routes_lead_somewhere),
)
