"""What `ringgate config` prints: loads again as the same, hides secrets, documents every option."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

from gateway.config import Loaded, load
from gateway.config.render import render_markdown, render_toml
from gateway.config.schema import all_options

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"


def reload(tmp_path: Path, loaded: Loaded) -> Loaded:
    file = tmp_path / "printed.toml"
    file.write_text(render_toml(loaded))
    return load(file=file)


def test_render_toml_of_the_defaults_loads_again_as_the_defaults(tmp_path: Path) -> None:
    assert reload(tmp_path, load()).config == load().config


def test_render_toml_of_a_changed_configuration_loads_again_as_the_same(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file")
    loaded = load(
        environment={
            "RINGGATE_WEBSOCKET_ORIGINS": "https://a.example,https://b.example",
            "RINGGATE_ECHO": "1",
        },
        flags={
            "--listen": "[::1]:0",
            "--api-keys": f"file:{tmp_path}/key",
            "--shutdown-timeout": "0",
            "--websocket-close-timeout": "1.2345s",
            "--session-max-publish-bytes": "12345",
        },
        named_flags={
            "namespace": ['a.b"c.slow=skip'.replace('"', ""), "default.history_ttl=90s", "/x.history_bytes=0"]
        },
    )
    assert reload(tmp_path, loaded).config == loaded.config


def test_render_toml_hides_secrets_and_leaves_the_rest_loadable(tmp_path: Path) -> None:
    loaded = load(flags={"--api-keys": "hunter22,hunter23"})
    printed = render_toml(loaded)
    assert "hunter" not in printed
    assert '# keys = ["<hidden>", "<hidden>"]  # flag --api-keys' in printed
    assert reload(tmp_path, loaded).config.api.keys == ()


def test_render_toml_says_where_a_value_comes_from() -> None:
    printed = render_toml(
        load(environment={"RINGGATE_BACKLOG": "7"}, named_flags={"namespace": ["chat.slow=skip"]})
    )
    assert "backlog = 7  # environment RINGGATE_BACKLOG\n" in printed
    assert 'slow = "skip"  # flag --namespace\n' in printed
    assert "max_connections = 10000\n" in printed


def test_render_toml_with_an_odd_file_name_stays_on_its_line(tmp_path: Path) -> None:
    file = tmp_path / "a\nx = 1"
    file.write_text("[server]\nbacklog = 7\n")
    printed = render_toml(load(file=file))
    assert "\nx = 1" not in printed
    assert tomllib.loads(printed)["server"]["backlog"] == 7


def test_render_toml_documents_every_option() -> None:
    tables = {
        "apikey": ["app.keys=secret", "app.scopes=read"],
        "upstream": ["app.addresses=http://127.0.0.1:9000"],
        "route": ["app.path=/app", "app.upstream=app"],
    }
    printed = render_toml(load(named_flags=tables))
    for row in all_options():
        assert f"# {row.doc} (default " in printed
        assert f"; {row.variable}, --" in printed


def test_documentation_has_the_table_that_the_program_prints() -> None:
    text = DOCUMENT.read_text()
    between = text.partition("<!-- options: begin -->\n")[2].partition("<!-- options: end -->")[0]
    assert between == render_markdown()


def test_documentation_table_names_every_option_once() -> None:
    table = render_markdown()
    for row in all_options():
        assert table.count(f"| `{row.variable}` |") == 1


def test_command_config_markdown_prints_the_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "config", "--markdown"], capture_output=True, text=True, check=True
    )
    assert done.stdout == render_markdown()
