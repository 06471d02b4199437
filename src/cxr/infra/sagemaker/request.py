"""From what is configured to one CreateTrainingJob request, built by the SageMaker SDK.

Importing the SDK takes seconds and 224 MB, so only `built` does.
"""

import difflib
import json
import logging
import os
import re
from collections.abc import Mapping
from typing import Any

from cxr.aws_schema import SageMakerCompute
from cxr.errors import ConfigError
from cxr.infra.aws import Account, requests, unsent
from cxr.infra.sagemaker.order import HYPERPARAMETER, Order, base_name

ENTRY = ("python3", "/opt/ml/input/data/code/boot.py")
CHECKPOINTS = "/opt/ml/checkpoints"
_NUMBER = "([-+0-9.eE]+|nan|inf)"
_GPU = re.compile(r"ml\.[gp][0-9]")
_OWN_DISK = re.compile(r"ml\.([a-z]+[0-9]+[a-z]*d[a-z]*|g4dn|g5|g6e?|p[45][a-z]*|trn[0-9a-z]+)\.")
"""Instances with disks of their own, which are encrypted by themselves and take no key."""
_SETTINGS = {
    "SchemaVersion": "1.0",
    "SageMaker": {"PythonSDK": {"Modules": {"TelemetryOptOut": True}}},
}
"""Given, so that the SDK neither reports home nor reads a machine's own defaults."""


def image(settings: SageMakerCompute, region: str) -> str:
    """Give the container image: an own one, or the table's for this kind of machine."""
    if settings.image is not None:
        return settings.image
    kind = "gpu" if _GPU.match(settings.instance) else "cpu"
    return settings.images[kind].replace("{region}", region)  # type: ignore[index]


def ceiling(settings: SageMakerCompute, *, each: bool = False) -> str:
    """Say what the job costs by the listed prices, in USD.

    Args:
        settings: conf/compute/sagemaker.
        each: It is one of a sweep's.
    """
    price = settings.prices_usd.get(settings.instance)
    waiting = f" and {settings.keep_alive_s} s of keep_alive_s" if settings.keep_alive_s else ""
    trial = " for each trial" if each else ""
    if price is None:
        return (
            f"no price is listed for {settings.instance}: set it in compute.prices_usd, an hour in "
            f"USD, for a ceiling; at most {settings.count} × {settings.max_hours:g} h{waiting} are "
            f"paid for{trial}"
        )
    hourly = price * settings.count
    whole = hourly * (settings.max_hours + settings.keep_alive_s / 3600)
    spot = "; spot costs less" if settings.spot else ""
    return (
        f"{hourly:.2f} USD an hour ({settings.count} × {settings.instance}) at the listed "
        f"on-demand price of us-east-1, {whole:.2f} USD in {settings.max_hours:g} h{waiting}{trial}"
        f"{spot}; volumes, stored and moved data and logs come on top"
    )


def check_instance(settings: SageMakerCompute) -> None:
    """Refuse a kind of machine that there is not.

    Raises:
        ConfigError: With the nearest one.
    """
    known = requests.choices("sagemaker", "CreateTrainingJob", "ResourceConfig", "InstanceType")
    if settings.instance not in known:
        near = difflib.get_close_matches(settings.instance, known, 1)
        raise ConfigError(
            f"compute.instance: expected a machine that SageMaker trains on, met "
            f"{settings.instance!r}" + (f"; did you mean {near[0]}?" if near else "")
        )


def built(
    settings: SageMakerCompute,
    account: Account,
    order: Order,
    job: str,
    hyperparameter: str,
    channels: Mapping[str, str],
) -> dict[str, Any]:
    """Give the whole request, held against the published API.

    Args:
        settings: conf/compute/sagemaker, filled.
        account: Where it will run.
        order: The run.
        job: The training job's name.
        hyperparameter: As `order.hyperparameter` gives it.
        channels: Name → s3:// URI of a folder.

    Raises:
        AwsError: The API would refuse it.
        ConfigError: A role is missing, or a variable looks like a secret.
    """
    if settings.role_arn is None:
        raise ConfigError(
            "compute.role_arn: expected the role that the job assumes, met none; set it, or "
            "aws.stack to a stack made from training.yaml"
        )
    _check_environment(settings.environment)
    request = _by_sdk(settings, account, order, job, hyperparameter, channels)
    request["TrainingJobName"] = job
    request["AlgorithmSpecification"]["ContainerEntrypoint"] = list(ENTRY)
    requests.check("sagemaker", "CreateTrainingJob", request)
    return request


