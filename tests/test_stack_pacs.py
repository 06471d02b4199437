"""The stack of the PACS, each rule on its own: shown to hold, and shown to fail when broken.

A rule is a function from the parsed template to its faults, as in tests/cloudformation.py; those
that hold for every stack are asked there. `SPOILED` breaks each in turn.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import cloudformation as cf
import orthanc_servers
import pytest
import requests

from cxr.contract import signing
from cxr.images import dicom, synth
from cxr.infra.aws import lambdas
from cxr.infra.orthanc import container, processes, settings
from cxr.infra.orthanc.environment import Front, Settings

TEMPLATE = cf.load("pacs.yaml")
ROOT = Path(__file__).parents[1]
RULES = {}
SPOILED = []
DIGEST = "sha256:" + "0" * 64
NOTHING = "-".join(["0" * 8] * 5)  # no image has this Orthanc ID


def rule(*spoiled):
    """Note a rule, with changes (path, value) that must each make it speak."""

    def noted(function):
        RULES[function.__name__] = function
        SPOILED.extend((function.__name__, path, value) for path, value in spoiled)
        return function

    return noted


def container_of(template, name):
    for given in cf.properties(template, "AWS::ECS::TaskDefinition").values():
        for one in given["ContainerDefinitions"]:
            if one["Name"] == name:
                return one
    raise KeyError(name)


def told(definition):
    return {pair["Name"]: pair["Value"] for pair in definition.get("Environment", [])}


def wired(definition):
    return {pair["Name"]: cf.text(pair["ValueFrom"]) for pair in definition.get("Secrets", [])}


def of(template, name):
    return template["Resources"][name]["Properties"]


def orthanc_json(template):
    return json.loads(cf.text(told(container_of(template, "orthanc"))["ORTHANC_JSON"]))


def certainly_on(template, name, condition="Gateway"):
    return template["Resources"].get(name, {}).get("Condition") != condition


ORTHANC = "Resources.OrthancTask.Properties.ContainerDefinitions.1"
CLUSTER = "Resources.Database.Properties"
IMAGES = "Resources.ImageBucket.Properties"


@rule(
    (f"{CLUSTER}.StorageEncrypted", False),
    (f"{CLUSTER}.ManageMasterUserPassword", ...),
    (f"{CLUSTER}.MasterUserSecret.KmsKeyId", ...),
    (f"{CLUSTER}.DeletionProtection", False),
    (f"{CLUSTER}.BackupRetentionPeriod", 1),
    ("Parameters.BackupDays.MinValue", 0),
    ("Parameters.DeletionProtection.Default", "false"),
    ("Resources.Database.DeletionPolicy", "Delete"),
    ("Resources.Database.UpdateReplacePolicy", "Delete"),
    ("Resources.DatabaseParameters.Properties.Parameters", {"log_statement": "none"}),
    (f"{CLUSTER}.DBClusterParameterGroupName", ...),
    (f"{CLUSTER}.ServerlessV2ScalingConfiguration", ...),
    ("Resources.DatabaseWriter.Properties.DBInstanceClass", "db.r6g.large"),
)
def database_is_kept_encrypted_and_backed_up(template):
    given, whole = of(template, "Database"), template["Resources"]["Database"]
    wanted = {
        "StorageEncrypted": True, "ManageMasterUserPassword": True,
        "MasterUserSecret": {"KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]}},
        "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
        "DeletionProtection": {"Ref": "DeletionProtection"},
        "BackupRetentionPeriod": {"Ref": "BackupDays"},
        "DBClusterParameterGroupName": {"Ref": "DatabaseParameters"},
    }  # fmt: skip
    yield from (key for key, value in wanted.items() if given.get(key) != value)
    yield from (
        key for key in ("DeletionPolicy", "UpdateReplacePolicy") if whole.get(key) != "Snapshot"
    )
    if template["Parameters"]["BackupDays"]["MinValue"] < 7:
        yield "BackupDays"
    if template["Parameters"]["DeletionProtection"]["Default"] != "true":
        yield "DeletionProtection"
    if of(template, "DatabaseParameters")["Parameters"].get("rds.force_ssl") != "1":
        yield "rds.force_ssl"
    if "ServerlessV2ScalingConfiguration" not in given:
        yield "ServerlessV2ScalingConfiguration"
    for name, instance in cf.properties(template, "AWS::RDS::DBInstance").items():
        if instance["DBInstanceClass"] != "db.serverless":
            yield f"{name}: not serverless"


@rule(
    ("Resources.DatabaseParameters.Properties.Parameters.log_statement", "all"),
    ("Resources.DatabaseParameters.Properties.Parameters.log_min_duration_statement", "0"),
    ("Resources.DatabaseWriter.Properties.EnablePerformanceInsights", True),
    ("Resources.DatabaseLogs.Properties.LogGroupName", "/aws/rds/cluster/x/postgresql"),
    ("Resources.DatabaseWriter.DependsOn", ...),
)
def database_logs_hold_no_statements_and_end(template):
    parameters = of(template, "DatabaseParameters")["Parameters"]
    wanted = {
        "log_statement": "none", "log_min_duration_statement": "-1",
        "log_min_error_statement": "panic", "log_error_verbosity": "terse",
    }  # fmt: skip
    yield from (key for key, value in wanted.items() if parameters.get(key) != value)
    for name, instance in cf.properties(template, "AWS::RDS::DBInstance").items():
        if instance.get("EnablePerformanceInsights") is not False:
            yield f"{name}: keeps statements"
    group = cf.text(of(template, "DatabaseLogs")["LogGroupName"])
    if group != "/aws/rds/cluster/${Database}/postgresql":
        yield "DatabaseLogs: not the group that RDS writes to"
    if template["Resources"]["DatabaseWriter"].get("DependsOn") != "DatabaseLogs":
        yield "DatabaseLogs: RDS may make it first"


def reach(template):
    """(from, to, port) of every way in: from a group, a parameter, or the text that it is."""
    for name, given in cf.properties(template, "AWS::EC2::SecurityGroup").items():
        for way in cf.options(given.get("SecurityGroupIngress", [])):
            yield source(way), name, way["FromPort"], way["ToPort"]
    for given in cf.properties(template, "AWS::EC2::SecurityGroupIngress").values():
        for group in cf.options(given["GroupId"]):
            yield source(given), group["Ref"], given["FromPort"], given["ToPort"]


def source(way):
    if "SourceSecurityGroupId" in way:
        return way["SourceSecurityGroupId"]["Ref"]
    found = re.search(r"(Hospital|Worker)Cidrs", json.dumps(way["CidrIp"]))
    return found[0] if found else str(way["CidrIp"])


WAYS_IN = {
    ("HospitalCidrs", "BalancerSecurityGroup", 8443, 8443),
    ("WorkerCidrs", "BalancerSecurityGroup", 443, 443),
    ("BalancerSecurityGroup", "GatewaySecurityGroup", 8443, 8443),
    ("BalancerSecurityGroup", "OrthancSecurityGroup", 8443, 8443),
    ("GatewaySecurityGroup", "OrthancSecurityGroup", 8443, 8443),
    ("OrthancSecurityGroup", "DatabaseSecurityGroup", 5432, 5432),
    ("OrthancSecurityGroup", "EndpointSecurityGroup", 443, 443),
    ("GatewaySecurityGroup", "EndpointSecurityGroup", 443, 443),
    ("OrthancSecurityGroup", "EndpointSecurityGroupId", 443, 443),
    ("GatewaySecurityGroup", "EndpointSecurityGroupId", 443, 443),
}


@rule(
    ("Resources.DatabaseFromOrthanc.Properties.SourceSecurityGroupId",
     {"Ref": "BalancerSecurityGroup"}),
    ("Resources.OrthancFromBalancer.Properties.FromPort", 1),
    ("Resources.BalancerFromHospital1.Properties.CidrIp", "10.0.0.0/8"),
    ("Resources.BalancerFromHospital1.Properties.FromPort", 443),
    ("Resources.BalancerSecurityGroup.Properties.SecurityGroupIngress",
     [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "10.0.0.0/8"}]),
)  # fmt: skip
def who_reaches_whom_is_listed(template):
    met = set(reach(template))
    yield from (f"{way}: not listed" for way in met - WAYS_IN)
    yield from (f"{way}: missing" for way in WAYS_IN - met)


@rule(
    ("Resources.OrthancSecurityGroup.Properties.SecurityGroupEgress", ...),
    ("Resources.DatabaseSecurityGroup.Properties.SecurityGroupEgress", []),
    ("Resources.GatewaySecurityGroup.Properties.SecurityGroupEgress.1",
     {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "0.0.0.0/0"}),
    ("Resources.GatewaySecurityGroup.Properties.SecurityGroupEgress.1",
     {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "CidrIp": "10.0.0.0/8"}),
)  # fmt: skip
def nothing_reaches_the_internet(template):
    for name, given in cf.properties(template, "AWS::EC2::SecurityGroup").items():
        ways = list(cf.options(given.get("SecurityGroupEgress", [])))
        if not ways:
            yield f"{name}: EC2 would let everything out"
        for way in ways:
            named = {"DestinationSecurityGroupId", "DestinationPrefixListId"} & set(way)
            if not named and way.get("CidrIp") != "127.0.0.1/32":
                yield f"{name}: out to {way}"
    for name, given in cf.properties(template, "AWS::ECS::Service").items():
        if given["NetworkConfiguration"]["AwsvpcConfiguration"]["AssignPublicIp"] != "DISABLED":
            yield f"{name}: a public address"


GATEWAYS_OWN = {
    "GatewayService", "GatewayTask", "GatewayTargets", "ImageListener", "GatewaySecurityGroup",
    "GatewayFromBalancer", "OrthancFromGateway", "EndpointsFromGateway", "GatewayTaskRole",
    "GatewayExecutionRole", "BalancerToGateway", "GatewayScaling", "GatewayScalingPolicy",
    "GatewayLogs",
    "TokenKeySecret", "TokenKeyRotation", "RotateKeys", "RotateKeysRole", "RotateKeysPolicy",
    "RotateKeysPermission", "RotateKeysLogs",
}  # fmt: skip


@rule(
    ("Resources.ImageListener.Condition", ...),
    ("Resources.GatewayService.Condition", ...),
    ("Outputs.ImageUrl.Condition", ...),
    ("Conditions.Worker2", {"Fn::Not": [{"Fn::Equals": ["a", ""]}]}),
    ("Conditions.Gateway", {"Fn::Equals": [{"Ref": "ImageDelivery"}, "s3"]}),
    ("Rules.NobodyElseIsLetIn", ...),
    ("Resources.BalancerFromReaders3.Condition", ...),
    ("Resources.BalancerFromReaders3.Condition", "Hospital3"),
)  # fmt: skip
def way_b_lets_no_reader_in(template):
    yield from (
        f"{name}: there without a gateway" for name in GATEWAYS_OWN if certainly_on(template, name)
    )
    for name in ("ImageUrl", "TokenKeySecretArn", "TokenKeyKmsKeyArn", "GatewayServiceName"):
        if template["Outputs"][name].get("Condition") != "Gateway":
            yield f"Outputs.{name}: there without a gateway"
    if template["Conditions"]["Gateway"] != {"Fn::Equals": [{"Ref": "ImageDelivery"}, "gateway"]}:
        yield "Conditions.Gateway"
    guarded = {"Gateway"} | {
        name
        for name, given in template["Conditions"].items()
        if {"Condition": "Gateway"} in given.get("Fn::And", [])
    }
    for name, given in cf.resources(template, "AWS::EC2::SecurityGroupIngress").items():
        readers = "WorkerCidrs" in json.dumps(given["Properties"])
        if readers and given.get("Condition") not in guarded:
            yield f"{name}: readers without a gateway"
    asserted = template["Rules"].get("NobodyElseIsLetIn", {})
    if asserted.get("RuleCondition") != {"Fn::Equals": [{"Ref": "ImageDelivery"}, "s3"]}:
        yield "Rules: networks of readers where none is let in"


@rule(
    ("Resources.Balancer.Properties.Scheme", "internet-facing"),
    ("Rules.ReadersHaveNetworks", ...),
    ("Resources.ImageListener.Properties.Port", 80),
    ("Resources.ImageListener.Properties.SslPolicy", "ELBSecurityPolicy-TLS13-1-0-2021-06"),
    ("Resources.PacsListener.Properties.Certificates", [{"CertificateArn": "x"}]),
    ("Outputs.ImageUrl.Value", {"Fn::Sub": "http://${DomainName}"}),
    ("Resources.GatewayTargets.Properties.Protocol", "HTTP"),
    ("Resources.OrthancTargets.Properties.Matcher.HttpCode", "200"),
)
def way_a_is_internal_and_encrypted_to_the_end(template):
    if of(template, "Balancer")["Scheme"] != "internal":
        yield "Balancer: not internal"
    for name, port in (("ImageListener", 443), ("PacsListener", 8443)):
        given = of(template, name)
        wanted = (port, "HTTPS", "ELBSecurityPolicy-TLS13-1-3-2021-06")
        if (given["Port"], given["Protocol"], given["SslPolicy"]) != wanted:
            yield f"{name}: {given['Port']}, {given['SslPolicy']}"
        if given["Certificates"] != [{"CertificateArn": {"Ref": "CertificateArn"}}]:
            yield f"{name}: another certificate"
    for name, given in cf.properties(template, "AWS::ElasticLoadBalancingV2::TargetGroup").items():
        if (given["Protocol"], given["HealthCheckProtocol"]) != ("HTTPS", "HTTPS"):
            yield f"{name}: plain HTTP"
        if given["Matcher"] != {"HttpCode": "401"}:
            yield f"{name}: well although it lets anybody in"
    for name in ("PacsUrl", "ImageUrl"):
        if not cf.text(template["Outputs"][name]["Value"]).startswith("https://${DomainName}"):
            yield f"Outputs.{name}"
    asserted = json.dumps(template["Rules"].get("ReadersHaveNetworks", {}))
    if "WorkerCidrs" not in asserted or "gateway" not in asserted:
        yield "Rules: readers without networks"


@rule(
    ("Resources.Balancer.Properties.LoadBalancerAttributes.4.Value", "false"),
    ("Resources.Balancer.Properties.LoadBalancerAttributes.1.Value", "false"),
    ("Resources.AccessLogBucket.Properties.LifecycleConfiguration.Rules.0.ExpirationInDays", ...),
    ("Resources.Balancer.DependsOn", ...),
    ("Resources.AccessLogBucketPolicy.Properties.PolicyDocument.Statement.1.Resource", "*"),
    ("Resources.ImageBucket.Properties.LoggingConfiguration", ...),
)
def access_is_logged_and_logs_end(template):
    given = {a["Key"]: a["Value"] for a in of(template, "Balancer")["LoadBalancerAttributes"]}
    wanted = {
        "access_logs.s3.enabled": "true", "access_logs.s3.bucket": {"Ref": "AccessLogBucket"},
        "routing.http.drop_invalid_header_fields.enabled": "true",
        "deletion_protection.enabled": {"Ref": "DeletionProtection"},
    }  # fmt: skip
    yield from (key for key, value in wanted.items() if given.get(key) != value)
    first = of(template, "AccessLogBucket")["LifecycleConfiguration"]["Rules"][0]
    if first.get("ExpirationInDays") != {"Ref": "AccessLogDays"}:
        yield "AccessLogBucket: kept for ever"
    if template["Resources"]["Balancer"].get("DependsOn") != "AccessLogBucketPolicy":
        yield "Balancer: made before it may write its log"
    for s in cf.statements(template):
        if s.where.startswith("AccessLogBucketPolicy") and s.allows:
            place = f"/{given['access_logs.s3.prefix']}/AWSLogs/${{AWS::AccountId}}/*"
            if not s.resources[0].endswith((place, "/images/*")):
                yield f"{s.where}: writes anywhere"
    if "LoggingConfiguration" not in of(template, "ImageBucket"):
        yield "ImageBucket: unlogged"


@rule(
    (f"{IMAGES}.LifecycleConfiguration.Rules.0.NoncurrentVersionExpiration", ...),
    (f"{IMAGES}.VersioningConfiguration", {"Status": "Suspended"}),
    (f"{IMAGES}.LifecycleConfiguration.Rules.1.ExpirationInDays", 365),
)  # fmt: skip
def deleted_images_end_and_others_never(template):
    rules = of(template, "ImageBucket")["LifecycleConfiguration"]["Rules"]
    ends = [r["NoncurrentVersionExpiration"] for r in rules if "NoncurrentVersionExpiration" in r]
    if ends != [{"NoncurrentDays": {"Ref": "DeletedImageDays"}}]:
        yield "ImageBucket: what is withdrawn is kept for ever"
    if any("ExpirationInDays" in r or "ExpirationDate" in r for r in rules):
        yield "ImageBucket: images end"
    if of(template, "ImageBucket")["VersioningConfiguration"] != {"Status": "Enabled"}:
        yield "ImageBucket: no versions"


@rule(
    (f"{ORTHANC}.Secrets.0.ValueFrom", "arn:aws:secretsmanager:eu-central-1:1:secret:x"),
    (f"{ORTHANC}.Secrets.2", ...),
    ("Resources.GatewayTask.Properties.ContainerDefinitions.0.Secrets", []),
    (f"{ORTHANC}.Environment.0", {"Name": "ORTHANC__POSTGRESQL__PASSWORD", "Value": "x"}),
    ("Resources.OrthancUsersSecret.Properties.GenerateSecretString", {}),
    ("Resources.TokenKeyRotation.Properties.RotationLambdaARN", ...),
    ("Resources.TokenKeyRotation.Properties.RotateImmediatelyOnUpdate", False),
    ("Resources.RotateKeysPermission.Properties.SourceArn", ...),
    ("Resources.RotateKeys.Properties.Handler", "index.handler"),
    ("Resources.GatewayService.DependsOn", ["ImageListener"]),
)
def secrets_are_made_wired_and_rotated(template):
    master = "${Database.MasterUserSecret.SecretArn}"
    wanted = {
        "orthanc": {
            "ORTHANC__REGISTERED_USERS": "${OrthancUsersSecret}",
            "ORTHANC__POSTGRESQL__USERNAME": f"{master}:username::",
            "ORTHANC__POSTGRESQL__PASSWORD": f"{master}:password::",
        },
        "gateway": {"CXR_ORTHANC_USERS": "${OrthancUsersSecret}"},
        "front": {},
    }
    for name, secrets in wanted.items():
        if wired(container_of(template, name)) != secrets:
            yield f"{name}: {wired(container_of(template, name))}"
    for given in cf.properties(template, "AWS::ECS::TaskDefinition").values():
        for one in given["ContainerDefinitions"]:
            plain = [n for n in told(one) if re.search(r"PASSWORD|USERS|_KEY", n)]
            yield from (f"{one['Name']}: {n} in plain text" for n in plain)
    drawn = of(template, "OrthancUsersSecret")["GenerateSecretString"]
    if (drawn.get("SecretStringTemplate"), drawn.get("GenerateStringKey")) != ("{}", "cxr"):
        yield "OrthancUsersSecret: not what RegisteredUsers takes"
    rotation = of(template, "TokenKeyRotation")
    if rotation.get("RotationLambdaARN") != {"Fn::GetAtt": ["RotateKeys", "Arn"]}:
        yield "TokenKeyRotation: by nobody"
    if rotation["RotateImmediatelyOnUpdate"] is not True:
        yield "TokenKeyRotation: the first keys come too late"
    if of(template, "RotateKeysPermission").get("SourceArn") != {"Ref": "TokenKeySecret"}:
        yield "RotateKeysPermission: for any secret"
    module, _, function = of(template, "RotateKeys")["Handler"].partition(".")
    if (module, function) != ("rotate_keys", "handler"):
        yield "RotateKeys: no such handler"
    if "TokenKeyRotation" not in template["Resources"]["GatewayService"]["DependsOn"]:
        yield "GatewayService: before there are keys"


MAY = {
    "GatewayTaskRole": {
        "secretsmanager:GetSecretValue": {"${TokenKeySecret}"}, "kms:Decrypt": {"${Key.Arn}"},
    },
    "GatewayExecutionRole": {
        "secretsmanager:GetSecretValue": {"${OrthancUsersSecret}"}, "kms:Decrypt": {"${Key.Arn}"},
    },
    "OrthancExecutionRole": {
        "secretsmanager:GetSecretValue": {
            "${OrthancUsersSecret}", "${Database.MasterUserSecret.SecretArn}",
        },
        "kms:Decrypt": {"${Key.Arn}"},
    },
    "OrthancTaskRole": {
        "s3:GetObject": {"${ImageBucket.Arn}/*"}, "s3:PutObject": {"${ImageBucket.Arn}/*"},
        "s3:DeleteObject": {"${ImageBucket.Arn}/*"}, "s3:ListBucket": {"${ImageBucket.Arn}"},
        "kms:Decrypt": {"${Key.Arn}"}, "kms:GenerateDataKey": {"${Key.Arn}"},
    },
    "RotateKeysRole": {
        "kms:Decrypt": {"${Key.Arn}"}, "kms:GenerateDataKey": {"${Key.Arn}"},
        **{
            f"secretsmanager:{action}": {"${TokenKeySecret}"}
            for action in (
                "DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"
            )
        },
    },
}  # fmt: skip


@rule(
    ("Resources.GatewayTaskRole.Properties.Policies.0.PolicyDocument.Statement.0.Resource",
     [{"Ref": "TokenKeySecret"}, {"Ref": "OrthancUsersSecret"}]),
    ("Resources.OrthancTaskRole.Properties.Policies.0.PolicyDocument.Statement.0.Action",
     ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:PutBucketPolicy"]),
    ("Resources.RotateKeysPolicy.Properties.PolicyDocument.Statement.0.Action",
     ["secretsmanager:GetSecretValue"]),
)  # fmt: skip
def a_role_may_what_it_needs(template):
    for role, wanted in MAY.items():
        met = cf.may(template, role)
        data = {a: set(r) for a, r in met.items() if a.startswith(("s3:", "secretsm", "kms:"))}
        if data != wanted:
            yield f"{role}: {data}"


@rule(
    ("Resources.OrthancService.Properties.EnableExecuteCommand", False),
    ("Resources.Cluster.Properties.Configuration.ExecuteCommandConfiguration.KmsKeyId", ...),
    ("Resources.Cluster.Properties.Configuration.ExecuteCommandConfiguration.Logging", "NONE"),
    ("Resources.ExecLogs.DeletionPolicy", "Delete"),
    ("Resources.GatewayService.Properties.EnableExecuteCommand", True),
    ("Parameters.KeyName", {"Type": "AWS::EC2::KeyPair::KeyName"}),
)
def exec_sessions_are_audited_and_there_is_no_key_pair(template):
    given = of(template, "Cluster")["Configuration"]["ExecuteCommandConfiguration"]
    if given != {
        "KmsKeyId": {"Fn::GetAtt": ["Key", "Arn"]},
        "Logging": "OVERRIDE",
        "LogConfiguration": {
            "CloudWatchLogGroupName": {"Ref": "ExecLogs"}, "CloudWatchEncryptionEnabled": True,
        },
    }:  # fmt: skip
        yield "Cluster: exec sessions go unlogged"
    if of(template, "OrthancService").get("EnableExecuteCommand") is not True:
        yield "OrthancService: no way in"
    if of(template, "GatewayService").get("EnableExecuteCommand") is not False:
        yield "GatewayService: exec needs a root file system that can be written"
    if template["Resources"]["ExecLogs"].get("DeletionPolicy") != "Retain":
        yield "ExecLogs: ends with the stack"
    for name, given in template["Parameters"].items():
        if "KeyPair" in given["Type"]:
            yield f"{name}: a key pair"


@rule(
    ("Resources.OrthancService.Properties.DeploymentConfiguration.DeploymentCircuitBreaker", ...),
    ("Resources.OrthancService.Properties.DeploymentConfiguration.MaximumPercent", 200),
    ("Resources.OrthancService.Properties.DesiredCount", 2),
    (f"{ORTHANC}.HealthCheck", ...),
    ("Resources.GatewayTask.Properties.ContainerDefinitions.0.HealthCheck", ...),
    ("Resources.GatewayTask.Properties.ContainerDefinitions.0.ReadonlyRootFilesystem", False),
    ("Resources.GatewayTask.Properties.ContainerDefinitions.0.User", "root"),
    ("Resources.GatewayScaling.Properties.ResourceId", "service/x/y"),
    ("Resources.GatewayService.DependsOn", ["ImageListener", "TokenKeyRotation"]),
    ("Resources.OrthancService.DependsOn", ["PacsListener"]),
)
def services_heal_and_scale(template):
    for name, given in cf.properties(template, "AWS::ECS::Service").items():
        breaker = given["DeploymentConfiguration"].get("DeploymentCircuitBreaker")
        if breaker != {"Enable": True, "Rollback": True}:
            yield f"{name}: a bad deployment stays"
    for name, first in (("GatewayService", "OrthancService"), ("OrthancService", "DatabaseWriter")):
        if first not in template["Resources"][name]["DependsOn"]:
            yield f"{name}: given up before there is {first}"
    orthanc = of(template, "OrthancService")
    if orthanc["DesiredCount"] != 1 or orthanc["DeploymentConfiguration"]["MaximumPercent"] != 100:
        yield "OrthancService: two to one index"
    for name in ("orthanc", "gateway"):
        if "HealthCheck" not in container_of(template, name):
            yield f"{name}: no health check"
    gateway = container_of(template, "gateway")
    if gateway.get("ReadonlyRootFilesystem") is not True or gateway.get("User") != "10001:10001":
        yield "gateway: more rights than it needs"
    resource = cf.text(of(template, "GatewayScaling")["ResourceId"])
    if resource != "service/${Cluster}/${GatewayService.Name}":
        yield "GatewayScaling: of another service"


TOLD = cf.text(told(container_of(TEMPLATE, "orthanc"))["ORTHANC_JSON"])


@rule(
    *(
        (f"{ORTHANC}.Environment.1.Value", {"Fn::Sub": TOLD.replace(old, new)})
        for old, new in (
            ('"AuthenticationEnabled": true', '"AuthenticationEnabled": false'),
            ('"ExecuteLuaEnabled": false', '"ExecuteLuaEnabled": true'),
            ('"DicomServerEnabled": false', '"DicomServerEnabled": true'),
            ('"RemoteAccessAllowed": false', '"RemoteAccessAllowed": true'),
            ('["127.0.0.1"]', '["0.0.0.0"]'),
            ('"EnableSsl": true', '"EnableSsl": false'),
            ('"RootPath": ""', '"AccessKey": "x"'),
            ('"WadoRoot"', '"WadoRoots"'),
        )
    )
)
def orthanc_is_told_as_on_this_machine(template):
    """The same options as `cxr.orthanc up` gives, but for what a container has to have apart."""
    section = orthanc_servers.section("/x", url="http://127.0.0.1:8042")
    here = json.loads(settings.text(section, Path("/x"), password="p", plugins=[]))
    there = orthanc_json(template)
    apart = {
        "StorageDirectory", "IndexDirectory", "TemporaryDirectory", "Plugins", "RegisteredUsers",
        "DicomAet", "DicomPort", "DicomCheckCalledAet",
        "DicomCheckModalityHost", "StrictAetComparison", "UnknownSopClassAccepted",
    }  # fmt: skip
    yield from (f"{k}: {there.get(k)}" for k in here.keys() - apart if there.get(k) != here[k])
    if there["PostgreSQL"].get("EnableSsl") is not True or "Password" in there["PostgreSQL"]:
        yield "PostgreSQL"
    if {"AccessKey", "SecretKey"} & there["AwsS3Storage"].keys():
        yield "AwsS3Storage: keys, where a role does"


@pytest.mark.parametrize("name", RULES)
def test_the_stack_keeps(name):
    assert list(RULES[name](TEMPLATE)) == []


@pytest.mark.parametrize(("name", "path", "value"), SPOILED)
def test_what_breaks_it_is_seen(name, path, value):
    assert list(RULES[name](cf.spoiled(TEMPLATE, path, value)))


def test_every_rule_is_seen_to_fail():
    assert {name for name, _, _ in SPOILED} == RULES.keys()


def resolved(node, given):  # noqa: C901 one case each
    """What CloudFormation makes of a node of the template, with these parameters."""
    if isinstance(node, list):
        found = [resolved(item, given) for item in node]
        return [item for item in found if item != {"Ref": "AWS::NoValue"}]
    if not isinstance(node, dict):
        return node
    name, inner = next(iter(node.items())) if len(node) == 1 else ("", None)
    match name:
        case "Ref":
            return given.get(inner, node)
        case "Condition" if isinstance(inner, str):
            return resolved(TEMPLATE["Conditions"][inner], given)
        case "Fn::Sub":
            return re.sub(r"\$\{(\w+)\}", lambda found: str(given.get(found[1], found[0])), inner)
        case "Fn::Join":
            return inner[0].join(resolved(inner[1], given))
        case "Fn::Split":
            return resolved(inner[1], given).split(inner[0])
        case "Fn::Select":
            return resolved(inner[1], given)[inner[0]]
        case "Fn::Equals":
            return resolved(inner[0], given) == resolved(inner[1], given)
        case "Fn::Not":
            return not resolved(inner[0], given)
        case "Fn::And":
            return all(resolved(part, given) for part in inner)
        case "Fn::If":
            met = resolved(TEMPLATE["Conditions"][inner[0]], given)
            return resolved(inner[1 if met else 2], given)
    return {key: resolved(value, given) for key, value in node.items()}


def let_in(delivery, hospital, workers):
    given = {"ImageDelivery": delivery, "HospitalCidrs": hospital, "WorkerCidrs": workers}
    ways = [
        resolved(resource["Properties"], given)
        for resource in cf.resources(TEMPLATE, "AWS::EC2::SecurityGroupIngress").values()
        if resolved({"Condition": resource["Condition"]} if "Condition" in resource else 1, given)
    ]
    return sorted((way["FromPort"], way["CidrIp"]) for way in ways if "CidrIp" in way)


FIVE = [f"10.{number}.0.0/16" for number in range(1, 6)]


@pytest.mark.parametrize("count", range(1, 6))
def test_as_many_networks_are_let_in_as_are_named(count):
    some = ",".join(FIVE[:count])

    by_gateway = let_in("gateway", FIVE[0], some)
    by_s3 = let_in("s3", some, "")

    assert by_gateway == sorted([(443, one) for one in FIVE[:count]] + [(8443, FIVE[0])])
    assert by_s3 == [(8443, one) for one in FIVE[:count]]


def takes(name, value):
    return re.fullmatch(TEMPLATE["Parameters"][name]["AllowedPattern"], value) is not None


@pytest.mark.parametrize("name", ["HospitalCidrs", "WorkerCidrs"])
def test_networks_are_small_and_few(name):
    assert takes(name, "10.20.0.0/16")
    assert takes(name, ",".join(FIVE))
    for refused in (
        "0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/7", "0.1.0.0/16", "10.20.0.0", "::/0",
        "10.20.0.0/16,0.0.0.0/0", "10.20.0.0/16, 10.30.0.0/16", ",".join([*FIVE, "10.6.0.0/16"]),
        "10.20.0.0/33", "10.20.0.0/16,",
    ):  # fmt: skip
        assert not takes(name, refused), refused


def test_the_hospitals_network_must_be_said_and_readers_only_with_a_gateway():
    assert not takes("HospitalCidrs", "")
    assert takes("WorkerCidrs", "")
    assert TEMPLATE["Parameters"]["WorkerCidrs"]["Default"] == ""
    assert "Default" not in TEMPLATE["Parameters"]["HospitalCidrs"]


@pytest.mark.parametrize("name", ["orthanc", "gateway"])
def test_images_come_by_digest_from_the_accounts_own_registry(name):
    parameter = f"{name.capitalize()}Image"
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"

    assert takes(parameter, f"{registry}/cxr/{name}@{DIGEST}")
    for refused in (
        f"{registry}/cxr/{name}:latest", f"{registry}/cxr/{name}:1@sha256:abc",
        f"docker.io/cxr/{name}@{DIGEST}", f"{registry}/other@{DIGEST}",
        f"{registry}/cxr/{name}@{DIGEST}0",
    ):  # fmt: skip
        assert not takes(parameter, refused), refused


@pytest.mark.parametrize(
    ("given", "taken"),
    [("null", True), ("https://a.example,null", True), ("*", False), ("http://a.example", False),
     ("https://*.example", False), ("", False)],
)  # fmt: skip
def test_origins_are_named_and_encrypted(given, taken):
    assert takes("AllowedOrigins", given) is taken


def test_the_template_can_be_sent_to_cloudformation_as_it_is():
    text = (cf.FOLDER / "pacs.yaml").read_text()

    assert len(text.encode()) <= 51_200  # TemplateBody of CreateStack
    assert not re.search(r"(?m)[:\s][&*][a-z]+\s*$", text)  # it takes no anchors
    assert TEMPLATE["Outputs"].keys() >= {
        "PacsUrl", "ImageUrl", "OrthancSecretArn", "TokenKeySecretArn", "TokenKeyKmsKeyArn",
        "GatewayServiceName",
    }  # fmt: skip


def test_the_gateways_container_understands_what_the_stack_tells_it():
    values = {
        "AWS::StackName": "pacs", "AWS::Region": "eu-central-1", "DomainName": "pacs.example.org",
        "AllowedOrigins": "null,https://a.example", "PollSeconds": "30",
        "TokenKeySecret": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:k-AbCdEf",
    }  # fmt: skip
    definition = container_of(TEMPLATE, "gateway")
    environment = {
        name: re.sub(r"\$\{([\w:]+)\}", lambda found: values[found[1]], cf.text(value))
        for name, value in told(definition).items()
    }
    assert wired(definition).keys() == {"CXR_ORTHANC_USERS"}

    read = Settings.read(environment | {"CXR_ORTHANC_USERS": '{"cxr": "drawn"}'})

    assert (read.upstream, read.upstream_tls) == ("orthanc.pacs.internal:8443", True)
    assert (read.user, read.password, read.poll_s) == ("cxr", "drawn", 30)
    assert str(read.folder) == definition["MountPoints"][0]["ContainerPath"]
    assert read.listen.endswith(f":{definition['PortMappings'][0]['ContainerPort']}")
    assert Front.read(told(container_of(TEMPLATE, "front"))).upstream == "127.0.0.1:8042"
    assert definition["HealthCheck"]["Command"][1:] == [
        "python", "-m", "cxr.infra.orthanc.container", "health"
    ]  # fmt: skip
    dockerfile = (ROOT / "templates" / "gateway" / "Dockerfile").read_text()
    assert f'VOLUME ["{read.folder}"]' in dockerfile
    assert f"USER {definition['User']}" in dockerfile


@pytest.fixture(scope="module")
def as_told(tmp_path_factory):
    """A real Orthanc with the config that the stack gives it, and the container beside it.

    Its index and images lie on this disk, for Debian's has no plugin for S3. Gives the port of
    Orthanc and that of the front.
    """
    orthanc_servers.skip_without_orthanc()
    folder = tmp_path_factory.mktemp("told")
    port, front = orthanc_servers.free_port(), orthanc_servers.free_port()
    given = orthanc_json(TEMPLATE)
    assert {"PostgreSQL", "AwsS3Storage"} <= given.keys()
    given = {k: v for k, v in given.items() if k not in ("PostgreSQL", "AwsS3Storage")} | {
        "HttpPort": port, "RegisteredUsers": {"cxr": orthanc_servers.PASSWORD},
        "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
        "Plugins": [str(orthanc_servers.PLUGINS / "libOrthancDicomWeb.so"),
                    str(orthanc_servers.PLUGINS / "libOrthancGdcm.so")],
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(given))
    definition = container_of(TEMPLATE, "front")
    assert told(definition) == {"CXR_UPSTREAM": "http://127.0.0.1:8042"}
    daemon = processes.Daemon("orthanc", folder)
    daemon.start(["/usr/sbin/Orthanc", folder / "orthanc.json"], fingerprint="")
    beside = subprocess.Popen(
        [sys.executable, "-m", "cxr.infra.orthanc.container", *definition["Command"]],
        env=os.environ | {
            "CXR_UPSTREAM": f"http://127.0.0.1:{port}", "CXR_LISTEN": f"127.0.0.1:{front}",
            "CXR_FOLDER": str(folder), "CXR_PROXIES": "127.0.0.0/8",
        },
        stdout=(folder / "out").open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    daemon.wait(lambda: container.healthy(f"127.0.0.1:{front}"), 60)
    yield port, front, folder
    beside.terminate()
    assert beside.wait(20) == 0
    daemon.stop()


def ask(front, path, method="GET", *, password=orthanc_servers.PASSWORD, **more):
    url = f"https://127.0.0.1:{front}{path}"
    auth = ("cxr", password)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it drew its certificate itself
        return requests.request(method, url, auth=auth, verify=False, timeout=30, **more)


@pytest.mark.orthanc
def test_a_client_stores_and_finds_through_the_front(as_told):
    _, front, _ = as_told
    body = synth.draw(3, seed=11, size=(64, 56))[0]
    which = dicom.identify(body)

    assert ask(front, "/system").json()["Version"]
    assert ask(front, "/instances", "POST", data=body).json()["ID"] == which.orthanc_id
    assert ask(front, f"/instances/{which.orthanc_id}/file").content == body
    query = f"/dicom-web/instances?SOPInstanceUID={which.sop_instance_uid}"
    assert len(ask(front, query).json()) == 1
    found = ask(front, "/tools/find", "POST", json={"Level": "Instance", "Query": {}})
    assert found.json() == [which.orthanc_id]
    assert ask(front, f"/instances/{which.orthanc_id}", "DELETE").status_code == 200


@pytest.mark.orthanc
def test_the_front_lets_nobody_in_without_the_password_and_none_to_the_server_itself(as_told):
    _, front, _ = as_told

    assert ask(front, "/system", password="another").status_code == 401
    for path in (
        "/", "/tools/shutdown", "/tools/reset", "/tools/execute-script", "/plugins", "/app/x.html",
        "/modalities", "/peers", "/jobs", "/exports", "/changes", "/patients", "/dicom-webx/y",
        "/instancesx", "/tools/find/x", "/systemx",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            assert ask(front, path, method).status_code == 403, path
    for path in ("/dicom-web/..;/tools/reset", "/dicom-web/%2e%2e/tools/reset", "//tools/reset"):
        raw = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % path.encode()
        assert spoken(front, raw).startswith(b"HTTP/1.1 400"), path
    plain = spoken(front, b"GET /system HTTP/1.1\r\nHost: x\r\n\r\n", tls=False)
    assert plain.startswith(b"HTTP/1.1 400")


def spoken(port, raw, *, tls=True):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        connection = context.wrap_socket(plain) if tls else plain
        connection.sendall(raw)
        answer = connection.recv(1 << 12)
        if tls:
            connection.close()
    return answer


@pytest.mark.orthanc
def test_the_fronts_log_names_nobody(as_told):
    _, front, folder = as_told

    ask(front, "/dicom-web/studies?PatientName=DOE^JANE&PatientID=P0001")
    ask(front, "/studies/1.2.3.4.5")
    ask(front, "/tools/%2e%2e/P0001")

    deadline = time.monotonic() + 10
    while (folder / "out").read_text().count("GET") < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    said = (folder / "out").read_text()
    assert " GET dicom-web 200 " in said
    assert [w for w in ("DOE", "P0001", "1.2.3.4", orthanc_servers.PASSWORD) if w in said] == []


@pytest.mark.orthanc
def test_the_health_check_of_orthancs_container_sees_password_and_end(as_told):
    port, _, _ = as_told
    kind, program, *rest = container_of(TEMPLATE, "orthanc")["HealthCheck"]["Command"]
    assert (kind, program, rest[0]) == ("CMD", "python3", "-c")

    def check(port, password):
        users = json.dumps({"cxr": password})
        return subprocess.run(
            [sys.executable, "-c", rest[1].replace("8042", str(port))],
            env={"ORTHANC__REGISTERED_USERS": users}, capture_output=True, check=False,
        ).returncode  # fmt: skip

    assert check(port, orthanc_servers.PASSWORD) == 0
    assert check(port, "another") == 1
    assert check(orthanc_servers.free_port(), orthanc_servers.PASSWORD) == 1


@contextmanager
def gateway_before(front, secret, aws, folder):
    """The gateway's container as a process; gives its port."""
    port = orthanc_servers.free_port()
    environment = aws.environment | {
        "CXR_UPSTREAM": f"https://127.0.0.1:{front}", "CXR_TOKEN_SECRET": secret,
        "CXR_ORTHANC_USERS": json.dumps({"cxr": orthanc_servers.PASSWORD}), "CXR_POLL_S": "0.3",
        "CXR_HOST": "pacs.example.org", "CXR_LISTEN": f"127.0.0.1:{port}",
        "CXR_FOLDER": str(folder / "state"),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "cxr.infra.orthanc.container"],
        env=os.environ | environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield port
    finally:
        process.terminate()
        assert process.wait(40) == 0


