"""A gateway whose broker forgets unused channels after a second, where the real one waits a minute.

So that a test can see what a flood leaves behind when all of it should be forgotten.  It is called with the
arguments of `python -m gateway ...`, `-m gateway` included.  On SIGUSR2 it writes what is allocated, as two
numbers, to the file that HEAP_FILE names: Python's blocks, and bytes of malloc.  Unlike resident memory
these do not depend on what an allocator keeps.
"""

import ctypes
import gc
import os
import signal
import sys
from pathlib import Path

from gateway.broker.memory import MemoryBroker
from gateway.cli import main

IDLE_S = 1.0


_FIELDS = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"


class _Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in _FIELDS.split()]


def tell_heap(path: Path) -> None:
    """Write what is allocated now, after a collection."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = _Mallinfo
    gc.collect()
    found = mallinfo()
    written = path.with_suffix(".new")
    written.write_text(f"{sys.getallocatedblocks()} {found.uordblks + found.hblkhd}")
    written.replace(path)


if __name__ == "__main__":
    defaults = MemoryBroker.__init__.__kwdefaults__
    assert defaults is not None
    assert "idle_s" in defaults
    defaults["idle_s"] = IDLE_S
    if "HEAP_FILE" in os.environ:
        heap_file = Path(os.environ["HEAP_FILE"])
        signal.signal(signal.SIGUSR2, lambda number, frame: tell_heap(heap_file))
    sys.exit(main(sys.argv[3:]))
