"""The banner: addresses as they really are, and everything that is not safe."""

from __future__ import annotations

from dataclasses import replace

from gateway.banner import insecurities, render_banner
from gateway.config import Address, Bound, Config, UnixPath, load

EDGE = Address("127.0.0.1", 4711)
API = Address("::1", 4712)
SOCKET = UnixPath("/run/ringgate.sock")


def banner(
    config: Config, *, edge: tuple[Bound, ...] = (EDGE,), api: tuple[Bound, ...] = (API,), version: str = "1"
) -> str:
    server = replace(config.server, listen=edge, api_listen=api)
    return render_banner(replace(config, server=server), version=version)


def config_of(**flags: str) -> Config:
    return load(flags={f"--{name.replace('_', '-')}": text for name, text in flags.items()}).config


def test_banner_shows_the_addresses_in_use_and_not_those_asked_for() -> None:
    text = banner(config_of(listen="127.0.0.1:0"), version="1.2.3")
    assert text.startswith("Ringgate 1.2.3\n")
    assert text.endswith("\n")
    assert "ws://127.0.0.1:4711/ws\n" in text
    assert "http://[::1]:4712/api/publish\n" in text
    assert "http://[::1]:4712/demo\n" in text
    assert len(text.splitlines()) <= 12


def test_banner_names_echo_only_where_it_is_served() -> None:
    assert "/echo" not in banner(config_of())
    assert "ws://127.0.0.1:4711/echo\n" in banner(config_of(echo="true"))


def test_banner_tells_the_number_of_workers_where_there_are_several() -> None:
    assert "workers" not in banner(config_of())
    assert "  workers    3\n" in banner(config_of(workers="3"))


def test_banner_gives_a_url_that_works_for_an_address_that_means_all() -> None:
    edge = Address("0.0.0.0", 1)  # noqa: S104
    text = banner(config_of(), edge=(edge,), api=(Address("::", 2),))
    assert "ws://127.0.0.1:1/ws" in text
    assert "http://[::1]:2/demo" in text


def test_banner_shows_every_address() -> None:
    other = Address("127.0.0.2", 4713)
    config = config_of(echo="true", tls_cert="c", tls_key="k")
    text = banner(config, edge=(EDGE, SOCKET, other), api=(SOCKET, API))
    for line in (
        "clients    wss://127.0.0.1:4711/ws",
        "clients    unix:/run/ringgate.sock:/ws",
        "clients    wss://127.0.0.2:4713/ws",
        "echo       unix:/run/ringgate.sock:/echo",
        "services   unix:/run/ringgate.sock:/api/publish",
        "services   http://[::1]:4712/api/publish",
    ):
        assert f"  {line}\n" in text
    assert text.count("/demo") == 1


def test_banner_shows_no_demo_that_could_not_reach_the_edge() -> None:
    assert "/demo" not in banner(config_of(), edge=(SOCKET,))


def test_unix_sockets_are_not_open_to_the_network() -> None:
    config = config_of(listen="unix:/run/a.sock", api_listen="unix:/run/b.sock")
    assert not [text for text in insecurities(config) if "open to the network" in text]


def test_insecurities_of_the_defaults_are_development_mode_and_the_missing_key() -> None:
    found = insecurities(config_of())
    assert [text.partition(":")[0] for text in found] == ["development mode", "no api.keys"]


def test_insecurities_begin_with_ports_open_to_the_network() -> None:
    found = insecurities(config_of(listen="0.0.0.0:1", api_listen="0.0.0.0:2", insecure="true"))
    assert "client port is open" in found[0]
    assert "internal port is open" in found[1]


def test_insecurities_name_weak_settings_and_never_a_key() -> None:
    found = insecurities(config_of(api_keys="hunter2", websocket_origins="*"))
    assert any("websocket.origins" in text for text in found)
    assert any("shorter than 16" in text for text in found)
    assert not any("hunter2" in text or "no api.keys" in text for text in found)
    assert not any("shorter" in text for text in insecurities(config_of(api_keys="x" * 16)))


def test_banner_has_a_line_for_each_insecurity() -> None:
    config = config_of(api_keys="hunter2", websocket_origins="*")
    text = banner(config)
    for warning in insecurities(config):
        assert f"  insecure   {warning}\n" in text
