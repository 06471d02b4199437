"""The entry of a SageMaker training job: its files in, `python -m cxr.train` run, its files out.

One file of the standard library alone until cxr is installed: it lies beside the wheelhouse that
holds it. Nothing it says names a patient or an image. It ends with 0, with 1 and
one line in `output/failure`, or with 143 when the job was stopped or its machine taken away; a
job that is started again finds its checkpoint and goes on in the same run.
"""

import base64
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ML = "CXR_ML_ROOT"  # a variable with another folder than /opt/ml, for whoever plays SageMaker
TRACKED = "mlflow.db"
STOPPED = 128 + signal.SIGTERM
_LONGEST = 1024  # characters of a FailureReason, API DescribeTrainingJob
_PORT = os.environ.get("CXR_PORT", "29500")  # where the hosts meet, on the first one
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MODEL = ("best.ckpt", "model.onnx", "run.json", "metrics.json")
_RESULTS = (*_MODEL, "model-card.md", "model-card.json")
_INSIDE = "cxr.infra.inside"
_LOOK_S = 5.0  # between looks at whether it has changed


class JobError(Exception):
    """The job cannot be run; its text is the reason that SageMaker shows."""


@dataclass(frozen=True)
class Hosts:
    """Which machines train together.

    Attributes:
        names: Sorted; the first one leads.
        here: This one's place among them.
        interface: Network interface between them, or empty.
    """

    names: tuple[str, ...]
    here: int
    interface: str


def boot() -> int:
    """Run the whole job, and give the exit code."""
    ml = Path(os.environ.get(ML, "/opt/ml"))
    os.umask(0o077)
    failure = ml / "output" / "failure"
    failure.unlink(missing_ok=True)
    training, reason = _Training(), ""
    try:
        _run(ml, training)
    except JobError as error:
        reason = str(error)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
    if training.stopped:
        failure.unlink(missing_ok=True)  # whoever lost a stopped one complains, and is no reason
        return STOPPED
    if reason and tell(ml, reason):  # else a process below has said why
        say(reason)
    return 1 if reason else 0


def _run(ml: Path, training: "_Training") -> None:
    order, hosts = read_order(ml), read_hosts(ml)
    channels = {name: _channel(ml, name) for name in ("code", "manifest", "cache")}
    if not os.environ.get("CXR_NO_INSTALL"):
        training.run(_install(channels["code"] / "wheelhouse"), os.environ, "installing cxr")
        importlib.invalidate_caches()
    if training.stopped:
        return
    from cxr.errors import RunError  # installed just now
    from cxr.infra import checkpoints

    processes = int(os.environ.get("CXR_PROCESSES") or _gpus() or 1)
    root, name = ml / "work", str(order["name"])
    try:
        resumes = checkpoints.is_whole(ml / "checkpoints" / "runs", name)
    except RunError as error:
        raise JobError(str(error)) from error
    lay_out(ml, root, order["config"], name, resumes=resumes)
    say(
        f"run {name} {'goes on from its checkpoint' if resumes else 'begins'}: "
        f"host {hosts.here + 1} of {len(hosts.names)}, processes on each: {processes}"
    )
    environment, kept = _environment(root, hosts, processes), ml / "checkpoints" / "runs"
    copied = checkpoints.Copied(root / TRACKED, kept / TRACKED)
    training.run(command(root, hosts, processes), environment, "training", copied.renew)
    if hosts.here == 0 and not training.stopped:
        hand_over(ml / "checkpoints" / "runs" / name, ml / "model")


