"""How fast this machine reads its memory: what limits an engine that runs on the processor."""

from __future__ import annotations

import ctypes
import mmap
import time
from concurrent.futures import ThreadPoolExecutor

from appliance.units import MIB

# More than workstations' processors keep in their caches, little beside any model, and filled in a third of a second.
_TOTAL = 256 * MIB
_SECONDS = 0.25


def measure(threads: int, available: int, seconds: float = _SECONDS) -> int | None:
    """Bytes read per second by all threads together; None where memory is too short for an honest figure.

    Counted are bytes read, once each, and nothing is written meanwhile: that is what an engine does with the
    weights for every token. Each thread searches a block of its own for a byte that is not there, with the
    C library's `memchr`, which reads as wide as the processor can and lets go of Python's lock. All blocks
    are filled first: memory that was never written is one shared page of zeros, read from the cache.
    """
    if available < 4 * _TOTAL:
        return None

    def read(block: ctypes.Array[ctypes.c_char]) -> float:
        began, count = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            _memchr(block, 2, len(block))
            count += len(block)
        return count / elapsed

    try:
        blocks = [_block(_TOTAL // threads) for _ in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(_fill, blocks))
            return int(sum(pool.map(read, blocks)))
    except (OSError, RuntimeError):
        # A limit of ours on memory or on threads.
        return None


def _block(size: int) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * size).from_buffer(mmap.mmap(-1, size))


def _fill(block: ctypes.Array[ctypes.c_char]) -> None:
    ctypes.memset(block, 1, len(block))


_memchr = ctypes.CDLL(None).memchr
_memchr.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_memchr.restype = ctypes.c_void_p
