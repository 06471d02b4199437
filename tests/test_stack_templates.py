"""The templates themselves: valid for CloudFormation, and held to every rule."""

import cloudformation as cf
import pytest


@pytest.fixture(scope="session")
def linted():
    """What cfn-lint says of all templates, each as one line; it is slow, so it is asked once."""
    from cfnlint.api import lint_file

    return {
        name: [f"{m.rule.id} {m.message} ({m.path_string})" for m in lint_file(cf.FOLDER / name)]
        for name in cf.names()
    }


@pytest.mark.parametrize("name", cf.names())
def test_cfn_lint_finds_nothing(linted, name):
    assert linted[name] == []


@pytest.mark.parametrize("name", cf.names())
def test_no_rule_finds_a_fault(name):
    assert cf.faults(cf.load(name)) == []


def test_cfn_lint_sees_a_misspelt_property_and_a_missing_condition():
    from cfnlint.api import lint

    good = (cf.FOLDER / "labeling.yaml").read_text()
    misspelt = lint(good.replace("EnableKeyRotation", "EnableKeyRotationn"))
    unconditional = lint(good.replace("DecryptsKeys\n", "SignsLinks\n"))

    assert "E3002" in {match.rule.id for match in misspelt}
    assert "W1030" in {match.rule.id for match in unconditional}
