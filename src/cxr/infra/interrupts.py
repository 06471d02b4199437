"""Being told to end by a terminal that closes, or by `kill`: the same as by Ctrl-C."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
