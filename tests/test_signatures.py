"""Signatures read from source are those of the classes one really imports."""

import importlib
import inspect
import subprocess
import sys

import pytest

from cxr import signatures
from cxr.errors import ConfigError

ADAMW, DENSENET = "torch.optim.AdamW", "monai.networks.nets.DenseNet121"
# target → whatever its **kwargs end in
REAL = {
    ADAMW: [],
    "torch.optim.SGD": [],
    DENSENET: ["monai.networks.nets.densenet.DenseNet"],
    "monai.networks.nets.DenseNet169": ["monai.networks.nets.densenet.DenseNet"],
    "monai.networks.nets.resnet50": ["monai.networks.nets.resnet.ResNet"],
    "monai.networks.nets.EfficientNetBN": [],
}
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def imported(target):
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def parameters(target):
    signature = inspect.signature(imported(target))
    return {name: p for name, p in signature.parameters.items() if p.kind not in VARIADIC}


@pytest.mark.slow
@pytest.mark.parametrize("target", REAL)
def test_names_are_those_of_the_imported_class(target):
    read = signatures.read(target)

    own = set(parameters(target))
    assert own <= set(read.types)
    passed_on = set().union(*(parameters(base) for base in REAL[target]))
    internal = {"block", "layers", "block_inplanes", "arch"}  # a resnet's helper gives these
    assert own | (passed_on - internal) <= set(read.types)
    assert set(read.types) <= own | passed_on | internal


@pytest.mark.slow
@pytest.mark.parametrize("target", REAL)
def test_every_plain_default_fits_the_type_that_was_read(target):
    defaults = {
        name: list(p.default) if isinstance(p.default, tuple) else p.default
        for name, p in parameters(target).items()
        if isinstance(p.default, int | float | str | bool | tuple | None)
    }

    assert signatures.problems(target, defaults) == {}


@pytest.mark.parametrize(
    ("target", "arguments", "found"),
    [
        (ADAMW, {"lr": 1e-3, "betas": [0.9, 0.99], "weight_decay": 0}, {}),
        (ADAMW, {"lrr": 1e-3}, {"lrr": "no such key; did you mean lr?"}),
        (ADAMW, {"zzz": 1}, {"zzz": "no such key"}),
        (ADAMW, {"amsgrad": "yes"}, {"amsgrad": 'expected true or false, met "yes"'}),
        (ADAMW, {"weight_decay": "x"}, {"weight_decay": 'expected a number, met "x"'}),
        (ADAMW, {"lr": "x"}, {"lr": 'expected a number, met "x"'}),
        (DENSENET, {"spatial_dims": 2, "in_channels": 1}, {}),
        (DENSENET, {"spatial_dims": "abc"}, {"spatial_dims": 'expected an integer, met "abc"'}),
        (DENSENET, {"spatial_dims": 2.5}, {"spatial_dims": "expected an integer, met 2.5"}),
        (DENSENET, {"spatial_dims": True}, {"spatial_dims": "expected an integer, met True"}),
        (DENSENET, {"dropout_prob": 0.1, "bn_size": 4}, {}),
        (DENSENET, {"dropout": 0.1}, {"dropout": "no such key; did you mean dropout_prob?"}),
        ("monai.networks.nets.resnet50", {"n_input_channels": 1}, {}),
        ("monai.networks.nets.EfficientNetBN", {"model_name": 3},
         {"model_name": "expected text, met 3"}),
        ("cxr.infra.compute.Local", {"x": 1}, {"x": "no such key"}),
        ("cxr.pacs.folder.FolderPacs", {"folder": "var/pacs", "url": ""}, {}),
    ],
)  # fmt: skip
def test_arguments_are_checked_by_name_and_type(target, arguments, found):
    assert signatures.problems(target, arguments) == found


@pytest.mark.parametrize(
    ("target", "met"),
    [
        ("os.system", 'expected a target within cxr., .*, met "os.system"'),
        ("cxrx.Thing", "expected a target within"),
        ("torch.optimizers.Adam", "expected a target within"),
        ("torch.optim.Adamm", 'nothing is called "torch.optim.Adamm"'),
        ("torch.optim.nowhere.Adam", 'nothing is called "torch.optim.nowhere.Adam"'),
        ("torch.optim.", "nothing is called"),
        ("cxr.errors", "expected a target within|nothing is called"),
        ("cxr.labeling.local.webbrowser", "nothing is called"),
    ],
)
def test_a_target_is_ours_or_a_network_or_an_optimizer(target, met):
    with pytest.raises(ConfigError, match=met):
        signatures.read(target)


def test_a_config_cannot_reach_what_a_module_of_ours_imports():
    with pytest.raises(ConfigError, match="nothing is called"):
        signatures.read("cxr.config.os.system")


def test_nothing_heavy_is_imported():
    code = (
        "import sys; from cxr import signatures; signatures.read(sys.argv[1]); "
        "print(sorted({'torch', 'monai', 'numpy'} & set(sys.modules)))"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code, DENSENET], capture_output=True, text=True, check=True
    )

    assert ran.stdout.strip() == "[]"
