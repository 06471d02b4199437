"""CloudFormation templates as tests read them: parsed, walked, and held to rules.

Intrinsic tags become their long form (`!Ref a` is {"Ref": "a"}), so a template is plain dicts and
lists that a test can copy and spoil. A rule takes a template and gives one line per fault; none is
good. `RULES` has all of them, `faults(template)` asks all, `spoiled(template, path, value)` gives a
copy with one thing changed, by which a test proves that a rule can fail.
"""

import copy
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[1] / "templates" / "cloudformation"

# Wildcards that are named, each with its reason; whoever needs another adds it here.
ACTIONS = {
    "kms:ReEncrypt*": "two actions, From and To, which AWS documents as one",
    "kms:GenerateDataKey*": "with and without plaintext, which S3 and Ground Truth choose between",
}
RESOURCES = {
    "ecr:GetAuthorizationToken": "has no resource",
    "cloudwatch:PutMetricData": "has no resource; narrowed by cloudwatch:namespace",
    "logs:DescribeLogGroups": "has no resource",
    "secretsmanager:GetRandomPassword": "has no resource",
    "ssmmessages:CreateControlChannel": "ECS Exec; has no resource",
    "ssmmessages:CreateDataChannel": "ECS Exec; has no resource",
    "ssmmessages:OpenControlChannel": "ECS Exec; has no resource",
    "ssmmessages:OpenDataChannel": "ECS Exec; has no resource",
    "ec2:DescribeDhcpOptions": "a SageMaker job in a VPC; has no resource",
    "ec2:DescribeNetworkInterfaces": "a job or function in a VPC; has no resource",
    "ec2:DescribeSecurityGroups": "a SageMaker job in a VPC; has no resource",
    "ec2:DescribeSubnets": "a SageMaker job in a VPC; has no resource",
    "ec2:DescribeVpcEndpoints": "who starts a job in a VPC; has no resource",
    "ec2:DescribeVpcs": "a SageMaker job in a VPC; has no resource",
}
# Origins that are no page's name, each with its reason.
ORIGINS = {
    "null": "a sandboxed frame, in which Ground Truth may show the page; addresses are signed",
    "https://*.labeling.${AWS::Region}.sagemaker.aws": "the portal, whose name AWS draws later",
}
# The services that say for whom they act when they take a role; AWS Lambda does not.
SAYS_FOR_WHOM = {
    "sagemaker.amazonaws.com", "ecs-tasks.amazonaws.com", "backup.amazonaws.com",
    "secretsmanager.amazonaws.com", "vpc-flow-logs.amazonaws.com",
}  # fmt: skip
# type → the properties that name a key, or say that there is encryption
ENCRYPTED = {
    "AWS::Logs::LogGroup": ["KmsKeyId"],
    "AWS::SecretsManager::Secret": ["KmsKeyId"],
    "AWS::SageMaker::NotebookInstance": ["KmsKeyId"],
    "AWS::Lambda::Function": ["KmsKeyArn"],
    "AWS::RDS::DBCluster": ["StorageEncrypted", "KmsKeyId"],
    "AWS::EFS::FileSystem": ["Encrypted", "KmsKeyId"],
    "AWS::SQS::Queue": ["KmsMasterKeyId"],
    "AWS::SNS::Topic": ["KmsMasterKeyId"],
    "AWS::ECR::Repository": ["EncryptionConfiguration.KmsKey"],
    "AWS::Backup::BackupVault": ["EncryptionKeyArn"],
    "AWS::KMS::Key": ["EnableKeyRotation"],
}
KEPT = {
    "AWS::S3::Bucket", "AWS::KMS::Key", "AWS::RDS::DBCluster", "AWS::Cognito::UserPool",
    "AWS::EFS::FileSystem", "AWS::Backup::BackupVault",
}  # fmt: skip
NAMES = (
    "RoleName", "FunctionName", "BucketName", "ManagedPolicyName", "UserPoolName", "ClusterName",
    "ServiceName", "TableName", "LogGroupName", "SecretName", "AliasName", "QueueName",
    "TopicName", "WorkteamName", "NotebookInstanceName", "NotebookInstanceLifecycleConfigName",
    "TrackingServerName", "RepositoryName", "DBClusterIdentifier", "DBInstanceIdentifier",
    "GroupName", "LoadBalancerName", "Family", "BackupVaultName",
)  # fmt: skip
OUTDATED = {
    "AWS::AutoScaling::LaunchConfiguration": "use Fargate",
    "AWS::ElasticLoadBalancing::LoadBalancer": "use an application load balancer",
    "AWS::RDS::DBSecurityGroup": "use security groups of a VPC",
    "AWS::IAM::User": "use roles",
    "AWS::IAM::AccessKey": "use roles",
}
_SECRET = re.compile(r"passw|secret|token|credential|api_?key|access_?key|private_?key", re.I)
_CREDENTIAL = re.compile(
    r"(AKIA|ASIA)[0-9A-Z]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|(?i:aws_secret_access_key)\s*[=:]"
    r"|://[^/\s:@${}]+:[^/\s@${}]+@"
)
_OPEN = {"0.0.0.0/0", "::/0", "0.0.0.0/1", "128.0.0.0/1"}
_NOWHERE = {"Ref": "AWS::NoValue"}


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short tags as their long form."""


def _intrinsic(loader, suffix, node):
    name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _intrinsic)
# 2012-10-17 is a policy's version and no day
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag != "tag:yaml.org,2002:timestamp"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load(path):
    """Give a template of `templates/cloudformation` by its name, or any by its path."""
    return copy.deepcopy(_loaded(path if isinstance(path, Path) else FOLDER / path))


@functools.cache
def _loaded(path):
    return parse(path.read_text())


def parse(text):
    return yaml.load(text, _Loader)  # a SafeLoader


def names():
    """The templates that are there, such as labeling.yaml."""
    return sorted(path.name for path in FOLDER.glob("*.yaml"))


def resources(template, kind=None):
    """Logical ID → resource, of one type or of all."""
    found = template["Resources"]
    return {name: r for name, r in found.items() if kind is None or r["Type"] == kind}


def properties(template, kind):
    """Logical ID → properties, of one type."""
    return {name: r.get("Properties", {}) for name, r in resources(template, kind).items()}


def only(template, kind):
    """The properties of the only resource of a type."""
    found = properties(template, kind)
    assert len(found) == 1, f"expected one {kind}, met {sorted(found)}"
    return next(iter(found.values()))


def spoiled(template, path, value):
    """Give a copy with one thing set; `...` as the value takes it out, a list as path descends.

    Args:
        template: What is copied.
        path: Keys and indices from the top, as a list, or as text with dots.
        value: What is set there.
    """
    made = copy.deepcopy(template)
    *way, last = path.split(".") if isinstance(path, str) else path
    here = made
    for step in way:
        here = here[int(step) if isinstance(here, list) else step]
    last = int(last) if isinstance(here, list) else last
    if value is ...:
        del here[last]
    elif isinstance(here, list) and last == len(here):
        here.append(value)
    else:
        here[last] = value
    return made


def walk(node, path=()):
    """Every path and value below a node, the node first."""
    yield path, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from walk(value, (*path, index))


def options(value):
    """What a value may become: every branch of Fn::If, one level of lists taken apart."""
    if isinstance(value, dict) and set(value) == {"Fn::If"}:
        for branch in value["Fn::If"][1:]:
            yield from options(branch)
    elif isinstance(value, list):
        for item in value:
            yield from options(item)
    elif value is not None and value != _NOWHERE:
        yield value


def certain(properties_, path):
    """Whether something other than nothing and false is there, whichever way conditions fall."""
    here = properties_
    for step in path.split("."):
        here = here.get(step) if isinstance(here, dict) else None
    branches = here["Fn::If"][1:] if isinstance(here, dict) and "Fn::If" in here else [here]
    return all(b not in (None, False, "false", "", _NOWHERE) for b in branches)


def text(value):
    """A value as one line, with ${…} where an intrinsic stands: to match ARNs against."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and len(value) == 1:
        (name, inner), *_ = value.items()
        if name == "Ref":
            return f"${{{inner}}}"
        if name == "Fn::GetAtt":
            return "${" + ".".join(map(str, inner)) + "}"
        if name == "Fn::Sub":
            return inner if isinstance(inner, str) else inner[0]
        if name == "Fn::Join":
            return inner[0].join(text(part) for part in inner[1])
    return repr(value)


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, and where it stands."""

    where: str
    kind: str
    """`role` (what it may do), `trust` (who may take it), `resource` (who may do it to this)."""
    body: dict

    @property
    def of(self):
        """The logical ID of the resource that it stands in."""
        return self.where.split(".")[0]

    @property
    def allows(self):
        return self.body.get("Effect") == "Allow"

    @property
    def actions(self):
        return [text(a) for a in options(self.body.get("Action"))]

    @property
    def resources(self):
        return [text(r) for r in options(self.body.get("Resource"))]

    @property
    def conditions(self):
        """Condition keys in lower case → the values under them."""
        return {
            key.lower(): list(options(value))
            for operator in (self.body.get("Condition") or {}).values()
            for key, value in operator.items()
        }

    @property
    def services(self):
        who = self.body.get("Principal")
        return [text(s) for s in options(who.get("Service"))] if isinstance(who, dict) else []


def statements(template) -> Iterator[Statement]:
    """Every statement of every policy of a template."""
    for name, resource in resources(template).items():
        for path, node in walk(resource.get("Properties", {})):
            if isinstance(node, dict) and "Statement" in node:
                key = next(p for p in reversed(path) if isinstance(p, str))
                identity = resource["Type"] in (
                    "AWS::IAM::Role", "AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"
                )  # fmt: skip
                kind = "trust" if key == "AssumeRolePolicyDocument" else "resource"
                kind = "role" if identity and kind != "trust" else kind
                for index, body in enumerate(options(node["Statement"])):
                    label = body.get("Sid", index)
                    yield Statement(f"{name}.{'.'.join(map(str, path))}[{label}]", kind, body)


def may(template, role):
    """What a role may do: action → its resources as text, from policies inside it and beside it."""
    found = {}
    mine = [role] + [
        name
        for kind in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")
        for name, p in properties(template, kind).items()
        if {"Ref": role} in list(options(p.get("Roles", [])))
    ]
    for statement in statements(template):
        if statement.kind == "role" and statement.allows and statement.of in mine:
            for action in statement.actions:
                found.setdefault(action, []).extend(statement.resources)
    return found


def allowed(template, role, action, resource, **known):
    """Whether a role's policies allow an action on a resource; Deny there is none.

    Args:
        template: With the role.
        role: Its logical ID.
        action: Such as s3:GetObject.
        resource: An ARN.
        known: What stands for `${name}`, with dots and colons as underscores; the rest stays.
    """
    for offered, patterns in may(template, role).items():
        if fnmatchcase(action, offered):
            for pattern in patterns:
                filled = re.sub(
                    r"\$\{([^}]+)\}",
                    lambda met: known.get(re.sub(r"\W+", "_", met[1]), met[0]),
                    pattern,
                )
                if fnmatchcase(resource, filled):
                    return True
    return False


# ---- rules: a template → one line per fault


def wildcard_actions(template):
    """No action with a star but the named ones; a key's policy may give the account all of it."""
    for s in statements(template):
        if s.allows and "NotAction" in s.body:
            yield f"{s.where}: NotAction allows what nobody has thought of"
        account = s.kind == "resource" and ":root" in str(s.body.get("Principal"))
        for action in s.actions if s.allows else ():
            if "*" in action and action not in ACTIONS and not (account and action == "kms:*"):
                yield f"{s.where}: {action}"


