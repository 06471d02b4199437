"""Managed MLflow from a VPC is refused before a job is paid for that could tell it nothing."""

from dataclasses import replace

import pytest

from cxr import config, schema
from cxr.errors import ConfigError
from cxr.infra.aws import Account
from cxr.infra.sagemaker import reach
from cxr.infra.sagemaker.order import Order

pytestmark = pytest.mark.aws

SERVER = "arn:aws:sagemaker:eu-central-1:123456789012:mlflow-tracking-server/cxr-mlflow"


@pytest.fixture
def network(aws):
    """A VPC whose jobs reach nothing: the client, its ID, and what conf/compute says of it."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.1.0/24")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName=vpc, Description="jobs", VpcId=vpc)["GroupId"]
    anywhere = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=anywhere)
    overrides = [
        "site=aws", "data.job=chest", f"compute.subnets=[{subnet}]",
        f"compute.security_groups=[{group}]",
    ]  # fmt: skip
    cfg = config.check(config.compose("train", overrides), schema.Train)
    return ec2, vpc, cfg.compute, group, anywhere


@pytest.fixture
def order(tmp_path):
    return Order("a", tmp_path, "val/loss", SERVER, "cxr", False, *[lambda folder: None] * 3)


def test_without_a_way_to_the_server_nothing_is_started(aws, network, order):
    _, vpc, settings, *_ = network

    with pytest.raises(
        ConfigError,
        match=rf"tracking\.uri: .* compute\.subnets .*aws\.sagemaker\.eu-central-1\.experiments in "
        rf"{vpc}; .*tracking=local",
    ):
        reach.check(Account(aws.region), settings, order)


def test_an_endpoint_or_an_open_group_is_a_way(aws, network, order):
    ec2, vpc, settings, group, anywhere = network
    account = Account(aws.region)

    ec2.authorize_security_group_egress(GroupId=group, IpPermissions=anywhere)
    reach.check(account, settings, order)
    ec2.revoke_security_group_egress(GroupId=group, IpPermissions=anywhere)
    ec2.create_vpc_endpoint(
        VpcId=vpc, VpcEndpointType="Interface",
        ServiceName="aws.sagemaker.eu-central-1.experiments",
    )  # fmt: skip
    reach.check(account, settings, order)


def test_nobody_is_asked_where_it_is_no_matter(aws, network, order):
    _, _, settings, *_ = network

    with aws.faults.deny("ec2:*"):
        reach.check(Account(aws.region), settings, replace(order, tracking_uri="sqlite:///a.db"))
        reach.check(Account(aws.region), settings.model_copy(update={"subnets": None}), order)
