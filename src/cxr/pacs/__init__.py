"""Where images come from: one Protocol for ours and for theirs."""

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from cxr.errors import CxrError
from cxr.images.dicom import Instance


class Pacs(Protocol):
    """A store of DICOM instances, searched as QIDO-RS does (PS3.18 10.6).

    A context manager that lets go of its connections; any number of threads may use one. Every
    method raises `PacsError` where the store is unreachable or refuses, naming the config key to
    change, and never waits longer than its timeout for one answer.
    """

    @property
    def name(self) -> str:
        """What messages call it: its folder, or its URL without credentials."""
        ...

    @property
    def gateway(self) -> str | None:
        """The URL where a browser may load `/instances/<Orthanc ID>/file?token=…`; None: nowhere.

        Without one the portal fetches images for its readers.
        """
        ...

    def search(self, **matching: object) -> Iterator[Instance]:
        """Find instances by DICOM keywords, as a stream; an unknown keyword is an error.

        Also takes `view`, `limit` and `offset`. The order is that of the UIDs: study, series,
        instance.
        """
        ...

    def find(self, source: str) -> Instance:
        """Find one instance by its Orthanc instance ID or its SOPInstanceUID.

        Raises:
            AbsentError: It is not there, as far as can be known.
        """
        ...

    def retrieve(self, instance: Instance) -> bytes:
        """Give the whole Part 10 file, byte for byte as it was stored."""
        ...

    def stream(self, instance: Instance) -> Iterator[bytes]:
        """Give the same in pieces, so that a copy needs no memory for whole files."""
        ...

    def digest(self, instance: Instance) -> str:
        """Give `sha256:<hex>` or `md5:<hex>` of the file without sending it; empty: cannot say."""
        ...

    def store(self, dicom: bytes) -> Instance:
        """Take a Part 10 file; the same bytes again change nothing.

        Raises:
            DuplicateError: Another file with this SOPInstanceUID is there.
        """
        ...

    def store_all(
        self, dicoms: Sequence[bytes], known: Sequence[Instance] | None = None
    ) -> list[Instance | CxrError]:
        """Take several files in one request where it can; one outcome each, in their order.

        Args:
            dicoms: Part 10 files.
            known: Who each of them is, where they were read already; None reads them.
        """
        ...

    def delete(self, instance: Instance) -> None:
        """Remove one instance for good; one that is not there is no error."""
        ...

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Give the signed address, open for `ttl_s` seconds, that a browser loads."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