def wildcard_resources(template):
    """No resource that is a star alone, but for the named actions; a key's policy means itself."""
    keys = resources(template, "AWS::KMS::Key")
    endpoints = resources(template, "AWS::EC2::VPCEndpoint")
    for s in statements(template):
        own = s.of in endpoints and "aws:principalaccount" in s.conditions
        if not s.allows or s.of in keys or own:
            continue
        if "NotResource" in s.body:
            yield f"{s.where}: NotResource allows what nobody has thought of"
        for resource in s.resources:
            last = resource.split(":", 5)[-1] if resource.startswith("arn:") else resource
            if last in ("*", "*/*", "/*"):
                for action in set(s.actions) - set(RESOURCES):
                    yield f"{s.where}: {action} on {resource}"
        if "cloudwatch:PutMetricData" in s.actions and "cloudwatch:namespace" not in s.conditions:
            yield f"{s.where}: cloudwatch:PutMetricData without cloudwatch:namespace"


def trust(template):
    """Nobody is trusted but who is named; services that say for whom they act are asked.

    An endpoint's policy says what may pass, for all of the account; what ECR signs is not its own.
    """
    endpoints = resources(template, "AWS::EC2::VPCEndpoint")
    for s in statements(template):
        layers = all(r.endswith("-starport-layer-bucket/*") for r in s.resources)
        passes = s.of in endpoints and ("aws:principalaccount" in s.conditions or layers)
        if not s.allows or s.kind == "role" or passes:
            continue
        who = s.body.get("Principal")
        if who is None or "*" in list(
            options(list(who.values()) if isinstance(who, dict) else who)
        ):
            yield f"{s.where}: anybody is trusted"
        asked = {"aws:sourceaccount", "aws:sourcearn"} & set(s.conditions)
        if s.kind == "trust" and set(s.services) & SAYS_FOR_WHOM and not asked:
            yield f"{s.where}: trusts a service without aws:SourceAccount or aws:SourceArn"


