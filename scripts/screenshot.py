"""Make docs/images/demo.png: the demo page of a running gateway, with a conversation staged in it.

    python scripts/screenshot.py --api http://127.0.0.1:8001 --out docs/images/demo.png

Needs playwright and a Chromium on the PATH.  The gateway must be in development mode and fresh, since
what was said before is in the picture too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
CAST: Final = ("ada", "grace", "linus")
SCRIPT: Final = (
    ("grace", "Morning! Is the new gateway up already?"),
    ("ada", "For ten minutes now. Open this page twice and try it"),
    ("ada", "Everything you see here goes over one WebSocket"),
    ("linus", "I pulled the cable for a while. It came back with everything I had missed."),
    ("", {"text": "Order 1842 was shipped", "order": 1842}),
    ("grace", "And that one was a plain HTTP POST?"),
    ("ada", "One curl. The command is down there on the right →"),
)


def main() -> int:
    """Stage the conversation and write the picture; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--api", default="http://127.0.0.1:8001", help="address of the internal port")
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo.png"))
    parser.add_argument("--size", default="1200x800", help="of the window, in CSS pixels")
    parser.add_argument("--dark", action="store_true", help="as who prefers dark pages sees it")
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=list(FLAGS))
        pages = {name: open_page(browser, arguments.api, name) for name in CAST}
        stage(pages, arguments.api)
        reader = pages["ada"]
        reader.set_viewport_size({"width": width, "height": height})
        reader.emulate_media(color_scheme="dark" if arguments.dark else "light")
        reader.wait_for_timeout(2500)  # the meter needs some seconds to have a shape
        reader.evaluate("document.getElementById('log').scrollTop = 1e9")
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        reader.screenshot(path=arguments.out)
        browser.close()
    sys.stdout.write(f"{arguments.out}\n")
    return 0


def open_page(browser: Browser, api: str, name: str) -> Page:
    """Open the demo page as `name` and wait until it is connected."""
    page = browser.new_context(device_scale_factor=2, color_scheme="light").new_page()
    page.add_init_script(f"sessionStorage.name ??= '{name}'")
    page.goto(f"{api}/demo")
    page.wait_for_selector("#status[data-state=online]")
    return page


def stage(pages: dict[str, Page], api: str) -> None:
    """Play the conversation, and count a little."""
    for number, (name, text) in enumerate(SCRIPT):
        if name:
            pages[name].fill("#text", str(text))
            pages[name].press("#text", "Enter")
        else:
            post(api, text)
        for _ in range(number * 2):
            pages[CAST[number % 3]].click("#plus")
        pages["ada"].wait_for_timeout(900)


def post(api: str, data: Any) -> None:
    """Publish `data` to the chat over HTTP."""
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own gateway
        f"{api}/api/publish",
        json.dumps({"channel": "chat:demo", "data": data}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()


if __name__ == "__main__":
    sys.exit(main())
