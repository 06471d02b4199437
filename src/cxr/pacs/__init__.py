"""Where images come from: one Protocol for ours and for theirs."""

from collections.abc import Iterator
from typing import Protocol

from cxr.images.dicom import Instance


class Pacs(Protocol):
    """A store of DICOM instances, searched as QIDO-RS does (PS3.18 10.6).

    Every method raises `PacsError` where the store is unreachable or refuses.
    """

    def search(self, **matching: object) -> Iterator[Instance]:
        """Find instances by DICOM keywords, as a stream; an unknown keyword is an error."""
        ...

    def retrieve(self, instance: Instance) -> bytes:
        """Give the whole Part 10 file."""
        ...

    def store(self, dicom: bytes) -> Instance:
        """Take a Part 10 file; the same bytes again change nothing."""
        ...

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Give the signed address, open for `ttl_s` seconds, that a browser loads."""
        ...
