"""What computes: the figures of a run are bit-exact on this machine, and nearly so on others.

On a CPU they depend on the instructions it has, on torch's build, on the precision, and on the
number of threads, which add up in another order.
"""

import os
import platform
from pathlib import Path
from typing import Any

import torch

_CPUINFO = Path("/proc/cpuinfo")


def here(precision: str, world: int = 1) -> dict[str, str]:
    """Describe the machine of this process; nothing of it names a host or a person.

    Args:
        precision: As resolved, such as `bf16-mixed`.
        world: Processes that train together.
    """
    found = {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "processes": str(world),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "system": f"{platform.system()} {platform.machine()}",
        "torch": str(torch.__version__),
        "precision": precision,
    }
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        found["gpu"] = ", ".join(sorted(set(names))) + f" ({len(names)})"
        cudnn: Any = torch.backends.cudnn
        found["cuda"] = f"{torch.version.cuda}, cuDNN {cudnn.version()}"
    return found


def _cpu() -> str:
    """Name the processor; Python knows only its kind on Linux."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
