"""Make, change, show and take down the CloudFormation stacks of templates/cloudformation.

    python scripts/stack.py up labeling cxr-labeling WorkerOrigins=https://… --from cxr-pacs
    python scripts/stack.py show cxr-labeling
    python scripts/stack.py down cxr-labeling
    python scripts/stack.py package [BUCKET]

Parameters are key=value, or names of YAML files of them. Credentials are those of the AWS CLI.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from cxr import aws_schema
from cxr.errors import AwsError, ConfigError, CxrError
from cxr.infra.aws import Account, deployment, packages, parameters, stacks

NEXT = {
    "pacs": "python scripts/stack.py up labeling cxr-labeling --from {name}",
    "labeling": "python -m cxr.label job=frontal site=aws aws.stack={name} dry_run=true",
    "training": "python -m cxr.train data.job=JOB site=aws aws.stack={name} compute.dry_run=true",
}
EXPORTS = {"PacsUrl": "CXR_PACS_URL", "MlflowTrackingServerArn": "CXR_MLFLOW_ARN"}
"""Output → the variable that `aws.stack` does not fill, since more commands than two read it."""
GIVEN = {"nargs": "*", "metavar": "key=value|file.yaml"}
OTHERS = {"dest": "others", "action": "append", "default": [], "metavar": "STACK"}
KINDS = {"choices": parameters.KINDS}
WORDS: dict[str, dict[str, dict[str, Any]]] = {
    "up": {"kind": KINDS, "name": {}, "parameters": GIVEN, "--from": OTHERS},
    "show": {"name": {}},
    "down": {"name": {}, "--leave-data": {"action": "store_true"}},
    "package": {"bucket": {"nargs": "?"}},
}


def up(account: Account, asked: argparse.Namespace) -> None:
    """Package, create or update, print the outputs and the next command."""
    given = parameters.gathered(account, asked.kind, asked.parameters, asked.others)
    outputs = deployment.deploy(account, asked.kind, asked.name, given).outputs
    _print(outputs)
    for output, variable in EXPORTS.items():
        if output in outputs:
            print(f"export {variable}={outputs[output]}")
    if "OrthancSecretArn" in outputs:
        print(f"export CXR_PACS_PASSWORD=…   # cxr's in the secret {outputs['OrthancSecretArn']}")
    linked = asked.kind != "labeling" or "TokenKeySecretArn" in outputs
    images = "" if linked else " labeling.images=s3"
    print(f"next: {NEXT[asked.kind].format(name=asked.name)}{images}")


def show(account: Account, asked: argparse.Namespace) -> None:
    """Print status, outputs, and what failed or was changed by other hands."""
    described = stacks.described_stack(account, asked.name)
    if described is None:
        raise AwsError(f"{asked.name}: expected a stack in {account.region}, met none")
    print(f"{asked.name}: {described['StackStatus']}")
    _print({o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", ())})
    if stacks.stands(described):
        print("\n".join(deployment.drift(account, asked.name)) or "as its template says")
    else:
        print("\n".join(deployment.failures(account, asked.name)))


def down(account: Account, asked: argparse.Namespace) -> None:
    """Take the stack down, unless its buckets hold data; print what stays."""
    for kept in deployment.delete(account, asked.name, leave_data=asked.leave_data):
        print(f"kept: {kept}")


def package(account: Account, asked: argparse.Namespace) -> None:
    """Upload the Lambdas' zip, the viewer and the notebook; print where they lie."""
    _print(packages.upload(account, asked.bucket))


def main() -> None:
    """Read the arguments, run one of the four, and end every error in one line."""
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb in ("--help", "-h"):
        print((__doc__ or "").strip())
        return
    if verb not in WORDS:
        met = repr(verb) if verb else "none"
        sys.exit(f"expected {', '.join(WORDS)}, met {met}; --help says more")
    run = {"up": up, "show": show, "down": down, "package": package}[verb]
    words = argparse.ArgumentParser(prog=f"stack.py {verb}", description=run.__doc__)
    for word, options in WORDS[verb].items():
        words.add_argument(word, **options)
    words.add_argument("--region", default=os.environ.get("AWS_REGION"))
    words.add_argument("--profile")
    asked = words.parse_intermixed_args(sys.argv[2:])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)  # says where credentials are from
    try:
        run(Account(_region(asked), asked.profile, tags={"project": "cxr"}), asked)
    except CxrError as error:
        sys.exit(" ".join(str(error).split()))
    except KeyboardInterrupt:
        sys.exit(130)  # CloudFormation goes on by itself


def _region(asked: argparse.Namespace) -> str:
    """Give the region, and refuse what no credentials would make right."""
    region = asked.region or os.environ.get("AWS_DEFAULT_REGION")
    if not region:
        raise ConfigError("expected a region, met none; set AWS_REGION or add --region")
    if not aws_schema.REGION.fullmatch(region):
        raise ConfigError(f"AWS_REGION: expected a region as eu-central-1, met {region!r}")
    for name in (*([asked.name] if "name" in asked else []), *getattr(asked, "others", ())):
        if not aws_schema.STACK.fullmatch(name):
            raise ConfigError(
                "expected the name of a stack, up to 128 letters, digits and hyphens that "
                f"begin with a letter, met {name!r}"
            )
    return str(region)


def _print(found: Mapping[str, str]) -> None:
    for key, value in found.items():
        print(f"{key}={value}")


if __name__ == "__main__":
    main()
