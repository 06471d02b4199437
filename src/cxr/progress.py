"""Progress of long work on stderr: count, rate and time left.

Nothing moves where stderr is no terminal; then one line says what was done and how fast.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_log = logging.getLogger(__name__)


@contextmanager
def bar(what: str, total: int, *, done: int = 0) -> Iterator[Callable[[int], None]]:
    """Show progress of `total` things; yields a function that takes how many are done.

    Args:
        what: The verb, past tense, such as `labelled`.
        total: Of things; 0 shows nothing.
        done: How many were done before; they do not count for the rate.
    """
    console = Console(stderr=True)
    begun = time.monotonic()
    first = done
    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate)
    hidden = total <= done or not console.is_terminal
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=hidden
    ) as shown:
        task = shown.add_task(what, total=total, completed=done, rate="")

        def advance(count: int) -> None:
            nonlocal done
            done = count
            speed = (count - first) / max(time.monotonic() - begun, 1e-6)
            shown.update(task, completed=count, rate=f"{speed:.3g}/s")

        yield advance
    seconds = time.monotonic() - begun
    if done > first and seconds > 1:
        rate_s = (done - first) / seconds
        _log.info("%s %d in %.1f s (%.3g/s)", what, done - first, seconds, rate_s)