def managed_policies(template):
    """No policies of AWS's: they allow more than is needed, and more every year."""
    for name, properties_ in properties(template, "AWS::IAM::Role").items():
        for arn in options(properties_.get("ManagedPolicyArns")):
            if ":policy/" in text(arn):
                yield f"{name}: {text(arn)}"


def pass_role(template):
    """iam:PassRole only on exact roles, to services that are named."""
    for s in statements(template):
        if s.allows and "iam:PassRole" in s.actions:
            if any("*" in r for r in s.resources):
                yield f"{s.where}: iam:PassRole on {s.resources}"
            if "iam:passedtoservice" not in s.conditions:
                yield f"{s.where}: iam:PassRole without iam:PassedToService"


def fixed_names(template):
    """No name that stops a second stack of the same kind in the account."""
    for name, resource in resources(template).items():
        if resource["Type"] in (
            "AWS::Cognito::UserPoolGroup", "AWS::EC2::VPCEndpoint",
            "AWS::RDS::DBClusterParameterGroup",
        ):  # fmt: skip
            continue  # a name within its pool, a service's of AWS, a database's version
        for key in NAMES:
            value = resource.get("Properties", {}).get(key)
            for option in options(value):
                if isinstance(option, str):
                    yield f"{name}.{key}: {option}"
                elif "Fn::Sub" in option and not re.search(
                    r"\$\{(AWS::StackName|AWS::StackId|\w+)\}", text(option)
                ):
                    yield f"{name}.{key}: {text(option)}"