@pytest.mark.orthanc
@pytest.mark.aws
def test_a_link_leads_through_gateway_and_front_to_orthanc(as_told, aws, tmp_path):
    _, front, _ = as_told
    body = synth.draw(4, seed=11, size=(64, 56))[0]
    which = dicom.identify(body)
    ask(front, "/instances", "POST", data=body)
    text = signing.new_keys("k1")
    secret = aws.client("secretsmanager").create_secret(Name="pacs-stack", SecretString=text)
    with gateway_before(front, secret["ARN"], aws, tmp_path) as port:
        deadline = time.monotonic() + 60
        while not container.healthy(f"127.0.0.1:{port}") and time.monotonic() < deadline:
            time.sleep(0.1)
        token = signing.sign(
            signing.keys_from_text(text), [f"i:{which.orthanc_id}"], ttl_s=60, subject="t"
        )
        path = f"/instances/{which.orthanc_id}/file?token={token}"
        raw = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

        assert spoken(port, raw.encode()).startswith(b"HTTP/1.1 200")
        assert spoken(port, raw.replace(token, token[:-2]).encode()).startswith(b"HTTP/1.1 401")


def test_every_pattern_holds_for_the_whole_value():
    patterns = {
        n: p["AllowedPattern"] for n, p in TEMPLATE["Parameters"].items() if "AllowedPattern" in p
    }

    assert len(patterns) > 10
    assert [n for n, p in patterns.items() if not (p.startswith("^") and p.endswith("$"))] == []


