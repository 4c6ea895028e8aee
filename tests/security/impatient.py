"""A gateway whose broker forgets unused channels after a second, where the real one waits a minute.

So that a test can see what a flood leaves behind when all of it should be forgotten.  It is called with the
arguments of `python -m gateway ...`, `-m gateway` included.
"""

import sys

from gateway.broker.memory import MemoryBroker
from gateway.cli import main

IDLE_S = 1.0

if __name__ == "__main__":
    defaults = MemoryBroker.__init__.__kwdefaults__
    assert defaults is not None
    assert "idle_s" in defaults
    defaults["idle_s"] = IDLE_S
    sys.exit(main(sys.argv[3:]))
