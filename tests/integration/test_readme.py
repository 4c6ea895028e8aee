"""What README.md says can be typed and pasted does what it says there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support.process import GatewayProcess, StartGateway

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^    (curl .*|ringgate .*)$", README, re.MULTILINE)


def command(start: str, gateway: GatewayProcess) -> list[str]:
    """Return the one command of the README that begins so, aimed at a gateway on other ports."""
    (line,) = [line for line in COMMANDS if line.startswith(start)]
    words = shlex.split(line.replace("127.0.0.1:8001", gateway.api))
    return [sys.executable, "-m", "gateway", *words[1:]] if words[0] == "ringgate" else words


def run(words: list[str]) -> str:
    return subprocess.run(words, check=True, timeout=20, capture_output=True, text=True).stdout


def test_every_ringgate_command_of_the_readme_is_known() -> None:
    for line in COMMANDS:
        words = shlex.split(line)
        if words[0] == "ringgate":
            assert "usage: ringgate" in run([sys.executable, "-m", "gateway", words[1], "--help"])


def test_curl_and_command_line_publish_what_the_command_line_hears(gateway_process: StartGateway) -> None:
    gateway = gateway_process()
    listen = [*command("ringgate subscribe", gateway), "--url", gateway.ws_url]
    with subprocess.Popen(listen, stdout=subprocess.PIPE, text=True) as hearing:
        try:
            assert hearing.stdout is not None
            while json.loads(hearing.stdout.readline())["type"] != "join":
                pass
            answer = run([*command("curl", gateway), "--silent", "--fail", "--noproxy", "*"])
            run([*command("ringgate publish", gateway), "--api", f"http://{gateway.api}"])
            heard = [json.loads(hearing.stdout.readline()) for _ in range(2)]
        finally:
            hearing.terminate()
    assert json.loads(answer)["offset"] == 1
    assert [event["data"] for event in heard] == ["Hello from curl", "Hello from the command line"]


@pytest.mark.timeout(120)
def test_javascript_runs_in_the_console_of_the_demo_page(
    gateway_process: StartGateway, chromium: str
) -> None:
    gateway = gateway_process()
    snippet = re.search(r"^```js\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert snippet is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"http://{gateway.api}/demo")
        # The page itself is there too: two clients are subscribed when the snippet has done it.
        page.evaluate(f"() => {{ {snippet[1].replace('127.0.0.1:8000', gateway.edge)} }}")
        expect(page.locator("#members li")).to_have_count(2, timeout=15_000)
        with page.expect_console_message() as line:
            run([*command("curl", gateway), "--silent", "--fail", "--noproxy", "*"])
        assert line.value.text == "a service Hello from curl"
        browser.close()


def test_the_javascript_client_does_what_the_example_says(
    gateway_process: StartGateway, node: str, tmp_path: Path
) -> None:
    gateway = gateway_process()
    snippet = re.search(r"^```javascript\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert snippet is not None
    client = (ROOT / "clients" / "js" / "dist" / "index.js").as_uri()
    ws = (ROOT / "tests" / "clients" / "node_modules" / "ws" / "wrapper.mjs").as_uri()
    text = snippet[1].replace('"ringgate"', json.dumps(client)).replace("127.0.0.1:8000", gateway.edge)
    script = tmp_path / "example.mjs"
    script.write_text(
        f"globalThis.WebSocket ??= (await import({json.dumps(ws)})).default;\n"
        f"{text}\n"
        "setTimeout(() => process.exit(0), 300);\n"
    )
    said = run([node, str(script)]).splitlines()
    assert "1 are here" in said
    assert "ada { text: 'hello' }" in said
