"""Findings about the tracking server and the object store, asked as the tasks ask them."""

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlsplit

from components.errors import InputError, without_credentials
from pipelines.doctor.findings import FAILED, OK, UNKNOWN, Finding, Variables
from pipelines.doctor.installation import is_internal

_SECONDS = 20
_STORE_KEYS = (
    "S3_ENDPOINT",
    "S3_ADDRESSING",
    "AWS_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_PREFIXES = ("VIGIL_CHECKPOINTS", "VIGIL_WEIGHTS_MIRROR", "VIGIL_WEIGHTS_MANIFEST")
_ADVICE = {
    401: "give the tasks a login by cluster.mlflow_secret",
    403: 'no mesh in front of the server (mlflow.podLabels: {sidecar.istio.io/inject: "false"}), this host among '
    "mlflow.allowedHosts, or a login by cluster.mlflow_secret",
    404: "give MLFLOW_TRACKING_URI the server's own address, without a path of its pages",
}


def mlflow(variables: Variables) -> Finding:
    """Whether the tracking server answers a search of experiments, which is sent as a POST."""
    uri = variables.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        mend = "mlflow.enabled or mlflow.trackingUri of the chart, or --tracking-uri"
        return Finding(check="mlflow", state=FAILED, found="MLFLOW_TRACKING_URI is not set", mend=mend)
    shown = without_credentials(uri)
    if _out_of_reach(uri):
        return _inside("mlflow", shown)
    request = urllib.request.Request(  # noqa: S310 (an address of the administrator)
        f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search",
        b'{"max_results": 1}',
        _headers(variables),
        method="POST",
    )
    context = ssl.create_default_context()
    if certificates := variables.get("MLFLOW_TRACKING_SERVER_CERT_PATH"):
        context.load_verify_locations(certificates)
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS, context=context) as answer:  # noqa: S310
            json.loads(answer.read())
    except urllib.error.HTTPError as error:
        mend = _ADVICE.get(error.code, "see the log of the server's pod")
        return Finding(check="mlflow", state=FAILED, found=f"{shown} answers {error.code}", mend=mend)
    except ValueError:
        mend = "MLFLOW_TRACKING_URI names another server or a page of a login"
        return Finding(check="mlflow", state=FAILED, found=f"{shown} answers no JSON", mend=mend)
    except OSError as error:
        mend = "the server's pod and Service, NetworkPolicies, and NO_PROXY where there is a proxy"
        cause = getattr(error, "reason", error)
        return Finding(check="mlflow", state=FAILED, found=f"{shown} does not answer ({cause})", mend=mend)
    return Finding(check="mlflow", state=OK, found=f"{shown} answers")


def buckets(variables: Variables, more: Sequence[str]) -> Iterator[Finding]:
    """Whether the buckets exist that the variables and `more` name, as `s3://BUCKET/PREFIX`, and may be read."""
    from components.storage.s3 import bucket_exists, split_uri

    endpoint = variables.get("S3_ENDPOINT", "")
    named = [uri for uri in (*(variables.get(key, "") for key in _PREFIXES), *more) if uri]
    if not named:
        yield Finding(check="buckets", state=UNKNOWN, found="no bucket is named", mend="name them by --bucket")
        return
    if _out_of_reach(endpoint):
        yield _inside("buckets", endpoint)
        return
    with _environment(variables):
        for bucket in dict.fromkeys(split_uri(uri)[0] for uri in named):
            try:
                there = bucket_exists(bucket)
            except (InputError, OSError) as error:
                mend = "S3_ENDPOINT and AWS_REGION of the ConfigMap, and the keys of cluster.s3_secret"
                yield Finding(check="buckets", state=FAILED, found=str(error), mend=mend)
            else:
                mend = "" if there else f"vigil buckets create s3://{bucket}"
                found = f"s3://{bucket} {'exists' if there else 'does not exist'}"
                yield Finding(check="buckets", state=OK if there else FAILED, found=found, mend=mend)


def _headers(variables: Variables) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if token := variables.get("MLFLOW_TRACKING_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    elif user := variables.get("MLFLOW_TRACKING_USERNAME"):
        login = f"{user}:{variables.get('MLFLOW_TRACKING_PASSWORD', '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    return headers


def _out_of_reach(uri: str) -> bool:
    host = urlsplit(uri).hostname or ""
    return bool(host) and host != "localhost" and is_internal(host) and "KUBERNETES_SERVICE_HOST" not in os.environ


def _inside(check: str, shown: str) -> Finding:
    found = f"{shown} is known inside the cluster only"
    return Finding(check=check, state=UNKNOWN, found=found, mend="helm test RELEASE asks from a pod; or --test-task")


@contextmanager
def _environment(variables: Variables) -> Iterator[None]:
    """The store's variables in this process's environment for the block."""
    before = {key: os.environ.get(key) for key in _STORE_KEYS}
    os.environ.update({key: variables[key] for key in _STORE_KEYS if key in variables})
    try:
        yield
    finally:
        for key, value in before.items():
            os.environ.pop(key, None)
            if value is not None:
                os.environ[key] = value
