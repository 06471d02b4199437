"""Lambda functions that really run: the deployed zip, in a process of its own, kept warm.

The process knows the standard library, boto3 and the zip, and nothing of this checkout.
"""

import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import boto3

Credentials = Callable[[str], dict[str, str]]
"""ARN of a role → variables by which a process has it."""
_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six.py")
_MOST = 6 * 1024 * 1024  # bytes of a synchronous request and of its reply
_ENVIRONMENT = 4096  # bytes
_BOOT = """
import importlib, json, os, sys, traceback
results = os.fdopen(int(sys.argv[2]), "w")
class Context:
    function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
    memory_limit_in_mb, function_version = 128, "$LATEST"
    def __init__(self, given):
        self.aws_request_id, self.invoked_function_arn, self.ms = given
    def get_remaining_time_in_millis(self):
        return self.ms
def failed(kind, error, stack):
    return {"error": {"errorMessage": str(error), "errorType": kind, "stackTrace": stack}}
module, _, name = sys.argv[1].rpartition(".")
handler = None
for line in sys.stdin:
    given = json.loads(line)
    try:
        if handler is None:
            try:
                handler = getattr(importlib.import_module(module.replace("/", ".")), name)
            except ImportError as error:
                told = failed("Runtime.ImportModuleError",
                              f"Unable to import module '{module}': {error}", [])
            except AttributeError as error:
                told = failed("Runtime.HandlerNotFound", error, [])
        if handler is not None:
            answer = handler(given["event"], Context(given["context"]))
            try:
                told = {"ok": json.dumps(answer)}
            except (TypeError, ValueError) as error:
                told = failed("Runtime.MarshalError", f"Unable to marshal response: {error}", [])
    except Exception as error:
        told = failed(type(error).__name__, error, traceback.format_tb(error.__traceback__))
    except SystemExit as error:
        told = failed("Runtime.ExitError", f"exited with {error}", [])
    if "error" in told:
        sys.stderr.write("[ERROR] " + json.dumps(told["error"]) + chr(10))
    sys.stdout.flush(), sys.stderr.flush()
    results.write(json.dumps(told) + chr(10)), results.flush()
"""


class Lambdas:
    """All functions of the account.

    Attributes:
        logs: Function name → all that it has written and that Lambda wrote for it.
    """

    def __init__(self, credentials: Credentials, folder: Path) -> None:
        self._credentials, self._folder = credentials, folder
        self._warm: dict[str, _Warm] = {}
        self._lock = threading.Lock()
        self.logs = Logs(folder / "lambda-logs")
        self._runtime = folder / "lambda-runtime"
        self._runtime.mkdir()
        packages = Path(boto3.__file__).parents[1]
        for name in _RUNTIME:
            (self._runtime / name).symlink_to(packages / name)

    def invoke(self, function: Any, payload: str) -> tuple[bytes, str]:
        """Run one of moto's functions on an event.

        Returns:
            The reply, and the kind of error (`Unhandled`), or an empty string.
        """
        made = self._of(function)
        with made.lock:
            document = made.run(json.loads(payload or "{}"))
        if "error" in document:
            return json.dumps(document["error"]).encode(), "Unhandled"
        reply = document["ok"].encode()
        if len(reply) > _MOST:
            told = f"Response payload size exceeded maximum allowed payload size ({_MOST} bytes)."
            error = {"errorMessage": told, "errorType": "Function.ResponseSizeTooLarge"}
            return json.dumps(error).encode(), "Unhandled"
        return bytes(reply), ""

    def _of(self, function: Any) -> "_Warm":
        variables = dict(function.environment_vars or {})
        version = json.dumps(
            [function.code_sha_256, function.handler, variables, function.timeout], sort_keys=True
        )
        with self._lock:
            warm = self._warm.get(function.function_name)
            if warm is None or warm.version != version:
                if warm is not None:
                    warm.stop()
                warm = _Warm(self, function, variables, version)
                self._warm[function.function_name] = warm
        return warm

    def environment(self, function: Any, variables: Mapping[str, str]) -> dict[str, str]:
        """Give the whole environment of a function's process."""
        return {
            **self._credentials(function.role),
            **variables,
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(self._runtime),
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_LAMBDA_FUNCTION_NAME": function.function_name,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.run_time}",
        }

    def unpacked(self, function: Any) -> Path:
        """Unpack the zip as /var/task is."""
        folder = Path(tempfile.mkdtemp(prefix="task-", dir=self._folder))
        with zipfile.ZipFile(BytesIO(function.code_bytes)) as archive:
            archive.extractall(folder)
        return folder

    def stop(self) -> None:
        """End all processes."""
        with self._lock:
            for warm in self._warm.values():
                warm.stop()
            self._warm.clear()


