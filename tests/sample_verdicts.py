"""What is to be said of each public sample: rule → words that the sentence must hold.

Written by hand from the headers. Severities are the defaults.
"""

_NO_VIEW = {"unknown_view": "ViewPosition is empty"}
_NO_PART = {"body_part_unknown": "BodyPartExamined is empty, expected CHEST"}
_NO_WINDOW = {"window_missing": "neither WindowCenter and WindowWidth nor a VOILUTSequence"}
_NOT_SAID = {"burned_in_unknown": "BurnedInAnnotation is empty"}
_INVERTED = {"monochrome1": "PhotometricInterpretation is 'MONOCHROME1'"}
_NOBODY = {"no_patient": "PatientID is empty"}
_TEST_IMAGE = {
    "modality": "Modality is 'OT'",
    **_NO_PART, **_NO_VIEW, **_NOT_SAID,
    "identifying_tags": "holds PatientName, InstitutionName, InstitutionAddress, "
    "ReferringPhysicianName, ImageComments",
}  # fmt: skip
_LEG = {
    "body_part": "BodyPartExamined is 'EXTREMITY', expected CHEST",
    "orientation": "PatientOrientation is 'R\\F': mirrored left to right",
    **_INVERTED, **_NOT_SAID,
    "identifying_tags": "PatientName, PatientBirthDate, AccessionNumber, InstitutionName",
}  # fmt: skip
_CHEST = {
    **_NO_WINDOW,
    # 1024 pixels of 0.168 mm: the picture was made smaller, the spacing was not
    "pixel_spacing": "PixelSpacing is 0.168\\0.168: the picture would be 172 mm long",
    **_NOT_SAID,
    "implausible_age": "PatientAge is '62', expected 045Y",
}
# its PatientName is its PatientID, which is no name

VERDICTS = {
    "JLSL_16_15_1_1F.dcm": {
        "modality": "Modality is ''",
        "no_identifiers": "no StudyInstanceUID",
        **_NOBODY, **_NO_PART, **_NO_VIEW, **_NO_WINDOW, **_NOT_SAID,
        "identifying_tags": "holds ImageComments",
    },
    "JPGLosslessP14SV1_1s_1f_8b.dcm": {
        "modality": "Modality is 'US'",
        **_NOBODY, **_NO_PART, **_NO_VIEW,
        "identifying_tags": "holds PatientName, 12 private elements",
    },
    "OBXXXX1A_2frame.dcm": {
        "modality": "Modality is 'US'",
        "multi_frame": "holds 2 frames, expected one",
        "colour": "PhotometricInterpretation is 'PALETTE COLOR'",
        **_NO_PART, **_NO_VIEW, **_NO_WINDOW, **_NOT_SAID,
        "identifying_tags": "PatientName, InstitutionName, StationName, 30 private elements",
    },
    "README.md": {"unreadable": "not a DICOM file"},
    "RG1_J2KI.dcm": {
        **_INVERTED,
        "pixel_spacing": "PixelSpacing is 0\\0: expected more than 0",
        **_NOT_SAID,
        "identifying_tags": "PatientName, PatientBirthDate, OtherPatientIDs, AccessionNumber",
    },
    "RG3_J2KI.dcm": _LEG,
    "RG3_J2KR.dcm": _LEG,
    "SC_rgb_2frame.dcm": {
        "modality": "Modality is 'OT'",
        "multi_frame": "holds 2 frames, expected one",
        "colour": "PhotometricInterpretation is 'RGB' with 3 samples",
        **_NO_PART, **_NO_VIEW, **_NO_WINDOW,
        "pixel_spacing": "PixelSpacing is 1\\1: the picture would be 100 mm long",
        **_NOT_SAID,
        "identifying_tags": "holds PatientName, ReferringPhysicianName, ImageComments",
    },
    "chest_pa_jpeg_baseline.dcm": _CHEST,
    "chest_pa_jpeg_baseline_mono1.dcm": _CHEST | _INVERTED,
    "emri_small_jpeg_2k_lossless_too_short.dcm": {
        "modality": "Modality is 'MR'",
        "body_part": "BodyPartExamined is 'HEAD'",
        **_NOBODY,
        "no_pixels": "holds no pixel data, or ends before it (truncated)",
        "multi_frame": "holds 10 frames",
        **_NO_VIEW, **_NO_WINDOW,
        "minor": "the dates of birth and study say 0 months",
        # PatientIdentityRemoved is YES, and yet
        "identifying_tags": "holds PatientBirthDate",
    },
    "explicit_VR-UN.dcm": {
        "modality": "Modality is 'CT'",
        "body_part": "BodyPartExamined is 'PANCREAS'",
        **_NO_VIEW, **_NO_WINDOW, **_NOT_SAID,
        "identifying_tags": "holds InstitutionName, 2 private elements",
    },
    "mlut_18.dcm": _TEST_IMAGE | _NO_WINDOW,
    "parametric_map_float.dcm": {
        "modality": "Modality is 'OT'",
        "no_pixels": "the pixels are floating point numbers",
        "unsupported_bits": "BitsAllocated is 32",
        **_NO_PART, **_NO_VIEW, **_NO_WINDOW,
        "minor": "PatientAge says 0 months",
        "identifying_tags": "holds PatientName, DeviceSerialNumber",
    },
    "vlut_04.dcm": _TEST_IMAGE,
}  # fmt: skip
