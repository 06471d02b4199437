"""A PACS that is a folder: the files as they came, and an SQLite index beside them.

    <folder>/index.sqlite         what is known of each instance, and of each file once ingested
    <folder>/4d/4da6d27f-….dcm    one instance, under its Orthanc ID, byte for byte
    <folder>/incoming/            files being written; none of them counts

The files are the truth: a row follows its file, and `scan` finds files whose row is missing
because the process died in between. Any number of threads and processes may use one folder.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cxr.contract import signing
from cxr.errors import AbsentError, CxrError, DicomError, DuplicateError, PacsError
from cxr.images import dicom
from cxr.images.dicom import Instance
from cxr.pacs import matching, staging
from cxr.pacs.index import Index
from cxr.pacs.staging import Staged

_PIECE = 1 << 20


@dataclass(frozen=True)
class Origin:
    """Where one instance came from.

    Attributes:
        orthanc_id: Of the instance.
        path: Below the ingested folder.
        study_id: DICOM's StudyID, a number of the hospital's.
    """

    orthanc_id: str
    path: str
    study_id: str


class FolderPacs:
    """A folder of DICOM files as a PACS; a context manager that closes its index.

    Args:
        folder: Made if it is not there, readable by its owner only.
        keys: Sign image URLs; not needed for anything else.
        url: Where `server.app` serves this folder, without a slash at the end.

    Raises:
        PacsError: The folder cannot be used, or its index was made by a newer version.
    """

    def __init__(self, folder: Path, *, keys: signing.Keys | None = None, url: str = "") -> None:
        self.folder = Path(folder)
        self.keys = keys
        self.url = url.rstrip("/")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            (self.folder / "incoming").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise PacsError(f"{self.folder}: {error.strerror}") from error
        self.index = Index(self.folder / "index.sqlite")
        try:
            self.scan()
        except PacsError:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    @property
    def gateway(self) -> str | None:
        """Where `server.app` serves this folder, if it was said; the portal mounts one itself."""
        return self.url or None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index, whichever thread used it; streams go on to their end."""
        self.index.close()

    def search(self, **matching_keys: object) -> Iterator[Instance]:
        """Find instances by DICOM keyword, in the order of their UIDs, as a stream.

        Args:
            matching_keys: PatientID="P1*", Modality=["CR", "DX"], StudyDate="20200101-", ...;
                also view="frontal", `limit` and `offset`.

        Raises:
            PacsError: An unknown keyword (naming the nearest), or a value that fits none.
        """
        keys = dict(matching_keys)
        limit = matching.bound("limit", keys.pop("limit", None))
        offset = matching.bound("offset", keys.pop("offset", None))
        return self.index.instances(matching.where(keys), limit, offset or 0)

    def retrieve(self, instance: Instance) -> bytes:
        """Give the file, byte for byte as it came.

        Raises:
            PacsError: It is not here.
        """
        try:
            return self.path(instance).read_bytes()
        except OSError as error:
            raise PacsError(
                f"{self.folder}: no file of instance {instance.sop_instance_uid!r}"
            ) from error

    def stream(self, instance: Instance) -> Iterator[bytes]:
        """Give the same in pieces.

        Raises:
            PacsError: It is not here, or cannot be read to its end.
        """
        try:
            with self.path(instance).open("rb") as file:
                while piece := file.read(_PIECE):
                    yield piece
        except OSError as error:
            raise PacsError(
                f"{self.folder}: no file of instance {instance.sop_instance_uid!r}"
            ) from error

    def digest(self, instance: Instance) -> str:
        """Give `sha256:` and the SHA-256 of the file as it came, without reading it.

        Raises:
            PacsError: It is not here.
        """
        return f"sha256:{self.hashes(instance)[0]}"

    def path(self, instance: Instance) -> Path:
        """Say where the file of an instance lies, or would lie."""
        name = instance.orthanc_id
        return self.folder / name[:2] / f"{name}.dcm"

    def store(self, dicom: bytes) -> Instance:
        """Take a file in; on return it is on disk, and found by `search`.

        Raises:
            DicomError: It cannot be identified.
            DuplicateError: Another file with the same SOPInstanceUID is here.
            PacsError: The disk is full, or the folder otherwise not to be written.
        """
        staged = self.stage(dicom)
        self.admit(staged)
        return staged.instance

    def store_all(
        self, dicoms: Sequence[bytes], known: Sequence[Instance] | None = None
    ) -> list[Instance | CxrError]:
        """Take several files in; one outcome each, in their order.

        Raises:
            PacsError: The disk is full, or the folder otherwise not to be written.
        """
        del known  # every file is read in any case, for the index
        outcomes: list[Instance | CxrError] = []
        for data in dicoms:
            try:
                outcomes.append(self.store(data))
            except (DicomError, DuplicateError) as error:
                outcomes.append(error)
        return outcomes

    def delete(self, instance: Instance) -> None:
        """Remove one instance for good, file and row.

        Raises:
            PacsError: The folder cannot be written.
        """
        try:
            with self.index.alone():
                self.index.remove(instance.orthanc_id)
                self.path(instance).unlink(missing_ok=True)
        except OSError as error:
            raise PacsError(staging.unwritable(self.folder, error)) from error

    def stage(self, data: bytes, *, pixel_hash: str | None = None) -> Staged:
        """Do the slow half of `store`: read, hash and write, beside others doing the same.

        Args:
            data: Part 10 bytes.
            pixel_hash: Of its decoded pixels, where already known; None works it out.

        Raises:
            DicomError: It cannot be identified.
            DuplicateError: As for `store`.
            PacsError: As for `store`.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        with dicom.explained(data):
            instance = dicom.identify(data)
            if self._holds(instance, sha256):
                return Staged(instance, None, {})
            row = staging.row(data, sha256, pixel_hash)
        return Staged(instance, staging.write(self.folder, data), row)

    def admit(self, staged: Staged) -> bool:
        """Do the quick half of `store`: into place, into the index; False if it was there.

        Raises:
            DuplicateError: Another file with the same SOPInstanceUID is here.
            PacsError: The folder cannot be written.
        """
        if staged.part is None:
            return False
        path = self.path(staged.instance)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            # between looking and writing no other process may do the same
            with self.index.alone():
                if self._holds(staged.instance, staged.row["sha256"]):
                    return False
                staged.part.replace(path)
                self.index.add(staged.row)
        except OSError as error:
            raise PacsError(staging.unwritable(self.folder, error)) from error
        finally:
            staged.part.unlink(missing_ok=True)
        return True

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Give the address a browser loads this one file from, for `ttl_s` seconds.

        Raises:
            PacsError: There are no keys to sign it with.
        """
        if self.keys is None:
            raise PacsError("expected token keys to sign an image URL, met none")
        token = signing.sign(self.keys, [f"i:{instance.orthanc_id}"], ttl_s=ttl_s)
        return f"{self.url}/instances/{instance.orthanc_id}/file?token={token}"

    def find(self, source: str) -> Instance:
        """Find one instance by its Orthanc instance ID or its SOPInstanceUID.

        Raises:
            AbsentError: It is not here.
        """
        found = self.index.find("orthanc_id" if "-" in source else "SOPInstanceUID", source)
        if found is None:
            raise AbsentError(f"{self.folder}: no instance {source!r}")
        return found

    def origins(self) -> Iterator[Origin]:
        """Say from which files instances were ingested; one may come more than once."""
        sql = "SELECT orthanc_id, path, StudyID FROM ingested JOIN instances USING (orthanc_id)"
        for row in self.index.rows(sql):
            yield Origin(row[0], row[1], row[2] or "")

    def hashes(self, instance: Instance) -> tuple[str, str]:
        """Give SHA-256 of the file and of its decoded pixels; the latter may be empty.

        Raises:
            PacsError: It is not here.
        """
        found = self.index.hashes("orthanc_id", instance.orthanc_id)
        if found is None:
            raise PacsError(f"{self.folder}: no instance {instance.sop_instance_uid!r}")
        return found[1:]

    def count(self) -> int:
        """Count the instances."""
        return self.index.count()

    def scan(self) -> int:
        """Index files that have no row yet, and say how many; sweep up what killed writers left.

        Costs a listing of the folders, no file is opened but those to be indexed.

        Raises:
            PacsError: A folder or file cannot be read.
        """
        known, added = self.index.orthanc_ids(), 0
        try:
            for path in self._files():
                if path.stem not in known:
                    added += self._index_file(path)
        except OSError as error:
            raise PacsError(f"{self.folder}: cannot read: {error.strerror}") from error
        return added

    def _index_file(self, path: Path) -> bool:
        data = path.read_bytes()
        try:
            row = staging.row(data, hashlib.sha256(data).hexdigest(), None)
        except DicomError:
            return False  # not one of ours: those were read before they were written
        return row["orthanc_id"] == path.stem and self.index.add(row)

    def _files(self) -> Iterator[Path]:
        with os.scandir(self.folder) as folders:
            names = [f.name for f in folders if f.is_dir(follow_symlinks=False)]
        for name in names:
            with os.scandir(self.folder / name) as entries:
                for entry in entries:
                    if name == "incoming":
                        staging.sweep(Path(entry.path))
                    elif entry.name.endswith(".dcm"):
                        yield Path(entry.path)

    def _holds(self, instance: Instance, sha256: str) -> bool:
        found = self.index.hashes("SOPInstanceUID", instance.sop_instance_uid)
        if found is None:
            return False
        if found[1] != sha256:
            raise DuplicateError(
                f"SOPInstanceUID {instance.sop_instance_uid!r} is here already, with other content"
            )
        return self.path(instance).exists()
