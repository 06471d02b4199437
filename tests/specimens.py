"""What several tests need: small radiographs, label sets and answers."""

import io
import json

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from cxr.contract.labels import LabelSet

LABELS = LabelSet(
    "few",
    ("Edema", "Lung Opacity", "Support Devices", "No Finding"),
    no_finding="No Finding",
    compatible=("Support Devices",),
    parents={"Lung Opacity": ("Edema",)},
)
LETTERS = {"p": "present", "a": "absent", "u": "uncertain", "-": "unanswered"}


def document(answers: str, labels: LabelSet = LABELS, **changes: object) -> dict:
    """The page's JSON: one letter a label, such as "paua"."""
    findings = [
        {"label": name, "state": LETTERS[letter], "comment": ""}
        for name, letter in zip(labels.names, answers, strict=True)
    ]
    return {
        "schema": "cxr-annotation/1",
        "findings": findings,
        "rois": [],
        "quality": {"usable": True, "reason": None},
        "comment": "",
        "skipped": False,
    } | changes


def form(answers: str, labels: LabelSet = LABELS, **changes: object) -> str:
    """What the browser submits: our JSON as a string inside JSON."""
    return json.dumps({"annotation": json.dumps(document(answers, labels, **changes))})


def skip(reason: str = "rotated") -> str:
    """A form that skips the image."""
    changes = {"skipped": True, "findings": [], "quality": {"usable": False, "reason": reason}}
    return json.dumps({"annotation": json.dumps(document("pppp") | changes)})


def roi(**changes: object) -> dict:
    """A rectangle on Edema."""
    return {
        "id": "r1",
        "type": "rectangle",
        "label": "Edema",
        "points": [[1.5, 2.25], [10, 20]],
        "state": "present",
        "comment": "",
    } | changes


def dicom(
    number: int, *, view: str = "PA", patient: str = "P1", study: str = "", seed: int | None = None
) -> bytes:
    """A small CR image of noise; its SOPInstanceUID ends in `number`; `seed` is its noise."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = pydicom.Dataset()
    ds.file_meta = meta
    ds.SOPClassUID, ds.SOPInstanceUID = meta.MediaStorageSOPClassUID, f"1.2.3.{number}"
    ds.StudyInstanceUID = study or f"1.2.4.{number // 2}"
    ds.SeriesInstanceUID = f"1.2.5.{number}"
    ds.PatientID, ds.Modality, ds.ViewPosition, ds.BodyPartExamined = patient, "CR", view, "CHEST"
    ds.PhotometricInterpretation, ds.SamplesPerPixel = "MONOCHROME2", 1
    ds.Rows, ds.Columns = 40, 32
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    pixels = np.random.default_rng(number if seed is None else seed).integers(
        256, size=(40, 32), dtype=np.uint8
    )
    ds.PixelData = pixels.tobytes()
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
