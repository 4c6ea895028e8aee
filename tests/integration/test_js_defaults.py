"""The JavaScript client and the Python client are set alike, under the same names."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from gateway.client.options import DEFAULTS

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "clients" / "js" / "dist" / "index.js"
README = (ROOT / "clients" / "js" / "README.md").read_text()
COUNTS = {"max_queued"}
ONLY_PYTHON = {
    "close_timeout",
    "max_unread",
    "max_message_bytes",
}  # browsers and their event loops have these
ONLY_JAVASCRIPT = {"probeTimeout"}  # tabs sleep


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def javascript(node: str) -> dict[str, float]:
    script = f"import({json.dumps(INDEX.as_uri())}).then((m) => console.log(JSON.stringify(m.DEFAULTS)))"
    told = subprocess.run([node, "-e", script], check=True, timeout=20, capture_output=True, text=True)
    settings: dict[str, float] = json.loads(told.stdout)
    return settings


def test_both_clients_are_set_alike(node: str) -> None:
    python = {name: getattr(DEFAULTS, name) for name in DEFAULTS.__struct_fields__ if name not in ONLY_PYTHON}
    assert python == {
        snake(name): value if snake(name) in COUNTS else value / 1000
        for name, value in javascript(node).items()
        if name not in ONLY_JAVASCRIPT
    }


def test_the_readme_says_what_they_are(node: str) -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([\d, ]+) \|", README, re.MULTILINE)
    told = {
        name: float(value)
        for names, values in rows
        for name, value in zip(re.findall(r"\w+", names), values.split(", "), strict=True)
    }
    assert told == javascript(node)
