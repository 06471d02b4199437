"""The whole double: moto's server with what moto lacks in front of it.

See the package's docstring for how tests use it.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3
from moto.awslambda_simple.models import LambdaSimpleBackend
from moto.backends import get_backend
from moto.core.config import default_user_config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from aws_double import calls, cloudformation, policies, rotation, shapes, storage, tasks
from aws_double.account import Account
from aws_double.calls import ACCOUNT, REGION, Call, RefusedError
from aws_double.faults import Faults
from aws_double.labeling import Labeling
from aws_double.lambdas import Lambdas
from aws_double.tasks import Task
from aws_double.training import Training
from aws_double.workteams import Workteams

ROOT = Path(__file__).parents[2]
_SWITCHES = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "SAGEMAKER_VALIDATE_ROLE": "false",
    "SAGEMAKER_TELEMETRY_OPT_OUT": "1",
}
Reply = tuple[str, list[tuple[str, str]], bytes]


class Aws:
    """An AWS account on loopback.

    Attributes:
        endpoint: Address of all its services.
        environment: What a process needs to use it.
        workers: Name of a labeling job (or pattern) → who answers it.
        faults: Bad days to switch on.
        logs: Lambda function's name → all its output so far.
        team: ARN of a private team that is there.
        training: The training jobs.
        labeling: The labeling jobs.
    """

    region, account = REGION, ACCOUNT

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.WARNING)
        default_user_config["lambda"] = {"use_docker": False}
        self._folder = Path(tempfile.mkdtemp(prefix="aws-double-"))
        self._server = _Server(self._answer)
        self._server.start()
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        self.environment = self._credentials("AKIATESTERSKEY000000") | _SWITCHES
        self._signed_in = 0
        self._clients: dict[tuple[str, str], Any] = {}
        self._roles: dict[str, str] = {}
        self._own = Account(self.endpoint)
        self.faults = Faults()
        self._begin()
        self._was = LambdaSimpleBackend.invoke
        LambdaSimpleBackend.invoke = self._invoked

    def _begin(self) -> None:
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        self._lambdas = Lambdas(self._assumed, folder)
        self.logs, self._teams = self._lambdas.logs, Workteams()
        self.team = next(iter(self._teams.arns))
        self._stacks = cloudformation.Stacks(self._teams)
        shim = ROOT / "templates" / "portal" / "crowd-shim.js"
        self.labeling = Labeling(self._own, self._lambdas, self.faults, self._teams, shim)
        self.workers = self.labeling.workers
        self.training = Training(self._own, self.faults, self._assumed, folder)
        self._operations: dict[str, Callable[[Call], dict[str, Any]]] = {
            **self._teams.operations,
            **self.labeling.operations,
            **self.training.operations,
        }

    # for tests

    def client(self, service: str) -> Any:
        """Give a boto3 client with the tester's credentials."""
        key = self.environment["AWS_ACCESS_KEY_ID"]
        if (service, key) not in self._clients:
            session = boto3.Session(
                region_name=REGION, aws_access_key_id=key, aws_secret_access_key="double"
            )
            made = session.client(service, endpoint_url=self.endpoint)
            self._clients[service, key] = made
        return self._clients[service, key]

    def sign_in(self) -> dict[str, str]:
        """Draw new credentials, put them in the environment, and give them."""
        self._signed_in += 1
        self.environment["AWS_ACCESS_KEY_ID"] = f"AKIATESTERSKEY{self._signed_in:06d}"
        os.environ["AWS_ACCESS_KEY_ID"] = self.environment["AWS_ACCESS_KEY_ID"]
        return dict(self.environment)

    def bucket(self, name: str, region: str = REGION) -> str:
        """Make a bucket, if there is none of the name, and give the name."""
        return storage.bucket(name, region)

    def role(
        self,
        name: str,
        service: str = "sagemaker.amazonaws.com",
        policy: Mapping[str, Any] | None = None,
    ) -> str:
        """Make a role that a service may assume, with a policy or all rights; give its ARN."""
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
            ],
        }
        iam = get_backend("iam")[ACCOUNT]["aws"]
        known = [role for role in iam.roles.values() if role.name == name]
        if known:
            return str(known[0].arn)
        made = iam.create_role(name, json.dumps(trust), "/", None, "", [], "3600")
        iam.put_role_policy(name, "all", json.dumps(policy or policies.EVERYTHING))
        return str(made.arn)

    def function(
        self,
        name: str,
        code: bytes | Mapping[str, str],
        handler: str,
        environment: Mapping[str, str] | None = None,
        timeout_s: int = 30,
    ) -> str:
        """Deploy a function, anew, from a zip's bytes or file names and texts; give its ARN."""
        role = self.role(f"{name}-role", "lambda.amazonaws.com")
        functions = self.client("lambda")
        if any(f["FunctionName"] == name for f in functions.list_functions()["Functions"]):
            functions.delete_function(FunctionName=name)
        made = functions.create_function(
            FunctionName=name,
            Runtime="python3.13",
            Role=role,
            Handler=handler,
            Code={"ZipFile": code if isinstance(code, bytes) else zipped(code)},
            Environment={"Variables": dict(environment or {})},
            Timeout=timeout_s,
        )
        return str(made["FunctionArn"])

    def tasks(self, job: str, seconds: float = 20) -> list[Task]:
        """Give a labeling job's tasks that wait for a browser, once there are any."""
        tasks.until(lambda: job in self.labeling.jobs, seconds)
        return self.labeling.jobs[job].answering.open(seconds)

    def expire(self, job: str) -> None:
        """Let the tasks of a labeling job expire that nobody has answered yet."""
        self.labeling.jobs[job].answering.close()

    def ended(self, job: str, seconds: float = 60) -> str:
        """Wait for the end of a labeling or training job, and give its status."""
        found = self.labeling.jobs.get(job) or self.training.jobs[job]
        tasks.until(lambda: found.ended, seconds)
        return found.status

    def reset(self) -> None:
        """Forget everything: a fresh account."""
        self._end()
        self._stacks.stop()
        self._begin()
        for service in ("s3", "iam", "lambda", "logs", "secretsmanager", "kms", "cloudformation"):
            for backend in get_backend(service).values():
                for one in backend.values():
                    one.reset()

    def stop(self) -> None:
        """End jobs, Lambdas and the server, and forget everything."""
        self._end()
        self._stacks.stop()
        LambdaSimpleBackend.invoke = self._was
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _end(self) -> None:
        self.labeling.stop()
        self.training.stop()
        self._lambdas.stop()

    # requests

    def _answer(self, environ: dict[str, Any]) -> Reply | None:
        """Answer what is the double's own; None leaves it to moto."""
        if environ["PATH_INFO"].startswith(tasks.BELOW):
            return self.labeling.pages.answer(environ)
        if environ["PATH_INFO"].startswith("/moto-api"):
            return None
        call = Call("", "")
        try:
            call = calls.read(environ)
            self.faults.judge(call)
            if call.key in self._roles:
                policies.judge(self._roles[call.key], call)
            if call.operation == "SimulatePrincipalPolicy":
                told = policies.simulated(cloudformation.read_form(calls.body(environ)))
                return "200 OK", [("Content-Type", "text/xml")], told
            if call.service == "s3":
                return storage.answer(call, environ)
            if call.service in ("sagemaker", "secretsmanager", "logs", "kms", "cognito-idp"):
                shapes.check(call)
            if call.operation in ("CreateStack", "UpdateStack", "CreateChangeSet"):
                cloudformation.check(cloudformation.read_form(calls.body(environ)))
            if call.action == "secretsmanager:RotateSecret":
                return calls.answer(rotation.rotate(call))
            if call.service == "sagemaker" and call.operation in self._operations:
                return calls.answer(self._operations[call.operation](call))
        except RefusedError as error:
            return calls.refusal(call, error)
        return None

    def _invoked(
        self,
        function_name: str,
        qualifier: str | None,
        body: Any,
        headers: Any,
        response_headers: Any,
    ) -> bytes:
        """Run a function, in place of moto's invoke, whose parameters it names."""
        content, failed = self._lambdas.invoke(self._own.function(function_name), body or "{}")
        if failed:
            response_headers["x-amz-function-error"] = failed
        return content

    def _assumed(self, arn: str) -> dict[str, str]:
        """Give credentials of a role, by which its policies bind whoever has them."""
        key = "ASIA" + hashlib.sha256(arn.encode()).hexdigest()[:16].upper()
        self._roles[key] = arn
        self.faults.exempt.add(key)
        return self._credentials(key)

    def _credentials(self, key: str) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": "double",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


