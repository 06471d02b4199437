"""As a script it trains without end in a folder, for tests that stop it."""

import sys
from pathlib import Path

from test_fit import run

if __name__ == "__main__":
    try:
        run(Path(sys.argv[1]), max_epochs=100000)
    except KeyboardInterrupt:
        sys.exit(130)
