"""An Orthanc as a PACS, over its own REST API; `python -m cxr.orthanc up` starts one.

Orthanc narrows a search by what its index holds; whatever it cannot match, or matches otherwise
than a folder would, is compared here. QIDO-RS is not used: Orthanc 1.10 does not decode the
values of a query, and finds nothing where something was escaped.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cxr import pacs_schema, places
from cxr.contract import manifest, signing
from cxr.errors import AbsentError, CxrError, PacsError
from cxr.images.dicom import Instance
from cxr.pacs import orthanc_search, signed_url, stowing
from cxr.pacs.web import RefusedError, Web, basic, variable

PASSWORD = "orthanc.password"
"""The secret below the data root that `up` draws where the config has no password."""

_UID = re.compile(r"[0-9.]{1,64}")


class OrthancPacs:
    """An Orthanc; a context manager that closes its connections.

    Args:
        web: The session with it.
        gateway: Where browsers load images, without a slash at the end; None: nowhere.
        keys: Sign image URLs; not needed for anything else.
        threads: Requests at once while a search reads headers.
    """

    def __init__(
        self, web: Web, *, gateway: str | None, keys: signing.Keys | None, threads: int
    ) -> None:
        self._web, self.gateway, self.keys, self._threads = web, gateway, keys, threads

    @classmethod
    def opened(
        cls,
        section: pacs_schema.OrthancPacs,
        *,
        root: Path,
        keys: signing.Keys | None = None,
        key: str = "pacs",
    ) -> Self:
        """Open the one a config describes; nothing is sent yet.

        Args:
            section: Checked.
            root: The data root, where `up` keeps the password.
            keys: Sign image URLs.
            key: What the section is called, for messages.

        Raises:
            PacsError: There is no password, or `ca` cannot be read.
        """
        web = Web(
            section.url,
            key=key,
            login=basic(section.user or "cxr", password(section, root, key), key),
            ca=section.ca,
            timeout_s=section.timeout_s,
            threads=section.threads,
            absent="python -m cxr.orthanc up starts an Orthanc here"
            if places.is_loopback(urlsplit(section.url).hostname or "")
            else "",
            hints={
                (f"POST {path}", 405): f"is {key}.url the gateway, which only reads? That is "
                f"{key}.image_url; set {key}.url to Orthanc itself"
                for path in ("/tools/find", "/tools/lookup", "/instances", "/dicom-web/studies")
            },
        )
        gateway = section.image_url.rstrip("/") if section.image_url else None
        return cls(web, gateway=gateway, keys=keys, threads=section.threads)

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

    def search(self, **matching_keys: object) -> Iterator[Instance]:
        """Find instances by DICOM keyword, in the order of their UIDs, as a stream.

        Raises:
            PacsError: An unknown keyword (naming the nearest), a value that fits none, or Orthanc
                does not answer.
        """
        return orthanc_search.search(self._web, matching_keys, self._threads)

    def find(self, source: str) -> Instance:
        """Find one instance by its Orthanc instance ID or its SOPInstanceUID.

        Raises:
            AbsentError: It is not here.
            PacsError: It is here under several patients, or Orthanc does not answer.
        """
        if manifest.INSTANCE_ID.fullmatch(source):
            found = [source]
        else:
            found = self._lookup(source) if _UID.fullmatch(source) else []
        if len(found) > 1:
            raise PacsError(
                f"{self.name}: {len(found)} instances have that SOPInstanceUID; "
                "name one by its Orthanc ID"
            )
        described = orthanc_search.headers(self._web, found, 1)
        if not described:
            raise AbsentError(f"{self.name}: no instance {source!r}")
        return described[0].instance

    def retrieve(self, instance: Instance) -> bytes:
        """Give the file, byte for byte as it came.

        Raises:
            AbsentError: It is not here.
            PacsError: It does not come whole.
        """
        return b"".join(self.stream(instance))

    def stream(self, instance: Instance) -> Iterator[bytes]:
        """Give the same in pieces of at most a megabyte.

        Raises:
            PacsError: As for `retrieve`, in the midst of it too.
        """
        with self._known(instance):
            _, pieces = self._web.pieces(f"/instances/{instance.orthanc_id}/file")
        yield from pieces

    def digest(self, instance: Instance) -> str:
        """Give `md5:<hex>` of the file, as Orthanc noted it on arrival.

        Raises:
            PacsError: It is not here.
        """
        with self._known(instance):
            return f"md5:{self._md5(instance.orthanc_id)}"

    def store(self, dicom: bytes) -> Instance:
        """Send a Part 10 file; the same bytes again change nothing.

        Raises:
            DicomError: It cannot be identified.
            DuplicateError: Another file with this SOPInstanceUID is there.
            PacsError: Orthanc refuses it, or does not answer.
        """
        outcome = self.store_all([dicom])[0]
        if isinstance(outcome, CxrError):
            raise outcome
        return outcome

    def store_all(
        self, dicoms: Sequence[bytes], known: Sequence[Instance] | None = None
    ) -> list[Instance | CxrError]:
        """Send several files in one request of STOW-RS; one outcome each, in their order.

        Raises:
            PacsError: Orthanc does not answer; any of them may be there by now.
        """
        outcomes = stowing.identified(dicoms) if known is None else list[Instance | CxrError](known)
        there = self._there([it.sop_instance_uid for it in outcomes if isinstance(it, Instance)])

        def compare(instance: Instance, file: bytes) -> Instance | CxrError | None:
            found = there.get(instance.sop_instance_uid)
            return self._compared(instance, file, found) if found else None

        fresh = stowing.settled(outcomes, dicoms, compare)
        for at, error in self._send(dicoms, outcomes, fresh).items():
            outcomes[at] = error
        return outcomes

    def there(self, uids: Sequence[str]) -> set[str]:
        """Give the Orthanc IDs of what it holds under these SOPInstanceUIDs; reads no headers.

        Raises:
            PacsError: Orthanc does not answer.
        """
        return set(self._there(uids).values())

    def delete(self, instance: Instance) -> None:
        """Remove one instance for good; one that is not there is no error.

        Raises:
            PacsError: Orthanc refuses, or does not answer.
        """
        path = f"/instances/{instance.orthanc_id}"
        self._web.request("DELETE", self._web.url + path, allowed=(404,)).close()

    def image_url(self, instance: Instance, ttl_s: int) -> str:
        """Give the address a browser loads this one file from, for `ttl_s` seconds.

        It is the gateway's; without one it is a path, for whoever serves images in its place.

        Raises:
            PacsError: There are no keys to sign it with.
        """
        return signed_url.image_url(self.gateway, self.keys, instance, ttl_s)

    @contextmanager
    def _known(self, instance: Instance) -> Iterator[None]:
        try:
            yield
        except RefusedError as error:
            if error.status != 404:
                raise
            raise AbsentError(
                f"{self.name}: no file of instance {instance.sop_instance_uid!r}"
            ) from error

    def _lookup(self, uid: str) -> list[str]:
        found = self._web.json("POST", "/tools/lookup", data=uid.encode()) or []
        return [item["ID"] for item in found if item.get("Type") == "Instance"]

    def _md5(self, orthanc_id: str) -> str:
        path = f"{self._web.url}/instances/{orthanc_id}/attachments/dicom/md5"
        return self._web.request("GET", path).text.strip()

    def _there(self, uids: Sequence[str]) -> dict[str, str]:
        """Give the Orthanc ID under which each of these is there already."""
        if not uids:
            return {}
        query = {"Level": "Instance", "Expand": False, "CaseSensitive": True}
        query["Query"] = {"SOPInstanceUID": "\\".join(uids)}
        ids = self._web.json("POST", "/tools/find", json=query) or []
        rows = orthanc_search.content(self._web, "Instance", ids)
        return {row["MainDicomTags"]["SOPInstanceUID"]: row["ID"] for row in rows}

    def _compared(self, instance: Instance, file: bytes, orthanc_id: str) -> Instance | CxrError:
        if orthanc_id == instance.orthanc_id and self._md5(orthanc_id) == _md5_of(file):
            return instance
        return stowing.duplicate(instance)

    def _send(
        self, dicoms: Sequence[bytes], outcomes: Sequence[Instance | CxrError], chosen: list[int]
    ) -> dict[int, CxrError]:
        """Send the chosen files, and say which of them did not stay."""
        failed: dict[int, CxrError] = {}
        for batch in stowing.batches(dicoms, chosen):
            instances = {at: it for at in batch if isinstance(it := outcomes[at], Instance)}
            # an answer of 400 may still have kept some, and lists no failures: so look
            stowing.send(self._web, "/dicom-web/studies", [dicoms[at] for at in batch])
            ids = [it.orthanc_id for it in instances.values()]
            rows = orthanc_search.content(self._web, "Instance", ids)
            sizes = {row["ID"]: int(row["FileSize"]) for row in rows}
            for at, it in instances.items():
                size = sizes.get(it.orthanc_id)
                if size is None:
                    failed[at] = PacsError(
                        f"{self.name} did not keep instance {it.sop_instance_uid!r}"
                    )
                elif size != len(dicoms[at]):  # somebody else's came in between
                    failed[at] = stowing.duplicate(it)
        return failed


def password(section: pacs_schema.OrthancPacs, root: Path, key: str) -> str:
    """Give the configured password, else the one that `up` drew, which is for its Orthanc alone.

    Raises:
        PacsError: There is neither.
    """
    if section.password is not None:
        return section.password
    drawn = root / "secrets" / PASSWORD
    if drawn.exists() and _is_ours(section, key):
        return drawn.read_text().strip()
    here = "start an Orthanc here: python -m cxr.orthanc up"
    if section.in_aws and key == "pacs":
        here = (
            "CXR_PACS_URL to output PacsUrl of the pacs stack and CXR_PACS_PASSWORD to the one in "
            f"its secret OrthancSecretArn, or {here}"
        )
    raise PacsError(
        f"{key}.password: expected the password of {section.user or 'cxr'!r} at {section.url}, "
        f"met none; set {variable(key, 'PASSWORD')}, or {here}"
    )


def _is_ours(section: pacs_schema.OrthancPacs, key: str) -> bool:
    """Say whether it is the one that `up` runs here; another one must not learn its password."""
    url = urlsplit(section.url)
    if not places.is_loopback(url.hostname or ""):
        return False
    if key == "pacs":
        return True
    try:
        told = json.loads((Path(section.folder) / "run" / "up.json").read_text())
        return url.port == urlsplit(str(told["url"])).port
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _md5_of(file: bytes) -> str:
    return hashlib.md5(file, usedforsecurity=False).hexdigest()
