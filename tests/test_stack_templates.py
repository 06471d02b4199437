"""The templates themselves: valid for CloudFormation, and held to every rule."""

import cloudformation as cf
import pytest


@pytest.fixture(scope="session")
def linted():
    """What cfn-lint says of all templates, each as one line; it is slow, so it is asked once."""
    from cfnlint.api import lint_file

    return {
        name: [f"{m.rule.id} {m.message} ({m.path_string})" for m in lint_file(cf.FOLDER / name)]
        for name in cf.names()
    }


@pytest.mark.parametrize("name", cf.names())
def test_cfn_lint_finds_nothing(linted, name):
    assert linted[name] == []


@pytest.mark.parametrize("name", cf.names())
def test_no_rule_finds_a_fault(name):
    assert cf.faults(cf.load(name)) == []


def test_cfn_lint_sees_a_misspelt_property_and_a_missing_condition():
    from cfnlint.api import lint

    spoiled = """
        Parameters: {KeyArn: {Type: String, Default: ''}}
        Resources:
          Logs: {Type: 'AWS::Logs::LogGroup', Properties: {RetentionDays: 30}}
          Policy:
            Type: AWS::IAM::ManagedPolicy
            Properties:
              PolicyDocument:
                Version: '2012-10-17'
                Statement: [{Effect: Allow, Action: 'kms:Decrypt', Resource: !Ref KeyArn}]
    """

    assert {"E3002", "W1030"} <= {match.rule.id for match in lint(spoiled)}


@pytest.mark.parametrize("name", cf.names())
def test_a_template_fits_into_the_request(name):
    assert len((cf.FOLDER / name).read_bytes()) <= 51_200  # API: CreateChangeSet, TemplateBody


# ---- what a role may do, and what not, by the keys that jobs have in the bucket

OWN = {"Bucket_Arn": "arn:aws:s3:::b", "JobsPrefix": "cxr"}
JOB = "arn:aws:s3:::b/cxr/jobs/chest-1"
RUN = "arn:aws:s3:::b/cxr/training"


@pytest.mark.parametrize(
    ("role", "action", "resource", "may"),
    [
        ("PreLabelRole", "s3:GetObject", f"{JOB}/settings.json", True),
        ("PreLabelRole", "s3:GetObject", f"{JOB}/output/chest-1/annotations/a.json", False),
        ("PreLabelRole", "s3:PutObject", f"{JOB}/settings.json", False),
        ("PostLabelRole", "s3:GetObject", f"{JOB}/settings.json", True),
        ("PostLabelRole", "s3:GetObject", f"{JOB}/images/1.dcm", False),
        ("PostLabelRole", "s3:GetObject", f"{JOB}/output/chest-1/annotations/x/request.json", True),
        ("PostLabelRole", "secretsmanager:GetSecretValue", "${TokenKeySecretArn}", False),
        ("LabelingRole", "s3:GetObject", f"{JOB}/input.manifest", True),
        ("LabelingRole", "s3:GetObject", f"{JOB}/images/1.dcm", True),
        ("LabelingRole", "s3:PutObject", f"{JOB}/output/chest-1/manifests/output.manifest", True),
        ("LabelingRole", "s3:PutObject", f"{JOB}/settings.json", False),
        ("LabelingRole", "s3:PutObject", f"{JOB}/input.manifest", False),
        ("LabelingRole", "s3:GetObject", "arn:aws:s3:::b/other/secret", False),
        ("LabelingRole", "lambda:InvokeFunction", "${PreLabelFunction.Arn}", True),
        ("LabelingRole", "lambda:InvokeFunction", "arn:aws:lambda:x:1:function:SageMaker-a", False),
        ("LauncherRole", "s3:PutObject", f"{JOB}/settings.json", True),
        ("LauncherRole", "iam:PassRole", "${LabelingRole.Arn}", True),
        ("LauncherRole", "iam:PassRole", "${PreLabelRole.Arn}", False),
        ("LauncherRole", "s3:PutObject", f"{RUN}/channels/code/1a/boot.py", False),
        ("LauncherRole", "lambda:InvokeFunction", "${PreLabelFunction.Arn}", False),
        ("NotebookRole", "s3:GetObject", f"{JOB}/output/chest-1/manifests/output.manifest", True),
        ("NotebookRole", "s3:PutObject", f"{JOB}/settings.json", False),
        ("NotebookRole", "s3:GetObject", f"{JOB}/settings.json", False),
        ("NotebookRole", "s3:GetObject", f"{RUN}/channels/cache/0f/images.bin", False),
    ],
)
def test_a_role_of_labelling_may_do_its_part_and_no_more(role, action, resource, may):
    assert cf.allowed(cf.load("labeling.yaml"), role, action, resource, **OWN) is may


