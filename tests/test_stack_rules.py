"""The rules that templates are held to can each fail: a small good stack, spoiled in one place."""

import cloudformation as cf
import pytest

GOOD = cf.parse(
    """
Parameters:
  Origins: {Type: CommaDelimitedList, AllowedPattern: 'https://[a-z0-9.-]+'}
  ReaderCidr: {Type: String, AllowedPattern: '10[.][0-9.]+/(1[6-9]|2[0-9]|3[0-2])'}
  Image: {Type: String, AllowedPattern: '.+@sha256:[0-9a-f]{64}'}
  SourcePassword: {Type: String, NoEcho: true}
Resources:
  Key:
    Type: AWS::KMS::Key
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      EnableKeyRotation: true
      KeyPolicy:
        Statement:
          - Effect: Allow
            Principal: {AWS: !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:root'}
            Action: 'kms:*'
            Resource: '*'
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      BucketEncryption:
        ServerSideEncryptionConfiguration:
          - ServerSideEncryptionByDefault: {SSEAlgorithm: 'aws:kms', KMSMasterKeyID: !Ref Key}
      VersioningConfiguration: {Status: Enabled}
      PublicAccessBlockConfiguration:
        BlockPublicAcls: true
        BlockPublicPolicy: true
        IgnorePublicAcls: true
        RestrictPublicBuckets: true
      OwnershipControls: {Rules: [{ObjectOwnership: BucketOwnerEnforced}]}
      CorsConfiguration: {CorsRules: [{AllowedMethods: [GET, HEAD], AllowedOrigins: !Ref Origins}]}
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Statement:
          - Effect: Deny
            Principal: '*'
            Action: 's3:*'
            Resource: [!GetAtt Bucket.Arn, !Sub '${Bucket.Arn}/*']
            Condition: {Bool: {'aws:SecureTransport': 'false'}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Statement:
          - Effect: Allow
            Principal: {Service: sagemaker.amazonaws.com}
            Action: sts:AssumeRole
            Condition: {StringEquals: {'aws:SourceAccount': !Ref 'AWS::AccountId'}}
      Policies:
        - PolicyName: !Sub '${AWS::StackName}-least'
          PolicyDocument:
            Statement:
              - {Effect: Allow, Action: 's3:GetObject', Resource: !Sub '${Bucket.Arn}/in/*'}
              - Effect: Allow
                Action: iam:PassRole
                Resource: !GetAtt Role.Arn
                Condition: {StringEquals: {'iam:PassedToService': sagemaker.amazonaws.com}}
              - Effect: Allow
                Action: cloudwatch:PutMetricData
                Resource: '*'
                Condition: {StringEquals: {'cloudwatch:namespace': cxr}}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {RetentionInDays: 90, KmsKeyId: !GetAtt Key.Arn}
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.13
      KmsKeyArn: !GetAtt Key.Arn
      LoggingConfig: {LogGroup: !Ref Logs}
      Environment: {Variables: {TOKEN_SECRET: !Ref Secret, JOBS: 's3://x'}}
  Secret:
    Type: AWS::SecretsManager::Secret
    Properties: {KmsKeyId: !GetAtt Key.Arn, GenerateSecretString: {PasswordLength: 48}}
  Group:
    Type: AWS::EC2::SecurityGroup
    Properties:
      SecurityGroupIngress: [{IpProtocol: tcp, FromPort: 443, ToPort: 443, CidrIp: !Ref ReaderCidr}]
  Database:
    Type: AWS::RDS::DBInstance
    Properties: {PubliclyAccessible: false}
  Balancer:
    Type: AWS::ElasticLoadBalancingV2::LoadBalancer
    Properties: {Scheme: internal}
  Listener:
    Type: AWS::ElasticLoadBalancingV2::Listener
    Properties: {Protocol: HTTPS, SslPolicy: ELBSecurityPolicy-TLS13-1-2-2021-06}
  Service:
    Type: AWS::ECS::Service
    Properties: {NetworkConfiguration: {AwsvpcConfiguration: {AssignPublicIp: DISABLED}}}
  Task:
    Type: AWS::ECS::TaskDefinition
    Properties:
      ContainerDefinitions: [{Name: orthanc, Image: !Ref Image, Environment: [{Name: A, Value: b}]}]
  Endpoint:
    Type: AWS::EC2::VPCEndpoint
    Properties:
      ServiceName: !Sub 'com.amazonaws.${AWS::Region}.sts'
      PolicyDocument:
        Statement:
          - Effect: Allow
            Principal: '*'
            Action: sts:GetCallerIdentity
            Resource: '*'
            Condition: {StringEquals: {'aws:PrincipalAccount': !Ref 'AWS::AccountId'}}
  Notebook:
    Type: AWS::SageMaker::NotebookInstance
    Properties:
      KmsKeyId: !GetAtt Key.Arn
      DirectInternetAccess: !If [InVpc, Disabled, Enabled]
      InstanceMetadataServiceConfiguration: {MinimumInstanceMetadataServiceVersion: '2'}
"""
)
STATEMENT = "Resources.Role.Properties.Policies.0.PolicyDocument.Statement"
TRUST = "Resources.Role.Properties.AssumeRolePolicyDocument.Statement.0"
PASSES = "Resources.Endpoint.Properties.PolicyDocument.Statement.0"
RULE = "Resources.Bucket.Properties.CorsConfiguration.CorsRules.0"
DENIES = "Resources.BucketPolicy.Properties.PolicyDocument.Statement.0"
SPOILED = [
    ("wildcard_actions", f"{STATEMENT}.0.Action", "s3:*"),
    ("wildcard_actions", f"{STATEMENT}.0.Action", ["s3:GetObject", "*"]),
    ("wildcard_actions", f"{STATEMENT}.0.NotAction", "iam:*"),
    ("wildcard_resources", f"{STATEMENT}.0.Resource", "*"),
    ("wildcard_resources", f"{STATEMENT}.0.Resource", {"Fn::If": ["Any", "*", "arn:aws:s3:::a/b"]}),
    ("wildcard_resources", f"{STATEMENT}.0.Resource", "arn:aws:s3:::*"),
    ("wildcard_resources", f"{STATEMENT}.2.Condition", ...),
    ("trust", f"{TRUST}.Principal", "*"),
    ("trust", f"{TRUST}.Principal", {"AWS": "*"}),
    ("trust", f"{TRUST}.Condition", ...),
    ("trust", PASSES, {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
                       "Resource": "arn:aws:s3:::a/*"}),
    ("wildcard_actions", f"{PASSES}.Action", "sts:*"),
    ("managed_policies", "Resources.Role.Properties.ManagedPolicyArns",
     ["arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"]),
    ("pass_role", f"{STATEMENT}.1.Resource", "arn:aws:iam::123456789012:role/*"),
    ("pass_role", f"{STATEMENT}.1.Condition", ...),
    ("fixed_names", "Resources.Role.Properties.RoleName", "cxr-labeling"),
    ("fixed_names", "Resources.Function.Properties.FunctionName", {"Fn::Sub": "SageMaker-pre"}),
    ("encryption", "Resources.Logs.Properties.KmsKeyId", ...),
    ("encryption", "Resources.Logs.Properties.KmsKeyId",
     {"Fn::If": ["Own", {"Ref": "Key"}, {"Ref": "AWS::NoValue"}]}),
    ("encryption", "Resources.Key.Properties.EnableKeyRotation", False),
    ("encryption", "Resources.Bucket.Properties.BucketEncryption", ...),
    ("public_access", "Resources.Bucket.Properties.PublicAccessBlockConfiguration", ...),
    ("public_access", "Resources.Bucket.Properties.OwnershipControls", ...),
    ("public_access", "Resources.Bucket.Properties.AccessControl", "Private"),
    ("public_access", "Resources.Database.Properties.PubliclyAccessible", ...),
    ("public_access", "Resources.Balancer.Properties.Scheme", "internet-facing"),
    ("public_access", "Resources.Service.Properties.NetworkConfiguration", ...),
    ("public_access", "Resources.Notebook.Properties.DirectInternetAccess", "Enabled"),
    ("public_access", "Resources.Notebook.Properties.InstanceMetadataServiceConfiguration", ...),
    ("versioned", "Resources.Bucket.Properties.VersioningConfiguration", ...),
    ("kept", "Resources.Bucket.DeletionPolicy", "Delete"),
    ("kept", "Resources.Key.UpdateReplacePolicy", ...),
    ("tls_only", "Resources.BucketPolicy.Properties.PolicyDocument.Statement", []),
    ("tls_only", f"{DENIES}.Resource", {"Fn::GetAtt": ["Bucket", "Arn"]}),
    ("tls_only", f"{DENIES}.Condition", {"Bool": {"aws:SecureTransport": "true"}}),
    ("tls_only", "Resources.Listener.Properties.Protocol", "HTTP"),
    ("tls_only", "Resources.Listener.Properties.SslPolicy", "ELBSecurityPolicy-2016-08"),
    ("cors", f"{RULE}.AllowedMethods", ["GET", "PUT"]),
    ("cors", f"{RULE}.AllowedOrigins", ["*"]),
    ("cors", f"{RULE}.AllowedOrigins", ["http://portal.example.org"]),
    ("cors", f"{RULE}.AllowedHeaders", ["*"]),
    ("cors", "Parameters.Origins.AllowedPattern", ...),
    ("secrets", "Parameters.SourcePassword.Default", "orthanc"),
    ("secrets", "Parameters.SourcePassword.NoEcho", ...),
    ("secrets", "Outputs", {"Key": {"Value": "AKIAIOSFODNN7EXAMPLE"}}),
    ("secrets", "Outputs", {"P": {"Value": "{{resolve:secretsmanager:a:SecretString:b}}"}}),
    ("secrets", "Resources.Database.Properties.MasterUserPassword", {"Ref": "SourcePassword"}),
    ("secrets", "Resources.Function.Properties.Environment.Variables.DB_PASSWORD", "orthanc"),
    ("secrets", "Resources.Function.Properties.Environment.Variables.DB_PASSWORD",
     {"Ref": "SourcePassword"}),
    ("secrets", "Resources.Task.Properties.ContainerDefinitions.0.Environment",
     [{"Name": "ORTHANC__POSTGRESQL__PASSWORD", "Value": "orthanc"}]),
    ("secrets", "Resources.Task.Properties.Command", "psql postgres://orthanc:orthanc@db/orthanc"),
    ("open_networks", "Resources.Group.Properties.SecurityGroupIngress.0.CidrIp", "0.0.0.0/0"),
    ("open_networks", "Resources.Group.Properties.SecurityGroupIngress.0.CidrIpv6", "::/0"),
    ("open_networks", "Resources.Group.Properties.SecurityGroupIngress.0.FromPort", 5432),
    ("open_networks", "Parameters.ReaderCidr.AllowedPattern", r"[0-9.]+/\d+"),
    ("pinned_images", "Parameters.Image.AllowedPattern", ".+"),
    ("pinned_images", "Parameters.Image.Default", "orthancteam/orthanc:latest"),
    ("pinned_images", "Resources.Task.Properties.ContainerDefinitions.0.Image", "nginx:1"),
    ("runtimes", "Resources.Function.Properties.Runtime", "python3.8"),
    ("runtimes", "Resources.Function.Properties.Runtime", "python3.12"),
    ("runtimes", "Resources.Old", {"Type": "AWS::AutoScaling::LaunchConfiguration"}),
    ("runtimes", "Resources.Task.Properties.ImageId", "ami-0123456789abcdef0"),
    ("logged", "Resources.Logs.Properties.RetentionInDays", ...),
    ("logged", "Resources.Function.Properties.LoggingConfig", ...),
]  # fmt: skip


