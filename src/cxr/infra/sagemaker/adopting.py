"""Whether a training job that is there already is the one that is meant, and not to be paid twice.

A job is the same by its config and by its data. Channels are named by their content, so their
addresses say whether labels and images are still those that it was sent.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cxr.errors import RunError
from cxr.infra.aws import Account
from cxr.infra.sagemaker import following, kept
from cxr.infra.sagemaker.order import HYPERPARAMETER, Order, nameless

_UNPAID = ("Failed", "Stopped", "Stopping")


def check(described: Mapping[str, Any], value: str, data: Callable[[], Mapping[str, str]]) -> None:
    """Refuse a job of this name that is of another run, or of this run with other data.

    Args:
        described: What DescribeTrainingJob says.
        value: The hyperparameter of this run.
        data: Gives name → URI of this run's labels and images.

    Raises:
        RunError: It is another one.
    """
    if described.get("HyperParameters", {}).get(HYPERPARAMETER) != value:
        raise RunError(
            f"name: a training job called {described['TrainingJobName']} is in the account "
            "already, of another run; choose another name"
        )
    check_data(described, data())


def check_data(described: Mapping[str, Any], data: Mapping[str, str]) -> None:
    """Refuse a job that was sent other labels or images.

    Raises:
        RunError: It was.
    """
    met = sources(described)
    if any(met.get(name) != uri for name, uri in data.items()):
        raise RunError(
            f"name: {described['TrainingJobName']} was sent other labels or images than there "
            "are now; choose another name to train on these"
        )


def sources(described: Mapping[str, Any]) -> dict[str, str]:
    """Give name → URI of what a job was sent."""
    return {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3Uri"]
        for channel in described.get("InputDataConfig", ())
    }


def refuse_twin(
    account: Account,
    order: Order,
    value: str,
    channels: Mapping[str, str],
    *,
    made_up: str,
    again: Callable[[str], str],
) -> None:
    """Refuse to pay for what another run, begun here and not fetched yet, is paid for.

    Args:
        account: Where jobs run.
        order: The run that is to start.
        value: Its hyperparameter.
        channels: Name → URI of all that it is sent.
        made_up: How names begin that this command made up; these runs are meant to be beside it.
        again: Gives the command that follows a run.

    Raises:
        RunError: There is one.
    """
    same = nameless(value)
    for run, known in kept.unfetched(order.root):
        ours = known.region == account.region and not run.startswith(made_up)
        if not ours or nameless(known.hyperparameter) != same:
            continue
        described = following.describe(account, known.job)
        if (
            described
            and described["TrainingJobStatus"] not in _UNPAID
            and sources(described) == channels
        ):
            raise RunError(
                f"name: {known.job} trains the same on the same images already; follow and fetch "
                f"it by: {again(run)}; a name= of your own starts another job"
            )
