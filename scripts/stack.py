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

from cxr.errors import AwsError, ConfigError, CxrError
from cxr.infra.aws import Account, deployment, packages, stacks

NEXT = {
    "pacs": "python scripts/stack.py up labeling cxr-labeling --from {name}",
    "labeling": "python -m cxr.label job=frontal site=aws aws.stack={name} dry_run=true",
    "training": "python -m cxr.train data.job=JOB site=aws aws.stack={name} compute.dry_run=true",
}


def up(account: Account, asked: argparse.Namespace) -> None:
    """Package, create or update, print the outputs and the next command."""
    known = deployment.parameters(deployment.template(asked.kind))
    given = deployment.given_by(asked.parameters, known)
    others = stacks.filled(account, asked.others)
    passed = {key: others[out] for key, out in deployment.PASSED_ON.items() if out in others}
    if "LambdaKey" in known:
        passed |= packages.upload(account, given.get("LambdaBucket"))
    if given.get("VpcId") and "S3PrefixListId" in known:
        passed["S3PrefixListId"] = deployment.prefix_list(account)
    given = {key: value for key, value in passed.items() if key in known} | given
    made = deployment.deploy(account, asked.kind, asked.name, given)
    _print(made.outputs)
    print(f"next: {NEXT[asked.kind].format(name=asked.name)}")


def show(account: Account, asked: argparse.Namespace) -> None:
    """Print status, outputs, and what was changed by other hands."""
    described = stacks.described_stack(account, asked.name)
    if described is None:
        raise AwsError(f"{asked.name}: expected a stack in {account.region}, met none")
    print(f"{asked.name}: {described['StackStatus']}")
    _print({o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", ())})
    drifted = deployment.drift(account, asked.name)
    print("\n".join(drifted) or "as its template says")


def down(account: Account, asked: argparse.Namespace) -> None:
    """Take the stack down, unless its buckets hold data; print what stays."""
    for kept in deployment.delete(account, asked.name, leave_data=asked.leave_data):
        print(f"kept: {kept}")


def package(account: Account, asked: argparse.Namespace) -> None:
    """Upload the Lambdas' zip, the viewer and the notebook; print where they lie."""
    _print(packages.upload(account, asked.name))


def main() -> None:
    """Read the arguments, run one of the four, and end every error in one line."""
    verbs = {run.__name__: run for run in (up, show, down, package)}
    verb = sys.argv[1] if len(sys.argv) > 1 else ""
    if verb not in verbs:
        sys.exit(
            __doc__ if verb in ("-h", "--help") else f"expected {', '.join(verbs)}, met {verb!r}"
        )
    words = argparse.ArgumentParser(prog=f"stack.py {verb}", description=verbs[verb].__doc__)
    words.add_argument("--region", default=os.environ.get("AWS_REGION"))
    words.add_argument("--profile")
    if verb == "up":
        words.add_argument("kind", choices=deployment.KINDS)
    words.add_argument("name", nargs="?" if verb == "package" else None)
    if verb == "up":
        words.add_argument("parameters", nargs="*", metavar="key=value|file.yaml")
        words.add_argument("--from", dest="others", action="append", default=[], metavar="STACK")
    if verb == "down":
        words.add_argument("--leave-data", action="store_true")
    asked = words.parse_intermixed_args(sys.argv[2:])
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("botocore").setLevel(logging.WARNING)
    try:
        region = asked.region or os.environ.get("AWS_DEFAULT_REGION")
        if not region:
            raise ConfigError("expected a region, met none; set AWS_REGION or add --region")
        verbs[verb](Account(region, asked.profile, tags={"project": "cxr"}), asked)
    except CxrError as error:
        sys.exit(" ".join(str(error).split()))
    except KeyboardInterrupt:
        print("interrupted; CloudFormation goes on by itself, show says how", file=sys.stderr)
        sys.exit(130)


def _print(found: Mapping[str, str]) -> None:
    for key, value in found.items():
        print(f"{key}={value}")


if __name__ == "__main__":
    main()
