"""The images of a published set as an ingest takes them: each with what its header is to hold."""

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from cxr.errors import PacsError
from cxr.images import pictures
from cxr.pacs.ledger import Listed
from cxr.pacs.published.index import Index
from cxr.pacs.published.tables import PublishedSet
from cxr.pacs.sources import File, Folder

_DICOM = ".dcm"


class Pictures:
    """DICOM files as they are, JPEG and PNG with a header by the set's tables; nothing else.

    Args:
        files: The set's folder.
        found: What it is.
        index: What its tables say.
    """

    def __init__(self, files: Folder, found: PublishedSet, index: Index) -> None:
        self.name = files.name
        self.nothing = f"{files.name}: expected images of {found.name} below it, met none"
        self._files, self._found, self._index = files, found, index

    def files(self) -> Iterator[Listed]:
        """List the images by path."""
        for listed in self._files.files():
            suffix = PurePosixPath(listed.path).suffix.lower()
            if suffix in (_DICOM, *pictures.SUFFIXES):
                # other than what a plain ingest of the same folder noted, which made no DICOM
                made = f"{listed.stamp}:{self._found.name}-{pictures.VERSION}"
                yield Listed(listed.path, listed.place, made if listed.stamp else "")

    def fetch(self, wanted: Iterable[Listed], spool: Path) -> Iterator[File]:
        """Say where each file is, and what is known of it.

        Raises:
            PacsError: It is a picture, and no table says whose.
        """
        for file in self._files.fetch(wanted, spool):
            path = file.listed.path
            if PurePosixPath(path).suffix.lower() == _DICOM:
                yield file
                continue
            if not self._found.pictures:
                raise PacsError(
                    f"{self.name}: expected a table mimic-cxr-*-metadata.csv in it, which says "
                    "whose pictures these are, met pictures and no such table"
                )
            entry = self._index.get(self._found.key(path))
            if entry is None or not entry.header:
                yield File(file.listed, file.at, reason="no row of the set's tables is about it")
            else:
                yield File(file.listed, file.at, header=entry.header)