def encryption(template):
    """What is stored is encrypted, by a key of ours where the type takes one."""
    for name, resource in resources(template).items():
        given = resource.get("Properties", {})
        for path in ENCRYPTED.get(resource["Type"], ()):
            if not certain(given, path):
                yield f"{name}.{path}: missing"
        if resource["Type"] == "AWS::S3::Bucket":
            # a load balancer's logs cannot be written where a key of ours encrypts
            kinds = {"AES256"} if name in _balancers_logs(template) else {"aws:kms"}
            rules = given.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
            for rule in rules or [{}]:
                default = rule.get("ServerSideEncryptionByDefault", {})
                keyed = "KMSMasterKeyID" in default or kinds == {"AES256"}
                if default.get("SSEAlgorithm") not in kinds or not keyed:
                    yield f"{name}.BucketEncryption: expected aws:kms with a key"


def _balancers_logs(template):
    """The buckets of a template that load balancers write their access logs to."""
    for given in properties(template, "AWS::ElasticLoadBalancingV2::LoadBalancer").values():
        for attribute in given.get("LoadBalancerAttributes", []):
            if attribute["Key"] == "access_logs.s3.bucket" and isinstance(attribute["Value"], dict):
                yield attribute["Value"].get("Ref")


def public_access(template):
    """Nothing can be reached by the public: buckets, databases, balancers, tasks, notebooks."""
    for name, resource in resources(template).items():
        given = resource.get("Properties", {})
        check = _CLOSED.get(resource["Type"])
        for fault in check(given) if check else ():
            yield f"{name}.{fault}"


def _closed_bucket(given):
    block = given.get("PublicAccessBlockConfiguration", {})
    for key in (
        "BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"
    ):  # fmt: skip
        if block.get(key) is not True:
            yield f"PublicAccessBlockConfiguration.{key}: expected true"
    owner = given.get("OwnershipControls", {}).get("Rules", [{}])[0]
    if owner.get("ObjectOwnership") != "BucketOwnerEnforced" or "AccessControl" in given:
        yield "OwnershipControls: expected BucketOwnerEnforced and no ACL"


def _closed_database(given):
    if given.get("PubliclyAccessible") is not False:
        yield "PubliclyAccessible: expected false"


def _closed_balancer(given):
    if given.get("Scheme") != "internal":
        yield "Scheme: expected internal"


