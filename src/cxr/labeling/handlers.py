"""Load the Lambda handlers by path, so that this machine runs the very files AWS would.

Nothing else names `lambdas/`.
"""

import importlib.util
import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from cxr import schema

Handler = Callable[[dict[str, Any], object], Any]


@cache
def load(name: str) -> Handler:
    """Give `handler` of `lambdas/<name>.py`, from the checkout or the wheel."""
    path = schema.shipped("lambdas") / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"cxr_lambda_{name}", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    handler: Handler = module.handler
    return handler


def configure(environment: Mapping[str, str]) -> None:
    """Give the handlers their environment; on AWS the function's configuration does."""
    os.environ.update(environment)
