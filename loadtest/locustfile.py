"""Locust load test of a Triton server: `locust -f loadtest/locustfile.py`; see loadtest/README.md."""

from __future__ import annotations

import sys
from pathlib import Path

# Locust imports modules from this folder and the current one; the package `loadtest` is in the parent folder. The
# path is appended, since Locust removes the first entry again.
sys.path.append(str(Path(__file__).absolute().parent.parent))

from loadtest import running
from loadtest.users import TritonUser as TritonUser

running.listen()