@pytest.mark.parametrize(
    ("role", "action", "resource", "may"),
    [
        ("TrainingRole", "s3:GetObject", f"{RUN}/channels/cache/0f/images.bin", True),
        ("TrainingRole", "s3:PutObject", f"{RUN}/runs/a/checkpoints/last.ckpt", True),
        ("TrainingRole", "s3:GetObject", f"{JOB}/images/1.dcm", False),
        ("TrainingRole", "sagemaker:CreateTrainingJob", "*", False),
        ("TrainingRole", "iam:PassRole", "${TrainingRole.Arn}", False),
        ("LauncherRole", "s3:PutObject", f"{RUN}/channels/code/1a/boot.py", True),
        ("LauncherRole", "s3:GetObject", f"{JOB}/output/chest-1/manifests/output.manifest", True),
        ("LauncherRole", "s3:PutObject", f"{JOB}/settings.json", False),
        ("LauncherRole", "iam:PassRole", "${TrainingRole.Arn}", True),
        ("LauncherRole", "iam:PassRole", "arn:aws:iam::123456789012:role/admin", False),
        ("MlflowRole", "s3:PutObject", "arn:aws:s3:::b/cxr/mlflow/1/model", True),
        ("TrainingRole", "s3:PutObject", "arn:aws:s3:::b/cxr/mlflow/1/r/artifacts/run.json", True),
        ("TrainingRole", "s3:GetObject", "arn:aws:s3:::b/cxr/mlflow/1/r/artifacts/run.json", True),
        ("LauncherRole", "s3:PutObject", "arn:aws:s3:::b/cxr/mlflow/1/r/artifacts/run.json", True),
        ("TrainingRole", "s3:DeleteObject", "arn:aws:s3:::b/cxr/mlflow/1/r/run.json", False),
        ("MlflowRole", "s3:GetObject", f"{JOB}/images/1.dcm", False),
    ],
)
def test_a_role_of_training_may_do_its_part_and_no_more(role, action, resource, may):
    assert cf.allowed(cf.load("training.yaml"), role, action, resource, **OWN) is may


def test_a_notebook_reads_images_only_where_they_are_in_the_bucket():
    (images,) = [
        s
        for policy in cf.resources(cf.load("labeling.yaml"))["NotebookRole"]["Properties"][
            "Policies"
        ]
        for s in policy["PolicyDocument"]["Statement"]
        if "images/*" in str(s)
    ]

    assert images["Fn::If"][0] == "ImagesInBucket"
    assert images["Fn::If"][2] == {"Ref": "AWS::NoValue"}


def test_a_notebook_is_made_when_asked_for_and_reaches_the_internet_when_that_is():
    template = cf.load("labeling.yaml")
    made = cf.properties(template, "AWS::SageMaker::NotebookInstance")["Notebook"]

    assert template["Parameters"]["MakeNotebook"]["Default"] == "false"
    assert template["Parameters"]["NotebookInternet"]["Default"] == "false"
    assert made["DirectInternetAccess"] == {"Fn::If": ["NotebookInVpc", "Disabled", "Enabled"]}
    (asserted,) = template["Rules"]["NotebookHasAWayOut"]["Assertions"]
    assert {p for p in template["Parameters"] if f"'{p}'" in str(asserted["Assert"])} == {
        "NotebookSubnetId",
        "NotebookInternet",
    }


@pytest.mark.parametrize("name", ["labeling.yaml", "training.yaml"])
def test_what_was_sent_to_jobs_expires(name):
    bucket = cf.properties(cf.load(name), "AWS::S3::Bucket")["Bucket"]
    (rule,) = [r for r in bucket["LifecycleConfiguration"]["Rules"] if r["Id"] == "channels"]

    assert cf.text(rule["Prefix"]) == "${JobsPrefix}/training/channels/"
    assert rule["ExpirationInDays"] == {"Ref": "ChannelDays"}
    assert rule["Status"] == "Enabled"


def test_labelling_may_use_its_key_as_ground_truth_asks_and_grant_it_to_aws_alone():
    template = cf.load("labeling.yaml")
    key = cf.may(template, "LabelingRole")

    for action in (
        "kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey",
        "kms:CreateGrant",
    ):  # fmt: skip
        assert key[action] == ["${Key.Arn}"]
    grants = [s for s in cf.statements(template) if "kms:CreateGrant" in s.actions]
    assert grants
    assert all(s.conditions["kms:grantisforawsresource"] == ["true"] for s in grants)


def test_of_all_lambdas_the_first_alone_reads_the_keys_of_links():
    template = cf.load("labeling.yaml")
    readers = [
        s.of for s in cf.statements(template) if "secretsmanager:GetSecretValue" in s.actions
    ]

    assert readers == ["PreLabelRole", "LauncherRole"]  # who starts a job gives it a key
    assert cf.may(template, "PreLabelRole")["secretsmanager:GetSecretValue"] == [
        "${TokenKeySecretArn}"
    ]


