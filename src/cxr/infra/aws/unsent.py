"""Requests as another library would send them, caught before they are.

The SageMaker SDK builds a request and sends it under a name of its own making; what is sent here
has our name, is checked first, and can be shown without credentials.
"""

from functools import cache
from typing import Any, NoReturn


class CaughtError(Exception):
    """A request was about to be sent.

    Attributes:
        request: Its parameters.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        super().__init__("caught before it was sent")
        self.request = request


@cache  # it reads megabytes of service descriptions
def session(region: str, service: str, operation: str) -> Any:
    """Give a boto3 session that raises `CaughtError` instead of sending one operation.

    Args:
        region: Such as eu-central-1.
        service: As boto3 names it.
        operation: As the API names it, such as `CreateTrainingJob`.
    """
    import boto3

    made = boto3.Session(region_name=region)
    made.events.register(f"provide-client-params.{service}.{operation}", _catch)
    return made


def _catch(params: dict[str, Any], **_: Any) -> NoReturn:
    raise CaughtError(params)
