"""Many instances found at once: the same answers as one by one, in far fewer questions."""

import io

import pydicom
import pytest
import specimens
from pydicom.uid import ImplicitVRLittleEndian
from sites import filled

from cxr.errors import DicomError, PacsError
from cxr.pacs import finding
from cxr.pacs.folder import FolderPacs


class Counting(FolderPacs):
    """A folder that counts what it is asked."""

    searches = finds = 0

    def search(self, **keys):
        self.searches += 1
        return super().search(**keys)

    def find(self, source):
        self.finds += 1
        return super().find(source)


@pytest.fixture
def pacs(tmp_path):
    filled(tmp_path).close()
    with Counting(tmp_path) as made:
        yield made


def test_answers_come_in_the_order_asked_and_none_is_left_out(pacs):
    one, two, three = super(Counting, pacs).search()
    absent = "-".join(["0" * 8] * 5)

    found = finding.several(
        pacs,
        [
            (three.orthanc_id, three.sop_instance_uid),
            (absent, "1.2.99"),
            (one.orthanc_id, ""),
            (two.sop_instance_uid, two.sop_instance_uid),
            (three.orthanc_id, three.sop_instance_uid),
            ("s3://bucket/image.dcm", ""),
        ],
    )

    assert list(found) == [three, None, one, two, three, None]


@pytest.mark.parametrize("uid", ["", "1.2.99", "not a UID", "1.2.*"])
def test_a_wrong_uid_beside_the_right_source_does_not_matter(pacs, uid):
    one = next(super(Counting, pacs).search())

    assert list(finding.several(pacs, [(one.orthanc_id, uid)])) == [one]


def test_the_source_counts_where_the_uid_is_anothers(pacs):
    one, two, _ = super(Counting, pacs).search()

    assert list(finding.several(pacs, [(one.orthanc_id, two.sop_instance_uid)])) == [one]


def test_fifty_are_one_question(pacs):
    known = [(i.orthanc_id, i.sop_instance_uid) for i in super(Counting, pacs).search()]

    assert len(list(finding.several(pacs, known * 40))) == 120
    assert (pacs.searches, pacs.finds) == (3, 0)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_header_is_read_without_the_pixels(tmp_path, explicit):
    sent = []

    class Watched(FolderPacs):
        """A folder that gives its files in small pieces and remembers them."""

        def stream(self, instance):
            whole = self.retrieve(instance)
            for start in range(0, len(whole), 100):
                sent.append(whole[start : start + 100])
                yield sent[-1]

    ds = pydicom.dcmread(io.BytesIO(specimens.dicom(1)))
    # as in the middle of a private element, so that the first guess is wrong
    ds.add_new(0x00091010, "OB", b"\xe0\x7f\x10\x00" * 30)
    ds.StudyID = "50414267"
    if not explicit:
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True, implicit_vr=not explicit)
    with Watched(tmp_path) as pacs:
        instance = pacs.store(buffer.getvalue())

        header = finding.header(pacs, instance)

    assert header.StudyID == "50414267"
    assert header.Rows == 40
    assert sum(map(len, sent)) < len(buffer.getvalue()) - 1000


def test_a_damaged_header_is_an_error(tmp_path):
    with filled(tmp_path) as pacs:
        instance = next(pacs.search())
        pacs.path(instance).write_bytes(b"junk")

        with pytest.raises(DicomError, match="not a DICOM file"):
            finding.header(pacs, instance)


def test_a_pacs_that_is_away_is_not_one_without_the_image(pacs):
    pacs.close()
    pacs.index.path.unlink()
    pacs.index.path.mkdir()

    with pytest.raises(PacsError, match=r"index\.sqlite"):
        list(finding.several(pacs, [("x", "1.2.3.1")]))
