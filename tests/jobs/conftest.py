"""Of tests that several files share."""

import pytest

pytest.register_assert_rewrite("tests.jobs.ledger_promises", "tests.jobs.queue_promises")