def test_the_docs_name_parameters_outputs_and_variables_that_there_are():
    text = (ROOT / "docs" / "aws.md").read_text()
    section = text[text.index("\n## PACS\n") : text.index("\n## Ground Truth\n")]
    known = {*TEMPLATE["Parameters"], *TEMPLATE["Outputs"]}

    named = set(re.findall(r"`([A-Z][a-z0-9A-Z]+)(?:[:=] ?\w+)?`", section))
    named |= set(re.findall(r"(?m)^   ([A-Z][A-Za-z0-9]+): ", section))
    told_of = set(re.findall(r"`(CXR_\w+)", section)) - {"CXR_PACS_URL", "CXR_PACS_PASSWORD"}

    assert named - known - {"LocalNetworkAccessAllowedForUrls"} == set()
    assert len(named) > 12
    source = (ROOT / "src" / "cxr" / "infra" / "orthanc" / "environment.py").read_text()
    assert told_of == set(re.findall(r'"(CXR_\w+)"', source))


@pytest.mark.parametrize(
    ("delivery", "workers", "code", "good"),
    [
        ("gateway", "10.2.0.0/16", "code", True),
        ("gateway", "", "code", False),
        ("gateway", "10.2.0.0/16", "none", False),
        ("s3", "", "none", True),
        ("s3", "10.2.0.0/16", "code", False),
    ],
)
def test_the_two_ways_are_not_mixed(delivery, workers, code, good):
    given = {
        "ImageDelivery": delivery, "WorkerCidrs": workers, "LambdaBucket": code, "LambdaKey": code,
    }  # fmt: skip

    asked = [
        resolved(assertion["Assert"], given)
        for one in TEMPLATE["Rules"].values()
        if resolved(one["RuleCondition"], given)
        for assertion in one["Assertions"]
    ]

    assert asked
    assert all(asked) is good


