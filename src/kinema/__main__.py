"""`python -m kinema` is the command `kinema`."""

import sys

from kinema.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
