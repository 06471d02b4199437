"""How much memory a piece of work took, whatever the process held at its worst before."""

import re
from pathlib import Path

_STATUS = Path("/proc/self/status")


def forget_peak() -> None:
    """Begin to look for the peak anew (Linux: proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Give the most bytes that were resident since `forget_peak`, or since the program began.

    Not `ru_maxrss`: a program starts with that of the process that started it.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text())
    if not found:
        raise RuntimeError("the kernel does not say VmHWM")
    return int(found[1]) << 10