def deployed(aws, name, **more):
    """The stack on the double, where containers and databases only have names; its outputs."""
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/cxr"
    given = {
        "VpcId": "vpc-1", "PrivateSubnets": "subnet-1,subnet-2", "S3PrefixListId": "pl-1",
        "LoadBalancerSubnets": "subnet-1,subnet-2", "DomainName": "pacs.example.org",
        "CertificateArn": "arn:aws:acm:eu-central-1:123456789012:certificate/0a",
        "HospitalCidrs": "10.1.0.0/16", "OrthancImage": f"{registry}/orthanc@{DIGEST}",
        "GatewayImage": f"{registry}/gateway@{DIGEST}",
    } | more  # fmt: skip
    client = aws.client("cloudformation")
    client.create_stack(
        StackName=name, TemplateBody=(cf.FOLDER / "pacs.yaml").read_text(),
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in given.items()],
    )  # fmt: skip
    (made,) = client.describe_stacks(StackName=name)["Stacks"]
    assert made["StackStatus"] == "CREATE_COMPLETE"
    return {output["OutputKey"]: output["OutputValue"] for output in made["Outputs"]}


@pytest.mark.aws
def test_way_b_comes_up_without_gateway_and_keys(aws):
    outputs = deployed(aws, "pacs-b", ImageDelivery="s3")

    assert outputs["PacsUrl"] == "https://pacs.example.org:8443"
    assert not {"ImageUrl", "TokenKeySecretArn", "GatewayServiceName"} & outputs.keys()


