"""A Ground Truth worker's frame, whose origin is null, loads its image from the real gateway."""

import ground_truth
import pytest
import requests
from specimens import dicom
from test_gateway_container import Container

pytestmark = [pytest.mark.aws, pytest.mark.orthanc, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def gateway(aws, orthanc, tmp_path):
    """The gateway with the keys of an account, before the images that the account's jobs show."""
    cloud = ground_truth.Cloud(aws, tmp_path, "gateway")
    for number in (1, 2, 3):
        url = f"{orthanc.url}/instances"
        requests.post(url, dicom(number), auth=orthanc.auth, timeout=30).raise_for_status()
    made = Container(
        tmp_path / "c", orthanc, aws, ground_truth.KEY,
        CXR_TOKEN_SECRET=cloud.secret, CXR_HOST="127.0.0.1",
    )  # fmt: skip
    assert made.ready(), made.told
    yield cloud, made
    made.stop()


def test_a_sandboxed_frame_shows_an_image_that_only_the_gateway_has(
    aws, gateway, browser, tmp_path
):
    cloud, container = gateway
    url = f"https://127.0.0.1:{container.port}"
    job = cloud.job("framed", tmp_path)
    backend = cloud.backend(pacs_url=url)
    backend.start(job, job.input_manifest)
    task = aws.tasks("framed", 60)[0]
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    met = []
    page.on("response", lambda response: met.append(response))

    page.goto(task.url)
    page.frame("task").wait_for_selector('html[data-cxr-ready="1"]', timeout=60_000)

    (loaded,) = (one for one in met if one.url.startswith(url) and one.request.method == "GET")
    assert loaded.url == task.input["imageUrl"]
    assert loaded.status == 200
    assert loaded.request.all_headers()["origin"] == "null"
    assert loaded.all_headers()["access-control-allow-origin"] == "null"
    assert not [one for one in met if ".dcm" in one.url]  # no copy in S3
    context.close()
    aws.client("sagemaker").stop_labeling_job(LabelingJobName="framed")
    backend.close()
