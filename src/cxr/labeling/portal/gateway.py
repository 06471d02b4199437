"""Whether readers' browsers will get their images from the PACS's own gateway.

Asked when a job opens: a reader who finds out cannot do anything about it.
"""

from urllib.parse import urlsplit

import requests

from cxr import places

_TIMEOUT_S = 5


def problem(gateway: str, portal: str) -> str | None:
    """Say in a sentence why the portal's pages could not load images; None: nothing is in the way.

    Args:
        gateway: As `Pacs.gateway`.
        portal: The portal's address, as readers open it.
    """
    instead = "or pacs.image_url=null, and the portal fetches images itself"
    here, there = (urlsplit(url).hostname or "" for url in (gateway, portal))
    if places.is_loopback(here) and not places.is_loopback(there):
        return (
            f"pacs.image_url: expected an address that those who open {portal} reach, met "
            f"{gateway!r}; set it to one, {instead}"
        )
    try:
        with requests.Session() as session:
            session.trust_env = False  # a browser's way there has nothing to do with our proxies
            answer = session.get(
                f"{gateway.rstrip('/')}/", headers={"Origin": portal}, timeout=_TIMEOUT_S,
                allow_redirects=False, stream=True,
            )  # fmt: skip
    except requests.RequestException as error:
        return (
            f"pacs.image_url: expected the gateway that readers load images from, met "
            f"{type(error).__name__} at {gateway!r}; start it (python -m cxr.orthanc up), {instead}"
        )
    if answer.headers.get("Access-Control-Allow-Origin") not in (portal, "*"):
        return (
            f"pacs.allowed_origins: expected {portal!r}, whose pages load images from {gateway!r}; "
            f"add it and start the gateway again, {instead}"
        )
    return None
