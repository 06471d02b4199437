"""One contract, four stores: a folder, an Orthanc, and DICOMweb against Orthanc and our own server.

The folder is the reference: whatever it answers to a query, every other PACS answers too.
"""

import dataclasses
import hashlib
import io
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pydicom
import pytest
import requests
from orthanc_servers import Server
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from cxr import pacs_schema
from cxr.contract import signing
from cxr.errors import AbsentError, DicomError, DuplicateError, PacsError
from cxr.images import dicom, synth
from cxr.infra import http
from cxr.pacs import Pacs, opening, server
from cxr.pacs.folder import FolderPacs

KEYS = signing.keys_from_text(signing.new_keys())
SEED = 77
OURS = {"PatientID": f"SYN{SEED}-*"}
"""What this file stored: others use the same Orthanc."""


def drawn(index: int, *, syntax: str = "", seed: int = SEED, **attributes: object) -> bytes:
    """A synthetic radiograph, some of its attributes changed, compressed where that is wanted."""
    file, _ = synth.draw(index, seed=seed, size=(64, 56))
    if not attributes and not syntax:
        return file
    ds = pydicom.dcmread(io.BytesIO(file))
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    if syntax:
        ds.compress(syntax, generate_instance_uid=False)
    changed = io.BytesIO()
    ds.save_as(changed, enforce_file_format=True)
    return changed.getvalue()


def fresh(count: int = 1) -> list[bytes]:
    """Radiographs that no PACS has seen."""
    seed = secrets.randbelow(1 << 30) + 1000
    return [drawn(index, seed=seed) for index in range(count)]


def altered(file: bytes) -> bytes:
    """The same identifiers, another content."""
    ds = pydicom.dcmread(io.BytesIO(file))
    ds.WindowWidth = 77
    changed = io.BytesIO()
    ds.save_as(changed)
    return changed.getvalue()


def view_code(meaning: str) -> pydicom.Sequence:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "R-10236", "SRT", meaning
    return pydicom.Sequence([code])


UTF8 = {"SpecificCharacterSet": "ISO_IR 192"}
FILES = [
    *(drawn(index) for index in range(16)),
    drawn(20, syntax=JPEGLSLossless),
    drawn(21, syntax=JPEG2000Lossless),
    drawn(30, **UTF8, PatientID=f"SYN{SEED}-Müller", PatientName="Müller^Jörg"),
    drawn(31, **UTF8, PatientName="Yamada^Tarou=山田^太郎", StudyDate=""),
    drawn(
        32, ViewPosition="", ViewCodeSequence=view_code("left lateral"), BurnedInAnnotation="YES"
    ),
    drawn(33, StudyDescription="Chest [a]*", PatientAge="", PatientBirthDate="19600101"),
    drawn(34, BodyPartExamined="chest", ViewPosition="pa"),
]


@dataclass
class Store:
    """One PACS under test."""

    kind: str
    pacs: Pacs

    @property
    def says_syntax(self) -> bool:
        """Whether a search says how pixels are encoded; Orthanc's QIDO-RS does not."""
        return self.kind != "dicomweb-orthanc"


def dicomweb(url: str, folder: object, **changes: object) -> pacs_schema.DicomWebPacs:
    given = {
        "_target_": "cxr.pacs.dicomweb.DicomWebPacs",
        "url": url, "timeout_s": 30.0, "threads": 3, "auth": "none", "seen": str(folder),
    }  # fmt: skip
    return pacs_schema.DicomWebPacs.model_validate(given | changes)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory):
    """What every answer is compared with."""
    with FolderPacs(tmp_path_factory.mktemp("reference"), keys=KEYS) as made:
        for outcome in made.store_all(FILES):
            assert not isinstance(outcome, Exception), outcome
        yield made


