"""`python -m sonjit`."""

import sys

from sonjit.cli import main

sys.exit(main())
