"""`python -m jnst`."""

import sys

from jnst.cli import main

sys.exit(main())
