"""How much memory a codec takes for messages, measured by the kernel in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence

_CHILD = """
import ctypes, gc, importlib, sys
from base64 import b64decode
from pathlib import Path

def status(name):
    text = Path("/proc/self/status").read_text()
    return int(text.split(name + ":")[1].split()[0]) * 1024

module, name = sys.argv[1].split(":")
codec = getattr(importlib.import_module(module), name)()
payloads = [b64decode(line) for line in sys.stdin.read().split("\\n")]
codec.decode(b"", most=100)
gc.collect()
ctypes.CDLL(None).malloc_trim(0)  # what is free already would hide what is taken
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
for payload in payloads:
    codec.decode(payload, most=100)
print(max(0, status("VmHWM") - before))
"""


def peak_growth(codec: str, payloads: Sequence[bytes]) -> int:
    """Return by how many bytes resident memory grew at the most while `codec` decoded each payload.

    `codec` is "module:class".
    """
    lines = "\n".join(b64encode(payload).decode() for payload in payloads)
    run = subprocess.run(
        [sys.executable, "-c", _CHILD, codec],
        input=lines,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return int(run.stdout)
