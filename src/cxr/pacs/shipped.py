"""A PACS that stayed at home: who its images are, without the files.

A training job elsewhere gets its images decoded, with `instances.jsonl` beside them. In it
patients, studies and images have pseudonyms, and there is nothing to try PatientIDs against.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from cxr.errors import AbsentError, PacsError
from cxr.images.dicom import Instance

NAME = "instances.jsonl"


def uid(sop_instance_uid: str, pseudonym: Callable[[str], str]) -> str:
    """Give the UID under which an image is shipped.

    Args:
        sop_instance_uid: Its own.
        pseudonym: In hex digits, 32 of them or more.
    """
    return f"2.25.{int(pseudonym(sop_instance_uid)[:32], 16)}"  # PS3.5 B.2


def lines(instances: Iterable[Instance], pseudonym: Callable[[str], str]) -> Iterator[str]:
    """Give the lines of `instances.jsonl`: nothing in them that DICOM or Orthanc calls anybody by.

    Sex, age and dates stay at home as well: training asks for none of them.

    Args:
        instances: Who is shipped.
        pseudonym: Of a PatientID, a StudyInstanceUID or a SOPInstanceUID, in hex digits.
    """
    for instance in instances:
        study = instance.study_instance_uid
        known = replace(
            instance,
            patient_id=pseudonym(instance.patient_id),
            study_instance_uid=pseudonym(study) if study else "",  # empty ones are not compared
            series_instance_uid="",
            sop_instance_uid=uid(instance.sop_instance_uid, pseudonym),
            sex="",
            age_years=None,
            study_date="",
        )
        yield json.dumps(asdict(known), ensure_ascii=False) + "\n"


class ShippedPacs:
    """Instances that can be found and never fetched."""

    gateway = None

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._known: dict[str, Instance] = {}
        try:
            for line in self._path.read_text().splitlines():
                instance = Instance(**json.loads(line))
                self._known[instance.sop_instance_uid] = instance
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PacsError(
                f"{self._path}: expected the instances that a training job was sent ({error})"
            ) from error

    @property
    def name(self) -> str:
        """The file."""
        return str(self._path)

    def search(self, **matching: object) -> Iterator[Instance]:
        """Find by SOPInstanceUID, one or a list: nothing else is asked of it."""
        if matching.keys() != {"SOPInstanceUID"}:
            self._no("search by other keys than SOPInstanceUID")
        asked = matching["SOPInstanceUID"]
        uids = asked if isinstance(asked, list | tuple) else [asked]
        found = (self._known.get(str(uid)) for uid in uids)
        yield from (i for i in found if i is not None and i.sop_instance_uid in uids)

    def find(self, source: str) -> Instance:
        """Find one by its SOPInstanceUID."""
        try:
            return self._known[source]
        except KeyError:  # logs of a job name no image
            raise AbsentError(
                f"{self._path} does not have the instance that is asked for"
            ) from None

    def digest(self, instance: Instance) -> str:
        """Cannot say: the file is elsewhere."""
        del instance
        return ""

    def retrieve(self, instance: Instance) -> bytes:
        """Refuse: images come decoded."""
        del instance
        self._no("fetch")

    def stream(self, instance: Instance) -> Iterator[bytes]:
        """Refuse."""
        del instance
        self._no("fetch")

    def store(self, dicom: bytes) -> Instance:
        """Refuse."""
        del dicom
        self._no("store")

    def store_all(self, dicoms: Sequence[bytes], known: object = None) -> NoReturn:
        """Refuse."""
        del dicoms, known
        self._no("store")

    def delete(self, instance: Instance) -> None:
        """Refuse."""
        del instance
        self._no("delete")

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Refuse."""
        del instance, ttl_s
        self._no("show")

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def _no(self, what: str) -> NoReturn:
        raise PacsError(f"{self._path} only says who the images are: expected none to {what}")