def test_a_good_stack_has_no_faults():
    assert cf.faults(GOOD) == []


@pytest.mark.parametrize(("rule", "path", "value"), SPOILED)
def test_a_rule_sees_its_fault_and_no_other_rule_does(rule, path, value):
    met = cf.faults(cf.spoiled(GOOD, path, value))

    assert met
    assert {fault.partition(":")[0] for fault in met} == {rule}


def test_every_rule_is_seen_to_fail():
    assert {rule for rule, _, _ in SPOILED} == set(cf.RULES)


def test_tags_become_their_long_form():
    met = cf.parse(
        "[!Ref A, !GetAtt B.C.D, !Sub '${E}', !If [F, !Ref G, 1], !Condition H, 2012-10-17]"
    )

    assert met == [
        {"Ref": "A"},
        {"Fn::GetAtt": ["B", "C.D"]},
        {"Fn::Sub": "${E}"},
        {"Fn::If": ["F", {"Ref": "G"}, 1]},
        {"Condition": "H"},
        "2012-10-17",
    ]


def test_what_a_role_may_do_is_gathered_from_its_policies():
    beside = {
        "Type": "AWS::IAM::Policy",
        "Properties": {
            "Roles": [{"Ref": "Role"}],
            "PolicyDocument": {
                "Statement": [{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:out"}]
            },
        },
    }

    met = cf.may(cf.spoiled(GOOD, "Resources.Beside", beside), "Role")

    assert met["s3:PutObject"] == ["arn:out"]
    assert met["s3:GetObject"] == ["${Bucket.Arn}/in/*"]