def zipped(files: Mapping[str, str]) -> bytes:
    """Make a zip of names and texts."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


class _Server(ThreadedMotoServer):
    """moto's server on a free port of loopback, behind the double's own answers."""

    def __init__(self, own: Callable[[dict[str, Any]], Reply | None]) -> None:
        super().__init__("127.0.0.1", 0, verbose=False)
        self._own, self._moto = own, DomainDispatcherApplication(create_backend_app)

    @property
    def port(self) -> int:
        return int(self.get_host_and_port()[1])

    def _server_entry(self) -> None:
        self._server = make_server(
            self._ip_address,
            0,
            self._application,
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        self._server.daemon_threads = True
        self._server_ready_event.set()
        self._server.serve_forever(poll_interval=0.1)

    def _application(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        found = self._own(environ)
        if found is None:
            return self._moto(environ, self._cors(environ, start))
        status, headers, body = found
        start(status, [*headers, ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _cors(self, environ: dict[str, Any], start: Callable[..., Any]) -> Callable[..., Any]:
        """Let web pages read what their bucket's rules say; moto lets them read all."""

        def begin(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [(k, v) for k, v in headers if not k.lower().startswith("access-control-")]
            return start(status, kept + storage.cors(environ), *rest)

        return begin

    def stop(self) -> None:
        super().stop()
        if self._server is not None:
            self._server.server_close()
