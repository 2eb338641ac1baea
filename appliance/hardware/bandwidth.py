"""How fast this machine reads its memory: what limits an engine that runs on the processor."""

from __future__ import annotations

import ctypes
import threading
import time

from appliance.units import MIB

# Far more than processors keep in their caches, and little beside any model.
_TOTAL = 512 * MIB
_SECONDS = 0.25


def measure(threads: int, available: int, seconds: float = _SECONDS) -> int | None:
    """Bytes read per second by all threads together; None when memory is too short for an honest figure.

    Counted are bytes read, once each, and nothing is written meanwhile: that is what an engine does with the
    weights for every token. Each thread searches a block of its own for a byte that is not there, with the
    C library's `memchr`, which reads as wide as the processor can and lets go of Python's lock. Each thread
    fills its own block first: memory that was never written is one shared page of zeros, which would be read
    from the cache, and on a machine with several memory controllers the filling thread gets the nearest.
    """
    if available < 4 * _TOTAL:
        return None
    start = threading.Barrier(threads)
    rates: list[float] = []

    def read() -> None:
        block = ctypes.create_string_buffer(_TOTAL // threads)
        ctypes.memset(block, 1, len(block))
        start.wait()
        began, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            _memchr(block, 2, len(block))
            count += len(block)
        rates.append(count / elapsed)

    workers = [threading.Thread(target=read) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return int(sum(rates))


_memchr = ctypes.CDLL(None).memchr
_memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_memchr.restype = ctypes.c_void_p
