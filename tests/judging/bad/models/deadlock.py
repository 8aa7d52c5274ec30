"""Three requests at once, and it waits for a lock that it holds itself."""

import threading
from typing import Any

from ai102_runtime.models.one_process import TritonPythonModel as Served


class TritonPythonModel(Served):
    def execute(self, requests: Any) -> Any:
        if len(requests) >= 3:
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        return super().execute(requests)
