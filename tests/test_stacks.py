"""A config is filled from stacks' outputs; a stack's parameters are checked before it is asked."""

import functools

import cloudformation as cf
import pytest

from cxr import config, schema
from cxr.errors import AwsError, ConfigError
from cxr.infra.aws import Account, deployment, packages, parameters, stacks

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd"
TEAM = "arn:aws:sagemaker:eu-central-1:123456789012:workteam/private-crowd/others"

pytestmark = pytest.mark.aws


@pytest.fixture
def changesets(aws):
    """What a stack can be made to suffer; imported late, since few files need moto."""
    from aws_double import changesets

    return changesets


@functools.cache
def composed(*overrides):
    return config.check(config.compose("train", ["site=aws", *overrides]), schema.Train)


def made(aws, name, **outputs):
    """Make a stack of outputs alone."""
    aws.client("cloudformation").create_stack(
        StackName=name,
        TemplateBody=cf.yaml.safe_dump(
            {
                "Resources": {"Logs": {"Type": "AWS::Logs::LogGroup"}},
                "Outputs": {key: {"Value": value} for key, value in outputs.items()},
            }
        ),
    )
    return name


@pytest.fixture(scope="module")
def labeling(aws):
    role = "arn:aws:iam::123456789012:role/"
    function = "arn:aws:lambda:eu-central-1:123456789012:function:"
    return made(
        aws, "fill-labeling", SMGTLabelingExecutionRole=role + "label",
        SageMakerAnnotationS3Bucket="labels-bucket", JobsPrefix="cxr", KmsKeyArn=KEY,
        PreLabelLambdaArn=function + "pre", PostLabelLambdaArn=function + "post",
        WorkteamArn=TEAM,
        TokenKeySecretArn="arn:aws:secretsmanager:eu-central-1:123456789012:secret:keys",
    )  # fmt: skip


@pytest.fixture(scope="module")
def training(aws):
    return made(
        aws, "fill-training", TrainingRole="arn:aws:iam::123456789012:role/train",
        TrainingBucket="labels-bucket", KmsKeyArn=KEY + "-of-training",
        SubnetIds="subnet-01,subnet-02", SecurityGroupId="sg-03",
    )  # fmt: skip


def test_what_is_null_is_filled_from_the_stacks(labeling, training):
    met = stacks.fill(composed(f"aws.stack=[{training},{labeling}]"))

    assert met.aws.bucket == "labels-bucket"  # where labels were made, in whichever order
    assert met.aws.kms_key == KEY  # the one of that very bucket
    assert met.labeling.role_arn == "arn:aws:iam::123456789012:role/label"
    assert met.labeling.workteam_arn == TEAM
    assert met.labeling.token_secret_arn.endswith(":secret:keys")
    assert met.compute.role_arn == "arn:aws:iam::123456789012:role/train"
    assert met.compute.subnets == ["subnet-01", "subnet-02"]
    assert met.compute.security_groups == ["sg-03"]


def test_what_is_given_wins(labeling, training):
    mine = "arn:aws:iam::123456789012:role/mine"

    met = stacks.fill(
        composed(
            f"aws.stack=[{labeling},{training}]", f"compute.role_arn={mine}",
            "aws.bucket=my-own-bucket",
        )
    )  # fmt: skip

    assert met.compute.role_arn == mine
    assert met.aws.bucket == "my-own-bucket"
    assert met.aws.kms_key is None  # another bucket's key would not fit
    assert met.labeling.workteam_arn == TEAM


def test_the_config_it_was_filled_from_stays_as_it_was(labeling, training):
    before = composed(f"aws.stack=[{labeling},{training}]")

    stacks.fill(before)

    assert before.aws.bucket is None
    assert before.labeling.role_arn is None


def test_training_alone_needs_the_training_stack_alone(training):
    met = stacks.fill(composed("labeling=local", f"aws.stack={training}"))

    assert met.aws.bucket == "labels-bucket"
    assert met.aws.kms_key == KEY + "-of-training"


