"""Every error a user of cxr can cause or meet.

CxrError
├── ConfigError      the config asks for something that cannot be
├── LabelError       a name is not in the label set, or the set contradicts itself
├── DicomError       the file is not a chest radiograph that can be read
├── PacsError        the PACS is unreachable, refuses, or holds no such instance
│   ├── AbsentError      it holds no such instance
│   ├── DuplicateError   another file with the same SOPInstanceUID is there already
│   └── UnavailableError it did not answer, or could not for now: asking again may help
├── TokenError       a signed URL does not open what it was used for
├── AccessError      a reader cannot be let in, or invited, in this way
├── ManifestError    a manifest line does not say what it must
├── AnnotationError  a worker's answer cannot be understood
├── JobError         a labeling job cannot start or go on
│   └── ClosedError      the job is closed: nothing more is taken
├── AwsError         AWS refuses, or does not answer
├── DataError        the examples cannot be trained on, split or scored
└── RunError         a training run is missing, incomplete, or its name is taken

Standard library only: the Lambdas carry this file.
"""

from typing import Self


class CxrError(Exception):
    """Base class, so that `except CxrError` means: the user can act on this message.

    Attributes:
        field: Where in what was given, as a path like `rois[0].points` that quotes nothing of it;
            empty where the message alone says it.
    """

    field: str = ""

    def at(self, field: str) -> Self:
        """Say where, and give the error itself."""
        self.field = field
        return self


class ConfigError(CxrError):
    """The config asks for something that cannot be."""


class LabelError(CxrError):
    """A name is not in the label set, or the set contradicts itself."""


class DicomError(CxrError):
    """The file is not a chest radiograph that can be read."""


class PacsError(CxrError):
    """The PACS is unreachable, refuses, or holds no such instance."""


class AbsentError(PacsError):
    """The PACS answers, and holds no such instance."""


class DuplicateError(PacsError):
    """Another file with the same SOPInstanceUID is there already."""


class UnavailableError(PacsError):
    """The PACS did not answer, or could not for now (503, 5xx, time-out): asking again may help."""


class TokenError(CxrError):
    """A signed URL does not open what it was used for."""


class AccessError(CxrError):
    """A reader cannot be let in, or invited, in this way."""


class ManifestError(CxrError):
    """A manifest line does not say what it must."""


class AnnotationError(CxrError):
    """A worker's answer cannot be understood.

    Attributes:
        field: Where in the submitted JSON, as a path like `rois[0].points`.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class JobError(CxrError):
    """A labeling job cannot start or go on."""


class ClosedError(JobError):
    """The job is closed: nothing more is taken."""


class StaleError(JobError):
    """What is brought is older than what was kept since."""


class AwsError(CxrError):
    """AWS refuses, or does not answer; the message names the action and the resource."""


class DataError(CxrError):
    """The examples cannot be trained on, split or scored."""


class RunError(CxrError):
    """A training run is missing, incomplete, or its name is taken."""
