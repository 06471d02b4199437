"""What runs in a training job's processes: a module, and one line of why it failed.

`python -m cxr.infra.inside cxr.train …` is `python -m cxr.train …` whose reason names nobody.
"""

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cxr.infra.container import ML, JobError, read_order, say, tell

_PLAIN = ("cxr.", "torch.distributed.")  # whose exceptions' texts name no patient


def below(module: str, arguments: Sequence[str]) -> int:
    """Be `python -m module`, and give its exit code; why it failed is told in one line."""
    ml = Path(os.environ.get(ML, "/opt/ml"))
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        reason = str(end.code)
    except Exception as error:  # noqa: BLE001 the process's outer edge
        reason = _described(ml, error)
    else:
        return 0
    if tell(ml, reason):
        say(reason)
    return 1


def _described(ml: Path, error: Exception) -> str:
    """Name an exception for all to read; what it says may name patients, and stays with the run."""
    if type(error).__module__.startswith(_PLAIN):
        return f"{type(error).__name__}: {error}"
    with suppress(OSError, JobError):
        folder = ml / "checkpoints" / "runs" / str(read_order(ml)["name"])
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "traceback.txt").open("a") as file:
            file.write("".join(traceback.format_exception(error)))
    frames = [(Path(f.filename).parts, f.lineno) for f in traceback.extract_tb(error.__traceback__)]
    ours = [(parts, at) for parts, at in frames if "cxr" in parts[:-1]] or frames
    parts, at = ours[-1]
    named = "/".join(parts[-1 - parts[::-1].index("cxr") :] if "cxr" in parts else parts[-1:])
    return f"{type(error).__name__} at {named}:{at}; more: traceback.txt among its checkpoints"


if __name__ == "__main__":
    sys.exit(below(sys.argv[1], sys.argv[2:]))