def _closed_service(given):
    network = given.get("NetworkConfiguration", {}).get("AwsvpcConfiguration", {})
    if network.get("AssignPublicIp") != "DISABLED":
        yield "AssignPublicIp: expected DISABLED"


def _closed_notebook(given):
    if "Disabled" not in list(options(given.get("DirectInternetAccess"))):
        yield "DirectInternetAccess: expected Disabled where there is a VPC"
    version = given.get("InstanceMetadataServiceConfiguration", {})
    if version.get("MinimumInstanceMetadataServiceVersion") != "2":
        yield "InstanceMetadataServiceConfiguration: expected IMDSv2 alone"


_CLOSED = {
    "AWS::S3::Bucket": _closed_bucket,
    "AWS::RDS::DBInstance": _closed_database,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _closed_balancer,
    "AWS::ECS::Service": _closed_service,
    "AWS::SageMaker::NotebookInstance": _closed_notebook,
}


def versioned(template):
    """A bucket keeps what is overwritten or deleted."""
    for name, given in properties(template, "AWS::S3::Bucket").items():
        if given.get("VersioningConfiguration") != {"Status": "Enabled"}:
            yield f"{name}: expected versions"


def kept(template):
    """What holds data outlives its stack."""
    for name, resource in resources(template).items():
        if resource["Type"] in KEPT:
            for key in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(key) not in ("Retain", "Snapshot", "RetainExceptOnCreate"):
                    yield f"{name}.{key}: expected Retain or Snapshot"


def tls_only(template):
    """Every bucket refuses plain HTTP; every listener speaks TLS 1.3 or 1.2 and no less."""
    refusing = set()
    for name, given in properties(template, "AWS::S3::BucketPolicy").items():
        for s in statements(template):
            plain = s.conditions.get("aws:securetransport") in (["false"], [False])
            if s.of == name and s.body.get("Effect") == "Deny" and plain:
                whole = len(s.resources) == 2 and any(r.endswith("/*") for r in s.resources)
                if s.actions == ["s3:*"] and s.body.get("Principal") == "*" and whole:
                    refusing.add(text(given["Bucket"]))
    for name in resources(template, "AWS::S3::Bucket"):
        if f"${{{name}}}" not in refusing:
            yield f"{name}: no policy that denies all without aws:SecureTransport"
    for name, given in properties(template, "AWS::ElasticLoadBalancingV2::Listener").items():
        if given.get("Protocol") not in ("HTTPS", "TLS") or "TLS13" not in given.get(
            "SslPolicy", ""
        ):
            yield f"{name}: expected HTTPS with a TLS 1.3 policy"


def cors(template):
    """Pages of named origins may read a bucket, and no more."""
    parameters = template.get("Parameters", {})
    for name, given in properties(template, "AWS::S3::Bucket").items():
        for configured in options(given.get("CorsConfiguration")):
            for rule in options(configured["CorsRules"]):
                if set(options(rule["AllowedMethods"])) - {"GET", "HEAD"}:
                    yield f"{name}: CORS allows {rule['AllowedMethods']}"
                if "*" in list(options(rule.get("AllowedHeaders", []))):
                    yield f"{name}: CORS allows any header"
                for origin in options(rule["AllowedOrigins"]):
                    parameter = parameters.get(origin["Ref"], {}) if "Ref" in origin else None
                    named = text(origin) in ORIGINS or re.fullmatch(r"https://[^*/]+", text(origin))
                    if parameter is None and not named:
                        yield f"{name}: CORS for {text(origin)}"
                    pattern = (parameter or {}).get("AllowedPattern", ".*")
                    if parameter is not None and any(
                        re.fullmatch(pattern, bad) for bad in ("*", "https://*", "http://a.example")
                    ):
                        yield f"{origin['Ref']}: takes * or plain HTTP as an origin"


def secrets(template):
    """No credential in the text, in a variable, in a parameter's default or in an output."""
    for name, given in template.get("Parameters", {}).items():
        reference = re.search(r"(Arn|Name|Id|Days|Hours|TtlS)$", name)
        if _SECRET.search(name) and not reference:
            if "Default" in given:
                yield f"Parameters.{name}: a default for a secret"
            if given.get("NoEcho") is not True:
                yield f"Parameters.{name}: expected NoEcho"
    for path, value in walk(template):
        place = ".".join(map(str, path))
        if isinstance(value, str) and _CREDENTIAL.search(value):
            yield f"{place}: looks like a credential"
        if isinstance(value, str) and "{{resolve:secretsmanager" in value:
            yield f"{place}: a secret resolved into the stack's own text"
        if path and path[-1] in ("MasterUserPassword", "SecretString"):
            yield f"{place}: let Secrets Manager make it"
    for name, resource in resources(template).items():
        for variable, value in _variables(resource):
            if _SECRET.search(variable) and not _refers(value):
                yield f"{name}: {variable} in the plain environment"


