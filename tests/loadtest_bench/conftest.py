"""The modules of loadtest/ are scripts beside each other; the tests find them as the scripts do."""

import sys
from pathlib import Path

LOADTEST = Path(__file__).parent.parent.parent / "loadtest"
sys.path[:0] = [str(LOADTEST)]