def test_the_functions_are_in_the_zip_by_the_names_of_their_handlers(tmp_path):
    import zipfile

    from cxr.infra.aws import lambdas

    lambdas.build(tmp_path / "lambdas.zip")
    names = set(zipfile.ZipFile(tmp_path / "lambdas.zip").namelist())
    for name in cf.names():
        for function in cf.properties(cf.load(name), "AWS::Lambda::Function").values():
            assert f"{function['Handler'].partition('.')[0]}.py" in names
            assert function["Handler"] in lambdas.HANDLERS


def test_the_published_names_are_kept():
    template = cf.load("labeling.yaml")

    assert "PreLabelLambdaSourceEndpointURL" in template["Parameters"]
    assert {"SMGTLabelingExecutionRole", "SageMakerAnnotationS3Bucket"} <= set(template["Outputs"])


def test_jobs_in_a_vpc_reach_each_other_s3_and_endpoints_and_nothing_else():
    template = cf.load("training.yaml")
    jobs = cf.properties(template, "AWS::EC2::SecurityGroup")["JobsGroup"]
    beside = cf.properties(template, "AWS::EC2::SecurityGroupEgress")

    (s3,) = jobs["SecurityGroupEgress"]
    assert (s3["FromPort"], s3["ToPort"]) == (443, 443)
    assert s3["DestinationPrefixListId"] == {"Ref": "S3PrefixListId"}
    assert "SecurityGroupIngress" not in jobs
    assert {cf.text(rule["DestinationSecurityGroupId"]) for rule in beside.values()} == {
        "${JobsGroup.GroupId}",
        "${EndpointsGroup.GroupId}",
    }


def test_a_vpc_has_an_endpoint_for_every_service_that_a_job_calls():
    endpoints = cf.properties(cf.load("training.yaml"), "AWS::EC2::VPCEndpoint").values()
    met = [cf.text(e["ServiceName"]) for e in endpoints]

    assert {name.removeprefix("com.amazonaws.${AWS::Region}.") for name in met} == {
        "s3", "ecr.api", "ecr.dkr", "logs", "monitoring", "sts", "sagemaker.api", "kms",
    }  # fmt: skip
    assert all(e.get("PrivateDnsEnabled") for e in endpoints if e["VpcEndpointType"] == "Interface")


# ---- faults of the public sample's stacks: none is repeated, and each would be seen

STATEMENT = "Resources.LabelingRole.Properties.Policies.0.PolicyDocument.Statement.0"
SAMPLE = {
    "three policies of full access": (
        "managed_policies", "Resources.LabelingRole.Properties.ManagedPolicyArns",
        ["arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"]),
    "a fixed role's name": (
        "fixed_names", "Resources.LabelingRole.Properties.RoleName", "SMGTLabelingExecutionRole"),
    "a fixed function's name": (
        "fixed_names", "Resources.PreLabelFunction.Properties.FunctionName", "prelabel"),
    "a fixed bucket's name": (
        "fixed_names", "Resources.Bucket.Properties.BucketName", "sagemaker-annotations"),
    "python3.8": ("runtimes", "Resources.PreLabelFunction.Properties.Runtime", "python3.8"),
    "5432 open to the world": (
        "open_networks", "Resources.Db",
        {"Type": "AWS::EC2::SecurityGroup", "Properties": {"SecurityGroupIngress": [
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "CidrIp": "0.0.0.0/0"}]}}),
    "a password in the plain environment": (
        "secrets", "Resources.PreLabelFunction.Properties.Environment.Variables.PG_PASSWORD",
        "orthanc"),
    "CORS for everybody": (
        "cors", "Resources.Bucket.Properties.CorsConfiguration.CorsRules.0.AllowedOrigins", ["*"]),
    "launch configurations": (
        "runtimes", "Resources.Old", {"Type": "AWS::AutoScaling::LaunchConfiguration"}),
    "fixed machine images": ("runtimes", "Mappings", {"Ami": {"eu": {"id": "ami-0abcdef12"}}}),
    "any resource": ("wildcard_resources", f"{STATEMENT}.Resource", "*"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SAMPLE)
@pytest.mark.parametrize("name", cf.names())
def test_no_fault_of_the_public_sample_is_repeated(name, fault):
    rule, _, _ = SAMPLE[fault]

    assert list(cf.RULES[rule](cf.load(name))) == []


@pytest.mark.parametrize("fault", SAMPLE)
def test_every_fault_of_the_public_sample_would_be_seen(fault):
    rule, path, value = SAMPLE[fault]

    assert list(cf.RULES[rule](cf.spoiled(cf.load("labeling.yaml"), path, value)))


def test_whatever_checkov_is_not_asked_has_a_reason():
    lines = (cf.FOLDER.parents[1] / ".checkov.yaml").read_text().splitlines()
    skipped = [number for number, line in enumerate(lines) if line.startswith("  - CKV")]

    assert skipped
    assert all(lines[number - 1].startswith("  # ") for number in skipped)
