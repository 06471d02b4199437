"""From the section `pacs` of a config to the PACS it describes."""

from pathlib import Path

from cxr import pacs_schema
from cxr.contract.signing import Keys
from cxr.pacs import Pacs


def opened(
    section: pacs_schema.Pacs, *, root: Path, keys: Keys | None = None, key: str = "pacs"
) -> Pacs:
    """Open the PACS that is configured; use it as a context manager.

    Args:
        section: Checked.
        root: The data root, where secrets made here lie.
        keys: Sign image URLs; not needed for anything else.
        key: What the section is called in the config, for messages: `pacs` or `from_pacs`.

    Raises:
        PacsError: It cannot be used. Whether a server answers shows when it is first asked.
    """
    if isinstance(section, pacs_schema.FolderPacs):
        from cxr.pacs.folder import FolderPacs

        return FolderPacs(Path(section.folder), keys=keys)
    if isinstance(section, pacs_schema.ShippedPacs):
        from cxr.pacs.shipped import ShippedPacs

        return ShippedPacs(Path(section.folder))
    if isinstance(section, pacs_schema.OrthancPacs):
        from cxr.pacs.orthanc import OrthancPacs

        return OrthancPacs.opened(section, root=root, keys=keys, key=key)
    from cxr.pacs.dicomweb import DicomWebPacs

    return DicomWebPacs.opened(section, keys=keys, key=key)
