"""Read out of Triton's log why a model was not loaded or why the server ended."""

import re

# The ways Triton tells that one model cannot be served; both groups are in each.
FAILURES = tuple(
    re.compile(pattern)
    for pattern in (
        r"failed to load '(?P<model>[^']+)' version \S+: (?P<reason>.*)",
        r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*)",
        r"failed to load model '(?P<model>[^']+)': (?P<reason>.*)",
        r"(?P<reason>ensemble (?P<model>\S+) contains models that are not available or ambiguous: .*)",
        r"(?P<reason>[Ii]nvalid argument: ensemble '(?P<model>[^']+)' depends on .*)",
    )
)
DEPENDENCY = re.compile(r"depends on '(?P<model>[^']+)' which has no loaded version")
ERROR_LINE = re.compile(r'^(?:[EF]\d{4} \S+ \d+ [\w.]+:\d+\] |error: |\S*tritonserver: )"?(?P<text>.*?)"?$')
PROTOBUF_ERROR = re.compile(r"Error parsing text-format inference\.ModelConfig: (?P<place>.*)")
# Logged at every start on a machine without a GPU, and at every exit that was not waited for.
HARMLESS = ("CudaDriverHelper has not been", "CUDA driver version is insufficient", "failed to stop server")
# Triton's status, and the class of a Python exception, say nothing to the user.
PREFIX = re.compile(
    r"^(?:(?:Internal|Invalid argument|Not found|Unavailable|Unsupported|\w*Exception|ModelRefusedError): )+"
)
ADVICE = {
    "unable to find backend library": "leave the model out, or use a server that has it (NVIDIA's container)",
    "no GPUs are available": "write kind: KIND_CPU or KIND_AUTO",
    "at least one version must be available": "put the model file into a folder named 1",
    "models that are not available": "build or fix those first",
    "No module named": "install it in the environment that starts the server",
    "initialize LocalCache": "make the response cache smaller: response_cache_mb in models.toml [server]",
    "Unable to set NUMA": "name a node and cores of this machine: host_policies in models.toml [server]",
    "prevent scheduling of": "give the server as much: rate_limit.resources in models.toml [server]",
    "shared memory": "free some of /dev/shm, or give the container a larger --shm-size",
}


class TritonLog:
    """The lines of one server's log, as far as they tell what went wrong."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.last_error = "it logged no error"
        self._protobuf_error = ""

    def add(self, line: str) -> None:
        """Take in the next line."""
        if match := PROTOBUF_ERROR.search(line):
            self._protobuf_error = f" ({match['place']})"
        for pattern in FAILURES:
            if failure := pattern.search(line):
                reason = failure["reason"].rstrip('"')
                if "failed to read text proto" in reason:
                    reason += self._protobuf_error
                self.failures.setdefault(failure["model"], cleaned(reason))
                break
        if (error := ERROR_LINE.match(line)) and not any(text in line for text in HARMLESS):
            self.last_error = cleaned(error["text"])

    def why_it_ended(self, status: int) -> str:
        """One line for a server that ended before it was ready."""
        return self._models_that_failed() or f"tritonserver ended with status {status}: {self.last_error}"

    def why_not_ready(self, timeout_s: float) -> str:
        """One line for a server that runs and does not become ready."""
        reason = self._models_that_failed() or self.last_error
        return f"tritonserver was not ready within {timeout_s:g} s: {reason}"

    def _models_that_failed(self) -> str:
        causes, victims = dict(self.failures), []
        for model, reason in self.failures.items():
            # An ensemble repeats the whole reason of the model it could not have.
            if (needed := DEPENDENCY.search(reason)) and needed["model"] in self.failures:
                del causes[model]
                victims.append(model)
        reasons = [f"model {model!r} was not loaded: {reason}" for model, reason in causes.items()]
        return "; ".join([*reasons, *([f"and so neither were {', '.join(victims)}"] if victims else [])])


def cleaned(reason: str) -> str:
    """A reason without traceback, status and exception class, and with what to do where Triton does not say it."""
    text = re.split(r"(?:\\n|\n)+At:", reason)[0]
    text = PREFIX.sub("", " ".join(text.replace("\\n", " ").split())).rstrip(". ")
    advice = [advice for sign, advice in ADVICE.items() if sign in text]
    return ": ".join([text, *advice[:1]])
