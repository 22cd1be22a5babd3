"""Calls of the Kubeflow Pipelines API by kfp's generated client, kfp_server_api: address, token, time-outs, errors.

An answer must be a JSON object of bounded size within a time-out. Calls that change nothing, and deletions, are
repeated. A token is read from its file for each call, as it may be renewed, and never shown.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from components.errors import InputError, check

IN_CLUSTER_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
TOKEN_FILE = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where the service account's token for the API is mounted."""
_TOKEN_ENVIRONMENT = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105
_CONNECT_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
"""Before a call is repeated; twice as long each time."""
_MAX_ANSWER = 64 * 1024 * 1024
_MAX_MESSAGE = 400


class ClusterError(RuntimeError):
    """A call to the cluster failed; the message is one line."""


class ClusterUnavailableError(ClusterError):
    """No usable answer, or the caller is not authenticated or not permitted: further calls would fail as well."""


class ClusterAnswerError(ClusterError):
    """The cluster answered a call with an HTTP error."""

    def __init__(self, message: str, status: int) -> None:
        """Keep the HTTP status beside the message."""
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Address of the API, credentials, and the seconds until an answer is given up.

    What is not given is the cluster's own: its address, the pod's namespace, the service account's token (a file), and
    the public certificates.
    """

    host: str = ""
    namespace: str = ""
    token_file: Path | None = None
    ca_file: Path | None = None
    timeout: float = 30.0


class Transport:
    """Calls operations of kfp_server_api, and raises every failure as one of the errors above."""

    def __init__(self, connection: Connection) -> None:
        """Prepare the calls; nothing is sent yet. `InputError`: no address outside of a cluster, token or CA file."""
        import urllib3
        from kfp.client import ServiceAccountTokenVolumeCredentials
        from kfp_server_api import ApiClient, Configuration

        self.host = _host(connection)
        self._timeout = (min(_CONNECT_SECONDS, connection.timeout), connection.timeout)
        self._token_file = _token_file(connection)
        configuration = Configuration(host=self.host)
        configuration.retries = urllib3.Retry(
            total=3,
            redirect=0,
            backoff_factor=_PAUSE_SECONDS,
            status_forcelist=(429, 500, 502, 503, 504),
            allowed_methods=("GET", "DELETE"),
            raise_on_status=False,
            raise_on_redirect=False,
            respect_retry_after_header=False,
        )
        if connection.ca_file:
            check(connection.ca_file.is_file(), "CA file", str(connection.ca_file), "a file of certificates, PEM")
            configuration.ssl_ca_cert = str(connection.ca_file)
        if self._token_file:
            credentials = ServiceAccountTokenVolumeCredentials(str(self._token_file))
            configuration.api_key_prefix["authorization"] = "Bearer"
            configuration.refresh_api_key_hook = credentials.refresh_api_key_hook
            credentials.refresh_api_key_hook(configuration)  # without a first token, none is ever sent
        self.client = ApiClient(configuration)
        """What kfp_server_api's services are made with."""

    def call(self, operation: Callable[..., Any], answer: str, *arguments: Any, **query: Any) -> Any:
        """Call a method of one of kfp_server_api's services, which returns the model that `answer` names.

        Raises `ClusterUnavailableError` or `ClusterAnswerError`.
        """
        content = self.content(operation, *arguments, **query)
        try:
            return self.client.deserialize(SimpleNamespace(data=json.dumps(content)), answer)
        except (ValueError, TypeError, AttributeError) as error:
            raise self.malformed(f"no {answer}: {_one_line(error)}") from error

    def content(self, operation: Callable[..., Any], *arguments: Any, **query: Any) -> dict[str, Any]:
        """Call an operation, and return the JSON object of the answer; raises what `call` raises."""
        import urllib3
        from kfp_server_api import ApiException

        try:
            with operation(*arguments, _preload_content=False, _request_timeout=self._timeout, **query) as response:
                body = response.read(_MAX_ANSWER + 1, decode_content=True)
        except ApiException as error:
            raise self._rejected(error) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._unanswered(error) from None
        except ValueError:
            # The error of an unusable header, or of a body that is no text, quotes it: the token must not be shown.
            raise ClusterUnavailableError(f"the answer of {self.host} is no text, or the token is unusable") from None
        if len(body) > _MAX_ANSWER:
            raise ClusterUnavailableError(f"the answer of {self.host} is larger than {_MAX_ANSWER} bytes")
        try:
            content = json.loads(body)
        except ValueError:
            page = b"<html" in body[:1000].lower()
            what = "a web page, perhaps of a login; see --token-file" if page else "expected JSON"
            raise self.malformed(what) from None
        if not isinstance(content, dict):
            raise self.malformed(f"{type(content).__name__}, expected an object")
        return content

    def malformed(self, what: str) -> ClusterUnavailableError:
        """The error of an answer that is not what the API promises."""
        return ClusterUnavailableError(f"malformed answer of {self.host}: {what}")

    def _rejected(self, error: Any) -> ClusterError:
        """The error of an answer that kfp_server_api raises as an `ApiException`."""
        message = _error_text(error.body) or _one_line(error.reason)
        if token := _read_token(self._token_file) if self._token_file else "":
            message = message.replace(token, "***")
        match error.status:
            case 401:
                text = f"requires a valid token (401), see --token-file: {message}"
            case 403:
                text = f"does not permit this (403), see --namespace: {message}"
            case status if status in range(300, 400):
                text = f"redirects ({status}), perhaps to a login; see --token-file"
            case status:
                return ClusterAnswerError(f"{self.host} answered {status}: {message}", status)
        return ClusterUnavailableError(f"{self.host} {text}")

    def _unanswered(self, error: Exception) -> ClusterUnavailableError:
        import urllib3

        cause = getattr(error, "reason", None) or error
        if isinstance(cause, urllib3.exceptions.SSLError):
            return ClusterUnavailableError(f"no secure connection to {self.host}, see --ca-file: {_one_line(cause)}")
        if isinstance(cause, urllib3.exceptions.ReadTimeoutError):
            return ClusterUnavailableError(f"no answer of {self.host} within {self._timeout[1]:g} s")
        return ClusterUnavailableError(f"cannot reach {self.host}: {_one_line(cause)}")


