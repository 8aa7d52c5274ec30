"""The collector's configuration, checked by the collector itself."""

import subprocess

from tests.parts_of import program_or_skip
from tests.tracing.zipkin import CONFIG


def test_the_collector_takes_its_configuration() -> None:
    command = [program_or_skip("otelcol"), "validate", "--config", CONFIG]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
