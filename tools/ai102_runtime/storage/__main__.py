"""`python3 -m ai102_runtime.storage`."""

import sys

from ai102_runtime.storage.command import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
