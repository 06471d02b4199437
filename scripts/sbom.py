"""The software bill of materials of a bundle: CycloneDX 1.6 in JSON, of what really lies in it.

Wheels are named from their own metadata and hashed as files; the viewer's packages, which stand
inside cxr's wheel as one script, are those of package-lock.json that are not for building alone.
"""

import base64
import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path

from bundle_files import Wheel
from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

_LONGEST_NAME = 80
_NO_NAMES = ("", "UNKNOWN", "LICENSE", "OSI Approved")


def document(wheels: Sequence[Wheel], edges: Mapping[str, set[str]], lock: Path, stamp: int) -> str:
    """Write the bill; the same wheels give the same text.

    Args:
        wheels: What the bundle has.
        edges: What each of them needs, by name.
        lock: The viewer's package-lock.json.
        stamp: Seconds since 1970, for the bill's date.
    """
    parts = {wheel.name: _of_wheel(wheel) for wheel in wheels}
    viewer = [_of_npm(path, told) for path, told in sorted(_shipped(lock).items())]
    root = parts.pop("cxr")
    bom = Bom(components=[*parts.values(), *viewer])
    bom.metadata.component = root
    bom.metadata.timestamp = datetime.fromtimestamp(stamp, UTC)
    known = {**parts, "cxr": root}
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, "".join(sorted(w.sha256 for w in wheels)))
    for name, needed in edges.items():
        if name in known:
            also = viewer if name == "cxr" else []
            depends = [known[n] for n in sorted(needed) if n in known]
            bom.register_dependency(known[name], [*depends, *also])
    return f"{JsonV1Dot6(bom).output_as_string(indent=2)}\n"


def _of_wheel(wheel: Wheel) -> Component:
    given = _license(wheel.metadata)
    return Component(
        type=ComponentType.APPLICATION if wheel.name == "cxr" else ComponentType.LIBRARY,
        name=wheel.name,
        version=wheel.version,
        bom_ref=f"pypi:{wheel.name}",
        purl=PackageURL("pypi", name=wheel.name, version=wheel.version),
        licenses=[LicenseFactory().make_from_string(given)] if given else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
        description=wheel.path.name,
    )


def _license(metadata: Message) -> str:
    """Say which licence a wheel names: an expression, a name, or its classifiers."""
    stated = metadata.get("License-Expression") or metadata.get("License") or ""
    classed = [
        line.rpartition("::")[2].strip()
        for line in metadata.get_all("Classifier", [])
        if line.startswith("License :: ")
    ]
    # some wheels carry the whole text where the name belongs
    if "\n" not in stated and len(stated) <= _LONGEST_NAME and stated not in _NO_NAMES:
        return str(stated)
    return ", ".join(name for name in classed if name not in _NO_NAMES)


def _shipped(lock: Path) -> dict[str, dict[str, str]]:
    packages = json.loads(lock.read_text())["packages"]
    return {path: told for path, told in packages.items() if path and not told.get("dev")}


def _of_npm(path: str, told: Mapping[str, str]) -> Component:
    scope, _, name = path.rpartition("node_modules/")[2].rpartition("/")
    algorithm, _, encoded = told["integrity"].partition("-")
    licence: License = LicenseFactory().make_from_string(told["license"])
    return Component(
        type=ComponentType.LIBRARY,
        group=scope or None,
        name=name,
        version=told["version"],
        bom_ref=f"npm:{path}",
        purl=PackageURL("npm", namespace=scope or None, name=name, version=told["version"]),
        licenses=[licence],
        hashes=[
            HashType(
                alg=HashAlgorithm(algorithm.upper().replace("SHA", "SHA-")),
                content=base64.b64decode(encoded).hex(),
            )
        ],
    )