def shown(request: Mapping[str, Any]) -> str:
    """Give a request as JSON that a person reads."""
    return json.dumps(request, indent=2, ensure_ascii=False)


def _check_environment(environment: Mapping[str, str]) -> None:
    from cxr.config import SECRET

    for name in environment:
        if SECRET.search(name):
            raise ConfigError(
                f"compute.environment.{name}: expected no secret, which whoever may describe the "
                "job would read; let the job's role read it from Secrets Manager"
            )


def _by_sdk(
    settings: SageMakerCompute,
    account: Account,
    order: Order,
    job: str,
    hyperparameter: str,
    channels: Mapping[str, str],
) -> dict[str, Any]:
    """Let ModelTrainer build the request; its own way to start a script is not used.

    That way (sagemaker 3.27) sources hyperparameters in a shell, and uploads anew for every job.
    """
    os.environ["SAGEMAKER_VALIDATE_ROLE"] = "false"  # it would ask IAM, which few may
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.training import configs
    from sagemaker.train import ModelTrainer

    for chatty in ("sagemaker", "sagemaker.config"):  # its warnings are of calls never made
        logging.getLogger(chatty).setLevel(logging.ERROR)
    session = Session(
        boto_session=unsent.session(account.region, "sagemaker", "CreateTrainingJob"),
        default_bucket=account.bucket, sagemaker_config=_SETTINGS,
    )  # fmt: skip
    place = account.where("training", "runs", base_name(order.name))
    trainer = ModelTrainer(
        sagemaker_session=session, training_image=image(settings, account.region),
        role=settings.role_arn, base_job_name=job, compute=_compute(settings, account, configs),
        stopping_condition=_stopping(settings, configs),
        hyperparameters={HYPERPARAMETER: hyperparameter},
        environment={**settings.environment, "PYTHONUNBUFFERED": "1"},
        output_data_config=configs.OutputDataConfig(
            s3_output_path=f"{place}/output", **_key(account, "kms_key_id")
        ),
        checkpoint_config=configs.CheckpointConfig(
            s3_uri=f"{place}/checkpoints", local_path=CHECKPOINTS
        ),
        networking=_networking(settings, order, configs),
        tags=[configs.Tag(key=k, value=v) for k, v in account.tags.items()],
    ).with_metric_definitions(
        [
            configs.MetricDefinition(name=name, regex=f"{re.escape(name)}={_NUMBER}")
            for name in dict.fromkeys(
                ("train/loss", "val/loss", "val/auroc_macro", order.objective)
            )
        ]
    )  # fmt: skip
    data = [configs.InputData(channel_name=n, data_source=u) for n, u in channels.items()]
    try:
        trainer.train(input_data_config=data, wait=False, logs=False)
    except unsent.CaughtError as caught:
        return caught.request
    raise ConfigError("the installed sagemaker package builds no CreateTrainingJob; 3.27 does")


def _compute(settings: SageMakerCompute, account: Account, configs: Any) -> Any:
    pool = {"keep_alive_period_in_seconds": settings.keep_alive_s} if settings.keep_alive_s else {}
    own_disk = _OWN_DISK.match(settings.instance)
    return configs.Compute(
        instance_type=settings.instance, instance_count=settings.count,
        volume_size_in_gb=settings.volume_gb, enable_managed_spot_training=settings.spot,
        **pool, **({} if own_disk else _key(account, "volume_kms_key_id")),
    )  # fmt: skip


def _stopping(settings: SageMakerCompute, configs: Any) -> Any:
    wait = {"max_wait_time_in_seconds": round(settings.max_wait_hours * 3600)}
    return configs.StoppingCondition(
        max_runtime_in_seconds=round(settings.max_hours * 3600), **(wait if settings.spot else {})
    )


def _networking(settings: SageMakerCompute, order: Order, configs: Any) -> Any:
    vpc = (
        {"subnets": settings.subnets, "security_group_ids": settings.security_groups}
        if settings.subnets
        else {}
    )
    return configs.Networking(
        enable_network_isolation=order.isolated,
        enable_inter_container_traffic_encryption=settings.count > 1,
        **vpc,
    )


def _key(account: Account, name: str) -> dict[str, str]:
    return {} if account.kms_key is None else {name: account.kms_key}
