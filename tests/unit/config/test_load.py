"""Merging file, environment and flags: every option all three ways, precedence, errors, rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import Address, Config, InvalidConfigError, Loaded, from_mapping, load
from gateway.config.auth import Algorithms, AuthKeys, ClaimName, CookieName, KeySetPlaces, Permissions, Texts
from gateway.config.endpoints import FileMode, ListenAddresses
from gateway.config.grip import ChannelPrefix, GripKeys
from gateway.config.kinds import (
    Boolean,
    BooleanOr,
    Choice,
    Duration,
    FilePath,
    Integer,
    Kind,
    Prefix,
    Size,
    WorkerCount,
    quote,
)
from gateway.config.lists import (
    ApiKeys,
    ChannelPatterns,
    Hosts,
    ListKind,
    Networks,
    Origins,
    Scopes,
    Secrets,
    ServiceNetworks,
)
from gateway.config.option import NAMED, Option
from gateway.config.routes import RoutePath, StaysWith, UpstreamName
from gateway.config.schema import all_options
from gateway.config.services import (
    HashBy,
    HeaderNames,
    HookPlace,
    NoticeKinds,
    RequestPath,
    ServiceUrls,
    Weights,
)
from gateway.config.sources import match_variable
from gateway.http.key_hashes import hash_of

OPTIONS = list(all_options())
IDS = [row.key for row in OPTIONS]

# Options of which none goes without another one.
PARTNERS = {
    "server.tls_cert": {"--tls-key": "other.pem"},
    "server.tls_key": {"--tls-cert": "other.pem"},
    "hooks.hash_by": {"--hooks-headers": "x-tenant"},
    "edge.forwarded_header": {"--edge-trusted-proxies": "127.0.0.1"},
    "edge.proxy_protocol": {"--edge-trusted-proxies": "127.0.0.1"},
}

# What tables do not go without, by section: the texts of flags.
NEED = {
    "apikey": {"apikey": ["chat.keys=needed", "chat.scopes=read"]},
    "upstream": {"upstream": ["chat.addresses=http://127.0.0.1:1"]},
    "route": {
        "upstream": [f"{name}.addresses=http://127.0.0.1:1" for name in ("chat", "first", "second")],
        "route": ["chat.path=/a", "chat.upstream=chat"],
    },
}

# Options that only go together with another one have values that do.
SPECIAL = {
    "websocket.ping_interval": ("31s", "32s", "33s"),
    "websocket.idle_timeout": ("2m", "3m", "4m"),
    "namespace.NAME.ring_bytes": ("65KiB", "66KiB", "67KiB"),
    "namespace.NAME.history_size": ("0", "1", "2"),
    "session.max_publish_bytes": ("1KiB", "2KiB", "3KiB"),
    "server.broker": ("redis://a", "redis://b:6380 redis://c", "rediss://d/1"),
}


TEXTS: dict[type[Kind], tuple[str, str, str]] = {
    WorkerCount: ("2", "auto", "256"),
    Duration: ("301s", "6m", "401"),
    Prefix: ("a", "b.c", "d-e"),
    FilePath: ("a.pem", "/etc/b.pem", "c.pem"),
    FileMode: ("660", "0666", "700"),
    Origins: ("https://a.example", "http://b.example:1,http://c.example", "*"),
    Hosts: ("ringgate", "a.internal,10.0.0.1", "*"),
    Networks: ("10.0.0.0/8", "192.0.2.7/32,unix", "2001:db8::/32"),
    ServiceNetworks: ("10.0.0.0/8", "192.0.2.7/32,::1/128", "2001:db8::/32"),
    ApiKeys: ("first-key", f"second-key,sha256:{'0a' * 32}", "fourth-key"),
    Scopes: ("publish", "read,connections", "admin"),
    ChannelPatterns: ("a:*", "b,@c-*", "*"),
    Secrets: ("first-key", "second-key,third-key", "fourth-key"),
    AuthKeys: (f"HS256:{'k' * 32}", f"HS256/a:{'l' * 32},HS384/b:{'m' * 48}", f"HS512:{'n' * 64}"),
    KeySetPlaces: ("https://a.example/jwks", "file:/etc/keys.json,https://b.example", "http://localhost:1/"),
    Algorithms: ("RS512", "PS256,Ed25519", "ES384"),
    Texts: ("a", "b,c", "https://issuer.example/"),
    ClaimName: ("a", "https://a.example/user", "b.c"),
    CookieName: ("a", "__Host-token", "b.c"),
    Permissions: ("nobody", "claim:role=admin,channel:a:{user}:*", "user-owned"),
    ServiceUrls: ("http://a", "http://a:1,https://[::1]:65535", "https://b.internal"),
    Weights: ("2", "3", "1000"),
    HookPlace: ("app/", "app/hooks", "app/hooks/a?b"),
    NoticeKinds: ("disconnect", "subscribed,disconnect", "channel_vacated"),
    HeaderNames: ("cookie", "authorization,x-tenant", "traceparent"),
    HashBy: ("session", "channel", "header:x-tenant"),
    RequestPath: ("/health", "/a/b?c", "/"),
    RoutePath: ("/chat", "/app/*", "/"),
    StaysWith: ("header:X-User", "cookie:sid", "query:user"),
    GripKeys: ("k" * 32, f"base64:{'aa' * 24},{'l' * 40}", "m" * 64),
    ChannelPrefix: ("a:", "", "a/b:c"),
    UpstreamName: ("chat", "first", "second"),
}


def texts(row: Option) -> tuple[str, str, str]:
    """Return three allowed texts for an option, different ones where its kind has as many, no default."""
    if row.key in SPECIAL:
        return SPECIAL[row.key]
    kind = row.kind
    if isinstance(kind, BooleanOr):
        return kind.words[0], "false", kind.words[0]
    if isinstance(kind, Boolean):
        new = "false" if row.default else "true"
        return new, new, new
    if isinstance(kind, Choice):
        words = [word for word in kind.words if word != row.default]
        return words[0], words[-1], words[0]
    if isinstance(kind, Integer):
        low, next_one = [n for n in range(kind.low, kind.low + 3) if n != row.default][:2]
        return str(low), str(next_one), str(kind.high)
    if isinstance(kind, Size):
        return f"{kind.low + 1}", f"{kind.low + 2}B", "77KiB"
    if isinstance(kind, ListenAddresses):
        return "127.0.0.1:1", f"localhost:2,unix:/run/{row.name}.sock", f"[::1]:3,systemd:{row.name}"
    return TEXTS[type(kind)]


def table_of(row: Option) -> str:
    return f"{row.section}.chat" if row.section in NAMED else row.section


def toml_of(row: Option, text: str) -> str:
    """Return a file that sets one option to a text."""
    table = table_of(row)
    is_number = text.isdecimal() and not isinstance(row.kind, FileMode)
    bare = text in ("true", "false") or isinstance(row.kind, Integer) or is_number
    if isinstance(row.kind, Weights):
        value = f"[{text}]"
    elif isinstance(row.kind, ListKind):
        value = "[" + ", ".join(quote(part) for part in text.split(",")) + "]"
    else:
        value = text if bare else quote(text)
    return f"[{table}]\n{row.name} = {value}\n"


def as_variable(row: Option, text: str) -> dict[str, str]:
    variable = row.variable.replace("_NAME_", "_CHAT_", 1) if row.section in NAMED else row.variable
    return {variable: text}


def with_partner(row: Option) -> dict[str, Any]:
    """Return flags that set what an option cannot go without."""
    if isinstance(row.kind, HookPlace):
        return {"named_flags": {"upstream": ["app.addresses=http://127.0.0.1:1"]}}
    needed = {
        section: [
            text for text in flags if (section, text.partition("=")[0]) != (row.section, f"chat.{row.name}")
        ]
        for section, flags in NEED.get(row.section, {}).items()
    }
    if needed:
        return {"named_flags": needed}
    return {"flags": PARTNERS[row.key]} if row.key in PARTNERS else {}


def as_flags(row: Option, text: str) -> dict[str, Any]:
    if row.section in NAMED:
        needed = dict(with_partner(row).get("named_flags", {}))
        needed[row.section] = [*needed.get(row.section, []), f"chat.{row.name}={text}"]
        return {"named_flags": needed}
    partner = with_partner(row)
    return {**partner, "flags": {row.flag: text, **partner.get("flags", {})}}


def value_of(config: Config, row: Option) -> object:
    section = (
        getattr(config, NAMED[row.section])["chat"] if row.section in NAMED else getattr(config, row.section)
    )
    value: object = getattr(section, row.name)
    return value


def load_text(tmp_path: Path, text: str, **others: Any) -> Loaded:
    file = tmp_path / "ringgate.toml"
    file.write_text(text)
    return load(file=file, **others)


def problems(tmp_path: Path, text: str, **others: Any) -> str:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(tmp_path, text, **others)
    return str(caught.value).replace(str(tmp_path), "")


def test_load_of_nothing_gives_the_documented_defaults() -> None:
    config = load().config
    assert config == Config()
    assert config.server.listen == (Address("127.0.0.1", 8000),)
    assert config.server.api_listen == (Address("127.0.0.1", 8001),)
    assert config.server.broker == "memory"
    default = config.namespace("")
    assert (default.history_size, default.history_ttl) == (100, 300.0)
    assert (default.presence, default.join_leave) == (True, True)
    assert (default.subscribe, default.publish) == ((), ())


@pytest.mark.parametrize("row", OPTIONS, ids=IDS)
def test_every_option_can_be_set_in_file_environment_and_flag(tmp_path: Path, row: Option) -> None:
    for text in texts(row):
        expected = row.kind.from_text(text)
        assert expected != row.default or row.name == "broker"
        more = with_partner(row)
        assert value_of(load_text(tmp_path, toml_of(row, text), **more).config, row) == expected
        assert value_of(load(environment=as_variable(row, text), **more).config, row) == expected
        assert value_of(load(**as_flags(row, text)).config, row) == expected


@pytest.mark.parametrize("row", OPTIONS, ids=IDS)
def test_flag_wins_over_environment_wins_over_file(tmp_path: Path, row: Option) -> None:
    in_file, in_environment, in_flag = texts(row)
    variable = as_variable(row, in_environment)
    two = load_text(tmp_path, toml_of(row, in_file), environment=variable, **with_partner(row))
    assert value_of(two.config, row) == row.kind.from_text(in_environment)
    three = load_text(tmp_path, toml_of(row, in_file), environment=variable, **as_flags(row, in_flag))
    assert value_of(three.config, row) == row.kind.from_text(in_flag)
    path = (row.section, "chat", row.name) if row.section in NAMED else (row.section, row.name)
    assert two.sources[path] == f"environment {next(iter(variable))}"
    assert three.sources[path].startswith("flag --")


@pytest.mark.parametrize("row", OPTIONS, ids=IDS)
def test_bad_value_of_every_option_names_key_line_found_and_allowed(tmp_path: Path, row: Option) -> None:
    table = table_of(row)
    text = problems(tmp_path, f"[{table}]\n\n{row.name} = {{ bad = 1 }}\n")
    found = "a value that is not shown" if row.secret else "a table"
    key = row.key.replace("NAME", "chat")
    assert f"/ringgate.toml, line 3: {key}: found {found}; " in text
    assert f"allowed: {row.kind.allowed()}" in text


def test_all_errors_of_all_places_are_reported_together(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load_text(
            tmp_path,
            '[server]\nlisten = 5\nlog_level = "loud"\n',
            environment={"RINGGATE_BACKLOG": "many"},
            flags={"--api-listen": "0.0.0.0:8001", "--websocket-ping-interval": "2m"},
            named_flags={"namespace": ["chat"]},
        )
    found = [(problem.key, problem.where.rpartition("/")[2]) for problem in caught.value.problems]
    assert found == [
        ("server.listen", "ringgate.toml, line 2"),
        ("server.log_level", "ringgate.toml, line 3"),
        ("server.backlog", "environment RINGGATE_BACKLOG"),
        ("", "flag --namespace"),
        ("server.api_listen", "flag --api-listen"),
        ("websocket.idle_timeout", "default"),
    ]
    assert "the configuration has 6 errors:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[server]\nlisen = 1",
            'line 2: server.lisen: found an unknown key; did you mean "listen"?; allowed: one of listen,',
        ),
        ("[websockets]", 'line 1: websockets: found an unknown key; did you mean "websocket"?'),
        ('listen = "x"', "line 1: listen: found an unknown key; it belongs under [server]"),
        (
            "[server]\nhistory_size = 1",
            "server.history_size: found an unknown key; it belongs under [namespace.default]",
        ),
        (
            "[namespace]\nslow = 1",
            "line 2: namespace.slow: found 1; did you mean [namespace.default]?; allowed: a table",
        ),
        (
            '[namespace."a b"]\nslow = "skip"',
            'line 1: namespace: found "a b"; allowed: a name of 1 to 199 characters',
        ),
        ("server = 1", "line 1: server: found 1; allowed: a table [server]"),
        (
            '[server]\nbroker = "http://h"',
            "line 2: server.broker: found a value that is not shown; the URL of Redis is wrong",
        ),
        ("[server]\nlisten = \n", "/ringgate.toml, line 2: Invalid value; allowed: a TOML file"),
        ("[server]\nlisten = ", "/ringgate.toml: Invalid value, at the end of the file"),
        ("[server]\necho = true\necho = true\n", "/ringgate.toml, line 3: Cannot overwrite a value"),
        ('[server]\nlisten = "\\u001b[31m"', 'found "\\u001b[31m"'),
        ("[server]\nbacklog = 0x" + "f" * 5000, "found a very large number"),
        ("x = " + "[" * 100_000, "/ringgate.toml: nesting that is too deep"),
    ],
)
def test_mistake_in_the_file_is_named_with_a_hint(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems(tmp_path, text)


@pytest.mark.parametrize("data", [b"\xff", b"[server]\n\xc3(", b"\x00", b"#" * ((1 << 20) + 1)])
def test_file_that_is_no_text_is_an_error(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(data)
    with pytest.raises(InvalidConfigError, match=r"bad\.toml"):
        load(file=file)


def test_file_that_is_not_there_or_a_folder_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(InvalidConfigError, match="cannot be read"):
            load(file=path)


def test_file_that_cannot_be_read_does_not_cause_errors_of_what_it_may_have_set(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load(file=tmp_path / "none.toml", flags={"--listen": "0.0.0.0:1"})
    assert len(caught.value.problems) == 1


def test_secret_is_never_in_an_error(tmp_path: Path) -> None:
    text = problems(tmp_path, '[api]\nkeys = ["hunter 2"]', environment={"RINGGATE_API_KEYS": "hunter\x002"})
    assert "hunter" not in text
    assert text.count("a value that is not shown") == 2


def test_unknown_variable_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(InvalidConfigError, match='did you mean "RINGGATE_LISTEN"'):
        load(environment={"RINGGATE_LISEN": "x"})
    with pytest.raises(InvalidConfigError, match="found an unknown variable"):
        load(environment={"RINGGATE_NAMESPACE_CHAT_COLOUR": "x"})


def test_variables_of_others_and_of_kubernetes_are_ignored() -> None:
    environment = {
        "PATH": "/bin",
        "RINGGATE_CONFIG": "x",
        "RINGGATE_SERVICE_HOST": "10.0.0.1",
        "RINGGATE_SERVICE_PORT_HTTP": "80",
        "RINGGATE_PORT": "tcp://10.0.0.1:80",
        "RINGGATE_PORT_80_TCP_ADDR": "10.0.0.1",
        "RINGGATE_API_SERVICE_HOST": "10.0.0.1",
    }
    assert load(environment=environment).config == Config()


def test_no_option_is_taken_for_a_variable_of_kubernetes() -> None:
    assert all(match_variable(row.variable, {}) is not None for row in OPTIONS)


def test_names_of_variables_and_flags_are_unique() -> None:
    assert len({row.variable for row in OPTIONS}) == len(OPTIONS)
    assert len({row.flag for row in OPTIONS}) == len(OPTIONS)


def test_namespace_not_configured_has_the_options_of_the_default_one(tmp_path: Path) -> None:
    text = '[namespace.default]\nhistory_size = 7\nslow = "skip"\n'
    text += '[namespace.chat]\nslow = "latest"\n[namespace.empty]\n'
    config = load_text(tmp_path, text).config
    assert config.namespace("other") is config.namespace("default") is config.namespace("")
    assert config.namespace("other").history_size == 7
    assert (config.namespace("chat").history_size, config.namespace("chat").slow) == (7, "latest")
    assert config.namespaces["empty"] == config.namespace("default")


def test_namespace_in_the_environment_means_the_one_of_the_file_that_is_spelt_so(tmp_path: Path) -> None:
    text = "[namespace.My-Chat]\nhistory_size = 1\n"
    config = load_text(tmp_path, text, environment={"RINGGATE_NAMESPACE_MY_CHAT_HISTORY_SIZE": "2"}).config
    assert config.namespaces["My-Chat"].history_size == 2
    assert set(config.namespaces) == {"default", "My-Chat"}
    config = load(environment={"RINGGATE_NAMESPACE_MY_CHAT_HISTORY_SIZE": "2"}).config
    assert config.namespaces["my_chat"].history_size == 2


def test_namespace_in_the_environment_that_could_be_two_is_an_error(tmp_path: Path) -> None:
    text = "[namespace.a-b]\n[namespace.a_b]\n"
    found = problems(tmp_path, text, environment={"RINGGATE_NAMESPACE_A_B_SLOW": "skip"})
    assert "it could mean any of the namespaces a-b, a_b" in found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "NAME.OPTION=VALUE"),
        ("a.slow", "NAME.OPTION=VALUE"),
        ("a.slo=skip", 'did you mean "slow"?'),
        ("a:b.slow=skip", 'found "a:b"'),
        ("a.slow=never", 'namespace.a.slow: found "never"; allowed: "disconnect", "skip", "latest"'),
        ("a\x1b.slo=skip", "\\u001b"),
    ],
)
def test_namespace_flag_of_another_form_is_an_error(text: str, expected: str) -> None:
    with pytest.raises(InvalidConfigError) as caught:
        load(named_flags={"namespace": [text]})
    assert expected in str(caught.value)
    assert str(caught.value).replace("\n", "").isprintable()


def test_namespace_flag_takes_names_with_dots_and_equals_signs() -> None:
    config = load(named_flags={"namespace": ["a.b=c.history-size=5"]}).config
    assert config.namespaces["a.b=c"].history_size == 5


def test_edge_beyond_loopback_needs_insecure() -> None:
    with pytest.raises(InvalidConfigError, match=r"flag --listen: server\.listen: .*--insecure overrides"):
        load(flags={"--listen": "0.0.0.0:8000"})
    assert load(flags={"--listen": "0.0.0.0:8000", "--insecure": "true"}).config.server.insecure


def test_internal_port_beyond_loopback_needs_a_key_or_insecure() -> None:
    flags = {"--api-listen": "[::]:8001"}
    with pytest.raises(
        InvalidConfigError, match=r"server\.api_listen: .*api\.keys is empty; --insecure overrides"
    ):
        load(flags=flags)
    load(flags=flags | {"--insecure": "true"})
    load(flags=flags | {"--api-keys": "some-key"})

    hashed = ["a.keys=sha256:" + "0a" * 32, "a.scopes=publish"]
    load(flags=flags, named_flags={"apikey": hashed})


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        (["a.keys=k"], r"apikey\.a\.scopes: .*at least one of publish, read"),
        (["a.scopes=read"], r"apikey\.a\.keys: .*at least one key, or its hash"),
        (["a.keys=k", "a.scopes=write"], r"a list of the words publish, read, presence"),
        (["a.keys=k", "a.scopes=read", "a.channels=no channel"], r"with \* for any characters"),
        (["a.keys=sha256:abc", "a.scopes=read"], r"64 hexadecimal digits"),
        (["a.keys=k", "a.scopes=read", "b.keys=k", "b.scopes=publish"], r"a key that \[apikey\.a\] has, too"),
        (["a.keys=other", "a.scopes=read"], r"a key that \[api\] has, too"),
        (
            ["a.keys=k", "a.scopes=read", f"b.keys={hash_of('k')}", "b.scopes=read"],
            r"a key that \[apikey\.a\] has, too",
        ),
        (["a b.keys=k"], r"a name of 1 to 64 characters"),
    ],
)
def test_wrong_api_keys_are_told_and_not_shown(texts: list[str], told: str) -> None:
    with pytest.raises(InvalidConfigError, match=told) as raised:
        load(flags={"--api-keys": "other"}, named_flags={"apikey": texts})
    assert 'found "k"' not in str(raised.value)


@pytest.mark.parametrize(
    ("api", "good"), [("127.0.0.1:9000", False), ("127.0.0.1:9001", True), ("[::1]:9000", True)]
)
def test_both_ports_cannot_be_the_same(api: str, good: bool) -> None:
    flags = {"--listen": "127.0.0.1:9000", "--api-listen": api}
    if good:
        load(flags=flags)
    else:
        with pytest.raises(InvalidConfigError, match=r"another address than server\.listen"):
            load(flags=flags)


def test_both_ports_may_be_any_free_ones() -> None:
    load(flags={"--listen": "127.0.0.1:0", "--api-listen": "127.0.0.1:0"})


def test_idle_timeout_has_to_be_more_than_the_ping_interval() -> None:
    with pytest.raises(
        InvalidConfigError, match=r"websocket\.idle_timeout: found \"1m\"; allowed: more than"
    ):
        load(flags={"--websocket-ping-interval": "60s"})


@pytest.mark.parametrize(
    ("flag", "value"), [("--edge-forwarded-header", "forwarded"), ("--edge-proxy-protocol", "true")]
)
def test_nobody_is_believed_unless_it_is_said_who(flag: str, value: str) -> None:
    with pytest.raises(InvalidConfigError, match=r"while edge\.trusted_proxies is empty"):
        load(flags={flag: value})


def test_ring_has_to_hold_twice_the_largest_publication() -> None:
    with pytest.raises(
        InvalidConfigError, match=r"namespace\.chat\.ring_bytes: found \"4KiB\"; allowed: at least"
    ):
        load(named_flags={"namespace": ["chat.ring_bytes=4KiB"]})


def test_ring_has_to_hold_it_also_once_it_is_rounded_down_to_a_power_of_two() -> None:
    # A ring of 96 KiB uses 64 KiB, and 48 KiB of bytes are that much already in base64.
    flags = {"--session-max-publish-bytes": "48KiB"}
    with pytest.raises(
        InvalidConfigError, match=r"ring_bytes: found \"96KiB\"; allowed: at least \"128KiB\""
    ):
        load(flags=flags, named_flags={"namespace": ["default.ring_bytes=96KiB"]})
    load(flags=flags, named_flags={"namespace": ["default.ring_bytes=128KiB"]})


def test_every_option_has_one_line_of_documentation() -> None:
    for row in OPTIONS:
        assert 10 <= len(row.doc) <= 90
        assert row.doc.isprintable()


def test_from_mapping_reads_what_a_file_could_say() -> None:
    config = from_mapping({"server": {"listen": "127.0.0.1:0"}, "namespace": {"chat": {"slow": "skip"}}})
    assert config.server.listen == (Address("127.0.0.1", 0),)
    assert config.namespace("chat").slow == "skip"
    assert from_mapping({"websocket": {"origins": ("https://a.example",)}}).websocket.origins


def test_from_mapping_reports_every_fault() -> None:
    options = {"server": {"listen": "0.0.0.0:0", "lisen": b"x", "backlog": object()}}
    with pytest.raises(InvalidConfigError) as caught:
        from_mapping(options)
    assert [problem.key for problem in caught.value.problems] == [
        "server.lisen",
        "server.backlog",
        "server.listen",
    ]
    assert "options: server.backlog: found an object" in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["default.state=true"], r"namespace\.default\.state: found true; allowed: false"),
        (["doc.state=true", "doc.slow=skip"], r'namespace\.doc\.slow: found "skip"; allowed: "disconnect"'),
        (
            ["doc.state=true", "doc.max_state_bytes=600KiB"],
            r'namespace\.doc\.ring_bytes: found "1MiB"; allowed: at least "2MiB"',
        ),
    ],
)
def test_state_channels_go_with_what_keeps_them_up(flags: list[str], told: str) -> None:
    with pytest.raises(InvalidConfigError, match=told):
        load(named_flags={"namespace": flags})


def test_namespace_of_state_channels_is_taken() -> None:
    options = load(named_flags={"namespace": ["doc.state=true"]}).config.namespaces["doc"]
    assert (options.state, options.max_state_bytes, options.state_ttl) == (True, 64 * 1024, 86400.0)
