"""The address of one file that a reader's browser may load."""

from cxr.contract import signing
from cxr.errors import PacsError
from cxr.images.dicom import Instance


def image_url(
    gateway: str | None, keys: signing.Keys | None, instance: Instance, ttl_s: int
) -> str:
    """Sign the address of one file below a gateway; None gives a path.

    Raises:
        PacsError: There are no keys to sign it with.
    """
    if keys is None:
        raise PacsError("expected token keys to sign an image URL, met none")
    token = signing.sign(keys, [f"i:{instance.orthanc_id}"], ttl_s=ttl_s)
    return f"{gateway or ''}/instances/{instance.orthanc_id}/file?token={token}"
