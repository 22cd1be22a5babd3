"""The API of Kubernetes by its own client, which kfp brings; every failure is a `ClusterError` of one line."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import InputError
from pipelines.cluster.transport import ClusterAnswerError, ClusterError, ClusterUnavailableError

Item = Mapping[str, Any]
"""An object as the API has it, in camel case."""
_SECONDS = (5.0, 30.0)


class Kubernetes:
    """Objects of a cluster, as a kubeconfig or the pod's service account may see and change them."""

    def __init__(self, kubeconfig: Path | None = None) -> None:
        """Read the configuration; nothing is sent yet. `InputError` where there is none."""
        from kubernetes import client, config

        settings = client.Configuration()
        try:
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=settings)
            else:
                config.load_kube_config(str(kubeconfig) if kubeconfig else None, client_configuration=settings)
        except config.ConfigException as error:
            raise InputError(
                f"kubeconfig: {' '.join(str(error).split())}; expected --kubeconfig or KUBECONFIG"
            ) from None
        settings.retries = False
        self._client, self.host = client.ApiClient(settings), settings.host

    def get(self, path: str) -> Item | None:
        """The object at a path such as `/api/v1/namespaces/x/secrets/y`; None where there is none."""
        try:
            found: Item = self._call("GET", path)
        except ClusterAnswerError as error:
            if error.status != 404:
                raise
            return None
        return found

    def list(self, path: str, **selectors: str) -> list[Item]:
        """The objects of a collection."""
        return list(self._call("GET", path, query=selectors).get("items") or [])

    def apply(self, collection: str, item: Item) -> str:
        """Create an object of a collection, or merge it into the one that is there; `created` or `changed`.

        A None takes a field away.
        """
        path = f"{collection}/{item['metadata']['name']}"
        if self.get(path) is None:
            self._call("POST", collection, body=_without_none(item))
            return "created"
        self._call("PATCH", path, body=item, content_type="application/merge-patch+json")
        return "changed"

    def _call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if body is not None else {})
        with _errors(self.host):
            answer, _, _ = self._client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=_SECONDS,
            )
            return json.loads(answer.data)


@contextmanager
def _errors(host: str) -> Iterator[None]:
    import urllib3
    from kubernetes.client import ApiException

    try:
        yield
    except ApiException as error:
        message = _message(error)
        if error.status in (401, 403):
            raise ClusterUnavailableError(f"{host} does not permit this ({error.status}): {message}") from None
        raise ClusterAnswerError(f"{host} answered {error.status}: {message}", error.status) from None
    except urllib3.exceptions.HTTPError as error:
        raise ClusterUnavailableError(f"cannot reach {host}: {type(error).__name__}") from None
    except ValueError:
        raise ClusterError(f"malformed answer of {host}: expected JSON") from None


def _message(error: Any) -> str:
    try:
        text = str(json.loads(error.body)["message"])
    except (ValueError, TypeError, KeyError):
        text = str(error.reason)
    return " ".join(text.split())[:400]


def _without_none(value: Any) -> Any:
    drop: Callable[[Any], Any] = _without_none
    if isinstance(value, Mapping):
        return {key: drop(item) for key, item in value.items() if item is not None}
    return [drop(item) for item in value] if isinstance(value, list) else value