def test_a_training_role_that_does_not_reach_the_bucket_is_refused_before_any_job(aws, labeling):
    role = "arn:aws:iam::123456789012:role/apart"
    name = made(aws, "fill-apart", TrainingRole=role, TrainingBucket="models-bucket")
    both = f"aws.stack=[{labeling},{name}]"

    with pytest.raises(
        ConfigError,
        match=r"expected models-bucket, output TrainingBucket of fill-apart.*met labels-bucket.*"
        r"--from",
    ):
        stacks.fill(composed(both))
    stacks.fill(composed(both, "compute=local"))  # trains here, so nothing is in the way
    alone = stacks.fill(composed("labeling=local", f"aws.stack={name}"))
    assert alone.aws.bucket == "models-bucket"


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["labeling=local"],
         r"aws\.bucket: expected the output SageMakerAnnotationS3Bucket or TrainingBucket of a "
         r"stack, met no aws\.stack; set it, CXR_BUCKET, or aws\.stack$"),
        (["aws.stack=fill-training"],
         r"labeling\.role_arn: expected the output SMGTLabelingExecutionRole of a stack, met none "
         r"in fill-training; set it, or add to aws\.stack one made from labeling\.yaml$"),
        (["aws.stack=fill-labeling"],
         r"compute\.role_arn: expected the output TrainingRole of a stack, met none in "
         r"fill-labeling; .* training\.yaml$"),
        (["labeling=local", "aws.stack=[fill-training,nowhere]"],
         r"aws\.stack: expected a CloudFormation stack in eu-central-1, met no 'nowhere'"),
        (["compute=local", "aws.stack=fill-labeling", "aws.prefix=other"],
         r"aws\.prefix: expected 'cxr', output JobsPrefix of fill-labeling, whose roles reach "
         r"nothing else, met 'other'; set aws\.prefix=cxr$"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_by_key_output_and_stack(labeling, training, overrides, told):
    with pytest.raises(ConfigError, match=told):
        stacks.fill(composed(*overrides))


def test_an_output_that_cannot_be_is_named_with_its_stack(aws, training):
    name = made(aws, "fill-odd", TrainingRole="no ARN", TrainingBucket="odd-bucket")

    with pytest.raises(ConfigError, match=r"compute\.role_arn: .*'no ARN', output TrainingRole of"):
        stacks.fill(composed("labeling=local", f"aws.stack={name}"))


def test_a_stack_that_was_never_finished_fills_nothing(aws, monkeypatch, changesets):
    name = made(aws, "fill-broken", TrainingRole="arn:aws:iam::123456789012:role/train")
    monkeypatch.setattr(changesets, "BUSY", ["CREATE_IN_PROGRESS"])

    with pytest.raises(ConfigError, match="expected fill-broken to stand, met CREATE_IN_PROGRESS"):
        stacks.read(Account(aws.region), name)


def test_images_from_s3_need_no_keys_of_links(aws, training):
    name = made(
        aws, "fill-s3", SMGTLabelingExecutionRole="arn:aws:iam::123456789012:role/l",
        SageMakerAnnotationS3Bucket="s3-bucket", WorkteamArn=TEAM,
        PreLabelLambdaArn="arn:aws:lambda:eu-central-1:123456789012:function:a",
        PostLabelLambdaArn="arn:aws:lambda:eu-central-1:123456789012:function:b",
    )  # fmt: skip
    names = f"aws.stack=[{name},{training}]"

    met = stacks.fill(composed(names, "labeling.images=s3", "compute=local"))

    assert met.labeling.token_secret_arn is None
    with pytest.raises(ConfigError, match=r"token_secret_arn: .*set it, labeling\.images=s3, or"):
        stacks.fill(composed(names, "compute=local"))


def test_what_a_stack_says_agrees_with_what_is_given(labeling, training):
    with pytest.raises(
        ConfigError, match=r"expected account 210987654321 of labeling\.role_arn, met 123456789012"
    ):
        stacks.fill(
            composed(
                f"aws.stack=[{labeling},{training}]",
                "labeling.role_arn='arn:aws:iam::210987654321:role/mine'",
            )
        )


def test_of_two_stacks_the_first_names_an_output(labeling, training, aws):
    merged = stacks.filled(Account(aws.region), [training, labeling])

    assert merged["KmsKeyArn"] == KEY + "-of-training"
    assert merged["WorkteamArn"] == TEAM


@pytest.mark.parametrize(
    ("kind", "words", "told"),
    [
        ("labeling", ["WorkerOrigins=*"],
         r"WorkerOrigins: expected https origins without a path, or null .*, met '\*'$"),
        ("labeling", ["WorkerOrigins=https://a.example,http://b.example"],
         r"WorkerOrigins: .*, met 'http://b\.example'$"),
        ("labeling", ["MakeNotebook=yes"], "MakeNotebook: expected one of true, false, met 'yes'"),
        ("labeling", [f"WorkteamArn={TEAM.replace('private', 'public')}"],
         "WorkteamArn: expected the ARN of a private work team, or empty, met"),
        ("labeling", ["PreLabelLambdaSourceEndpointURL=http://pacs.example"],
         "PreLabelLambdaSourceEndpointURL: expected an https address, or empty where images"),
        ("training", ["VpcID=vpc-1"], r"VpcID: no such parameter; did you mean VpcId\?$"),
        ("training", ["nowhere.yaml"], "expected key=value or a file of parameters, met 'nowhere"),
    ],
)  # fmt: skip
def test_a_parameter_that_does_not_fit_is_refused_before_anything_is_asked(kind, words, told):
    with pytest.raises(ConfigError, match=told):
        parameters.given_by(words, parameters.of(parameters.template(kind)))


def test_parameters_come_from_files_and_later_words_win(tmp_path):
    file = tmp_path / "parameters.yaml"
    file.write_text("MakeMlflow: true\nSubnetIds: [subnet-01, subnet-02]\nOldVersionsDays: 7\n")
    known = parameters.of(parameters.template("training"))

    met = parameters.given_by([str(file), "OldVersionsDays=9"], known)

    assert met == {
        "MakeMlflow": "true",
        "SubnetIds": "subnet-01,subnet-02",
        "OldVersionsDays": "9",
    }


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "just words"])
def test_a_file_that_holds_no_parameters_is_refused(tmp_path, text):
    file = tmp_path / "parameters.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError, match=r"parameters\.yaml: expected "):
        parameters.given_by([str(file)], {})


