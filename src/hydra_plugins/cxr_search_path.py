"""Let ./conf of the working folder come before the shipped one.

Hydra loads this at every start, --help included, so it imports next to nothing.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from cxr import schema


class WorkingFolderSearchPath(SearchPathPlugin):
    """Prepend ./conf, where a user's own jobs and models lie."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put ./conf first, unless it is the shipped one."""
        own = (Path.cwd() / "conf").resolve()
        if own.is_dir() and own != schema.shipped("conf").resolve():
            search_path.prepend("cxr-working-folder", own.as_uri())
