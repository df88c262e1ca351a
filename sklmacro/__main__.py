"""`python -m sklmacro`."""

import sys

from sklmacro.cli import main

sys.exit(main())
