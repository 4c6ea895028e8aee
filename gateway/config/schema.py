"""The table of options: for each its name, type, default, bounds, one-line documentation and secrecy.

The frozen dataclasses are the table: a field's metadata holds its `Option`, so that what the
program reads, what is checked, what `--help` says and what the documentation lists cannot
differ.  Times are seconds (float), sizes are bytes (int).  The defaults are those of
development mode: without [auth] anyone may subscribe and publish, and a short history is kept.

Nothing here reads files or the environment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Final

from .auth import Algorithms, AuthKey, AuthKeys, ClaimName, CookieName, KeySetPlaces, Permissions, Texts
from .broker_url import BrokerUrls
from .endpoints import Endpoint, FileMode, ListenAddresses
from .grip import GripOptions
from .kinds import (
    GIB,
    KIB,
    MIB,
    Address,
    Boolean,
    BooleanOr,
    Choice,
    Duration,
    FilePath,
    Integer,
    Prefix,
    Secret,
    Size,
    WorkerCount,
)
from .lists import ApiKeys, ChannelPatterns, Hosts, Networks, Origins, Scopes, Secrets, ServiceNetworks
from .option import Option, option
from .routes import RoutePath, StaysWith, UpstreamName
from .services import HashBy, HeaderNames, HookPlace, NoticeKinds, RequestPath, ServiceUrls, Weights

DEFAULT_NAMESPACE: Final = "default"
_HOUR: Final = 3600.0
_DAY: Final = 24 * _HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The process as a whole."""

    listen: tuple[Endpoint, ...] = option(
        (Address("127.0.0.1", 8000),), ListenAddresses(), "where WebSocket clients connect (the edge)"
    )
    api_listen: tuple[Endpoint, ...] = option(
        (Address("127.0.0.1", 8001),),
        ListenAddresses(),
        "where app services reach the API, health, metrics and demo",
    )
    socket_mode: int = option(0o600, FileMode(), "who may connect to Unix sockets: the mode of their files")
    tls_cert: str = option("", FilePath(), "certificate chain of the edge in PEM; with it clients speak TLS")
    tls_key: str = option("", FilePath(), "private key of the certificate in PEM, without a passphrase")
    broker: str = option(
        "memory",
        BrokerUrls(),
        "what keeps channels and their history: this process, or Redis",
        secret=True,
    )
    workers: int = option(1, WorkerCount(), "processes that hold client connections; 1 is no other process")
    echo: bool = option(False, Boolean(), "serve /echo, which returns every message, for tests")
    insecure: bool = option(False, Boolean(), "start although anyone who reaches the ports can use them")
    max_connections: int = option(10_000, Integer(1, 10_000_000), "most client connections at a time")
    backlog: int = option(4096, Integer(1, 65535), "most connections that wait in the kernel to be accepted")
    shutdown_timeout: float = option(10.0, Duration(0.0, _HOUR), "longest time from a stop signal to the end")
    log_level: str = option(
        "info", Choice("debug", "info", "warning", "error"), "the least important lines that are logged"
    )
    log_format: str = option(
        "auto", Choice("auto", "json", "text"), "how lines are logged; auto is text on a terminal, else json"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiOptions:
    """The internal HTTP port."""

    keys: tuple[Secret, ...] = option(
        (),
        ApiKeys(),
        "what app services send as Bearer token; without any, loopback only",
        secret=True,
    )
    publish_keys: tuple[Secret, ...] = option(
        (), ApiKeys(), "more keys, only to publish, broadcast, send and update", secret=True
    )
    read_keys: tuple[Secret, ...] = option((), ApiKeys(), "more keys, only to look things up", secret=True)
    hosts: tuple[str, ...] = option(
        (), Hosts(), "names by which a port without keys may be called, beside its own address"
    )
    max_body_bytes: int = option(MIB, Size(KIB, GIB), "largest body of a request")

    @property
    def every_key(self) -> tuple[Secret, ...]:
        """The keys of all scopes."""
        return (*self.keys, *self.publish_keys, *self.read_keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeyOptions:
    """API keys by a name, which logs and metrics show, for a part of the API and perhaps some channels."""

    keys: tuple[Secret, ...] = option(
        (), ApiKeys(), "the key, or its hash; several while it is changed", secret=True
    )
    scopes: tuple[str, ...] = option((), Scopes(), "what it is for")
    channels: tuple[str, ...] = option(
        (), ChannelPatterns(), "for what concerns these channels only; empty is everything"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """Who clients are.  With keys or key sets a client needs a token, and only what is stated is allowed."""

    keys: tuple[AuthKey, ...] = option(
        (), AuthKeys(), "keys that verify tokens, each for one algorithm; several for rotation", secret=True
    )
    jwks: tuple[str, ...] = option((), KeySetPlaces(), "where sets of public keys (JWK sets) are")
    algorithms: tuple[str, ...] = option(
        ("RS256", "ES256", "EdDSA"), Algorithms(), "what keys of key sets may be used for"
    )
    issuer: tuple[str, ...] = option((), Texts(), "what a token's iss must be one of; empty: not looked at")
    audience: tuple[str, ...] = option(
        (), Texts(), "what must be among a token's aud, one of these; empty: not looked at"
    )
    leeway: float = option(5.0, Duration(0.0, _HOUR), "how far clocks may differ")
    anonymous: bool = option(False, Boolean(), "let in clients that show no token, as nobody in particular")
    connect_timeout: float = option(
        10.0, Duration(0.01, _HOUR), "longest time from connected to a valid token"
    )
    cookie: str = option("", CookieName(), "cookie that may hold the token; none unless it is named")
    query: bool = option(True, Boolean(), "take the token from the query parameter token, too")
    user_claim: str = option("sub", ClaimName(), "claim that says who the client is")
    info_claim: str = option("info", ClaimName(), "claim with what others see beside the user")
    channels_claim: str = option(
        "channels", ClaimName(), "claim with the channels to subscribe the client to"
    )
    permissions_claim: str = option("permissions", ClaimName(), "claim with patterns of channels, by action")
    login_claim: str = option("sid", ClaimName(), "claim with the id of the login, for revocation")
    jwks_max_age: float = option(600.0, Duration(1.0, 7 * _DAY), "ask for key sets again after so long")
    jwks_cooldown: float = option(
        30.0, Duration(0.01, _DAY), "least time between two requests, also when unknown keys are used"
    )
    jwks_timeout: float = option(5.0, Duration(0.1, _HOUR), "longest time to fetch a key set")
    cache_size: int = option(10_000, Integer(0, 1_000_000), "verified tokens that are remembered")
    revocation_ttl: float = option(
        _DAY, Duration(60.0, 365 * _DAY), "how long a revocation is kept; at least as long as tokens live"
    )

    @property
    def configured(self) -> bool:
        """Whether clients need a token."""
        return bool(self.keys or self.jwks)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOptions:
    """One client connection: handshake, frames, keep-alive, compression."""

    origins: tuple[str, ...] = option((), Origins(), "pages that may connect; empty is the same host only")
    max_message_bytes: int = option(
        64 * KIB, Size(128, GIB), "largest message of a client, also when inflated"
    )
    max_fragments: int = option(1024, Integer(1, 1_000_000), "most frames that one message may come in")
    handshake_timeout: float = option(10.0, Duration(0.01, _HOUR), "longest time from connecting to upgraded")
    message_timeout: float = option(30.0, Duration(0.01, _HOUR), "longest time for one message to come in")
    ping_interval: float = option(30.0, Duration(0.01, _HOUR), "time between two pings to a client")
    idle_timeout: float = option(60.0, Duration(0.01, _DAY), "close a connection that is silent for so long")
    max_missed_pings: int = option(3, Integer(1, 1000), "close a connection that left so many pings open")
    close_timeout: float = option(5.0, Duration(0.01, _HOUR), "longest wait for the answer to a close frame")
    compression: bool = option(False, Boolean(), "offer permessage-deflate (RFC 7692)")
    compression_window_bits: int = option(12, Integer(9, 15), "compression window as a power of two")
    compression_level: int = option(6, Integer(1, 9), "1 is fastest, 9 is smallest")
    compression_memory: int = option(5, Integer(1, 9), "memory for compressing, zlib's memLevel; 9 is most")
    compression_threshold: int = option(256, Size(0, GIB), "smaller messages to clients are not compressed")
    compression_takeover: bool = option(
        False,
        Boolean(),
        "keep the window between messages: smaller ones, more memory",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """What stands in front of the edge: proxies, and how they say who the client is."""

    trusted_proxies: tuple[str, ...] = option(
        (), Networks(), "peers whose word on the client's address is taken; empty is nobody"
    )
    forwarded_header: str = option(
        "none",
        Choice("none", "x-forwarded-for", "forwarded"),
        "the header in which they say it",
    )
    proxy_protocol: bool = option(
        False, Boolean(), "their connections begin with a PROXY header, of version 1 or 2"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """How much one connection, user or address may ask for.  0 is no limit."""

    connection_messages: int = option(
        0, Integer(0, 1_000_000_000), "commands in a second from one connection; 0 is no limit"
    )
    connection_bytes: int = option(0, Size(0, GIB), "bytes of messages in a second from one connection")
    user_messages: int = option(
        0, Integer(0, 1_000_000_000), "commands in a second from all connections of a user"
    )
    user_bytes: int = option(0, Size(0, GIB), "bytes in a second from all connections of a user")
    address_messages: int = option(
        0, Integer(0, 1_000_000_000), "commands in a second from one address, or one IPv6 /64"
    )
    address_bytes: int = option(0, Size(0, GIB), "bytes in a second from one address, or one IPv6 /64")
    burst: float = option(5.0, Duration(0.1, _HOUR), "for how long an unused rate is saved up")
    connections_per_user: int = option(0, Integer(0, 10_000_000), "most connections of one user")
    connections_per_address: int = option(
        0, Integer(0, 10_000_000), "most connections of one address, or of one IPv6 /64"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisOptions:
    """How a gateway uses Redis, where it is the broker.  The same for all gateways that share one."""

    prefix: str = option("ringgate", Prefix(), "what the names of all keys and pub/sub channels begin with")
    lease: float = option(
        10.0, Duration(1.0, _HOUR), "take a gateway's clients out of presence so long after its end"
    )
    check_interval: float = option(
        20.0, Duration(1.0, _HOUR), "within this time every channel is compared with Redis"
    )
    channel_idle: float = option(
        600.0, Duration(60.0, 30 * _DAY), "how long a channel that nobody uses keeps its count"
    )
    connect_timeout: float = option(3.0, Duration(0.1, _HOUR), "longest time to connect")
    command_timeout: float = option(2.0, Duration(0.1, _HOUR), "longest time for the reply to a command")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOptions:
    """What one client may ask for, and how long it is remembered."""

    max_channels: int = option(256, Integer(1, 1_000_000), "most subscriptions of one connection")
    max_commands_per_frame: int = option(100, Integer(1, 10_000), "most commands in one frame")
    resume_ttl: float = option(60.0, Duration(0.0, 7 * _DAY), "how long a lost session is remembered")
    max_publish_bytes: int = option(32 * KIB, Size(1, GIB), "largest payload of one publication")
    max_keys: int = option(
        100_000,
        Integer(2, 10_000_000),
        "most idempotency keys that are remembered of one user, or client without",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceOptions:
    """The channels of one namespace."""

    history_size: int = option(100, Integer(0, 1_000_000), "most publications kept per channel; 0 keeps none")
    history_bytes: int = option(MIB, Size(0, GIB), "most bytes of history per channel; 0 is no bound")
    history_ttl: float = option(300.0, Duration(0.01, 365 * _DAY), "how long a publication is kept")
    idempotency_ttl: float = option(
        300.0, Duration(300.0, 7 * _DAY), "how long the key of a publication is remembered"
    )
    state: bool = option(
        False,
        Boolean(),
        "channels have a state, changed by update; nothing else is published",
    )
    max_state_bytes: int = option(64 * KIB, Size(16, GIB), "largest state of a channel, as JSON text")
    state_ttl: float = option(_DAY, Duration(1.0, 365 * _DAY), "how long a state that nobody uses is kept")
    presence: bool = option(True, Boolean(), "keep who is in a channel")
    join_leave: bool | str = option(
        True,
        BooleanOr("user"),
        'tell subscribers who comes and goes; "user": once for each user',
    )
    subscribe: tuple[str, ...] = option(
        (), Permissions("subscribe"), "who may subscribe; empty: anyone, but nobody once [auth] has keys"
    )
    publish: tuple[str, ...] = option(
        (), Permissions("publish"), "which clients may publish (services always may); empty: as above"
    )
    see_presence: tuple[str, ...] = option(
        ("subscribers",), Permissions("see"), "who may see who is in a channel"
    )
    see_history: tuple[str, ...] = option(
        ("subscribers",), Permissions("see"), "who may read what a channel keeps"
    )
    publish_rate: int = option(
        0, Integer(0, 1_000_000), "publications of clients to one channel in a second; 0 is no limit"
    )
    slow: str = option(
        "disconnect", Choice("disconnect", "skip", "latest"), "what happens to a client that reads too slowly"
    )
    ring_bytes: int = option(MIB, Size(4 * KIB, GIB), "most memory for a channel's unsent frames")
    ring_idle: float = option(10.0, Duration(0.01, _DAY), "give a silent channel's memory back after so long")


@dataclass(frozen=True, slots=True, kw_only=True)
class HookOptions:
    """What app services are asked and told.  A place is an upstream and a path there, as "app/hooks"."""

    connect: str = option("", HookPlace(), "asked whether a client may come in, and as whom")
    subscribe: str = option("", HookPlace(), "asked where a namespace's subscribe says hook")
    publish: str = option("", HookPlace(), "asked where a namespace's publish says hook")
    call: str = option("", HookPlace(), "answers the call commands of clients")
    message: str = option("", HookPlace(), "gets what clients send, and says what is to be done upon it")
    notices: str = option("", HookPlace(), "told what happened, until it says 2xx")
    events: tuple[str, ...] = option(
        ("channel_occupied", "channel_vacated", "disconnect", "notices_lost", "subscribed", "unsubscribed"),
        NoticeKinds(),
        "what it is told of",
    )
    vacated_after: float = option(
        5.0, Duration(0.0, _HOUR), "a channel is vacated when nobody came for so long"
    )
    give_up_after: float = option(
        900.0, Duration(0.0, 30 * _DAY), "a notice that was not taken for so long is a dead letter"
    )
    max_waiting: int = option(100_000, Integer(1, 10_000_000), "most notices that wait; more are dropped")
    max_dead_letters: int = option(10_000, Integer(1, 10_000_000), "most dead letters that are kept")
    source: str = option("/ringgate", RequestPath(), "where notices come from, in CloudEvents' words")
    secrets: tuple[Secret, ...] = option(
        (), Secrets(), "keys that sign requests; several while they are changed", secret=True
    )
    headers: tuple[str, ...] = option(
        (), HeaderNames(), "headers of a client's handshake that services get to see"
    )
    hash_by: str = option("user", HashBy(), "what stays at one address where an upstream balances by hash")
    call_timeout: float = option(
        10.0, Duration(0.01, _HOUR), "longest time for a call where the client says none"
    )
    call_timeout_most: float = option(30.0, Duration(0.01, _HOUR), "most time that a client may ask for")
    calls_at_once: int = option(
        1, Integer(1, 100), "calls of a connection under way at once; from 2 on nothing waits for a call"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """A group of addresses at which an app service can be reached."""

    addresses: tuple[str, ...] = option((), ServiceUrls(), "where the service is; a name may have several")
    weights: tuple[int, ...] = option(
        (), Weights(), "shares of the addresses, in their order; empty is the same for all"
    )
    balance: str = option(
        "round_robin", Choice("round_robin", "least_pending", "hash"), "how an address is chosen"
    )
    hash_bound: int = option(
        125, Integer(101, 1000), "with hash, most load of an address in percent of its share"
    )
    connect_timeout: float = option(1.0, Duration(0.01, _HOUR), "longest time to connect")
    timeout: float = option(5.0, Duration(0.01, _HOUR), "longest time for a request, also while it waits")
    retries: int = option(1, Integer(0, 10), "other addresses tried where nothing can be done twice")
    max_pending: int = option(128, Integer(1, 100_000), "most requests under way; others wait")
    max_waiting: int = option(1024, Integer(0, 1_000_000), "most requests that wait; others fail at once")
    max_answer_bytes: int = option(MIB, Size(KIB, GIB), "largest answer that is read")
    idle_timeout: float = option(
        4.0, Duration(0.01, _HOUR), "how long an unused connection is kept; less than the service keeps it"
    )
    resolve_interval: float = option(10.0, Duration(0.1, _DAY), "time between two look-ups of names")
    networks: tuple[str, ...] = option(
        (),
        ServiceNetworks(),
        "where names may lead; empty: anywhere but this machine and its links",
    )
    health_path: str = option("", RequestPath(), "asked with GET to see whether an address works")
    health_interval: float = option(5.0, Duration(0.05, _HOUR), "time between two health checks")
    health_timeout: float = option(2.0, Duration(0.01, _HOUR), "longest time for a health check")
    healthy_after: int = option(2, Integer(1, 100), "good checks that bring an address back")
    unhealthy_after: int = option(3, Integer(1, 100), "bad checks that take an address out")
    breaker_failures: int = option(5, Integer(1, 10_000), "failures in a row that take an address out")
    breaker_share: int = option(
        50, Integer(1, 100), "percent of failures within breaker_window that take it out"
    )
    breaker_window: float = option(
        10.0, Duration(0.1, _HOUR), "over what time that share counts, of 20 requests and more"
    )
    breaker_open: float = option(
        5.0, Duration(0.01, _HOUR), "how long an address stays out before it is tried; doubles each time"
    )
    breaker_open_most: float = option(60.0, Duration(0.01, _DAY), "the longest that it doubles to")
    breaker_probes: int = option(2, Integer(1, 100), "requests that must go well before it is back")
    slow_start: float = option(
        0.0, Duration(0.0, _HOUR), "time over which one that is back takes up its share"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """A path whose WebSockets are an upstream's: passed through to it, or told it as events."""

    path: str = option("", RoutePath(), "the path, or /prefix/* for all below a prefix")
    upstream: str = option("", UpstreamName(), "who gets the connections, and the clients' path and query")
    authenticate: bool = option(True, Boolean(), "ask clients who they are, where [auth] or a hook does")
    protocol: str = option(
        "websocket", Choice("websocket", "grip"), "what the upstream speaks: WebSocket, or events over HTTP"
    )
    stays_with: str = option(
        "address", StaysWith(), "what keeps clients at one address where the upstream's balance is hash"
    )
    move_within: float = option(
        30.0,
        Duration(0.0, _HOUR),
        "clients of an address that fails come back, spread over this time; 0: never",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole effective configuration.  `namespaces` always has "default"."""

    server: ServerOptions = field(default_factory=ServerOptions)
    api: ApiOptions = field(default_factory=ApiOptions)
    auth: AuthOptions = field(default_factory=AuthOptions)
    websocket: WebSocketOptions = field(default_factory=WebSocketOptions)
    edge: EdgeOptions = field(default_factory=EdgeOptions)
    limits: LimitOptions = field(default_factory=LimitOptions)
    redis: RedisOptions = field(default_factory=RedisOptions)
    session: SessionOptions = field(default_factory=SessionOptions)
    hooks: HookOptions = field(default_factory=HookOptions)
    grip: GripOptions = field(default_factory=GripOptions)
    api_keys: Mapping[str, ApiKeyOptions] = field(default_factory=lambda: MappingProxyType({}))
    namespaces: Mapping[str, NamespaceOptions] = field(
        default_factory=lambda: MappingProxyType({DEFAULT_NAMESPACE: NamespaceOptions()})
    )
    upstreams: Mapping[str, UpstreamOptions] = field(default_factory=lambda: MappingProxyType({}))
    routes: Mapping[str, RouteOptions] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def every_api_key(self) -> tuple[Secret, ...]:
        """All keys of the API, named or not."""
        named = (key for options in self.api_keys.values() for key in options.keys)
        return (*self.api.every_key, *named)

    @property
    def authenticates(self) -> bool:
        """Whether clients are let in by a token or by an app service; else this is development mode."""
        return self.auth.configured or bool(self.hooks.connect)

    @property
    def speaks_grip(self) -> bool:
        """Whether any route leads to a service that speaks GRIP."""
        return any(route.protocol == "grip" for route in self.routes.values())

    def namespace(self, name: str) -> NamespaceOptions:
        """Return the options of a namespace ("" for channels without one), or else those of the default."""
        return self.namespaces.get(name) or self.namespaces[DEFAULT_NAMESPACE]


SECTIONS: Final[Mapping[str, type]] = MappingProxyType(
    {
        "server": ServerOptions,
        "api": ApiOptions,
        "apikey": ApiKeyOptions,
        "auth": AuthOptions,
        "websocket": WebSocketOptions,
        "edge": EdgeOptions,
        "limits": LimitOptions,
        "redis": RedisOptions,
        "session": SessionOptions,
        "hooks": HookOptions,
        "grip": GripOptions,
        "namespace": NamespaceOptions,
        "upstream": UpstreamOptions,
        "route": RouteOptions,
    }
)


def section_doc(section: str) -> str:
    """Return what a section is about, in a line."""
    return (SECTIONS[section].__doc__ or "").strip()


def options_of(section: str) -> Iterator[Option]:
    """Yield the options of a section in the order of the table."""
    for entry in fields(SECTIONS[section]):
        meta = entry.metadata
        yield Option(section, entry.name, meta["kind"], entry.default, meta["doc"], meta["secret"])


def all_options() -> Iterator[Option]:
    """Yield every option, section by section."""
    for section in SECTIONS:
        yield from options_of(section)
