"""Whether logs of a run by gitlab-ci-local have a secret: `python -m tests.ci SECRET_FILE...`, exit 1 where they do."""

import sys
from pathlib import Path

from tests.ci.local import leaks

secrets = {name: Path(name).read_text(encoding="utf-8") for name in sys.argv[1:]}
found = leaks(Path(".gitlab-ci-local/output"), secrets)
sys.stdout.write("".join(f"{line}\n" for line in found) or f"no word of {', '.join(secrets)} in any log\n")
raise SystemExit(1 if found else 0)