def open_networks(template):
    """No rule for the whole world, and no parameter that takes it; databases hear groups alone."""
    for path, value in walk(template.get("Resources", {})):
        if isinstance(value, str) and value in _OPEN:
            yield f"{'.'.join(map(str, path))}: {value}"
    for name, given in template.get("Parameters", {}).items():
        if re.search(r"cidr", name, re.I):
            pattern = given.get("AllowedPattern", ".*")
            for network in sorted(_OPEN):
                if re.fullmatch(pattern, network):
                    yield f"Parameters.{name}: takes {network}"
    for name, resource in resources(template).items():
        for _, rule in walk(resource.get("Properties", {})):
            if not isinstance(rule, dict) or not {"CidrIp", "CidrIpv6"} & set(rule):
                continue
            if rule.get("FromPort") in (5432, 3306) or str(rule.get("IpProtocol")) == "-1":
                yield f"{name}: a database's port, or every port, for a network"


def pinned_images(template):
    """Containers come by digest."""
    parameters = template.get("Parameters", {})
    for name, given in properties(template, "AWS::ECS::TaskDefinition").items():
        for container in given.get("ContainerDefinitions", []):
            for image in options(container["Image"]):
                parameter = parameters.get(image["Ref"], {}) if "Ref" in image else {}
                pattern = parameter.get("AllowedPattern", "")
                pinned = "@sha256:" in text(image) or (
                    "@sha256:" in pattern and not re.fullmatch(pattern, "orthanc:latest")
                )
                default = parameter.get("Default", "@sha256:")
                if not pinned or "@sha256:" not in default:
                    yield f"{name}.{container['Name']}: {text(image)} without a digest"


def runtimes(template):
    """Functions run on Python 3.13 or newer; nothing is outdated, nothing a fixed machine image."""
    for name, given in properties(template, "AWS::Lambda::Function").items():
        met = re.fullmatch(r"python3\.(\d+)", str(given.get("Runtime")))
        if not met or int(met[1]) < 13:
            yield f"{name}.Runtime: {given.get('Runtime')}"
    for name, resource in resources(template).items():
        if resource["Type"] in OUTDATED:
            yield f"{name}: {resource['Type']}; {OUTDATED[resource['Type']]}"
    for path, value in walk(template):
        if isinstance(value, str) and re.fullmatch(r"ami-[0-9a-f]+", value):
            yield f"{'.'.join(map(str, path))}: a fixed machine image"


def logged(template):
    """Every log ends some day, and every function writes to one that does."""
    logs = properties(template, "AWS::Logs::LogGroup")
    for name, given in logs.items():
        if not certain(given, "RetentionInDays"):
            yield f"{name}.RetentionInDays: missing"
    for name, given in properties(template, "AWS::Lambda::Function").items():
        if given.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in logs:
            yield f"{name}.LoggingConfig.LogGroup: expected a log group of this template"


RULES = {
    rule.__name__: rule
    for rule in (
        wildcard_actions, wildcard_resources, trust, managed_policies, pass_role, fixed_names,
        encryption, public_access, versioned, kept, tls_only, cors, secrets, open_networks,
        pinned_images, runtimes, logged,
    )
}  # fmt: skip


def faults(template):
    """Ask every rule; rule: place: what."""
    return [f"{name}: {fault}" for name, rule in RULES.items() for fault in rule(template)]


def _variables(resource):
    """Name and value of a function's, container's or job's plain environment."""
    given = resource.get("Properties", {})
    variables = (given.get("Environment") or {}) if isinstance(given, dict) else {}
    yield from (variables.get("Variables") or {}).items() if isinstance(variables, dict) else ()
    for container in given.get("ContainerDefinitions", ()):
        for pair in options(container.get("Environment", [])):
            yield pair["Name"], pair["Value"]


def _refers(value):
    """Whether a value is only the name of a secret: a reference to one, an ARN, or nothing."""
    return all(
        option == "" or re.search(r"Arn|Secret|arn:", text(option)) for option in options(value)
    )
