"""What is asked of a training job elsewhere, before anything is prepared or paid for."""

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cxr import places
from cxr.errors import ConfigError
from cxr.infra import tracking

HYPERPARAMETER = "cxr"
_LONGEST = 2500  # CreateTrainingJob's own limit for one value
_LONGEST_NAME = 40  # of a run in the job's name, which has at most 63 characters
_AGAIN = re.compile(r"-try[0-9]+$")
_ENVIRONMENT = re.compile(r"\$\{oc\.env:")
_HOME = ("root", "aws", "pacs", "labeling", "compute", "name", "resume")
"""What is said of this machine alone, and said anew for the job."""


@dataclass(frozen=True)
class Goods:
    """What a job is sent besides code.

    Attributes:
        labels: Files of the channel `manifest`: labels, and which image is tested on.
        cache_name: Names the decoded images by their content.
        write_cache: Writes them into an empty folder and gives the files.
    """

    labels: Sequence[Path]
    cache_name: str
    write_cache: Callable[[Path], list[Path]]


@dataclass(frozen=True)
class Order:
    """One run, to be trained elsewhere.

    Attributes:
        name: Of the run.
        root: The data root of this machine.
        objective: Name of the metric that is the best of a run.
        tracking_uri: MLflow's, resolved.
        experiment: MLflow's.
        resume: Go on with the run of this name.
        prepare: Checks labels and leaks, decodes, divides; writes into an empty folder.
        restore: Names images in a fetched folder as they are called here.
        adopt: Keeps the fetched model in this machine's MLflow, given its run and folder.
    """

    name: str
    root: Path
    objective: str
    tracking_uri: str
    experiment: str
    resume: bool
    prepare: Callable[[Path], Goods]
    restore: Callable[[Path], None]
    adopt: Callable[[tracking.Run, Path], None]

    @property
    def folder(self) -> Path:
        """Where the run comes to lie here."""
        return self.root / "runs" / self.name

    @property
    def isolated(self) -> bool:
        """The job needs no network: it tracks into a file that is fetched."""
        return tracking.is_file(self.tracking_uri)


def base_name(run: str) -> str:
    """Give the name of a run's first training job: the same for the same run, always.

    AWS takes a name once only, so that no second job of a run starts by accident.

    >>> base_name("densenet121-20261122-101500")
    'cxr-densenet121-20261122-101500'
    >>> base_name("lr_0.1")
    'cxr-lr-0-1-875c9b68'
    """
    plain = re.sub("-+", "-", re.sub("[^A-Za-z0-9]", "-", run)).strip("-")
    # AWS does not tell capitals apart
    if plain == run.lower() and len(run) <= _LONGEST_NAME and not _AGAIN.search(run):
        return f"cxr-{run}"
    told_apart = sha256(run.encode()).hexdigest()[:8]
    return f"cxr-{plain[:_LONGEST_NAME].rstrip('-')}-{told_apart}"


def job_name(run: str, attempt: int) -> str:
    """Give the name of a run's first, second, third job.

    >>> job_name("demo", 1), job_name("demo", 2)
    ('cxr-demo', 'cxr-demo-try2')
    """
    return base_name(run) if attempt == 1 else f"{base_name(run)}-try{attempt}"


def hyperparameter(
    command: str, unresolved: Mapping[str, Any], resolved: Mapping[str, Any], name: str
) -> str:
    """Give the job's one hyperparameter: its whole config as JSON, or that compressed.

    A dot in a hyperparameter's name, or a single quote in its value, breaks AWS's own start
    scripts (sagemaker 3.27), so there is one name without and no such quote.

    Args:
        command: Such as `train`.
        unresolved: Its config; secrets are only named in it.
        resolved: The same, resolved and checked.
        name: Of the run.

    Raises:
        ConfigError: The config is too long, or holds a password.
    """
    config = {key: value for key, value in unresolved.items() if key not in _HOME}
    config = _answered(config, resolved, "")
    config |= {
        "root": "${oc.env:CXR_ROOT}",
        "name": name,
        "resume": False,
        "aws": None,
        "compute": {"_target_": "cxr.infra.compute.Local"},
        "pacs": {"_target_": "cxr.pacs.shipped.ShippedPacs", "folder": "${root}/cache"},
        "labeling": yaml.safe_load(
            (places.shipped("conf") / "labeling" / "local.yaml").read_text()
        ),
    }
    config["data"] = config["data"] | {
        "workers": 0,
        "test_list": "sent" if config["data"].get("test_list") else None,
        "split": "${root}/jobs/${data.job}/manifests/output/split.csv",
    }
    if "evaluate" in config:
        # what is known of the images beside their pixels stays at home, as is a table of it
        config["evaluate"] = config["evaluate"] | {"metadata": None, "subgroups": []}
    uri = str(resolved["tracking"]["uri"])
    if tracking.is_file(uri):
        config["tracking"] |= {"uri": "sqlite:///${root}/runs/mlflow.db", "register_as": None}
    elif urlsplit(uri).username or urlsplit(uri).password:
        raise ConfigError(
            "tracking.uri: expected an address without user and password, which whoever may "
            "describe the job would read; use tracking=sagemaker or tracking=local"
        )
    return _packed({"command": command, "name": name, "config": config})


def unpacked(value: str) -> dict[str, Any]:
    """Read what `hyperparameter` gave."""
    document: dict[str, Any] = json.loads(value)
    if "z" in document:
        document = json.loads(zlib.decompress(base64.b64decode(document["z"])))
    return document


def nameless(value: str) -> dict[str, Any]:
    """Read what `hyperparameter` gave, less the run's name: equal for runs that train the same."""
    document = unpacked(value)
    config = {key: held for key, held in document["config"].items() if key != "name"}
    return {"command": document["command"], "config": config}


def _answered(config: Mapping[str, Any], resolved: Any, place: str) -> dict[str, Any]:
    """Give what comes from this machine's environment as values; the job has another one."""
    from cxr.config import SECRET

    answered: dict[str, Any] = {}
    for key, value in config.items():
        where = f"{place}{key}"
        known = resolved.get(key) if isinstance(resolved, Mapping) else None
        if isinstance(value, Mapping):
            answered[key] = _answered(value, known, f"{where}.")
        elif isinstance(value, str) and _ENVIRONMENT.search(value):
            if SECRET.search(where):
                raise ConfigError(f"{where}: a secret does not travel in a training job's config")
            answered[key] = known
        else:
            answered[key] = value
    return answered


def _packed(document: Mapping[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":")).replace("'", "\\u0027")
    if len(text) > _LONGEST:
        text = json.dumps({"z": base64.b64encode(zlib.compress(text.encode(), 9)).decode()})
    if len(text) > _LONGEST:
        raise ConfigError(
            f"expected a config that fits into a training job's {_LONGEST} characters, met "
            f"{len(text)} even compressed; shorten labels or lists in it"
        )
    return text
