"""Signing requests for AWS (Signature Version 4), as HealthImaging's DICOMweb wants them.

Written to AWS's description and checked against a signature computed by hand; it has never been
run against AWS. botocore does the signing and finds the credentials: environment, profile, role.
"""

from io import BytesIO
from typing import Any

import requests
from requests.auth import AuthBase

from cxr.errors import PacsError

SERVICE = "medical-imaging"

# what a proxy on the way may change must not be signed
_UNSIGNED = {"connection", "accept", "accept-encoding", "user-agent", "transfer-encoding"}


class SigV4(AuthBase):
    """Signs each request, with the credentials of that moment: those of a role expire.

    Args:
        region: Such as `eu-central-1`.
        key: Of the config section, for messages.
        session: Of botocore; None makes one.

    Raises:
        PacsError: botocore is not installed.
    """

    def __init__(self, region: str, *, key: str, session: Any = None) -> None:
        try:
            import botocore.session
        except ImportError as error:
            raise PacsError(
                f"{key}.auth: expected botocore for sigv4, met none; pip install 'cxr[aws]'"
            ) from error
        self._region, self._key = region, key
        self._session = session or botocore.session.get_session()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign one request.

        Raises:
            PacsError: AWS credentials are not to be found, or cannot be renewed.
        """
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.exceptions import BotoCoreError

        try:
            credentials = self._session.get_credentials()
            frozen = credentials and credentials.get_frozen_credentials()
        except BotoCoreError as error:
            raise PacsError(f"{self._key}.auth: AWS credentials: {error}") from error
        if not frozen:
            raise PacsError(
                f"{self._key}.auth: expected AWS credentials for sigv4, met none; "
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            )
        body = request.body.getvalue() if isinstance(request.body, BytesIO) else request.body
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _UNSIGNED}
        signed = AWSRequest(request.method, request.url, data=body, headers=headers)
        SigV4Auth(frozen, SERVICE, self._region).add_auth(signed)
        request.headers.update(dict(signed.headers))
        return request
