"""Searching any DICOMweb server (PS3.18 10.6) in the order of UIDs, trusting it with nothing.

First the studies, then the instances of each: that much every server offers. Only filters that
cannot be misunderstood are sent, and every answer is compared here, so a server that ignores one
does not widen the result. What an answer leaves out is taken from the instance's metadata.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from dicomweb_client.api import DICOMwebClient
from pydicom.datadict import tag_for_keyword

from cxr.errors import PacsError
from cxr.pacs import described, matching
from cxr.pacs.described import Described
from cxr.pacs.matching import Condition
from cxr.pacs.web import RefusedError, Web

# at INFO it prints whose studies and instances it is asked for
logging.getLogger("dicomweb_client").setLevel(logging.ERROR)

_PAGE = 500
_MOST = 200
"""Values of a list that are asked for one by one; of longer ones everything is looked at."""
_PROBES = 8
"""Instances whose metadata is compared with the search's answer, to see what that leaves out."""
_STUDY_FIELDS = ("StudyInstanceUID", "NumberOfStudyRelatedInstances")
# neither escaped on the way nor a pattern: Orthanc 1.10 finds nothing by an escaped value
_PLAIN = re.compile(r"[A-Za-z0-9._-]+")
_SENT = ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "Modality")
_NOT_OFFERED = (400, 404, 405, 406, 501)

Documents = list[dict[str, Any]]


