"""A bundle made here installs where there is no network, and says truly what is in it."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import bundle
import bundle_files
import closure
import hollow
import pytest
import test_container
from jsonschema import Draft7Validator
from packageurl import PackageURL
from packaging.utils import canonicalize_name
from referencing import Registry, Resource

from cxr.infra import container

CHECKOUT = Path(__file__).parents[1]
LIGHT = (
    "annotated-types", "antlr4-python3-runtime", "hydra-core", "omegaconf", "packaging", "pydantic",
    "pydantic-core", "pyyaml", "typing-extensions", "typing-inspection",
)  # fmt: skip
"""What a command needs to show its help; the whole wheelhouse is 440 MB."""


def run(*command: str | Path) -> str:
    """Run a command in an environment where nothing of the checkout is found."""
    words = [str(word) for word in command]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    pins = [f"{name}=={importlib.metadata.version(name)}\n" for name in LIGHT]
    (folder / "pins.txt").write_text("".join(pins))
    script = CHECKOUT / "scripts" / "bundle.py"
    told = run(sys.executable, script, folder / "light", "--pins", folder / "pins.txt")
    assert f"{len(LIGHT) + 1} wheels" in told
    return folder / "light"


@pytest.fixture(scope="module")
def python(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment that had nothing but the bundle to install from."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    house = made / "wheelhouse"
    found = folder / "bin" / "python"
    run(found, "-m", "pip", "install", "-q", "--no-index", "--find-links", house, "--no-deps",
        "cxr", *LIGHT)  # fmt: skip
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "shown"), [("label", "reopen: false"), ("train", "objective: val/auroc_macro")]
)
def test_commands_run_from_what_a_bundle_installs(python: Path, command: str, shown: str) -> None:
    assert shown in run(python, "-m", f"cxr.{command}", "--help")


@pytest.mark.slow
def test_the_viewer_is_in_the_bundle(python: Path) -> None:
    where = Path(run(python, "-c", "import cxr; print(cxr.__path__[0])").strip())

    (script,) = (where / "templates" / "viewer" / "dist").glob("viewer-*.js")
    assert script.stat().st_size > 1_000_000


@pytest.mark.slow
def test_every_file_is_as_its_checksum_says(made: Path) -> None:
    sums = made / "SHA256SUMS"
    listed = {line.split("  ", 1)[1] for line in sums.read_text().splitlines()}
    there = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}

    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made, check=True)
    assert listed == there - {"SHA256SUMS"}
    assert {"install.sh", "README.txt", "requirements.txt", "sbom.cdx.json"} < listed


@pytest.mark.slow
def test_the_bill_of_materials_is_valid_and_names_every_wheel_by_its_hash(made: Path) -> None:
    import cyclonedx.schema

    bill = json.loads((made / "sbom.cdx.json").read_text())
    schemas = Path(cyclonedx.schema.__path__[0]) / "_res"
    registry = Registry().with_resources(
        (
            f"http://cyclonedx.org/schema/{path.name}",
            Resource.from_contents(json.loads(path.read_text())),
        )
        for path in schemas.glob("*.schema.json")
        if "strict" not in path.name
    )
    schema = json.loads((schemas / "bom-1.6.SNAPSHOT.schema.json").read_text())
    problems = list(Draft7Validator(schema, registry=registry).iter_errors(bill))

    parts = [*bill["components"], bill["metadata"]["component"]]
    hashed = {h["content"] for part in parts for h in part["hashes"] if h["alg"] == "SHA-256"}
    wheels = list((made / "wheelhouse").glob("*.whl"))
    assert problems == []
    assert hashed == {hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels}
    assert all(part.get("licenses") for part in parts)
    npm = {
        p.name for p in (PackageURL.from_string(part["purl"]) for part in parts) if p.type == "npm"
    }
    assert {"dicom-image-loader", "codec-charls", "pako"} <= npm
    assert "vite" not in npm


@pytest.mark.slow
def test_another_program_finds_the_same_packages_installed(made: Path, python: Path) -> None:
    seen = json.loads(run(sys.executable, "-m", "cyclonedx_py", "environment", python))
    bill = json.loads((made / "sbom.cdx.json").read_text())

    said = {p["purl"] for p in [*bill["components"], bill["metadata"]["component"]]}
    found = {p["purl"].partition("?")[0] for p in seen["components"]}
    expected = {purl for purl in said if purl.startswith("pkg:pypi/")}
    assert found - expected <= {
        p for p in found if p.startswith(("pkg:pypi/pip@", "pkg:pypi/setuptools@"))
    }
    assert expected <= found


@pytest.mark.slow
def test_the_same_pins_make_the_same_bytes(made: Path, tmp_path: Path) -> None:
    (wheel,) = (made / "wheelhouse").glob("cxr-*.whl")
    again = tmp_path / made.name

    bundle.make(again, bundle.Target(), pins=made / "requirements.txt", wheel=wheel)

    packed = again.with_name("light.tar.gz")
    assert (again / "SHA256SUMS").read_text() == (made / "SHA256SUMS").read_text()
    assert packed.read_bytes() == made.with_name("light.tar.gz").read_bytes()
    with tarfile.open(packed) as archive:
        assert {(entry.uid, entry.uname) for entry in archive} == {(0, "")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("left_out", "asked"),
    [((), ["cxr"]), (bundle.IN_SAGEMAKER, ["cxr", "sagemaker-mlflow"])],
    ids=["whole", "for-sagemaker"],
)
def test_what_a_bundle_chooses_is_all_that_pip_asks_for(
    made: Path, tmp_path: Path, left_out: tuple[str, ...], asked: list[str]
) -> None:
    (own,) = (one for one in bundle_files.wheels(made / "wheelhouse") if one.name == "cxr")
    found = {canonicalize_name(d.name): d for d in importlib.metadata.distributions()}
    requires = {name: d.requires or [] for name, d in found.items()} | {"cxr": own.requires}
    markers = bundle.Target().environment
    wanted = {**requires, "cxr": [*own.requires, *asked[1:]]}
    house, unmet = closure.reach(wanted, (), markers, left_out)
    in_image, _ = closure.reach({**requires, "cxr": ["torch"]}, (), markers)
    names = sorted({*house, *(in_image if left_out else ())} - {"cxr"})
    for name in names:
        hollow.wheel(tmp_path, name, found[name].version, requires[name])
    hollow.wheel(tmp_path, "cxr", own.version, own.requires)
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-index"]

    told = run(*pip, "--find-links", tmp_path, *asked)

    assert unmet == []
    installed = told.partition("Would install ")[2].split()
    assert {canonicalize_name(word.rpartition("-")[0]) for word in installed} == {"cxr", *names}


@pytest.mark.slow
def test_a_container_installs_cxr_from_the_wheels_it_was_sent(made: Path, tmp_path: Path) -> None:
    image, ml = tmp_path / "image", tmp_path / "ml"
    venv.create(image, with_pip=True)
    bare_of("cxr", "sagemaker-mlflow", *LIGHT, into=image)
    for name in ("code", "manifest", "cache"):
        (ml / "input" / "data" / name).mkdir(parents=True)
    code = ml / "input" / "data" / "code"
    shutil.copyfile(container.__file__, code / "boot.py")
    shutil.copytree(made / "wheelhouse", code / "wheelhouse")
    hollow.wheel(code / "wheelhouse", "sagemaker-mlflow", "0.3")
    order = test_container.ordered()
    order["config"]["trainer"]["max_epochs"] = "many"  # refused by cxr.train, long before it trains
    test_container.give(ml, order)
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "CXR_NO_INSTALL")}

    done = subprocess.run(
        [image / "bin" / "python", code / "boot.py"], env=kept | {"CXR_ML_ROOT": str(ml)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip

    reason = 'trainer.max_epochs: expected an integer, met "many"'
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, reason)
    assert (ml / "output" / "failure").read_text() == reason
    where = run(image / "bin" / "python", "-P", "-c", "import cxr, hydra; print(cxr, hydra)")
    assert where.count(str(image)) == 2
    assert next(image.glob("lib/python*/site-packages/sagemaker_mlflow-0.3.dist-info")).is_dir()


def bare_of(*names: str, into: Path) -> None:
    """Give a venv all that this Python has, but for some distributions."""
    files = (file for name in names for file in importlib.metadata.files(name) or ())
    lacks = {file.parts[0] for file in files} | {"__pycache__"}
    (there,) = into.glob("lib/python*/site-packages")
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if path.name not in lacks and not (there / path.name).exists():
            (there / path.name).symlink_to(path)


def test_what_only_a_left_out_package_needs_is_left_out_too() -> None:
    requires = {
        "cxr": ["torch>=2", "numpy", "boto3; extra == 'aws'"],
        "torch": ["sympy", "numpy", "nvidia-cudnn-cu13; platform_machine == 'x86_64'"],
        "sympy": ["mpmath"], "numpy": [], "mpmath": [], "boto3": [], "nvidia-cudnn-cu13": [],
    }  # fmt: skip
    markers = closure.environment("3.13", "manylinux_2_28_x86_64")

    whole, _ = closure.reach(requires, ("aws",), markers)
    house, unmet = closure.reach(requires, (), markers, bundle.IN_SAGEMAKER)

    assert set(whole) == set(requires)
    assert (set(house), unmet) == ({"cxr", "numpy"}, [])


def test_markers_are_those_of_the_target() -> None:
    requires = {"cxr": ["tomli; python_version < '3.11'", "audioop-lts; python_version >= '3.13'"]}

    _, old = closure.reach(requires, (), closure.environment("3.10", None))
    _, new = closure.reach(requires, (), closure.environment("3.13", None))

    assert (old, new) == (["tomli"], ["audioop-lts"])


def test_wheels_of_older_systems_are_taken_too() -> None:
    words = bundle.Target("3.13", "manylinux_2_28_x86_64").options

    assert {"--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"} < set(words)
    assert "--python-version=3.13" in words


def test_a_folder_with_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()

    with pytest.raises(SystemExit, match="expected a folder that is new or empty, met files"):
        bundle.make(tmp_path, bundle.Target())