@pytest.fixture(scope="module", params=["folder", "orthanc", "dicomweb-orthanc", "dicomweb-ours"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A PACS that holds `FILES`, and with Orthanc what other tests left."""
    folder = tmp_path_factory.mktemp(request.param)
    served = None
    if request.param == "folder":
        section = pacs_schema.FolderPacs.model_validate(
            {"_target_": "cxr.pacs.folder.FolderPacs", "folder": str(folder / "pacs")}
        )
    elif request.param == "dicomweb-ours":
        behind = FolderPacs(folder / "pacs")
        listener = http.bind("127.0.0.1", 0, key="port")
        served = http.Background(server.app(behind, KEYS), listener)
        token = signing.sign(KEYS, ["p:/dicom-web", "store"], ttl_s=3600)
        section = dicomweb(f"{listener.url}/dicom-web", folder / "seen", auth="bearer", token=token)
    else:
        there: Server = request.getfixturevalue("orthanc")
        section = there.section
        if request.param == "dicomweb-orthanc":
            login = {"auth": "basic", "user": there.user, "password": there.password}
            section = dicomweb(f"{there.url}/dicom-web", folder / "seen", **login)
    with opening.opened(section, root=folder, keys=KEYS) as pacs:
        for outcome in pacs.store_all(FILES):
            assert not isinstance(outcome, Exception), outcome
        yield Store(request.param, pacs)
    if served:
        served.stop()
        behind.close()


def told(store: Store, instances) -> list[dicom.Instance]:
    """What a PACS can say of instances."""
    if store.says_syntax:
        return list(instances)
    return [dataclasses.replace(it, transfer_syntax_uid="") for it in instances]


UIDS = [dicom.identify(file).study_instance_uid for file in FILES[:3]]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"limit": 5},
        {"limit": 5, "offset": 9},
        {"offset": 20},
        {"offset": 99},
        {"limit": 0},
        {"PatientID": f"SYN{SEED}-0002"},
        {"PatientID": [f"SYN{SEED}-0002", f"SYN{SEED}-0003", "nobody"]},
        {"PatientID": f"SYN{SEED}-000?"},
        {"PatientID": f"syn{SEED}-0002"},
        {"PatientID": f"SYN{SEED}-Müller"},
        {"PatientID": [f"SYN{SEED}-Mü*", f"SYN{SEED}-0001"]},
        {"PatientName": "Müller^*"},
        {"PatientName": "müller^*"},
        {"PatientName": "*山田*"},
        {"StudyDate": "20260101-20260331"},
        {"StudyDate": "20260601-"},
        {"StudyDate": "-20260601"},
        {"StudyDate": "20260301"},
        {"StudyDate": ["20260101", "20260301-20260401"]},
        {"StudyTime": "11-12"},
        {"StudyInstanceUID": ",".join(UIDS)},
        {"StudyInstanceUID": "\\".join(UIDS)},
        {"StudyInstanceUID": UIDS, "Modality": "CR"},
        {"SeriesInstanceUID": dicom.identify(FILES[4]).series_instance_uid},
        {"SOPInstanceUID": [dicom.identify(file).sop_instance_uid for file in FILES[3:6]]},
        {"SOPInstanceUID": "1.2.3"},
        {"Modality": ["CR", "DX"], "PatientSex": "F"},
        {"ModalitiesInStudy": "CR"},
        {"BodyPartExamined": "CHEST"},
        {"BodyPartExamined": "chest"},
        {"view": "lateral"},
        {"view": ["frontal", "unknown"], "limit": 3},
        {"ViewPosition": "P?"},
        {"Rows": 64, "PhotometricInterpretation": "MONOCHROME1"},
        {"Rows": 65},
        {"BurnedInAnnotation": "YES"},
        {"StudyDescription": "Chest [a]*"},
        {"00080060": "CR"},
        {"BitsAllocated": "16", "InstanceNumber": 1, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1"},
    ],
    ids=str,
)
def test_a_query_finds_what_the_folder_finds(store, reference, query) -> None:
    expected = told(store, reference.search(**OURS | query))

    assert list(store.pacs.search(**OURS | query)) == expected


def test_no_log_names_what_was_searched_and_fetched(store, caplog) -> None:
    caplog.set_level("DEBUG")

    found = list(store.pacs.search(**OURS, limit=3))
    for instance in found:
        store.pacs.retrieve(instance)

    said = caplog.text
    assert len(found) == 3
    for instance in found:
        assert instance.study_instance_uid not in said
        assert instance.orthanc_id not in said
        assert instance.patient_id not in said


def test_the_order_is_that_of_the_uids(store) -> None:
    found = list(store.pacs.search(**OURS))

    uids = [(i.study_instance_uid, i.series_instance_uid, i.sop_instance_uid) for i in found]
    assert len(found) == len(FILES)
    assert uids == sorted(uids)


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        ({"PatientsID": "x"}, "did you mean PatientID"),
        ({"ReferringPhysicianName": "x"}, "cannot search by 'ReferringPhysicianName'"),
        ({"PatientID": ""}, "PatientID: expected a value to match"),
        ({"PatientID": []}, "met an empty list"),
        ({"StudyDate": "2026"}, "StudyDate: expected YYYYMMDD"),
        ({"Rows": "many"}, "Rows: expected a whole number"),
        ({"limit": -1}, "limit: expected a whole number"),
    ],
    ids=str,
)
def test_a_query_that_cannot_be_meant_is_refused(store, query, complaint) -> None:
    with pytest.raises(PacsError, match=complaint):
        next(store.pacs.search(**query), None)


def test_files_come_back_byte_for_byte(store) -> None:
    by_uid = {dicom.identify(file).sop_instance_uid: file for file in FILES}
    assert len({dicom.identify(file).transfer_syntax_uid for file in FILES}) == 3

    for instance in store.pacs.search(**OURS):
        file = by_uid[instance.sop_instance_uid]
        assert store.pacs.retrieve(instance) == file
        assert b"".join(store.pacs.stream(instance)) == file


def test_a_digest_is_that_of_the_file_or_is_not_said(store) -> None:
    instance = next(store.pacs.search(**OURS))

    kind, _, said = store.pacs.digest(instance).partition(":")

    assert kind == {"folder": "sha256", "orthanc": "md5"}.get(store.kind, "")
    assert not kind or said == hashlib.new(kind, store.pacs.retrieve(instance)).hexdigest()


def test_every_pacs_calls_an_instance_the_same(store, reference) -> None:
    names = {it.sop_instance_uid: it.orthanc_id for it in reference.search()}

    assert {it.sop_instance_uid: it.orthanc_id for it in store.pacs.search(**OURS)} == names


def test_an_instance_is_found_by_either_of_its_names(store) -> None:
    instance = dicom.identify(FILES[18])

    found = [store.pacs.find(n) for n in (instance.orthanc_id, instance.sop_instance_uid)]

    assert found == told(store, [instance, instance])


@pytest.mark.parametrize("source", ["1.2.3.4", "0" * 8 + "-00000000" * 4, "../system", ""])
def test_what_is_not_there_is_not_found(store, source) -> None:
    with pytest.raises(AbsentError, match="no instance"):
        store.pacs.find(source)


def test_a_file_that_is_not_there_is_absent(store) -> None:
    missing = dicom.identify(fresh()[0])

    with pytest.raises(PacsError, match="no file of instance") as caught:
        store.pacs.retrieve(missing)

    assert store.kind == "folder" or isinstance(caught.value, AbsentError)


def test_the_same_file_again_changes_nothing(store) -> None:
    file = fresh()[0]

    first, again = store.pacs.store(file), store.pacs.store(file)

    assert first == again == dicom.identify(file)
    assert store.pacs.retrieve(first) == file
    assert len(list(store.pacs.search(SOPInstanceUID=first.sop_instance_uid))) == 1


def test_another_file_of_the_same_name_is_refused_and_changes_nothing(store) -> None:
    file = fresh()[0]
    instance = store.pacs.store(file)

    with pytest.raises(DuplicateError, match="is here already, with other content"):
        store.pacs.store(altered(file))

    assert store.pacs.retrieve(instance) == file


def test_another_patient_of_the_same_name_is_refused(store) -> None:
    seed = secrets.randbelow(1 << 30) + 1000
    store.pacs.store(drawn(0, seed=seed))

    with pytest.raises(DuplicateError, match="is here already"):
        store.pacs.store(drawn(0, seed=seed, PatientID="somebody else"))


def test_of_several_files_each_has_its_outcome(store) -> None:
    one, two, three = fresh(3)
    store.pacs.store(two)

    outcomes = store.pacs.store_all(
        [one, b"no image", altered(two), two, three, one, altered(three)]
    )

    kinds = [type(it) for it in outcomes]
    assert kinds[0] is kinds[3] is kinds[4] is kinds[5] is dicom.Instance
    assert [kinds[1], kinds[2], kinds[6]] == [DicomError, DuplicateError, DuplicateError]
    for file in (one, two, three):
        assert store.pacs.retrieve(dicom.identify(file)) == file


def test_nothing_to_store_is_nothing(store) -> None:
    assert store.pacs.store_all([]) == []


def test_what_is_deleted_is_gone(store) -> None:
    one, two = map(store.pacs.store, fresh(2))
    if store.kind.startswith("dicomweb"):
        with pytest.raises(PacsError, match=r"DICOMweb cannot delete.*archive's own"):
            store.pacs.delete(one)
        return

    store.pacs.delete(one)
    store.pacs.delete(one)

    with pytest.raises(AbsentError, match="no instance"):
        store.pacs.find(one.orthanc_id)
    assert list(store.pacs.search(SOPInstanceUID=one.sop_instance_uid)) == []
    assert store.pacs.find(two.sop_instance_uid).orthanc_id == two.orthanc_id


def test_an_image_url_opens_one_instance_for_a_while(store) -> None:
    instance = dicom.identify(FILES[0])

    address, _, token = store.pacs.image_url(instance, 60).partition("?token=")

    assert address == f"{store.pacs.gateway or ''}/instances/{instance.orthanc_id}/file"
    assert signing.verify(KEYS, token)["scope"] == [f"i:{instance.orthanc_id}"]
    assert (store.pacs.gateway is None) == (store.kind != "orthanc")


def test_threads_share_one_pacs(store, reference) -> None:
    def work(number: int) -> bool:
        found = list(store.pacs.search(**OURS, limit=4, offset=number % 8))
        return all(store.pacs.retrieve(i) == reference.retrieve(i) for i in found)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(18)))


def test_a_search_may_be_left_half_way(store) -> None:
    found = store.pacs.search(**OURS)
    next(found)
    del found

    assert len(list(store.pacs.search(**OURS, limit=2))) == 2


@pytest.mark.parametrize(
    "patient",
    ["a\\b", " before", "after ", "null\0\0", "", "  ", "Müller|x", "山田", "a" * 70, "Q*?[1]"],
)
def test_orthanc_calls_an_instance_what_we_call_it(orthanc: Server, patient) -> None:
    seed = secrets.randbelow(1 << 30) + 1000
    file = drawn(0, seed=seed, SpecificCharacterSet="ISO_IR 192", PatientID=patient)
    instance = dicom.identify(file)

    said = requests.post(f"{orthanc.url}/instances", file, auth=orthanc.auth, timeout=30).json()

    assert said["ID"] == instance.orthanc_id
    with opening.opened(orthanc.section, root=orthanc.folder) as pacs:
        assert pacs.find(instance.orthanc_id) == instance
        assert list(pacs.search(SOPInstanceUID=instance.sop_instance_uid)) == [instance]


def test_a_list_longer_than_a_server_is_asked_for_finds_the_same(store, reference) -> None:
    uids = [f"1.2.3.{number}" for number in range(1200)] + [
        dicom.identify(FILES[2]).sop_instance_uid
    ]
    query = OURS | {"SOPInstanceUID": uids}

    assert list(store.pacs.search(**query)) == told(store, reference.search(**query))
