"""A tritonserver that ends at once: to unload a Python model takes 3 s, and how servers stop is tested in one place."""

from types import TracebackType

from ai102.serve import server


class Server(server.Server):
    """As `ai102.serve.server.Server`; at the end of its with statement it is killed, with all that it started."""

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self.stop(at_once=True)
