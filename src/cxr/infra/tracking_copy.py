"""Copy an MLflow run to another tracking store: params, tags, datasets, steps of every metric."""

from pathlib import Path
from typing import Any

from cxr.errors import RunError
from cxr.infra import tracking

_AT_ONCE = 1000  # MLflow's own limit for metrics in one call
_OWN = "mlflow."  # tags that say where and by whom, which is no more true


def copy(
    source: str,
    run_id: str,
    target: str,
    *,
    experiment: str,
    artifacts: Path,
    tags: dict[str, str],
) -> str:
    """Copy a run and give its ID in the target.

    Args:
        source: Tracking URI of the store that has the run.
        run_id: There.
        target: Tracking URI.
        experiment: Name in the target; made if there is none.
        artifacts: As in `tracking.start`; they are not copied.
        tags: More tags.

    Raises:
        RunError: The source does not have the run.
    """
    from mlflow.exceptions import MlflowException

    there = tracking.opened(source)
    try:
        run = there.get_run(run_id)
    except MlflowException as error:
        raise RunError(f"the MLflow store of the job has no run {run_id!r}") from error
    kept = {k: v for k, v in run.data.tags.items() if not k.startswith(_OWN)}
    made = tracking.start(
        target, experiment, run.info.run_name,
        params=run.data.params, tags=kept | tags, artifacts=artifacts,
    )  # fmt: skip
    metrics = [m for name in run.data.metrics for m in there.get_metric_history(run_id, name)]
    for first in range(0, len(metrics), _AT_ONCE):
        made.client.log_batch(made.run_id, metrics=_fresh(metrics[first : first + _AT_ONCE]))
    if run.inputs and run.inputs.dataset_inputs:
        made.client.log_inputs(made.run_id, run.inputs.dataset_inputs)
    return made.run_id


def _fresh(metrics: list[Any]) -> list[Any]:
    from mlflow.entities import Metric

    return [Metric(m.key, m.value, m.timestamp, m.step) for m in metrics]
