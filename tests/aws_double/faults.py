"""Bad days, switched on for the length of a `with` block.

The double's own calls, those that its Lambdas and jobs make with their roles included, are never
touched: what is tested is the code that holds the user's credentials.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from threading import Lock
from typing import Any

from aws_double.calls import ACCOUNT, OWN_KEY, Call, RefusedError

_SLOW = {"s3": ("SlowDown", 503), "lambda": ("TooManyRequestsException", 429)}


class Faults:
    """What is wrong just now.

    Attributes:
        skew: By how much AWS's clock is ahead of the caller's.
        exempt: Access keys that are the double's own.
    """

    def __init__(self) -> None:
        self.skew = timedelta()
        self.exempt = {OWN_KEY}
        self._lock = Lock()
        self._active: list[dict[str, Any]] = []

    @contextmanager
    def throttle(self, action: str, times: int) -> Iterator[None]:
        """Refuse an action (`sagemaker:Describe*`) as throttled so many times."""
        with self._on(kind="throttle", action=action, left=times):
            yield

    @contextmanager
    def expire(self, after: int = 0) -> Iterator[None]:
        """Let credentials expire after so many calls; those of another access key work."""
        with self._on(kind="expire", left=after, key=""):
            yield

    @contextmanager
    def deny(self, action: str, resource: str = "*") -> Iterator[None]:
        """Refuse an action on a resource (pattern of its ARN)."""
        with self._on(kind="deny", action=action, resource=resource):
            yield

    @contextmanager
    def foreign(self, bucket: str) -> Iterator[None]:
        """Let a bucket be another account's."""
        with self._on(kind="foreign", bucket=bucket):
            yield

    @contextmanager
    def clock(self, seconds: float) -> Iterator[None]:
        """Set AWS's clock ahead of the caller's."""
        before, self.skew = self.skew, timedelta(seconds=seconds)
        try:
            yield
        finally:
            self.skew = before

    @contextmanager
    def job_fails(self, reason: str, job: str = "*") -> Iterator[None]:
        """Let labeling and training jobs that begin now fail with a reason."""
        with self._on(kind="job", job=job, reason=reason):
            yield

    @contextmanager
    def object_fails(self, number: int, job: str = "*") -> Iterator[None]:
        """Let the pre-annotation Lambda fail for one data object (counted from 0)."""
        with self._on(kind="object", job=job, number=number):
            yield

    @contextmanager
    def nobody(self, number: int, job: str = "*") -> Iterator[None]:
        """Let nobody answer one data object (counted from 0)."""
        with self._on(kind="nobody", job=job, number=number):
            yield

    @contextmanager
    def partial(self, objects: int, job: str = "*", status: str = "Stopped") -> Iterator[None]:
        """Let labeling jobs end with so many objects labelled and the rest left as they were."""
        with self._on(kind="partial", job=job, objects=objects, status=status):
            yield

    @contextmanager
    def interrupt(self, pattern: str, times: int = 1, job: str = "*") -> Iterator[None]:
        """Take the machine of spot training jobs away when a line of their log matches."""
        with self._on(kind="interrupt", job=job, pattern=pattern, left=times):
            yield

    @contextmanager
    def _on(self, **fault: Any) -> Iterator[None]:
        with self._lock:
            self._active.append(fault)
        try:
            yield
        finally:
            with self._lock:
                self._active.remove(fault)

    def of(self, kind: str, job: str) -> list[dict[str, Any]]:
        """Give the faults of a kind that touch a job."""
        with self._lock:
            return [f for f in self._active if f["kind"] == kind and fnmatchcase(job, f["job"])]

    def spend(self, fault: dict[str, Any]) -> bool:
        """Use up one of the times that a fault has left."""
        with self._lock:
            fault["left"] -= 1
            return bool(fault["left"] >= 0)

    def judge(self, call: Call) -> None:
        """Refuse a call that is to be refused.

        Raises:
            RefusedError: As AWS refuses.
        """
        if call.key in self.exempt or not call.key:
            return
        self._on_time(call)
        with self._lock:
            active = list(self._active)
        for fault in active:
            getattr(self, f"_{fault['kind']}", _other)(fault, call)

    def _on_time(self, call: Call) -> None:
        if call.signed_at is None or call.presigned:
            return
        now = datetime.now(UTC) + self.skew
        off, said = abs(now - call.signed_at), call.signed_at.strftime("%Y%m%dT%H%M%SZ")
        if call.service == "s3" and off > timedelta(minutes=15):
            told = "The difference between the request time and the current time is too large."
            raise RefusedError("RequestTimeTooSkewed", told, 403)
        if call.service != "s3" and off > timedelta(minutes=5):
            told = f"Signature expired: {said} is now earlier than {now:%Y%m%dT%H%M%SZ} (5 min.)"
            code = (
                "SignatureDoesNotMatch"
                if call.service in ("iam", "sts")
                else "InvalidSignatureException"
            )
            raise RefusedError(code, told, 403)

    def _throttle(self, fault: dict[str, Any], call: Call) -> None:
        if fnmatchcase(call.action, fault["action"]) and self.spend(fault):
            code, status = _SLOW.get(call.service, ("ThrottlingException", 400))
            raise RefusedError(code, "Rate exceeded", status)

    def _expire(self, fault: dict[str, Any], call: Call) -> None:
        if fault["key"] in ("", call.key) and not self.spend(fault):
            fault["key"] = call.key
            code = (
                "ExpiredToken"
                if call.service in ("s3", "sts", "iam", "cloudformation")
                else "ExpiredTokenException"
            )
            status = 403 if code == "ExpiredToken" and call.service != "s3" else 400
            raise RefusedError(
                code, "The security token included in the request is expired", status
            )

    def _deny(self, fault: dict[str, Any], call: Call) -> None:
        if not fnmatchcase(call.action, fault["action"]):
            return
        if not fnmatchcase(call.resource, fault["resource"]):
            return
        if call.service == "s3":
            raise RefusedError("AccessDenied", "Access Denied", 403)
        told = (
            f"User: arn:aws:iam::{ACCOUNT}:user/tester is not authorized to perform: "
            f"{call.action} on resource: {call.resource} because no identity-based policy "
            f"allows the {call.action} action"
        )
        code = (
            "AccessDenied"
            if call.service in ("cloudformation", "iam", "sts")
            else "AccessDeniedException"
        )
        raise RefusedError(code, told, 403 if code == "AccessDenied" else 400)

    def _foreign(self, fault: dict[str, Any], call: Call) -> None:
        if call.service != "s3" or call.bucket != fault["bucket"]:
            return
        if call.operation == "CreateBucket":
            raise RefusedError(
                "BucketAlreadyExists", "The requested bucket name is not available.", 409
            )
        raise RefusedError("AccessDenied", "Access Denied", 403)


def _other(fault: dict[str, Any], call: Call) -> None:
    """A fault of jobs, which no call meets."""