def read_order(ml: Path) -> dict[str, Any]:
    """Read what is to be run, `config` and `name`, from the one hyperparameter `cxr` below `ml`.

    Raises:
        JobError: It is not there, or not of this form.
    """
    path = ml / "input" / "config" / "hyperparameters.json"
    try:
        order = json.loads(json.loads(path.read_text())["cxr"])
        if isinstance(order, str):  # encoded once more by the SDK's driver
            order = json.loads(order)
        if isinstance(order, dict) and "z" in order:
            order = json.loads(zlib.decompress(base64.b64decode(order["z"])))
        given = order["command"], order["name"], order["config"]["data"]["job"]
    except (OSError, ValueError, KeyError, TypeError, zlib.error) as error:
        raise JobError(
            f"{path}: expected one hyperparameter cxr with command, config and name"
        ) from error
    if given[0] != "train":
        raise JobError(f"{path}: expected the command train, met {given[0]!r}")
    for name in given[1:]:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise JobError(f"{path}: expected a name of letters, digits and . _ -, met {name!r}")
    return dict(order)


def read_hosts(ml: Path) -> Hosts:
    """Read which machines train together; without a file it is this one alone.

    Raises:
        JobError: The file is not of the form of SageMaker's resourceconfig.json.
    """
    path = ml / "input" / "config" / "resourceconfig.json"
    if not path.exists():
        return Hosts(("localhost",), 0, "")
    try:
        said = json.loads(path.read_text())
        names = tuple(sorted(said["hosts"]))
        return Hosts(
            names, names.index(said["current_host"]), str(said.get("network_interface_name") or "")
        )
    except (ValueError, KeyError, TypeError) as error:
        raise JobError(f"{path}: expected hosts, and current_host among them") from error


def _channel(ml: Path, name: str) -> Path:
    folder = ml / "input" / "data" / name
    config = ml / "input" / "config" / "inputdataconfig.json"
    said = json.loads(config.read_text()) if config.exists() else {name: {}}
    mode = said.get(name, {}).get("TrainingInputMode", "File")
    if name not in said or mode == "Pipe" or not folder.is_dir():
        raise JobError(f"expected a channel called {name} in File mode, met none at {folder}")
    return folder


def _install(wheelhouse: Path) -> list[str]:
    if not wheelhouse.is_dir():
        raise JobError(f"expected wheels to install cxr from, met no folder {wheelhouse}")
    wanted = ["cxr"]
    if any(wheelhouse.glob("sagemaker_mlflow-*.whl")):  # with which MLflow takes a server's ARN
        wanted.append("sagemaker-mlflow")
    return [
        sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(wheelhouse),
        "--quiet", "--disable-pip-version-check", "--root-user-action=ignore", *wanted,
    ]  # fmt: skip


def _gpus() -> int:
    return sum(bool(re.fullmatch(r"nvidia\d+", p.name)) for p in Path("/dev").glob("nvidia*"))


def lay_out(ml: Path, root: Path, config: Mapping[str, Any], name: str, *, resumes: bool) -> None:
    """Make a data root of the channels, and the config that runs in it.

    Args:
        ml: The folder that is /opt/ml in a container.
        root: The data root that is made.
        config: As composed where the job was started, unresolved.
        name: Of the run.
        resumes: Whether it goes on.
    """
    job = root / "jobs" / config["data"]["job"]
    labels, images = job / "manifests" / "output", root / "cache"
    for folder in (labels, images, root / "conf", ml / "checkpoints" / "runs", ml / "model"):
        folder.mkdir(parents=True, exist_ok=True)
    _link(root / "runs", ml / "checkpoints" / "runs")
    for path in (ml / "input" / "data" / "manifest").iterdir():
        _link((job if path.name == "agreement.json" else labels) / path.name, path)
    shipped = ml / "input" / "data" / "cache"
    for path in (p for p in shipped.rglob("*") if p.is_file()):
        there = images / path.relative_to(shipped)
        there.parent.mkdir(exist_ok=True)
        if path.suffix == ".u8":
            _link(there, path)  # large, and never written
        else:
            shutil.copyfile(path, there)
    if (kept := ml / "checkpoints" / "runs" / TRACKED).exists():
        shutil.copyfile(kept, root / TRACKED)
    own = {"name": name, "resume": resumes, "onnx": True, "examples": False}
    if str(config["tracking"]["uri"]).startswith("sqlite:"):
        own["tracking"] = {**config["tracking"], "uri": "sqlite:///${root}/" + TRACKED}
    split = labels / "split.csv"
    data = {**config["data"], **({"split": str(split)} if split.exists() else {})}
    # JSON is YAML; `base` brings Hydra's own settings
    text = {"defaults": ["base", "_self_"], **config, **own, "data": data}
    (root / "conf" / "shipped.yaml").write_text(json.dumps(text, ensure_ascii=False))


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target)


