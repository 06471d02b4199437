"""Build hook of hatchling: the viewer is built when a wheel is, and never committed.

A wheel also carries conf/, lambdas/ and the templates beside the package. An editable install
carries none of them: the package reads them from the checkout, so it only builds the viewer.
"""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent / "scripts"))

import viewer

FOLDERS = (
    "conf", "lambdas", "scripts/notebooks", "templates/cloudformation", "templates/gateway",
    "templates/ingest", "templates/nginx", "templates/phrases", "templates/portal",
    "templates/report",
)  # fmt: skip
FILES = ("templates/worker.liquid.html", "templates/viewer/commands.json")


class ViewerHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the viewer and maps what lies beside the package into the wheel."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Ask for Node from PyPI only where PATH has none: it is 60 MB."""
        needed = self.target_name == "wheel" and viewer.node_on_path() is None
        return [viewer.NODE_PACKAGE] if needed else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before the files are gathered; `version` is "standard" or "editable"."""
        if self.target_name != "wheel":
            return
        root = Path(self.root)
        bundle = viewer.build(root)
        if version == "editable":
            return
        shipped = [root / name for name in (*FOLDERS, *FILES) if (root / name).exists()]
        for path in (*shipped, *bundle):
            build_data["force_include"][str(path)] = f"cxr/{path.relative_to(root).as_posix()}"
