"""Memory that was freed, back to the system: tcmalloc would keep the hundreds of MB that compiling takes."""

import ctypes

# By name in the allocator that this process has: tcmalloc's, and libc's, which is there in any case.
CALLS = (("MallocExtension_ReleaseFreeMemory", ()), ("malloc_trim", (0,)))


def give_back() -> None:
    loaded = ctypes.CDLL(None)
    for name, arguments in CALLS:
        if hasattr(loaded, name):  # not every libc has its one
            getattr(loaded, name)(*arguments)
