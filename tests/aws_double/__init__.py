"""An AWS account on loopback, stricter than the real one: moto, and what moto lacks.

The session fixture `aws` (tests/conftest.py) starts it and sets AWS_ENDPOINT_URL and the rest in
the environment, so that boto3 and the SageMaker SDK use it; subprocesses get `aws.environment`.

    bucket = aws.bucket("cxr-tests")             # made, if it is not there
    role = aws.role("labeling")                  # trusts sagemaker.amazonaws.com, may do all
    arn = aws.function("pre", {"pre.py": "…"}, "pre.handler", {"CXR_JOBS": "…"})  # or a zip's bytes
    aws.team                                     # ARN of a private workteam
    aws.client("sagemaker")                      # a boto3 client; yours work too
    aws.workers["job"] = lambda task_input, worker: {"annotation": "{…}"}  # None: nobody; "*": any
    for task in aws.tasks("job"): page.goto(task.url)  # without workers: a browser answers
    aws.expire("job"); aws.ended("job")          # open tasks expire; wait for the end, give status
    aws.logs["pre"]                              # all that a function wrote
    aws.training.jobs["job"].lines               # the same of a training job (also in CloudWatch)
    aws.training.interrupt("job")                # take a spot job's machine away
    with aws.faults.throttle("sagemaker:Describe*", times=3): …  # see aws_double.faults
    aws.reset()                                  # a fresh account

Jobs and Lambdas may do here what the policies of their roles allow, and no more.

Tests share the account: name your jobs, buckets and functions apart. Workers' answers are the
form's fields, as crowd-form collects them. Containers find /opt/ml at CXR_ML_ROOT; more of their
variables are in `aws.training.container`.
"""
