"""What goes to S3 before a labeling job: its lines, its page, its images where they are copied."""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cxr import progress
from cxr.contract import manifest
from cxr.errors import JobError
from cxr.infra.aws import Account, objects
from cxr.labeling import Job, page
from cxr.labeling.groundtruth.request import Plan
from cxr.pacs import Pacs

UIDS = ("sop-instance-uid", "study-instance-uid", "series-instance-uid")
"""Keys of a line that stay here: an Orthanc ID is a hash of them and the PatientID alone."""
SOURCE = manifest.COPY_OF
"""Key of a line whose image was copied: its Orthanc ID, by which its labels find home."""
_THREADS = 8
_TAG = "cxr=image"  # by which a lifecycle rule of the stack's finds what nobody deleted
_KINDS = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}


def unlabelled(job: Job) -> list[dict[str, Any]]:
    """Give the lines of the job's manifest that have no label yet (chaining).

    Raises:
        JobError: An image stands in the manifest twice.
    """
    seen: set[str] = set()
    found = []
    for line in manifest.read(job.input_manifest):
        source = manifest.source(line)
        if source in seen:
            raise JobError(f"expected each image once, met {source!r} twice")
        seen.add(source)
        if job.name not in line:
            found.append(line)
    return found


def offered(
    lines: Sequence[Mapping[str, Any]], account: Account, job: Job, *, copied: bool
) -> list[dict[str, Any]]:
    """Give the lines as Ground Truth gets them.

    UIDs stay here: beside the Orthanc ID they would let whoever tries them find the PatientID,
    which has few digits. So do labels of earlier jobs: a line of an output manifest may be longer
    than Ground Truth takes, and nobody there needs them.

    Args:
        lines: Of the job's own manifest.
        account: Whose bucket images are copied to.
        job: Whose folder in it.
        copied: Whether images are copied.

    Raises:
        ManifestError: A line is longer than Ground Truth takes.
    """
    found = []
    for line in lines:
        earlier = manifest.attributes(line)
        dropped = {*earlier, *(name + manifest.METADATA for name in earlier)}
        kept = _nameless({key: value for key, value in line.items() if key not in dropped})
        found.append(_copied(kept, account, job) if copied else kept)
    return found


def _nameless(line: Mapping[str, Any]) -> dict[str, Any]:
    made = {key: value for key, value in line.items() if key not in UIDS}
    if "companions" in made:
        made["companions"] = [_nameless(one) for one in made["companions"]]
    return made


def _copied(line: dict[str, Any], account: Account, job: Job) -> dict[str, Any]:
    made = dict(line)
    if "companions" in made:
        made["companions"] = [_copied(dict(one), account, job) for one in made["companions"]]
    if "source" in made:
        source = made.pop("source")
        made = {"source-ref": image_uri(account, job, source), SOURCE: source, **made}
    return made


def images_uri(account: Account, job: Job) -> str:
    """Say below what images are copied to."""
    return account.where("jobs", job.name.lower(), "images")


def image_uri(account: Account, job: Job, source: str) -> str:
    """Say where an image is copied to."""
    return f"{images_uri(account, job)}/{source}.dcm"


def local_source(line: Mapping[str, Any]) -> str:
    """Say which image a line of Ground Truth's is about, as the job's own manifest names it."""
    return str(line.get(SOURCE) or manifest.source(line))


def send(plan: Plan, account: Account, job: Job, *, kid: str = "") -> None:
    """Put manifest, settings, label categories, template, viewer and pictures in the bucket.

    Args:
        plan: What is asked.
        account: Whose bucket it is.
        job: Whose page it is.
        kid: Of the key that alone may sign the job's image links; empty: there are none.

    Raises:
        AwsError: It may not be written to.
        ManifestError: A line is longer than Ground Truth takes.
    """
    settings = plan.settings | {"tokenKid": kid or None}
    objects.write(account, f"{plan.base}/input.manifest", _manifest(plan.lines))
    objects.write_json(account, f"{plan.base}/settings.json", settings)
    objects.write_json(account, f"{plan.base}/categories.json", plan.categories)
    template = f"{plan.base}/{page.TEMPLATE}"
    objects.write(account, template, page.template_text().encode(), kind=_KINDS[".html"])
    viewer = page.viewer()
    files: dict[str, Path] = {viewer.name: viewer, **page.example_files(job.page)}
    for name, path in files.items():
        kind = _KINDS[path.suffix.casefold()]
        objects.upload(account, path, f"{plan.base}/{name}", kind=kind)


def _manifest(lines: Sequence[Mapping[str, Any]]) -> bytes:
    return b"".join(_raw(line, number) for number, line in enumerate(lines, 1))


def _raw(line: Mapping[str, Any], number: int) -> bytes:
    raw = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
    if len(raw) > manifest.MAX_LINE:
        raise JobError(
            f"line {number} for Ground Truth: expected at most {manifest.MAX_LINE} bytes, "
            f"met {len(raw)}"
        )
    return raw + b"\n"


def copy_images(lines: Sequence[Mapping[str, Any]], pacs: Pacs, account: Account, job: Job) -> None:
    """Copy the images of lines from the PACS to the bucket; those there already stay.

    Raises:
        AbsentError: One is not in the PACS.
        AwsError: The bucket may not be written to.
    """
    wanted = sorted(set(_sources(lines)))
    there = {uri for uri, _ in objects.below(account, images_uri(account, job) + "/")}

    def copy(source: str) -> None:
        uri = image_uri(account, job, source)
        if uri not in there:
            dicom = pacs.retrieve(pacs.find(source))
            objects.write(account, uri, dicom, kind="application/dicom", tags=_TAG)

    with (
        progress.bar("copied", len(wanted)) as advance,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        try:
            for count, _ in enumerate(pool.map(copy, wanted), 1):
                advance(count)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _sources(lines: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for line in lines:
        if "source" in line:
            yield str(line["source"])
        yield from _sources(line.get("companions", ()))
