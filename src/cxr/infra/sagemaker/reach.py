"""Whether a job in a VPC reaches the MLflow server it is to track to, asked before it costs."""

from cxr.aws_schema import SageMakerCompute
from cxr.errors import ConfigError
from cxr.infra.aws import Account
from cxr.infra.sagemaker.order import Order

_SERVICE = ".experiments"  # the end of aws.sagemaker.REGION.experiments, MLflow's endpoint


def check(account: Account, settings: SageMakerCompute, order: Order) -> None:
    """Refuse managed MLflow from subnets that have neither its endpoint nor a way to the internet.

    Args:
        account: Whose VPC.
        settings: conf/compute/sagemaker, filled.
        order: The run.

    Raises:
        ConfigError: The job would train, and could tell nobody.
        AwsError: The VPC may not be looked at.
    """
    if not settings.subnets or not order.tracking_uri.startswith("arn:"):
        return
    where = ", ".join(settings.subnets)
    found = account.call("ec2", "describe_subnets", where, SubnetIds=list(settings.subnets))
    vpcs = sorted({subnet["VpcId"] for subnet in found["Subnets"]})
    filters = [{"Name": "vpc-id", "Values": vpcs}]
    endpoints = account.call("ec2", "describe_vpc_endpoints", where, Filters=filters)
    if any(e["ServiceName"].endswith(_SERVICE) for e in endpoints["VpcEndpoints"]):
        return
    groups = account.call(
        "ec2", "describe_security_groups", where, GroupIds=list(settings.security_groups or ())
    )
    ways = (r for g in groups["SecurityGroups"] for r in g["IpPermissionsEgress"])
    if any(r["CidrIp"] == "0.0.0.0/0" for way in ways for r in way.get("IpRanges", ())):
        return  # the VPC's routes are its owner's affair
    raise ConfigError(
        f"tracking.uri: expected a server that jobs in compute.subnets reach, met managed MLflow "
        f"and no endpoint aws.sagemaker.{account.region}{_SERVICE} in {', '.join(vpcs)}; make one, "
        "or take tracking=local, whose runs are fetched"
    )
