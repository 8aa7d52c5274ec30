"""A memory of requests for tests of what asks one."""


class SeenByThisTest:
    """Remembers for ever, in this process."""

    def __init__(self) -> None:
        self._names: set[tuple[str, bytes]] = set()

    def is_first(self, key_id: str, nonce: bytes, time_ms: int, now_ms: int) -> bool:
        name = (key_id, nonce)
        if name in self._names:
            return False
        self._names.add(name)
        return True
