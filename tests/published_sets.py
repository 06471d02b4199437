"""Made-up files of exactly the layout of the published sets, tiny."""

import csv
import gzip
import hashlib
import io

import numpy as np
from PIL import Image

MIMIC_LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum",
    "Fracture", "Lung Lesion", "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other",
    "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
CHEXPERT_LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion",
    "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion",
    "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip


def picture(seed, size=(48, 40), kind="JPEG", mode="L", bright=0):
    """A grey picture; `bright` of its lower left, so that a net has something to learn."""
    rng = np.random.default_rng(seed)
    greys = rng.integers(40, 120, size).astype(np.uint8)
    greys[size[0] // 2 :, : size[1] // 2] += np.uint8(bright)
    file = io.BytesIO()
    Image.fromarray(greys).convert(mode).save(file, kind)
    return file.getvalue()


def table(path, header, rows):
    """A CSV, gzipped where its name says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def name_of(text):
    """Forty hex digits in groups of eight, as MIMIC-CXR calls its images."""
    digits = hashlib.sha1(text.encode()).hexdigest()
    return "-".join(digits[at : at + 8] for at in range(0, 40, 8))


def mimic(folder, studies, *, wrap=None):
    """MIMIC-CXR-JPG; or MIMIC-CXR, where `wrap` makes DICOM of a picture and its numbers.

    Args:
        folder: Made.
        studies: (subject, study, split, labels by name, views).
        wrap: None for JPEGs.

    Returns:
        The names of its images, in order of the studies and views.
    """
    names, metadata, split, labels = [], [], [], []
    for subject, study, part, said, views in studies:
        labels.append([subject, study, *(said.get(name, "") for name in MIMIC_LABELS)])
        for view in views:
            name = name_of(f"{study} {len(names)}")
            at = folder / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / name
            at.parent.mkdir(parents=True, exist_ok=True)
            bright = 100 if said.get("Edema") == "1.0" else 0
            made = picture(len(names), bright=bright)
            if wrap is None:
                at.with_suffix(".jpg").write_bytes(made)
            else:
                at.with_suffix(".dcm").write_bytes(wrap(made, subject, study, view, name))
            metadata.append([
                name, subject, study, "CHEST (PA AND LAT)", view, 48, 40, "21800506",
                "213014.531", "CHEST (PA AND LAT)", "postero-anterior", "Erect",
            ])  # fmt: skip
            split.append([name, study, subject, part])
            names.append(name)
    table(folder / "mimic-cxr-2.0.0-chexpert.csv.gz", ["subject_id", "study_id", *MIMIC_LABELS],
          labels)  # fmt: skip
    table(folder / "mimic-cxr-2.0.0-metadata.csv.gz", [
        "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition",
        "Rows", "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning",
        "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning",
    ], metadata)  # fmt: skip
    table(folder / "mimic-cxr-2.0.0-split.csv.gz", ["dicom_id", "study_id", "subject_id", "split"],
          split)  # fmt: skip
    (folder / "README").write_text("Not an image.")
    return names


def chexpert(folder, rows, valid=()):
    """CheXpert-v1.0-small: rows of (patient, study, view, sex, age, AP/PA, labels by name)."""
    for part, some in (("train", rows), ("valid", valid)):
        lines = []
        for number, (patient, study, view, sex, age, position, said) in enumerate(some):
            at = f"{part}/{patient}/{study}/{view}.jpg"
            (folder / at).parent.mkdir(parents=True, exist_ok=True)
            (folder / at).write_bytes(picture(number + 1000 * (part == "valid")))
            side = "Lateral" if "lateral" in view else "Frontal"
            labels = [said.get(name, "") for name in CHEXPERT_LABELS]
            lines.append([f"CheXpert-v1.0-small/{at}", sex, age, side, position, *labels])
        columns = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT_LABELS]
        table(folder / f"{part}.csv", columns, lines)


def nih(folder, rows, *, test=(), boxes=(), sex="Patient Gender", name="Data_Entry_2017.csv"):
    """NIH ChestX-ray14: rows of (image, findings, follow-up, patient, age, sex, view)."""
    for number, (image, findings, *_) in enumerate(rows):
        at = folder / f"images_{1 + number % 2:03}" / "images" / image
        at.parent.mkdir(parents=True, exist_ok=True)
        mode = "RGBA" if number % 5 == 4 else "L"  # as some of the set are
        bright = 100 if "Edema" in findings else 0
        at.write_bytes(picture(number, (40, 40), "PNG", mode, bright))
    table(folder / name, [
        "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", sex,
        "View Position", "OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", "",
    ], [[*row, 2682, 2749, 0.143, 0.143, ""] for row in rows])  # fmt: skip
    listed = set(test)
    for part, wanted in (("test_list.txt", True), ("train_val_list.txt", False)):
        chosen = [image for image, *_ in rows if (image in listed) is wanted]
        (folder / part).write_text("\n".join(chosen))
    if boxes:
        table(folder / "BBox_List_2017.csv", ["Image Index", "Finding Label", "Bbox [x", "y", "w",
              "h]", "", "", ""], [[*box, "", "", ""] for box in boxes])  # fmt: skip
