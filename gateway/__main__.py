"""`python -m gateway` is `ringgate`."""

import sys

from .cli import main

sys.exit(main())
