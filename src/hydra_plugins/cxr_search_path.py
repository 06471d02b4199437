"""Let ./conf of the working folder come before the shipped one.

Hydra loads this at every start, --help included, so it imports next to nothing.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from cxr import places


class WorkingFolderSearchPath(SearchPathPlugin):
    """Prepend ./conf, where a user's own jobs and models lie."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put ./conf first, unless it is the shipped one."""
        shipped = places.shipped("conf").resolve()
        # Hydra offers the plugin to every application of the environment
        ours = any(str(item.path).endswith(str(shipped)) for item in search_path.get_path())
        own = (Path.cwd() / "conf").resolve()
        if ours and own.is_dir() and own != shipped:
            search_path.prepend("cxr-working-folder", own.as_uri())
