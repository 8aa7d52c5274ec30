"""Load on a Triton, by Locust: `locust -f loadtest/locustfile.py`; loadtest/README.md says how."""

from __future__ import annotations

import sys
from pathlib import Path

# Locust looks for modules here and in the folder it was started in; `loadtest` lies one higher. Behind all others, for
# Locust takes the first place away again.
sys.path.append(str(Path(__file__).absolute().parent.parent))

from loadtest import running
from loadtest.users import TritonUser as TritonUser

running.listen()
