"""Every file in conf/ can be chosen, is valid, and says what choosing it means."""

from pathlib import Path

import pytest

from cxr import config, schema
from cxr.contract import manifest
from cxr.contract.labels import LabelSet

CONF = Path(__file__).parents[1] / "conf"
COMMANDS = {
    "train": schema.Train,
    "label": schema.Label,
    "ingest": schema.Ingest,
    "evaluate": schema.Evaluate,
    "serve": schema.Serve,
    "orthanc": schema.Orthanc,
    "trace": schema.Trace,
    "ensemble": schema.Ensemble,
}
NEEDED = {
    "ingest": ["folder=x"],
    "evaluate": ["run=x"],
    "orthanc": ["verb=up"],
    "trace": ["run=x"],
    "ensemble": ["runs=[x,y]"],
    "label job=replay": ["job.answers=x.csv"],
    "label labeling=replay": ["job=replay", "job.answers=x.csv"],
    "label labeling=reports": ["job=reports"],
    **{
        f"{command} {option}": ["aws=account"]
        for command in COMMANDS
        for option in ("labeling=groundtruth", "compute=sagemaker")
    },
    "label labeling=groundtruth": ["aws=account", "job=frontal"],
    "label site=aws": ["job=frontal"],
}
_AWS = {"AWS_REGION": "eu-central-1"}
ENVIRONMENT = {
    "tracking=server": {"MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"},
    "tracking=sagemaker": {"CXR_MLFLOW_ARN": "arn:aws:sagemaker:eu-central-1:1:mlflow-app/a"},
    **dict.fromkeys(("aws=account", "site=aws", "labeling=groundtruth", "compute=sagemaker"), _AWS),
}
FILES = sorted(CONF.rglob("*.yaml"))
# files with an underscore are parts of others, so choosing those covers them
OPTIONS = [
    f"{path.parent.relative_to(CONF)}={path.stem}"
    for path in FILES
    if path.parent != CONF and not path.stem.startswith("_")
]


def takes(command, option):
    """Whether a command has a group: it names it, or `site` and `base` bring it."""
    text = (CONF / f"{command}.yaml").read_text() + (CONF / "site" / "local.yaml").read_text()
    group = option.partition("=")[0]
    return f"- {group}:" in text or f"- /{group}:" in text


# python -m cxr.orthanc is about one PACS
ELSEWHERE = {("orthanc", "pacs=folder"), ("orthanc", "pacs=dicomweb"), ("orthanc", "site=local")}
PAIRS = [(c, o) for c in COMMANDS for o in OPTIONS if takes(c, o) and (c, o) not in ELSEWHERE]


def valid(command, *overrides):
    own = [] if any(o.startswith("from_pacs=") for o in overrides) else NEEDED.get(command, [])
    needed = [own, *(NEEDED.get(f"{command} {o}", []) for o in overrides)]
    given = [*overrides, *(word for words in needed for word in words)]
    return config.check(config.compose(command, given), COMMANDS[command])


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_valid_as_it_comes(command):
    assert valid(command).root


@pytest.mark.parametrize(("command", "option"), PAIRS, ids=lambda part: part)
def test_every_option_is_valid_in_every_command_that_has_it(command, option, monkeypatch):
    for name, value in ENVIRONMENT.get(option, {}).items():
        monkeypatch.setenv(name, value)

    assert valid(command, option).root


def test_every_option_is_chosen_somewhere():
    assert {option for _, option in PAIRS} == set(OPTIONS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_a_file_begins_by_saying_what_choosing_it_means(path):
    first = next(line for line in path.read_text().splitlines() if line != "# @package _global_")

    assert first.startswith("# ")
    assert len(first) > 20


def test_the_published_labels_stand_in_their_order():
    names = valid("label", "labels=mimic_cxr").labels.names

    assert ",".join(names) == (
        "Atelectasis,Cardiomegaly,Consolidation,Edema,Enlarged Cardiomediastinum,Fracture,"
        "Lung Lesion,Lung Opacity,Pleural Effusion,Pneumonia,Pneumothorax,Pleural Other,"
        "Support Devices,No Finding"
    )


@pytest.mark.parametrize("path", [*(CONF / "labels").glob("*.yaml")], ids=lambda path: path.stem)
def test_every_label_set_makes_sense(path):
    section = valid("label", f"labels={path.stem}").labels

    made = LabelSet(
        section.name, tuple(section.names), section.no_finding, tuple(section.compatible),
        {parent: tuple(names) for parent, names in section.parents.items()}, section.aliases,
    )  # fmt: skip
    assert made.name == path.stem
    assert [made.canonical(name) for name in made.names] == list(made.names)


@pytest.mark.parametrize("path", [*(CONF / "job").glob("*.yaml")], ids=lambda path: path.stem)
def test_every_job_has_a_name_that_ground_truth_takes(path):
    if not path.stem.startswith("_"):
        assert manifest.check_job_name(valid("label", f"job={path.stem}").job.name)
