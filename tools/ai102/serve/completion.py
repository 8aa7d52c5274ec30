"""Whether Triton needs to complete the configs of a repository before it loads them."""

import re
from collections.abc import Sequence
from pathlib import Path

# What Triton asks of a config that it takes as it is; docker/start-tritonserver.sh has the same rule.
NEEDED = ("input", "output", "max_batch_size", r"(?:backend|platform)")
LACKS_NOTHING = re.compile("".join(rf"(?=.*^{key}\b)" for key in NEEDED), re.MULTILINE | re.DOTALL)
COMPLETES = "auto_complete_config"


def completion_arguments(repository: Path, arguments: Sequence[str]) -> list[str]:
    """The flag that leaves completion out, where every model has a whole config and no code that adds to it.

    To complete a config, Triton starts the process of a Python model once more and asks it: half of the time to start.
    A server whose models may change while it runs (`--model-control-mode` among `arguments`) goes on completing.
    """
    is_fixed = not any(argument.startswith("--model-control-mode") for argument in arguments)
    models = [path for path in repository.iterdir() if path.is_dir()]
    needless = is_fixed and bool(models) and all(map(_lacks_nothing, models))
    return ["--disable-auto-complete-config"] if needless else []


def _lacks_nothing(model: Path) -> bool:
    try:
        config = (model / "config.pbtxt").read_text(encoding="utf-8", errors="replace")
        codes = [path.read_text(encoding="utf-8", errors="replace") for path in model.glob("*/model.py")]
    except OSError:
        return False
    return LACKS_NOTHING.match(config) is not None and not any(COMPLETES in code for code in codes)