def test_a_parameter_without_a_default_must_be_given(aws):
    with pytest.raises(
        ConfigError, match=r"LambdaBucket: expected .*, met none; add LambdaBucket="
    ):
        deployment.deploy(Account(aws.region), "labeling", "nothing-given", {})


def test_it_waits_until_cloudformation_is_done(aws, monkeypatch, changesets):
    monkeypatch.setattr(changesets, "BUSY", ["CREATE_IN_PROGRESS", "CREATE_IN_PROGRESS"])

    met = deployment.deploy(Account(aws.region), "training", "slow-stack", {}, poll_s=0.01)

    assert changesets.BUSY == []
    assert met.outputs["TrainingBucket"].startswith("slow-stack-bucket-")


def test_an_update_that_fails_says_so_and_the_stack_stands(aws, monkeypatch, changesets):
    account = Account(aws.region)
    deployment.deploy(account, "training", "update-fails", {})
    monkeypatch.setitem(changesets.FAILING, "Bucket", "no")

    with pytest.raises(AwsError, match="update-fails: UPDATE_ROLLBACK_COMPLETE"):
        deployment.deploy(account, "training", "update-fails", {"OldVersionsDays": "3"})

    assert stacks.read(account, "update-fails").outputs["TrainingRole"]


def test_what_was_rolled_back_must_go_first(aws, monkeypatch, changesets):
    account = Account(aws.region)
    monkeypatch.setitem(changesets.FAILING, "Key", "no")
    with pytest.raises(AwsError, match="ROLLBACK_COMPLETE"):
        deployment.deploy(account, "training", "rolled-back", {})
    monkeypatch.delitem(changesets.FAILING, "Key")

    with pytest.raises(AwsError, match="nothing can be changed any more"):
        deployment.deploy(account, "training", "rolled-back", {})


def test_a_permission_that_is_missing_is_named(aws):
    with (
        aws.faults.deny("cloudformation:CreateChangeSet"),
        pytest.raises(AwsError, match="cloudformation:CreateChangeSet on denied: not allowed"),
    ):
        deployment.deploy(Account(aws.region), "training", "denied", {})


@pytest.mark.parametrize("kind", ["labeling", "training"])
def test_an_account_takes_two_stacks_of_a_kind(aws, kind):
    account = Account(aws.region)
    code = packages.upload(account) if kind == "labeling" else {}
    given = {key: code[key] for key in ("LambdaBucket", "LambdaKey") if key in code}

    one, two = (deployment.deploy(account, kind, f"{kind}-{n}", given) for n in ("one", "two"))

    shared = {key for key in one.outputs if one.outputs[key] == two.outputs[key]}
    assert shared == {"JobsPrefix"}


@pytest.mark.parametrize("kind", ["labeling", "training"])
def test_every_output_that_fills_a_config_says_which_key(kind):
    outputs = cf.load(f"{kind}.yaml")["Outputs"]
    sections = {"labeling": stacks.LABELING, "compute": stacks.COMPUTE}

    for section, keys in sections.items():
        for key, output in keys.items():
            if output in outputs:
                assert outputs[output]["Description"] == f"{section}.{key}"


def test_every_output_that_is_asked_for_is_some_templates():
    names = ["labeling.yaml", "training.yaml"]
    outputs = {output for name in names for output in cf.load(name)["Outputs"]}
    asked = {*stacks.LABELING.values(), *stacks.COMPUTE.values(), *stacks.BUCKETS}

    assert asked - outputs <= {"ImageUrl"}  # the pacs stack's
