"""People who go on asking while a test does something."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def load(work: Callable[[], int], threads: int = 2) -> Iterator[list[int]]:
    """People who go on asking; the list has what they were answered."""
    said: list[int] = []
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            said.append(work())

    workers = [threading.Thread(target=go_on) for _ in range(threads)]
    for one in workers:
        one.start()
    try:
        yield said
    finally:
        over.set()
        for one in workers:
            one.join(60)