def command(root: Path, hosts: Hosts, processes: int) -> list[str]:
    """Give what trains on this host: one process, or torchrun for this host's part of many."""
    shipped = ["--config-dir", str(root / "conf"), "--config-name", "shipped"]
    train = ["-m", _INSIDE, "cxr.train", *shipped, "hydra.job.name=train"]
    python = [sys.executable, "-u"]
    if len(hosts.names) == 1 and processes == 1:
        return [*python, *train]
    meet = ["--standalone"]
    if len(hosts.names) > 1:
        meet = [
            f"--nnodes={len(hosts.names)}", f"--node-rank={hosts.here}",
            f"--master-addr={hosts.names[0]}", f"--master-port={_PORT}",
        ]  # fmt: skip
    torchrun = [*python, "-m", _INSIDE, "torch.distributed.run", *meet]
    return [*torchrun, f"--nproc-per-node={processes}", "--max-restarts=0", *train]


def _environment(root: Path, hosts: Hosts, processes: int) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    made = {"OMP_NUM_THREADS": str(threads), **os.environ}
    if hosts.interface and len(hosts.names) > 1:
        made |= {"NCCL_SOCKET_IFNAME": hosts.interface, "GLOO_SOCKET_IFNAME": hosts.interface}
    # this file's own folder is no place to import from
    return made | {
        "CXR_ROOT": str(root),
        "CXR_METRIC_LINES": "1",
        "CXR_IN_JOB": "1",
        "PYTHONSAFEPATH": "1",
    }


def hand_over(run: Path, model: Path) -> None:
    """Copy what becomes model.tar.gz; pictures of patients are not among it.

    Raises:
        JobError: The run left no model.
    """
    if not (run / "best.ckpt").exists():
        raise JobError("training ended without a model")
    model.mkdir(parents=True, exist_ok=True)
    for name in _RESULTS:
        if (run / name).exists():
            shutil.copyfile(run / name, model / name)
    # where the second is, the first has pictures
    for name in ("report.html", "report-without-pictures.html"):
        if (run / name).exists():
            shutil.copyfile(run / name, model / "report.html")


class _Training:
    """What runs below; SIGTERM is passed on to it."""

    def __init__(self) -> None:
        self.stopped = False
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def run(
        self, arguments: Sequence[str], environment: Mapping[str, str], what: str,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Run to the end, and call `meanwhile` now and then, and at the end.

        Raises:
            JobError: It failed; nothing where the job was stopped.
        """
        if self.stopped:
            return
        self._process = subprocess.Popen(arguments, env=environment)
        if self.stopped:  # between the two lines above
            self._process.terminate()
        code = None
        while code is None:
            with suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_LOOK_S)
            meanwhile()
        if code and not self.stopped:
            why = f"killed by signal {-code}, mostly for want of memory" if code < 0 else code
            raise JobError(f"{what} ended with {why}; see the job's log")

    def _stop(self, *_: object) -> None:
        self.stopped = True
        if self._process is not None:
            self._process.terminate()


def tell(ml: Path, reason: str) -> bool:
    """Keep a reason where SageMaker looks for it, if it is the first: the others follow from it."""
    path = ml / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            file.write(" ".join(reason.split())[:_LONGEST])
    except FileExistsError:
        return False
    return True


def say(text: str) -> None:
    """Write a line into the job's log."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(boot())