@pytest.mark.aws
@pytest.mark.orthanc
@pytest.mark.slow
def test_a_gateway_of_way_a_serves_from_the_first_rotation_on(aws, as_told, tmp_path):
    _, front, _ = as_told
    aws.bucket("pacs-code")
    lambdas.build(tmp_path / "lambdas.zip")
    aws.client("s3").upload_file(str(tmp_path / "lambdas.zip"), "pacs-code", "lambdas.zip")

    outputs = deployed(
        aws, "pacs-a", WorkerCidrs="10.2.0.0/16", LambdaBucket="pacs-code", LambdaKey="lambdas.zip"
    )
    assert outputs["ImageUrl"] == "https://pacs.example.org"
    secret, client = outputs["TokenKeySecretArn"], aws.client("secretsmanager")
    resource = aws.client("cloudformation").describe_stack_resource(
        StackName="pacs-a", LogicalResourceId="RotateKeys"
    )["StackResourceDetail"]["PhysicalResourceId"]
    function = aws.client("lambda").get_function(FunctionName=resource)["Configuration"]
    with gateway_before(front, secret, aws, tmp_path) as port:
        time.sleep(1)
        assert not container.healthy(f"127.0.0.1:{port}")  # what the stack drew is no key

        days = TEMPLATE["Parameters"]["KeyRotationDays"]["Default"]
        client.rotate_secret(
            SecretId=secret, RotationLambdaARN=function["FunctionArn"],
            RotationRules={"AutomaticallyAfterDays": days},
        )  # fmt: skip

        deadline = time.monotonic() + 60
        while not container.healthy(f"127.0.0.1:{port}") and time.monotonic() < deadline:
            time.sleep(0.1)
        keys = signing.keys_from_text(client.get_secret_value(SecretId=secret)["SecretString"])
        token = signing.sign(keys, [f"i:{NOTHING}"], ttl_s=60)
        raw = f"GET /instances/{NOTHING}/file?token={token} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert spoken(port, raw.encode()).startswith(b"HTTP/1.1 404")  # Orthanc's own answer
