"""Make the pictures of the demo in docs/images: demo.png, demo-dark.png, demo-phone.png, and demo.gif.

    python scripts/screenshot.py --api http://127.0.0.1:8001 --out docs/images

Needs playwright, Pillow and a Chromium on the PATH.  The gateway must be in development mode and fresh,
since what was said before is in the pictures too.  The animation shows two browsers, the left one of
which loses its network and gets it back.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

from PIL import Image
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
    ("linus", "I pulled the cable for a while. It came back with everything I had missed."),
    ("", {"text": "Order 1842 was shipped", "order": 1842}),
    ("grace", "And that one was a plain HTTP POST?"),
    ("ada", "One curl. The board is a state channel, by the way"),
)
NOTES: Final = {
    "a": (0.06, 0.10, 0, "Ship 0.2 on Friday"),
    "b": (0.48, 0.07, 1, "Ask ops about Redis:\n- who restarts it?\n- how big?"),
    "c": (0.26, 0.46, 3, "Demo for the team\nTue 15:00"),
    "d": (0.68, 0.50, 2, "Coffee is out again"),
    "e": (0.03, 0.84, 4, "Retro: what went well?"),
}
FRAME_MS: Final = 200
WIDTH: Final = 960


def main() -> int:
    """Stage it all and write the pictures; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--api", default="http://127.0.0.1:8001", help="address of the internal port")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.chromium, args=list(FLAGS))
        stills(browser, arguments.api, arguments.out)
        animation(browser, arguments.api, arguments.out / "demo.gif")
        browser.close()
    return 0


def stills(browser: Browser, api: str, out: Path) -> None:
    """Write the three pictures of a staged conversation."""
    pages = {name: open_page(browser, api, name) for name in CAST}
    stage(pages, api)
    reader = pages["ada"]
    for name, scheme in (("demo.png", "light"), ("demo-dark.png", "dark")):
        reader.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        live(pages)
        reader.screenshot(path=out / name)
    phone = open_page(browser, api, "mia", width=390, height=780, touch=True)
    live(pages)
    phone.screenshot(path=out / "phone-chat.png")
    phone.click("#tabs [value=board]")
    live(pages)
    phone.screenshot(path=out / "phone-board.png")
    beside(out / "demo-phone.png", out / "phone-chat.png", out / "phone-board.png")
    for page in (*pages.values(), phone):
        page.context.close()


def open_page(
    browser: Browser, api: str, name: str, width: int = 1280, height: int = 800, *, touch: bool = False
) -> Page:
    """Open the demo page as `name` and wait until it is connected."""
    size: Any = {"width": width, "height": height}
    context = browser.new_context(viewport=size, device_scale_factor=2 if touch else 1.5, has_touch=touch)
    page = context.new_page()
    page.add_init_script(f"sessionStorage.name ??= '{name}'")
    page.goto(f"{api}/demo")
    page.wait_for_selector("#status[data-state=online]")
    return page


def stage(pages: dict[str, Page], api: str) -> None:
    """Play the conversation, and fill the board."""
    notes = {
        name: {"x": x, "y": y, "z": n, "tint": tint, "text": text}
        for n, (name, (x, y, tint, text)) in enumerate(NOTES.items())
    }
    post(api, "/api/update", {"channel": "ringgate-demo:board", "base": 0, "patch": {"notes": notes}})
    for name, text in SCRIPT:
        if name:
            pages[name].fill("#text", str(text))
            pages[name].press("#text", "Enter")
        else:
            post(api, "/api/publish", {"channel": "chat:demo", "data": text})
        pages["ada"].wait_for_timeout(700)


def live(pages: dict[str, Page]) -> None:
    """Let cursors be on the board, and somebody type."""
    pages["linus"].fill("#text", "")
    pages["linus"].locator("#text").press_sequentially("Nice")
    for name, x, y in (("grace", 560, 330), ("linus", 220, 560)):
        pages[name].mouse.move(x, y)
        pages[name].mouse.move(x + 4, y + 4)
    pages["ada"].wait_for_timeout(500)


def animation(browser: Browser, api: str, path: Path) -> None:
    """Film two browsers: the left one loses its network, both go on, and it comes back."""
    left, right = (open_page(browser, api, name, 1000, 640) for name in ("ada", "grace"))
    frames: list[Image.Image] = []

    def film(count: int) -> None:
        for _ in range(count):
            frames.append(side_by_side(left, right))
            left.wait_for_timeout(FRAME_MS / 4)

    film(3)
    left.locator("#cut").check(force=True)
    film(6)
    left.fill("#text", "Written in a tunnel")
    left.press("#text", "Enter")
    film(2)
    right.fill("#text", "ada, are you there?")
    right.press("#text", "Enter")
    left.locator(".note[data-id=a] textarea").fill("Ship 0.2 on Monday!")
    film(3)
    drag(right, "d", -60, 90, film)
    film(4)
    left.locator("#cut").uncheck(force=True)
    film(12)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=FRAME_MS * 1.5, loop=0, optimize=True
    )


def drag(page: Page, note: str, x: int, y: int, film: Any) -> None:
    """Move a note by so many pixels, filming."""
    box = page.locator(f".note[data-id={note}] .handle").bounding_box()
    if box is None:
        return
    start = (box["x"] + 60, box["y"] + 12)
    page.mouse.move(*start)
    page.mouse.down()
    for step in range(1, 5):
        page.mouse.move(start[0] + x * step / 4, start[1] + y * step / 4)
        film(1)
    page.mouse.up()


def side_by_side(left: Page, right: Page) -> Image.Image:
    """Return one frame: both windows, with a colour table of their own."""
    pictures = [Image.open(io.BytesIO(page.screenshot(scale="css"))).convert("RGB") for page in (left, right)]
    width, height = pictures[0].size
    frame = Image.new("RGB", (2 * width + 20, height), (120, 124, 136))
    frame.paste(pictures[0], (0, 0))
    frame.paste(pictures[1], (width + 20, 0))
    frame = frame.resize(
        (2 * WIDTH // 2, round(WIDTH * frame.height / frame.width)), Image.Resampling.LANCZOS
    )
    return frame.quantize(96, dither=Image.Dither.NONE)


def beside(path: Path, *parts: Path) -> None:
    """Put pictures beside each other into one, and remove them."""
    pictures = [Image.open(part).convert("RGB") for part in parts]
    width = sum(picture.width for picture in pictures) + 40 * (len(pictures) - 1)
    whole = Image.new("RGB", (width, pictures[0].height), (255, 255, 255))
    left = 0
    for picture in pictures:
        whole.paste(picture, (left, 0))
        left += picture.width + 40
    whole.save(path, optimize=True)
    for part in parts:
        part.unlink()


def post(api: str, path: str, body: Any) -> None:
    """Say something as an app service does."""
    request = urllib.request.Request(  # noqa: S310 - the address is the caller's own gateway
        f"{api}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        response.read()


if __name__ == "__main__":
    sys.exit(main())
