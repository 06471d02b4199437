"""Published sets of radiographs, brought in by their own tables and folders.

`Published` reads the tables that lie in a set's folder, lists its images and says what each one's
header is to hold; `write` leaves labels and splits where the next commands look for them. The
three sets differ in one module each.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

from cxr.pacs import withdrawn
from cxr.pacs.ledger import Held
from cxr.pacs.published import chexpert, mimic_cxr, nih14, writing
from cxr.pacs.published.index import Index
from cxr.pacs.published.source import Pictures
from cxr.pacs.published.writing import forget
from cxr.pacs.sources import Folder

__all__ = ["Published", "forget"]

_SETS = {"mimic_cxr": mimic_cxr, "chexpert": chexpert, "nih14": nih14}


class Published:
    """One set as it is brought in; a context manager that drops what its tables said.

    Args:
        name: `mimic_cxr`, `chexpert` or `nih14`.
        folder: The set's own, its tables in it.
        root: The data root; labels and splits go to `<root>/published/<job name>`.

    Raises:
        PacsError: A table is missing, or one of its columns, or it cannot be read.
    """

    def __init__(self, name: str, folder: Path, root: Path) -> None:
        self._root = root / "published"
        self._index = Index(self._root)
        try:
            self.found = _SETS[name].read(folder, self._index)
            self._index.commit()
        except BaseException:
            self._index.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._index.close()

    def pictures(self, files: Folder) -> Pictures:
        """Give its images as a source of an ingest."""
        return Pictures(files, self.found, self._index)

    def write(
        self, held: Iterable[Iterable[Held]], *, patient: Callable[[str], str] = str
    ) -> Iterator[str]:
        """Write labels and splits of what is in the PACS; say what and how to go on.

        Args:
            held: Images in the PACS, by path.
            patient: Gives the PatientID in the PACS.
        """
        found = self.found
        gone = withdrawn.of(self._root.parent)
        made = writing.write(
            held, found, self._index, self._root / found.name,
            patient=patient, is_withdrawn=gone.__contains__,
        )  # fmt: skip
        yield f"tables read: {', '.join(path.name for path in found.tables)}"
        if made.unlabelled:
            yield f"{made.unlabelled} of {made.images} images have no labels in them"
        if made.absent:
            yield f"{made.absent} images that they have rows about are not in the PACS"
        written = (made.labels, made.split, made.boxes, made.test)
        yield from (str(path) for path in written if path)
        label = f"job=published job.name={found.name} labels={found.labels}"
        if made.boxes:
            label += f" job.boxes={made.boxes}"
        yield f"next: python -m cxr.label {label}{' job.key=study' * found.by_study}"
        then = f"data.split={made.split}" if made.split else ""
        if made.test:
            then = f"data.test=list data.test_list={made.test}"
        yield f"then: python -m cxr.train data.job={found.name} {then}".rstrip()
