"""Being told to end by a terminal that closes, or by `kill`: the same as by Ctrl-C, or an exit."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def like_ctrl_c() -> Iterator[None]:
    """Have SIGTERM and SIGHUP raise KeyboardInterrupt inside the block, if it can be.

    What is ignored stays so: `nohup` ignores SIGHUP for whoever it starts.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in ALL:
            if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def like_exit() -> Iterator[None]:
    """Have SIGTERM raise SystemExit(143) inside the block, if it can be.

    Only the first one: schedulers send it to every process, and launchers once more to those
    below them, while what is unfinished is being marked so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, leave)
    _left.clear()
    try:
        yield
    finally:
        # a second one could still end it by itself: Python 3.11 gives its handlers up as it ends,
        # and only what is ignored stays so
        ended = signal.SIGTERM in _left
        signal.signal(signal.SIGTERM, signal.SIG_IGN if ended else before)


def leave(number: int, frame: FrameType | None) -> None:
    """End as shells say that a process was ended by this signal; a handler."""
    del frame
    if number not in _left:  # whatever handler somebody restores meanwhile
        _left.add(number)
        raise SystemExit(128 + number)


_left: set[int] = set()
