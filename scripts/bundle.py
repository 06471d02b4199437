"""Make an air-gapped bundle: every wheel cxr needs, an SBOM, checksums and one install command.

    python scripts/bundle.py dist/bundle                       for this machine's Python
    python scripts/bundle.py dist/bundle --python 3.13 --platform manylinux_2_28_x86_64 --extra aws
    python scripts/bundle.py dist/house --for-sagemaker        without what SageMaker's images have

The viewer is built into cxr's wheel. What stands after `--` goes to pip, such as an --index-url.
The requirements.txt of a bundle, given as `--pins`, makes the same files again.
"""

import argparse
import contextlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import bundle_files
import closure
import sbom
from packaging.utils import canonicalize_name

from cxr import progress

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
SDIST_ONLY = ("antlr4-python3-runtime",)  # hydra asks for it; PyPI has no wheel of it
IN_SAGEMAKER = ("torch", "torchvision", "torchaudio", "triton", "nvidia-*", "cuda-*")
FOR_SAGEMAKER = ("sagemaker-mlflow>=0.3",)  # with which a job logs to SageMaker's MLflow
SAGEMAKER_PYTHON, SAGEMAKER_PLATFORM = "3.13", "manylinux_2_28_x86_64"
_FETCHED = re.compile(r"\s*(?:Downloading|Using cached|Processing) \S+\.whl(?!\.)")
_log = logging.getLogger("bundle")


@dataclass(frozen=True)
class Target:
    """The Python that installs from the bundle.

    Attributes:
        python: Such as 3.13.
        platform: A wheel's platform tag, such as manylinux_2_28_x86_64; None is this machine's.
        extras: Of cxr.
        also: More requirements, such as ipykernel for notebooks.
    """

    python: str = f"{sys.version_info.major}.{sys.version_info.minor}"
    platform: str | None = None
    extras: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    @property
    def options(self) -> list[str]:
        """Tell pip of it."""
        chosen = ["--only-binary=:all:"]
        if self.platform is not None:
            chosen += [f"--platform={tag}" for tag in _tags(self.platform)]
        if self.python != Target().python:
            chosen += [f"--python-version={self.python}", "--implementation=cp"]
        return chosen

    @property
    def environment(self) -> dict[str, str]:
        """What the markers of requirements are decided by."""
        return closure.environment(self.python, self.platform)


def make(
    out: Path,
    target: Target,
    *,
    leave_out: Sequence[str] = (),
    pins: Path | None = None,
    wheel: Path | None = None,
    archive: bool = True,
    pip: Sequence[str] = (),
) -> Path:
    """Make the bundle.

    Args:
        out: A folder that is new or empty; beside it comes <out>.tar.gz.
        target: Who installs from it.
        leave_out: Patterns of packages that the target has; what only they need is left out, too.
        pins: requirements.txt of an earlier bundle: its files again, nothing resolved.
        wheel: cxr's, where it is built already.
        archive: Whether the .tar.gz is made.
        pip: More options for pip.

    Returns:
        The folder of wheels.

    Raises:
        SystemExit: pip or the build refused something; its own words are shown.
    """
    if out.exists() and any(out.iterdir()):
        sys.exit(f"{out}: expected a folder that is new or empty, met files")
    house, chosen = out / "wheelhouse", out / "requirements.txt"
    house.mkdir(parents=True, exist_ok=True)
    stamp = bundle_files.epoch(ROOT)
    with tempfile.TemporaryDirectory() as scratch, _dated(stamp):
        built = wheel or _build(Path(scratch))
        shutil.copyfile(built, house / built.name)
        options = [*_prebuilt(Path(scratch) / "prebuilt", pip), *pip]
        if pins is None:
            _write_pins(chosen, _resolve(built, target, leave_out, options))
        else:
            shutil.copyfile(pins, chosen)
        _fetch(chosen, target, house, options)
    wheels = bundle_files.wheels(house)
    requires = {wheel.name: wheel.requires for wheel in wheels}
    requires["cxr"] += target.also
    edges, _ = closure.reach(requires, target.extras, target.environment, leave_out)
    lock = ROOT / "templates" / "viewer" / "package-lock.json"
    (out / "sbom.cdx.json").write_text(sbom.document(wheels, edges, lock, stamp))
    bundle_files.finish(out, target.python, target.extras, leave_out, stamp, archive=archive)
    return house


def _tags(tag: str) -> Iterator[str]:
    """Give a platform tag and those of older systems, whose wheels run there too (PEP 600)."""
    yield tag
    found = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", tag)
    if found is None:
        return
    newest, machine = int(found[1]), found[2]
    yield from (f"manylinux_2_{minor}_{machine}" for minor in range(newest - 1, 4, -1))
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    yield from (f"{name}_{machine}" for minor, name in legacy.items() if minor <= newest)


@contextlib.contextmanager
def _dated(stamp: int) -> Iterator[None]:
    """Have wheels built here say the same time whenever they are built."""
    before = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(stamp)
    try:
        yield
    finally:
        if before is None:
            del os.environ["SOURCE_DATE_EPOCH"]
        else:
            os.environ["SOURCE_DATE_EPOCH"] = before


def _build(folder: Path) -> Path:
    _log.info("building cxr's wheel, with the viewer in it")
    _run([sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)])
    return next(folder.glob("cxr-*.whl"))


def _pip(verb: str, *options: str) -> list[str]:
    return [sys.executable, "-m", "pip", verb, "--disable-pip-version-check", *options]


