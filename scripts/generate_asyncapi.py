"""Write docs/asyncapi.yaml, the description of the WebSocket side, from the records of the gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import yaml

from gateway.http.asyncapi import build_asyncapi

_FILE: Final = Path(__file__).resolve().parents[1] / "docs" / "asyncapi.yaml"
_HEAD: Final = "# AsyncAPI of the WebSocket side.  Written by `make asyncapi`; do not edit.\n"


def main() -> None:
    """Write the file."""
    document = json.loads(json.dumps(build_asyncapi()))  # without what YAML would refer to by name
    _FILE.write_text(_HEAD + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110))


if __name__ == "__main__":
    main()
