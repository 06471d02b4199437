"""What SageMaker does with a training job: channels, processes, checkpoints, model, log.

A container's /opt/ml is a folder here. Its path stands for /opt/ml in the entry point, in the
scripts of the channels that the SDK makes, and in the variable CXR_ML_ROOT.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from aws_double.account import split
from aws_double.machines import ML, Host, packed, rebase, send, state

if TYPE_CHECKING:
    from aws_double.training import Training, TrainingJob

_SRC = Path(__file__).parents[2] / "src"
_LOGS = "/aws/sagemaker/TrainingJobs"
_POLL_S, _SYNC_S = 0.1, 1.0


def run(training: "Training", job: "TrainingJob") -> None:
    """Run a job to its end, in a thread of its own."""
    _Run(training, job).run()


class _Run:
    def __init__(self, training: "Training", job: "TrainingJob") -> None:
        self.all, self.job, self.account = training, job, training.account
        self.request = job.request
        self.folder = Path(
            tempfile.mkdtemp(prefix=f"training-{job.name[:20]}-", dir=training.folder)
        )

    def run(self) -> None:
        job = self.job
        try:
            failing = self.all.faults.of("job", job.name)
            if failing:
                self._ends("Failed", failing[0]["reason"])
            else:
                while self._attempt():  # again, after the machine was taken away
                    job.goes("Interrupted", "Training job interrupted by a spot reclaim")
                    job.goes("Starting", "Preparing the instances for training")
        except (ClientError, OSError) as error:
            self._ends("Failed", f"InternalServerError: {error}")
        except Exception as error:
            self._ends("Failed", f"InternalServerError: the double broke: {error!r}")
            raise
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _attempt(self) -> bool:
        """Run on fresh machines; say whether they were taken away."""
        job = self.job
        job.attempts += 1
        job.interrupted.clear()
        count = self.request["ResourceConfig"]["InstanceCount"]
        # one machine is algo-1 as in AWS; of several, only addresses of loopback find each other
        names = ["algo-1"] if count == 1 else [f"127.0.0.{n}" for n in range(1, count + 1)]
        hosts = [self._host(name, number) for number, name in enumerate(names, 1)]
        job.goes("Downloading", "Downloading input data")
        for host in hosts:
            self._filled(host, names)
        if job.stopping.is_set():
            self._ends("Stopped")
            return False
        job.started = job.started or datetime.now(UTC)
        job.goes("Training", "Training image download completed. Training in progress.")
        for host in hosts:
            self._start(host)
        why = self._watch(hosts)
        for host in hosts:
            self._read(host)
            self._sync(host)
        if why == "interrupted":
            shutil.rmtree(self.folder / str(job.attempts), ignore_errors=True)
            return True
        self._uploaded(hosts)
        self._judged(hosts, why)
        return False

    # the machines

    def _host(self, name: str, number: int) -> Host:
        base = self.folder / str(self.job.attempts) / str(number)
        ml = base / "opt" / "ml"
        for part in ("input/config", "input/data", "model", "output/data", "checkpoints", "code"):
            (ml / part).mkdir(parents=True)
        stream = f"{self.job.name}/algo-{number}-{int(time.time())}"
        return Host(name, ml, base / "log.txt", stream=stream)

    def _filled(self, host: Host, names: list[str]) -> None:
        config, resources = host.ml / "input" / "config", self.request["ResourceConfig"]
        channels = {}
        for channel in self.request.get("InputDataConfig", ()):
            name = channel["ChannelName"]
            channels[name] = {"TrainingInputMode": "File", "RecordWrapperType": "None"}
            folder = host.ml / "input" / "data" / name
            folder.mkdir()
            self._fetch(channel["DataSource"]["S3DataSource"]["S3Uri"], folder)
            if name.startswith("sm_"):
                rebase(folder, host.ml)
        documents = {
            "hyperparameters": self.request.get("HyperParameters", {}),
            "inputdataconfig": channels,
            "resourceconfig": {
                "current_host": host.name,
                "current_instance_type": resources["InstanceType"],
                "current_group_name": "homogeneousCluster",
                "hosts": names,
                "instance_groups": [
                    {
                        "instance_group_name": "homogeneousCluster",
                        "instance_type": resources["InstanceType"],
                        "hosts": names,
                    }
                ],
                "network_interface_name": "lo",
            },
        }
        for name, document in documents.items():
            (config / f"{name}.json").write_text(json.dumps(document))
        checkpoints = self.request.get("CheckpointConfig")
        if checkpoints:
            self._fetch(checkpoints["S3Uri"].rstrip("/") + "/", self._checkpoints(host))
            for path in self._checkpoints(host).rglob("*"):
                host.sent[str(path)] = state(path)

    def _checkpoints(self, host: Host) -> Path:
        given = self.request.get("CheckpointConfig", {}).get("LocalPath", "/opt/ml/checkpoints")
        folder = Path(given.replace(ML, str(host.ml)))
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _fetch(self, uri: str, folder: Path) -> None:
        bucket, prefix = split(uri)
        for key in self.account.keys(uri):
            below = key[len(prefix) :].lstrip("/") if prefix.endswith("/") or key != prefix else ""
            if key.endswith("/"):
                continue
            path = folder / (below or key.rpartition("/")[2])
            path.parent.mkdir(parents=True, exist_ok=True)
            self.account.s3.download_file(bucket, key, str(path))

    def _start(self, host: Host) -> None:
        spec = self.request["AlgorithmSpecification"]
        command = [*spec.get("ContainerEntrypoint", ()), *spec.get("ContainerArguments", ())]
        command = [part.replace(ML, str(host.ml)) for part in command]
        with host.log.open("wb") as log:
            try:
                host.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=host.ml / "code",
                    env=self._environment(host), start_new_session=True,
                )  # fmt: skip
            except (OSError, IndexError, ValueError) as error:
                log.write(f"the container did not start: {error}\n".encode())

    def _environment(self, host: Host) -> dict[str, str]:
        """Give what a container's process has: what the job says, and its role's credentials."""
        told = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(host.ml.parent),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(_SRC),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
            "TRAINING_JOB_NAME": self.job.name,
            "TRAINING_JOB_ARN": self.job.arn,
            "CXR_ML_ROOT": str(host.ml),
        }
        given: Mapping[str, str] = self.request.get("Environment", {})
        return {
            **told,
            **self.all.credentials(self.request["RoleArn"]),
            **self.all.container,
            **given,
        }

    # while it runs

    def _watch(self, hosts: list[Host]) -> str:
        """Wait for the processes; say why they were ended, or nothing where they did."""
        longest = self.request["StoppingCondition"].get("MaxRuntimeInSeconds", 86_400)
        began = synced = time.monotonic()
        while any(h.process and h.process.poll() is None for h in hosts):
            why = ""
            if self.job.stopping.is_set():
                why = "stopped"
            elif self.job.interrupted.is_set() or any(self._read(h) for h in hosts):
                why = "interrupted"
            elif time.monotonic() - began > longest:
                why = "too long"
            elif any(h.process and h.process.poll() for h in hosts):
                why = "failed"  # one machine's failure is the job's
            if why:
                self._terminate(hosts)
                return why
            if time.monotonic() - synced > _SYNC_S:
                synced = time.monotonic()
                for host in hosts:
                    self._sync(host)
            time.sleep(_POLL_S)
        return ""

    def _terminate(self, hosts: list[Host]) -> None:
        """Send SIGTERM, and SIGKILL to what is still there after the grace."""
        for host in hosts:
            send(host, signal.SIGTERM, group=False)
        end = time.monotonic() + self.all.grace_s
        while any(h.process and h.process.poll() is None for h in hosts):
            if time.monotonic() > end or (self.all.grace_s == 0):
                break
            time.sleep(_POLL_S)
            end = min(end, time.monotonic() + self.all.grace_s)
        for host in hosts:
            send(host, signal.SIGKILL, group=True)
            if host.process:
                host.process.wait()

    def _read(self, host: Host) -> bool:
        """Send new lines of a log to CloudWatch; say whether one of them costs the machine."""
        ended = host.process is None or host.process.poll() is not None
        with host.log.open("rb") as log:
            log.seek(host.read)
            new = log.read()
        whole = new if ended else new[: new.rfind(b"\n") + 1]
        host.read += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        self.job.lines += lines
        for start in range(0, len(lines), 1000):
            self.account.log(_LOGS, host.stream, lines[start : start + 1000])
        for fault in self.all.faults.of("interrupt", self.job.name) if self.job.spot else ():
            if any(re.search(fault["pattern"], line) for line in lines) and self.all.faults.spend(
                fault
            ):
                return True
        return False

    def _sync(self, host: Host) -> None:
        """Copy new and changed checkpoints to S3."""
        config = self.request.get("CheckpointConfig")
        if not config:
            return
        folder = self._checkpoints(host)
        for path in sorted(folder.rglob("*")):
            try:
                if path.is_file() and host.sent.get(str(path)) != state(path):
                    found, content = state(path), path.read_bytes()
                    where = f"{config['S3Uri'].rstrip('/')}/{path.relative_to(folder).as_posix()}"
                    self.account.put(where, content)
                    host.sent[str(path)] = found
            except FileNotFoundError:  # a temporary file has been renamed meanwhile
                continue

    # the end

    def _uploaded(self, hosts: list[Host]) -> None:
        self.job.goes("Uploading", "Uploading generated training model")
        key = self.request["OutputDataConfig"].get("KmsKeyId")
        model, data = hosts[0].ml / "model", hosts[0].ml / "output" / "data"
        self.account.put(self.job.artifacts, packed(model), key)
        if any(data.iterdir()):
            where = self.job.artifacts.rpartition("/")[0]
            self.account.put(f"{where}/output.tar.gz", packed(data), key)

    def _judged(self, hosts: list[Host], why: str) -> None:
        if why == "stopped":
            self._ends("Stopped")
        elif why == "too long":
            self.job.goes("MaxRuntimeExceeded", "The job ran too long", "Stopped")
        else:
            codes = [h.process.returncode if h.process else 127 for h in hosts]
            bad = [(h, c) for h, c in zip(hosts, codes, strict=True) if c > 0] or [
                (h, c) for h, c in zip(hosts, codes, strict=True) if c
            ]
            self._ends("Failed", self._failure(*bad[0])) if bad else self._ends("Completed")

    def _failure(self, host: Host, code: int) -> str:
        told = host.ml / "output" / "failure"
        text = told.read_text(errors="replace") if told.exists() else "\n".join(self.job.lines[-5:])
        return f"AlgorithmError: {text[:1024].strip()}, exit code: {code}"

    def _ends(self, status: str, reason: str = "") -> None:
        self.job.reason = reason[:1024]
        self.job.goes(status, reason, status)