def _prebuilt(folder: Path, pip: Sequence[str]) -> list[str]:
    """Make wheels of what PyPI has only the source of; they are pure Python."""
    options = ["-q", "--no-deps", "-w", str(folder), "-c", str(CONSTRAINTS), *pip]
    _run(_pip("wheel", *options, *SDIST_ONLY))
    return ["--find-links", str(folder)]


def _resolve(
    wheel: Path, target: Target, leave_out: Sequence[str], options: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """Ask pip which versions go together, without fetching them.

    pip decides markers such as `python_version >= "3.13"` by the Python it runs in, whatever it is
    told of the target, so what they leave out is asked for until nothing is missing.

    Returns:
        Version and SHA-256 by name.
    """
    _log.info("choosing versions for Python %s: half a minute", target.python)
    more: list[str] = []
    while True:
        found = _report(wheel, target, [*options, *more])
        requires = {name: told["metadata"].get("requires_dist", []) for name, told in found.items()}
        requires["cxr"] = [*requires["cxr"], *target.also]
        edges, unmet = closure.reach(requires, target.extras, target.environment, leave_out)
        if not set(unmet) - set(more):
            break
        more = sorted({*more, *unmet})
    if unmet:
        sys.exit(f"expected wheels for {', '.join(unmet)}, met none")
    return {
        name: (
            told["metadata"]["version"],
            told["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for name, told in sorted(found.items())
        if name in edges and name != "cxr"
    }


def _report(wheel: Path, target: Target, options: Sequence[str]) -> dict[str, dict[str, dict]]:  # type: ignore[type-arg]
    """Give pip's installation report, by canonical name."""
    extras = f"[{','.join(target.extras)}]" if target.extras else ""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "report.json"
        _run(
            _pip(
                "install", "-q", "--dry-run", "--ignore-installed", "--target", scratch,
                "--report", str(path), "-c", str(CONSTRAINTS), *target.options, *options,
                f"cxr{extras} @ {wheel.resolve().as_uri()}", *target.also,
            )
        )  # fmt: skip
        told = json.loads(path.read_text())["install"]
    return {canonicalize_name(one["metadata"]["name"]): one for one in told}


def _write_pins(path: Path, pins: Mapping[str, tuple[str, str]]) -> None:
    lines = [f"{name}=={version} --hash=sha256:{sha}" for name, (version, sha) in pins.items()]
    path.write_text("".join(f"{line}\n" for line in lines))


def _fetch(pins: Path, target: Target, house: Path, options: Sequence[str]) -> None:
    """Fetch exactly what is pinned; pip checks the hashes."""
    command = [
        *_pip("download", "--no-deps", "--progress-bar=off", "-d", str(house)),
        *target.options, *options, "-r", str(pins),
    ]  # fmt: skip
    total, done, said = len(pins.read_text().split("\n")) - 1, 0, list[str]()
    with progress.bar("fetched", total) as advance:
        running = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for line in running.stdout or ():
            said.append(line)
            if _FETCHED.match(line):
                done += 1
                advance(min(done, total))
        if running.wait() != 0:
            sys.exit("".join(said[-20:]).rstrip())
        advance(total)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout[-1500:]}{done.stderr[-1500:]}".rstrip())


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bundle.py", description="Make an air-gapped bundle.")
    add = parser.add_argument
    add("out", type=Path, help="a folder that is new or empty")
    add("--python", help="of the target, such as 3.13; this one's unless given")
    add("--platform", help="of the target, such as manylinux_2_28_x86_64")
    add("--extra", action="append", default=[], help="of cxr, such as aws; may be repeated")
    add("--also", nargs="+", default=[], metavar="REQUIREMENT", help="such as ipykernel")
    add("--leave-out", action="append", default=[], metavar="PATTERN", help="what the target has")
    add("--for-sagemaker", action="store_true", help="leave out what SageMaker's images have")
    add("--pins", type=Path, help="requirements.txt of an earlier bundle: its files again")
    add("--wheel", type=Path, help="cxr's, where it is built already")
    add("--no-archive", action="store_true", help="the folder alone, no .tar.gz")
    add("pip", nargs="*", help="after --: more options for pip, such as --index-url=…")
    if not words:
        sys.exit("expected a folder for the bundle, new or empty, met none; --help lists options")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> None:
    """Make what the command line asks for, and say what came of it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = _arguments(words)
    here = Target()
    at_sagemaker = given.for_sagemaker
    target = Target(
        given.python or (SAGEMAKER_PYTHON if at_sagemaker else here.python),
        given.platform or (SAGEMAKER_PLATFORM if at_sagemaker else None),
        tuple(given.extra),
        (*given.also, *(FOR_SAGEMAKER if at_sagemaker else ())),
    )
    leave_out = (*given.leave_out, *(IN_SAGEMAKER if at_sagemaker else ()))
    begun = time.monotonic()
    house = make(
        given.out, target, leave_out=leave_out, pins=given.pins, wheel=given.wheel,
        archive=not (given.no_archive or at_sagemaker), pip=given.pip,
    )  # fmt: skip
    sizes = [path.stat().st_size for path in house.iterdir()]
    print(
        f"{len(sizes)} wheels, {sum(sizes) / 1e6:.0f} MB, for Python {target.python} "
        f"({target.platform or 'this machine'}) in {time.monotonic() - begun:.0f} s"
    )
    print(given.out)
    print(f"next: sh {given.out / 'install.sh'}")


if __name__ == "__main__":
    main(sys.argv[1:])
