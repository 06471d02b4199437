"""Wheels with nothing in them but what pip decides by: name, version and requirements."""

import zipfile
from collections.abc import Sequence
from pathlib import Path


def wheel(folder: Path, name: str, version: str, requires: Sequence[str] = ()) -> Path:
    """Write a wheel that installs nothing, for any Python."""
    told = {
        "METADATA": "".join(
            f"{line}\n"
            for line in (
                "Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}",
                "License-Expression: Apache-2.0",
                *(f"Provides-Extra: {extra}" for extra in _extras(requires)),
                *(f"Requires-Dist: {needed}" for needed in requires),
            )
        ),
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }  # fmt: skip
    stem = f"{name.replace('-', '_')}-{version}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in told.items():
            archive.writestr(f"{stem}.dist-info/{file}", text)
    return path


def _extras(requires: Sequence[str]) -> list[str]:
    marked = (needed.partition(";")[2].partition("extra ==")[2] for needed in requires)
    return sorted({text.strip(" ()'\"") for text in marked if text})
