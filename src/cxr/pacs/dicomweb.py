"""Any DICOMweb server as a PACS: a hospital's archive, or AWS HealthImaging (never tried there).

QIDO-RS finds, WADO-RS retrieves, STOW-RS stores (PS3.18 10). A file's digest and its removal are
not in the standard, so the one cannot be said and the other is refused.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Self

from cxr import pacs_schema
from cxr.contract import manifest, signing
from cxr.errors import AbsentError, CxrError, DuplicateError, PacsError
from cxr.images.dicom import Instance
from cxr.pacs import matching, multipart, parted, signed_url, stowing
from cxr.pacs.qido import Qido
from cxr.pacs.seen import Seen
from cxr.pacs.sigv4 import SigV4
from cxr.pacs.web import Bearer, Login, RefusedError, Web, basic, variable

MODALITIES = ("CR", "DX", "DR", "RG")

# as it is stored: a server may otherwise decompress, and the bytes would be others
_ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_UID = re.compile(r"[0-9.]{1,64}")
_DUPLICATE = 0x0111


class DicomWebPacs:
    """A DICOMweb server; a context manager that closes its connections.

    Args:
        web: The session with it, its URL the base below which `/studies` is.
        seen: Where instances were met.
        gateway: Where browsers load images, without a slash at the end; None: nowhere.
        keys: Sign image URLs; not needed for anything else.
        threads: Studies asked about at once by a search.
    """

    def __init__(
        self,
        web: Web,
        seen: Seen,
        *,
        gateway: str | None,
        keys: signing.Keys | None,
        threads: int,
    ) -> None:
        self._web, self._seen, self.gateway, self.keys = web, seen, gateway, keys
        self._qido = Qido(web, threads)
        self._searched = False

    @classmethod
    def opened(
        cls,
        section: pacs_schema.DicomWebPacs,
        *,
        keys: signing.Keys | None = None,
        key: str = "pacs",
    ) -> Self:
        """Open the one a config describes; nothing is sent yet.

        Args:
            section: Checked.
            keys: Sign image URLs.
            key: What the section is called, for messages.

        Raises:
            PacsError: `ca` or `seen` cannot be used, or botocore is not installed.
        """
        web = Web(
            section.url,
            key=key,
            login=_login(section, key),
            ca=section.ca,
            timeout_s=section.timeout_s,
            threads=section.threads,
            hints=dict.fromkeys(
                [("GET /studies", 400), ("GET /studies", 404), ("POST /studies", 405)],
                f"set {key}.url to the address below which /studies is, such as …/dicom-web, if "
                "that is another one",
            ),
        )
        gateway = section.image_url.rstrip("/") if section.image_url else None
        seen = Seen(Path(section.seen), web.url)
        return cls(web, seen, gateway=gateway, keys=keys, threads=section.threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def name(self) -> str:
        """What messages call it: its URL."""
        return self._web.url

    def close(self) -> None:
        """Let go of connections."""
        self._web.close()
        self._seen.close()

    def search(self, **matching_keys: object) -> Iterator[Instance]:
        """Find instances by DICOM keyword, in the order of their UIDs, as a stream.

        Raises:
            PacsError: An unknown keyword (naming the nearest), a value that fits none, or the
                server does not answer.
        """
        keys = dict(matching_keys)
        limit = matching.bound("limit", keys.pop("limit", None))
        offset = matching.bound("offset", keys.pop("offset", None)) or 0
        found = self._noted(matching.conditions(keys))
        return islice(found, offset, None if limit is None else offset + limit)

    def find(self, source: str) -> Instance:
        """Find one instance by its Orthanc instance ID or its SOPInstanceUID.

        An Orthanc ID that no search has met yet is looked for once among all radiographs.

        Raises:
            AbsentError: It is not there.
            PacsError: The server does not answer.
        """
        place = None
        if manifest.INSTANCE_ID.fullmatch(source):
            place = self._seen.where(source)
            if place is None and not self._searched:
                for _ in self.search(Modality=MODALITIES):
                    pass
                self._searched = True
                place = self._seen.where(source)
        elif _UID.fullmatch(source):
            place = self._qido.place(source) or self._seen.by_sop(source)
        found = self._qido.one(*place) if place else None
        if found is None or source not in (found.instance.orthanc_id, place and place[2]):
            raise AbsentError(f"{self.name}: no instance {source!r}")
        self._seen.note([found.instance])
        return found.instance

    def retrieve(self, instance: Instance) -> bytes:
        """Give the file, byte for byte as the server keeps it.

        Raises:
            AbsentError: It is not there.
            PacsError: It does not come whole.
        """
        return b"".join(self.stream(instance))

    def stream(self, instance: Instance) -> Iterator[bytes]:
        """Give the same in pieces.

        Raises:
            PacsError: As for `retrieve`, in the midst of it too.
        """
        path = (
            f"/studies/{instance.study_instance_uid}/series/{instance.series_instance_uid}"
            f"/instances/{instance.sop_instance_uid}"
        )
        try:
            response, pieces = self._web.pieces(path, Accept=_ACCEPT)
        except RefusedError as error:
            if error.status != 404:
                raise
            raise AbsentError(
                f"{self.name}: no file of instance {instance.sop_instance_uid!r}"
            ) from error
        kind, parameters = multipart.content_type(response.headers.get("Content-Type", ""))
        with response:
            if kind == "application/dicom":
                yield from pieces
                return
            if kind != "multipart/related" or not parameters.get("boundary"):
                raise PacsError(f"{self.name} sent {kind!r}, expected a DICOM file")
            try:
                yield from parted.only(pieces, parameters["boundary"])
            except ValueError as error:
                raise PacsError(f"{self.name} sent a file that {error}") from error

    def digest(self, instance: Instance) -> str:
        """Give nothing: DICOMweb does not say."""
        return ""

    def store(self, dicom: bytes) -> Instance:
        """Send a Part 10 file; the same bytes again change nothing.

        Raises:
            DicomError: It cannot be identified.
            DuplicateError: Another file with this SOPInstanceUID is there.
            PacsError: The server refuses it, or does not answer.
        """
        outcome = self.store_all([dicom])[0]
        if isinstance(outcome, CxrError):
            raise outcome
        return outcome

    def store_all(
        self, dicoms: Sequence[bytes], known: Sequence[Instance] | None = None
    ) -> list[Instance | CxrError]:
        """Send several files in one request; one outcome each, in their order.

        Raises:
            PacsError: The server does not answer; any of them may be there by now.
        """
        outcomes = stowing.identified(dicoms) if known is None else list[Instance | CxrError](known)
        fresh = stowing.settled(outcomes, dicoms, self._compared)
        for batch in stowing.batches(dicoms, fresh):
            answer = stowing.send(self._web, "/studies", [dicoms[at] for at in batch])
            stayed, failed = stowing.told(answer)
            for at in batch:
                it = outcomes[at]
                if isinstance(it, Instance) and it.sop_instance_uid not in stayed:
                    outcomes[at] = self._missed(it, dicoms[at], failed)
        self._seen.note(it for it in outcomes if isinstance(it, Instance))
        return outcomes

    def delete(self, instance: Instance) -> None:
        """Refuse: DICOMweb has no way to remove an instance.

        Raises:
            PacsError: Always.
        """
        raise PacsError(
            f"{self.name}: DICOMweb cannot delete instance {instance.sop_instance_uid!r}; "
            "delete it in the archive's own administration"
        )

    def forget(self, instances: Iterable[Instance], patient_ids: Collection[str] = ()) -> None:
        """Forget where images, and all of these patients, are; a search notes them again."""
        self._seen.forget(instances, patient_ids)

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Give the signed address of one file at the gateway, else a path.

        Raises:
            PacsError: There are no keys to sign it with.
        """
        return signed_url.image_url(self.gateway, self.keys, instance, ttl_s)

    def _noted(self, wanted: list[matching.Condition]) -> Iterator[Instance]:
        found = (item.instance for item in self._qido.found(wanted))
        while some := list(islice(found, 50)):
            self._seen.note(some)
            yield from some

    def _compared(self, instance: Instance, file: bytes) -> Instance | CxrError | None:
        """Compare a file with what is there; None: nothing is."""
        place = self._qido.place(instance.sop_instance_uid) or (
            instance.study_instance_uid,
            instance.series_instance_uid,
            instance.sop_instance_uid,
        )
        try:
            there = self._qido.one(*place)
        except RefusedError as error:
            if error.status != 404:
                raise
            return None
        if there is None:
            return None
        same = there.instance.orthanc_id == instance.orthanc_id
        if same and self.retrieve(instance) == file:
            return instance
        return stowing.duplicate(instance)

    def _missed(
        self, instance: Instance, file: bytes, failed: Mapping[str, int]
    ) -> Instance | CxrError:
        """Say what became of a file that the server did not list among those it kept."""
        reason = failed.get(instance.sop_instance_uid)
        if reason in (None, _DUPLICATE):  # the request may have come twice: so look
            found = self._compared(instance, file)
            if isinstance(found, Instance | DuplicateError):
                return found
        why = f": failure reason {reason:#06x}" if reason else ""
        return PacsError(f"{self.name} did not keep instance {instance.sop_instance_uid!r}{why}")


def _login(section: pacs_schema.DicomWebPacs, key: str) -> Login:
    if section.auth == "basic":
        return basic(section.user or "", section.password or "", key)
    if section.auth == "bearer":
        return Login(Bearer(section.token or ""), f"set {variable(key, 'TOKEN')}")
    if section.auth == "sigv4":
        return Login(
            SigV4(section.region or "", key=key), "check the AWS credentials and their policy"
        )
    return Login(None, f"set {key}.auth and what it needs")
