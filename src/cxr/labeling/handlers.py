"""Load the Lambda handlers by path, so that this machine runs the very files AWS would.

Nothing else names `lambdas/`.
"""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from cxr import places

Handler = Callable[[dict[str, Any], object], Any]


def load(name: str, environment: Mapping[str, str] | None = None) -> Handler:
    """Give `handler` of `lambdas/<name>.py`, from the checkout or the wheel.

    Args:
        name: Of the file.
        environment: What the function's configuration would set on AWS; None leaves it to the
            process's own.
    """
    path = places.shipped("lambdas") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"cxr_lambda_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if environment is not None:
        module.ENVIRONMENT = environment
    handler: Handler = module.handler
    return handler
