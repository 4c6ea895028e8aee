"""Writes the section of docs/benchmarks.md on the size of the JavaScript client: `python -m bench.bundle`.

Modules are measured as a page would load them: minified and gzipped (level 9).  Knows the committed
bundles of clients/js/dist, and esbuild for minifying those that are published readable.
"""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path
from typing import Final

from . import page

JS: Final = Path(__file__).parents[1] / "clients" / "js"
MODULES: Final = (
    ("ringgate.js", "the core: connection, resume, queue, presence, JSON"),
    ("msgpack.js", "`ringgate/msgpack`"),
    ("state.js", "`ringgate/state`: shared states"),
    ("status-element.js", "`ringgate/status`: the toast"),
    ("ringgate.all.js", "all of them in one script"),
)


def main() -> int:
    """Measure, write the section, return the exit status."""
    page.PAGE.write_text(page.filled(page.PAGE.read_text(), {"bundle": table()}))
    return 0


def table() -> str:
    """Return the table in Markdown."""
    rows = ["| module | | minified, bytes | gzipped, bytes |", "|---|---|---|---|"]
    for name, what in MODULES:
        text = minified(JS / "dist" / name)
        rows.append(f"| `{name}` | {what} | {len(text):,} | {len(gzip.compress(text, 9, mtime=0)):,} |")
    return "\n".join(rows)


def minified(path: Path) -> bytes:
    """Return a module as it would be served.  Raises subprocess.CalledProcessError without esbuild."""
    if path.name.startswith("ringgate."):
        return path.read_bytes()  # it is published minified
    command = [str(JS / "node_modules" / ".bin" / "esbuild"), "--minify", "--target=es2022", str(path)]
    return subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
