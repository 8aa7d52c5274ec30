"""The package openvino, imported so that it works inside tritonserver."""

import os
import sys
from typing import Any

from ai102_runtime.engine.signature import ModelRefusedError

CONVERTER = "openvino.tools.ovc"


def imported() -> Any:
    """The package; raises ModelRefusedError where it is not installed. Nothing else here imports it."""
    # At its import, openvino sends a report of its use to its makers where it finds this package.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    # Without it, oneTBB binds a library of its own to libc's free(), which fails for what tcmalloc has allocated.
    os.environ["TBB_ENABLE_SANITIZERS"] = "1"
    # oneDNN would keep the code of a thousand steps beside those that the CPU plugin keeps.
    os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "0"
    # Converts models of other kinds: almost half of the import, and openvino does without it where it is missing.
    sys.modules.setdefault(CONVERTER, None)  # type: ignore[arg-type]
    try:
        import openvino
    except ModuleNotFoundError:
        raise ModelRefusedError(
            "openvino is not installed in the server's Python: pip install './tools/ai102_runtime[openvino]'"
        ) from None
    finally:
        if sys.modules[CONVERTER] is None:
            del sys.modules[CONVERTER]  # whoever wants it can import it
    return openvino


ov = imported()