class Logs(Mapping[str, str]):
    """Function name → its log, as files in a folder that are read anew each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def __getitem__(self, name: str) -> str:
        path = self.file(name)
        return path.read_text(errors="replace") if path.exists() else ""

    def __iter__(self) -> Any:
        return iter(sorted(path.stem for path in self.folder.glob("*.log")))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _Warm:
    """One function's process, which answers event after event as AWS keeps it warm."""

    def __init__(
        self, owner: Lambdas, function: Any, variables: Mapping[str, str], version: str
    ) -> None:
        self.version, self.lock = version, threading.Lock()
        self._owner, self._function, self._variables = owner, function, variables
        self._process: subprocess.Popen[str] | None = None
        self._results = -1
        self._task: Path | None = None

    def run(self, event: Any) -> dict[str, Any]:
        size = sum(len(k.encode()) + len(v.encode()) for k, v in self._variables.items())
        if size > _ENVIRONMENT:
            told = f"environment variables exceed {_ENVIRONMENT} bytes: {size}"
            return {"error": {"errorMessage": told, "errorType": "InvalidParameterValueException"}}
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        request, seconds = str(uuid.uuid4()), float(self._function.timeout or 3)
        arn = self._function.function_arn
        given = {"event": event, "context": [request, arn, int(seconds * 1000)]}
        self._log(f"START RequestId: {request} Version: $LATEST")
        try:
            self._process.stdin.write(json.dumps(given) + "\n")
            self._process.stdin.flush()
            line = self._line(seconds)
        except TimeoutError:
            self.stop()
            told = {
                "errorType": "Sandbox.Timedout",
                "errorMessage": f"{request} Task timed out after {seconds:.2f} seconds",
            }
            self._log(json.dumps(told))
            return {"error": told}
        except OSError:
            line = b""
        self._log(f"END RequestId: {request}")
        if not line:  # it died
            self.stop()
            told = {"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited"}
            return {"error": told}
        document: dict[str, Any] = json.loads(line)
        if "error" in document:
            document["error"]["requestId"] = request
        return document

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdin is not None
            with contextlib.suppress(OSError):  # what was still to be written
                self._process.stdin.close()
            os.close(self._results)
            self._process = None
        if self._task is not None:
            shutil.rmtree(self._task, ignore_errors=True)
            self._task = None

    def _start(self) -> None:
        self.stop()
        self._task = self._owner.unpacked(self._function)
        self._results, theirs = os.pipe()
        # -S: no site-packages, whose .pth files lead to this checkout
        command = [sys.executable, "-S", "-u", "-c", _BOOT, self._function.handler, str(theirs)]
        environment = self._owner.environment(self._function, self._variables)
        environment["PYTHONPATH"] = f"{self._task}:{environment['PYTHONPATH']}"
        with self._owner.logs.file(self._function.function_name).open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, text=True,
                cwd=self._task, env=environment, pass_fds=[theirs],
            )  # fmt: skip
        os.close(theirs)

    def _line(self, seconds: float) -> bytes:
        end, read = time.monotonic() + seconds, b""
        while not read.endswith(b"\n"):
            ready, _, _ = select.select([self._results], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            chunk = os.read(self._results, 65_536)
            if not chunk:
                return b""
            read += chunk
        return read

    def _log(self, text: str) -> None:
        with self._owner.logs.file(self._function.function_name).open("a") as log:
            log.write(text + "\n")