class Qido:
    """The search of one server; any number of threads may use it.

    Args:
        web: The session with it.
        threads: Studies asked about at once.
    """

    def __init__(self, web: Web, threads: int) -> None:
        self._web, self._threads = web, threads
        self._client = DICOMwebClient(web.url, session=web, permissive_uid=True)
        self._client.set_http_retry_params(retry=False)  # the session does that
        self._by_series = False
        self._lacking: set[str] = set()
        self._probed = 0

    def found(self, wanted: list[Condition]) -> Iterator[Described]:
        """Find what fulfils all conditions, in the order of UIDs.

        Raises:
            PacsError: The server does not answer, or its pages cannot be told apart.
        """
        studies = iter(self._studies(wanted))
        waiting: deque[Future[list[Described]]] = deque()
        with ThreadPoolExecutor(self._threads) as pool:
            try:
                for study, count in studies:
                    waiting.append(pool.submit(self._within, study, count, wanted))
                    if len(waiting) >= 2 * self._threads:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def one(self, study: str, series: str, sop: str) -> Described | None:
        """Find one instance by its UIDs."""
        for document in self._ask(study, series, SOPInstanceUID=sop):
            header = described.from_json(document)
            if header.get("SOPInstanceUID") == sop:
                return self._completed(header, study, series)
        return None

    def place(self, sop: str) -> tuple[str, str, str] | None:
        """Say in which study and series an instance is, where the server can be asked that."""
        try:
            documents = self._ask(None, None, SOPInstanceUID=sop)
        except RefusedError as error:
            if error.status in _NOT_OFFERED:
                return None
            raise
        for header in map(described.from_json, documents):
            if header.get("SOPInstanceUID") == sop:
                return header.get("StudyInstanceUID", ""), header.get("SeriesInstanceUID", ""), sop
        return None

    def _studies(self, wanted: list[Condition]) -> list[tuple[str, int]]:
        """List study UIDs in order, with how many instances each says it has, 0 for unknown."""
        by = {condition.column: condition for condition in wanted}
        if "StudyInstanceUID" in by:
            return [
                (str(uid), 0) for uid in sorted(set(map(str, by["StudyInstanceUID"].exact or ())))
            ]
        if "SOPInstanceUID" in by and len(by["SOPInstanceUID"].terms) <= _MOST:
            places = [self.place(str(uid)) for uid in by["SOPInstanceUID"].exact or ()]
            if all(places):
                return [(uid, 0) for uid in sorted({place[0] for place in places if place})]
        found: dict[str, int] = {}
        for filters in _filters(by):
            for document in self._pages(
                partial(self._page_of_studies, filters), "StudyInstanceUID"
            ):
                header = described.from_json(document)
                count = header.get("NumberOfStudyRelatedInstances", "")
                found[header["StudyInstanceUID"]] = int(count) if count.isdigit() else 0
        return sorted(found.items())

    def _page_of_studies(self, filters: dict[str, str], limit: int, offset: int) -> Documents:
        return self._documents(
            self._client.search_for_studies,
            limit=limit,
            offset=offset,
            fields=_tags(_STUDY_FIELDS),
            search_filters=filters,
        )

    def _within(self, study: str, count: int, wanted: list[Condition]) -> list[Described]:
        found = []
        for series, header in self._headers(study, count):
            # what does not match as far as is known needs no second question
            known = [c for c in wanted if header.get(c.column)]
            some = described.values(header)
            if not matching.matches(some, [c for c in known if c.column != "view"]):
                continue
            item = self._completed(header, study, series)
            if matching.matches(item.values, wanted):
                found.append(item)
        return sorted(found, key=lambda item: item.order)

    def _headers(self, study: str, count: int) -> Iterator[tuple[str, dict[str, Any]]]:
        if not self._by_series:
            try:
                documents = list(self._paged(study, None, count))
            except RefusedError as error:
                if error.status not in _NOT_OFFERED:
                    raise
                self._by_series = True  # AWS HealthImaging, for one, wants the series named
            else:
                headers = map(described.from_json, documents)
                yield from ((h.get("SeriesInstanceUID", ""), h) for h in headers)
                return
        try:
            listed = self._documents(
                self._client.search_for_series, study, fields=_tags(("SeriesInstanceUID",))
            )
        except RefusedError as error:
            if error.status == 404:
                return
            raise
        for series in [described.from_json(d).get("SeriesInstanceUID", "") for d in listed]:
            for document in self._paged(study, series, 0):
                yield series, described.from_json(document)

    def _paged(self, study: str, series: str | None, count: int) -> Iterator[dict[str, Any]]:
        return self._pages(
            lambda limit, offset: self._ask(study, series, limit=limit, offset=offset),
            "SOPInstanceUID",
            count,
        )

    def _pages(
        self, ask: Callable[[int, int], Documents], uid: str, count: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Ask for page after page until one is empty: a server may give fewer than asked for.

        Raises:
            PacsError: It gives the same page again.
        """
        met: set[str] = set()
        offset = 0
        while page := ask(_PAGE, offset):
            fresh = 0
            for document in page:
                name = described.from_json(document).get(uid)
                if name and name not in met:
                    met.add(name)
                    fresh += 1
                    yield document
            if not fresh:
                raise PacsError(
                    f"{self._web.url} gives the same {len(page)} results whatever the offset, so "
                    "what lies beyond cannot be listed; narrow the query, or ask who runs it"
                )
            offset += len(page)
            if count and len(met) >= count:
                return

    def _ask(
        self,
        study: str | None,
        series: str | None,
        *,
        limit: int | None = None,
        offset: int | None = None,
        **filters: str,
    ) -> Documents:
        return self._documents(
            self._client.search_for_instances,
            study,
            series,
            limit=limit,
            offset=offset,
            fields=_tags(described.NEEDED),
            search_filters=filters or None,
        )

    def _documents(self, ask: Callable[..., Any], *args: Any, **options: Any) -> Documents:
        try:
            found = ask(*args, **options)
        except ValueError as error:
            raise PacsError(
                f"{self._web.url} answers a search with something that is no JSON; "
                f"set {self._web.key}.url to the address below which /studies is"
            ) from error
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise PacsError(f"{self._web.url} answers a search with no list of data sets")
        return found

    def _completed(self, header: dict[str, Any], study: str, series: str) -> Described:
        """Add what the answer to the search left out."""
        header.setdefault("StudyInstanceUID", study)
        header.setdefault("SeriesInstanceUID", series)
        lacks = not all(header.get(keyword) for keyword in described.ALWAYS)
        # Orthanc 1.10's answers hold no sequences
        sideless = not header.get("ViewPosition") and not header.get("ViewCodeSequence")
        if lacks or sideless or self._lacking or self._probed < _PROBES:
            more = {k: v for k, v in self._metadata(header).items() if k in described.NEEDED and v}
            # what it left out of these, it leaves out of all
            self._lacking |= more.keys() - header.keys() - {"ViewCodeSequence"}
            self._probed += 1
            header |= more
        return described.described(header, header.get("AvailableTransferSyntaxUID", ""))

    def _metadata(self, header: dict[str, Any]) -> dict[str, Any]:
        uids = [header[f"{name}UID"] for name in ("StudyInstance", "SeriesInstance", "SOPInstance")]
        path = f"/studies/{uids[0]}/series/{uids[1]}/instances/{uids[2]}/metadata"
        try:
            found = self._web.json("GET", path)
        except RefusedError as error:
            if error.status in _NOT_OFFERED:
                return {}
            raise
        return described.from_json(found[0]) if isinstance(found, list) and found else {}


def _filters(by: dict[str, Condition]) -> list[dict[str, str]]:
    """Say what to send with each search for studies; their results are united."""
    common: dict[str, str] = {}
    several: list[dict[str, str]] = [{}]
    for column in _SENT:
        condition = by.get(column)
        if condition is None:
            continue
        name = "ModalitiesInStudy" if column == "Modality" else column
        if exact := condition.exact:
            values = [str(value) for value in exact]
        elif len(condition.terms) == 1 and condition.terms[0].pattern is None:
            values = [f"{condition.terms[0].low}-{condition.terms[0].high}"]
        else:
            continue
        if not all(_PLAIN.fullmatch(value) for value in values):
            continue
        if len(values) == 1:
            common[name] = values[0]
        elif several == [{}] and len(values) <= _MOST:
            several = [{name: value} for value in values]
    return [common | one for one in several]


def _tags(keywords: tuple[str, ...]) -> list[str]:
    return [f"{tag_for_keyword(keyword):08X}" for keyword in keywords]
