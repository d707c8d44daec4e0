"""`python -m wsperception`: the command line."""

import sys

from wsperception.cli import main

sys.exit(main())
