"""One task of a job to be, as files that anyone may pass to SageMaker's RenderUiTemplate."""

import json
from pathlib import Path

from cxr.contract.signing import Keys
from cxr.infra.aws import requests
from cxr.labeling import Job, page, preview
from cxr.labeling.groundtruth import sending
from cxr.labeling.groundtruth.request import Plan

_SHOWN = ("instructions", "examples", "page")


def write(job: Job, made: Plan, keys: Keys, pacs_url: str) -> Path:
    """Write `task-input.json` and `render-ui-template.json`, and give their folder.

    Nothing is uploaded: what the page loads from S3 is there once the job has been started.

    Args:
        job: Whose task it is.
        made: What would be asked.
        keys: That sign the image's link; it opens what a gateway with the same keys serves.
        pacs_url: What that link begins with.

    Raises:
        AwsError: The API would refuse the request.
        JobError: There is no image of the PACS to show.
    """
    source = preview.first_line(job)["source"]
    shown = next(line for line in made.lines if sending.local_source(line) == source)
    kid, key = next(iter(keys.by_id.items()))
    environment = {
        "CXR_PACS_URL": pacs_url,
        "CXR_TOKEN_KEY": f"{kid}:{key.hex()}",
        "CXR_TOKEN_TTL_S": str(made.settings["tokenTtlS"]),
        "CXR_VIEWER_URL": made.settings["viewerUrl"],
        "CXR_PAGE": json.dumps({name: made.settings[name] for name in _SHOWN}),
        "CXR_TEMPLATE_SHA": made.settings["templateSha"],
        "CXR_VIEWER_SHA": made.settings["viewerSha"],
    }
    task = preview.task_input(job, dict(shown), environment)
    rendered = {
        "UiTemplate": {"Content": page.template_text()},
        "Task": {"Input": json.dumps(task)},
        "RoleArn": made.request["RoleArn"],
    }
    requests.check("sagemaker", "RenderUiTemplate", rendered)
    folder = job.folder / "preview"
    preview.write(folder, "task-input.json", task)
    preview.write(folder, "render-ui-template.json", rendered)
    return folder
