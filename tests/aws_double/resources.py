"""Resources of stacks that moto makes, made as their templates say."""

from collections.abc import Mapping
from typing import Any

from moto.awslambda.models import LambdaFunction
from moto.iam import iam_backends
from moto.s3 import s3_backends
from moto.s3.models import FakeBucket

from aws_double.calls import ACCOUNT, model

_ENVIRONMENT = 4096  # bytes of a function's variables


class Bucket(FakeBucket):
    """A bucket with all of what its template says that jobs and browsers meet."""

    @classmethod
    def create_from_cloudformation_json(  # type: ignore[override]
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> FakeBucket:
        made = FakeBucket.create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name, **kwargs
        )
        given = cloudformation_json.get("Properties", {})
        backend, name = s3_backends[ACCOUNT]["aws"], made.name
        rules = given.get("CorsConfiguration", {}).get("CorsRules", ())
        if rules:
            backend.put_bucket_cors(name, [_rule(rule) for rule in rules])
        if "VersioningConfiguration" in given:
            backend.put_bucket_versioning(name, given["VersioningConfiguration"]["Status"])
        return made


def _rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    names = {
        "AllowedMethods": "AllowedMethod",
        "AllowedOrigins": "AllowedOrigin",
        "AllowedHeaders": "AllowedHeader",
        "ExposedHeaders": "ExposeHeader",
    }
    return {names[key]: value for key, value in rule.items() if key in names}


class Function(LambdaFunction):
    """A function whose code, role and variables are as Lambda wants them."""

    @classmethod
    def create_from_cloudformation_json(  # type: ignore[override]
        cls,
        resource_name: str,
        cloudformation_json: Any,
        account_id: str,
        region_name: str,
        **kwargs: Any,
    ) -> LambdaFunction:
        given = cloudformation_json["Properties"]
        code, role = given["Code"], given["Role"].rpartition("/")[2]
        if "S3Key" in code:
            bucket = s3_backends[ACCOUNT]["aws"].buckets.get(code["S3Bucket"])
            if bucket is None or code["S3Key"] not in bucket.keys:
                raise ValueError(f"S3 Error Code: NoSuchKey: {code['S3Bucket']}/{code['S3Key']}")
        if role not in {known.name for known in iam_backends[ACCOUNT]["aws"].roles.values()}:
            raise ValueError(f"The role defined for the function cannot be assumed: {role}")
        variables = given.get("Environment", {}).get("Variables", {})
        if sum(len(k.encode()) + len(str(v).encode()) for k, v in variables.items()) > _ENVIRONMENT:
            raise ValueError(f"environment variables exceed {_ENVIRONMENT} bytes")
        if given["Runtime"] not in model("lambda").shape_for("Runtime").enum:
            raise ValueError(f"no such runtime: {given['Runtime']}")
        return LambdaFunction.create_from_cloudformation_json(
            resource_name, cloudformation_json, account_id, region_name, **kwargs
        )
