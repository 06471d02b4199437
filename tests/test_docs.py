"""What the README tells one to type can be typed."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from cxr import config, schema
from cxr.ingest_rules import RULES

ROOT = Path(__file__).parents[1]
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
MODELS = {
    "train": schema.Train,
    "label": schema.Label,
    "ingest": schema.Ingest,
    "evaluate": schema.Evaluate,
    "ensemble": schema.Ensemble,
    "trace": schema.Trace,
    "serve": schema.Serve,
    "orthanc": schema.Orthanc,
}
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
TEXT = "\n".join(path.read_text() for path in PAGES)


def quoted(start):
    """Commands in fenced blocks and in backticks, without those that are only a pattern."""
    blocks = FENCED.findall(TEXT)
    lines = [line.strip().removeprefix("$ ") for block in blocks for line in block.splitlines()]
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCED.sub("", TEXT))]
    found = [text.partition("  ")[0] for text in (*lines, *spans) if text.startswith(start)]
    return sorted({text for text in found if "…" not in text})


COMMANDS = quoted("python -m cxr.")
TARGETS = quoted("make ")


def every_run(words):
    """The runs that a sweep asks for: each value of each swept key once."""
    choices = [
        [f"{key}={value}" for value in values.split(",")]
        for key, _, values in (word.partition("=") for word in words)
    ]
    first = [values[0] for values in choices]
    yield first
    for i, values in enumerate(choices):
        yield from ([*first[:i], value, *first[i + 1 :]] for value in values[1:])


@pytest.fixture(scope="module")
def working_folder(tmp_path_factory):
    """A folder in which the README's `new=` commands were run."""
    folder = tmp_path_factory.mktemp("work")
    for command in COMMANDS:
        if " new=" in command:
            words = [sys.executable, *shlex.split(command)[1:]]
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_valid(command, working_folder, monkeypatch):
    monkeypatch.chdir(working_folder)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")  # asked for by docs/aws.md
    _, _, module, *words = shlex.split(command)
    name = module.removeprefix("cxr.")
    flags = {word for word in words if word.startswith("-")}
    overrides = [word for word in words if word not in flags]
    if name == "orthanc":  # its verb comes first, and is no setting
        overrides[0] = f"verb={overrides[0]}"

    assert flags <= {"-m", "--help"}
    for run in every_run(overrides) if "-m" in flags else [overrides]:
        if "--help" not in flags and name in MODELS:
            config.check(config.compose(name, run), MODELS[name])
    assert name in MODELS


@pytest.mark.parametrize("command", TARGETS)
def test_a_target_of_the_readme_is_in_the_makefile(command):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)

    _, target, *variables = shlex.split(command)
    assert target in targets
    assert all("=" in variable for variable in variables)


def test_the_readme_shows_enough_to_be_checked():
    assert len(COMMANDS) >= 5
    assert {"make demo", "make test"} <= set(TARGETS)


def test_every_group_and_option_in_the_readme_is_in_conf():
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", TEXT, re.MULTILINE)
    groups = {group: set(re.findall(r"`(\w+)`", options)) for group, options in rows}

    for folder in (path for path in (ROOT / "conf").iterdir() if path.is_dir()):
        shipped = {path.stem for path in folder.glob("[!_]*.yaml")}
        assert groups.get(folder.name) == shipped, folder.name


def test_every_file_the_readme_links_to_is_there():
    links = {p: re.findall(r"\]\(([^)#:]+)\)", p.read_text()) for p in PAGES}

    gone = [(p.name, x) for p, found in links.items() for x in found if not (p.parent / x).exists()]
    assert gone == []


def test_the_keys_in_the_docs_are_those_of_the_page():
    commands = json.loads((ROOT / "templates" / "viewer" / "commands.json").read_text())["commands"]
    rows = [f"| `{name}` | {c['key']} | {c['says']} |" for name, c in commands.items()]
    table = "\n".join(["| command | key | what it does |", "| --- | --- | --- |", *rows])

    text = (ROOT / "docs" / "labeling.md").read_text()
    assert f"<!-- keys -->\n{table}\n<!-- end of keys -->" in text, table


def test_the_rules_in_the_docs_are_those_of_the_doctor():
    severity = {name: "always error" if r.fixed else r.severity for name, r in RULES.items()}
    rows = [f"| `{n}` | {severity[n]} | {r.finds} | {r.advice} |" for n, r in RULES.items()]
    head = ["| rule | severity | what it finds | what to do |", "| --- | --- | --- | --- |"]
    table = "\n".join([*head, *rows])

    text = (ROOT / "docs" / "ingest.md").read_text()
    assert f"<!-- rules -->\n{table}\n<!-- end of rules -->" in text, table
