"""Signals that end a process: the first one in order, a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_stop(stop: Callable[[], object]) -> Iterator[None]:
    """Calls `stop` at the first SIGINT or SIGTERM. Whatever comes after it ends the process on the spot, even where
    the event loop hangs: what was begun is taken up by others as after a crash."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    told = False

    def first() -> None:
        nonlocal told
        told = True
        for one in signals:
            loop.remove_signal_handler(one)
            signal.signal(one, signal.SIG_DFL)
        stop()

    for one in signals:
        loop.add_signal_handler(one, first)
    try:
        yield
    finally:
        if not told:
            for one in signals:
                loop.remove_signal_handler(one)