def _host(connection: Connection) -> str:
    if connection.host:
        address = connection.host.rstrip("/")
        valid = re.fullmatch(r"(https?://)?[^\s/@:]+(:\d+)?(/\S*)?", address)
        check(valid is not None, "host", connection.host, "an address such as https://kubeflow.example.com/pipeline")
        return address if "://" in address else f"https://{address}"
    if "KUBERNETES_SERVICE_HOST" not in os.environ:
        raise InputError("host: none given outside of a cluster, expected --host, KFP_HOST or KF_PIPELINES_ENDPOINT")
    return IN_CLUSTER_HOST


def _token_file(connection: Connection) -> Path | None:
    named = connection.token_file or os.environ.get(_TOKEN_ENVIRONMENT)
    if not named and not TOKEN_FILE.is_file():
        return None
    path = Path(named or TOKEN_FILE)
    check(path.is_file(), "token file", str(path), "a file with a bearer token")
    if not re.fullmatch(r"[!-~]+", _read_token(path)):
        raise InputError(f"token file: {path} holds no token, expected one word of printable characters")
    return path


def _read_token(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _error_text(body: str | None) -> str:
    """The message in an error's body, in one line."""
    try:
        content = json.loads(body or "")
    except ValueError:
        return _one_line(re.sub(r"<[^>]*>", " ", body or ""))
    if isinstance(content, dict):
        content = content.get("error_message") or content.get("message") or content.get("error") or ""
    return _one_line(content)


def _one_line(text: object) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())
    return line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]}…"
