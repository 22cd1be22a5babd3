"""A Kubeflow Pipelines cluster: its version and namespace, pipeline versions, experiments, runs, recurring runs."""

import base64
import functools
import importlib.metadata
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from components.errors import InputError, check
from components.stage.provenance import KFP_UI
from pipelines.cluster.transport import ClusterAnswerError, ClusterUnavailableError, Connection, Transport
from pipelines.lines.line import Line

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
NOT_FOUND, CONFLICT, BAD_REQUEST = 404, 409, 400

# The server reads a package by strict JSON against its own messages, and refuses every run of one with a field that it
# does not know. Fields of a task that the package has are those of 2.15, whose messages the tests hold.
_OLDEST, _NEXT_MAJOR = (2, 15), (3, 0)
_SUPPORTED = "2.15 or a later 2.x"
_SINCE: Mapping[str, tuple[int, int]] = {"run_as_user": (2, 16), "run_timeout_seconds": (2, 17), "ttl_seconds": (2, 17)}
"""Task settings whose fields came with a later release."""
_PAGE = 100
_MAX_PAGES = 10_000


class Kubeflow:
    """The operations of the v2beta1 API that VIGIL uses, in one namespace. All raise `ClusterError`."""

    def __init__(self, connection: Connection) -> None:
        """Connect, and check the server's version and the namespace; `InputError` where one is needed, or a token."""
        import kfp_server_api as api

        self._api = api
        self._transport = Transport(connection)
        self._call, client = self._transport.call, self._transport.client
        self._experiments = api.ExperimentServiceApi(client)
        self._pipelines = api.PipelineServiceApi(client)
        self._recurring = api.RecurringRunServiceApi(client)
        self._runs = api.RunServiceApi(client)
        self._uploads = api.PipelineUploadServiceApi(client)
        self._pipeline_ids: dict[str, str] = {}
        health = self._health(api.HealthzServiceApi(client))
        self.version = str(health.get("tag_name") or "unknown")
        self.namespace = connection.namespace
        if health.get("multi_user") is True:
            own = NAMESPACE_FILE.read_text(encoding="utf-8").strip() if NAMESPACE_FILE.is_file() else ""
            self.namespace = self.namespace or own
            check(bool(self.namespace), "namespace", "", "one by --namespace, as the cluster is multi-user")
        else:
            check(not self.namespace, "namespace", self.namespace, "none, as the cluster is single-user")
        self._scope = {"namespace": self.namespace} if self.namespace else {}

    def upload_version(self, pipeline: str, version: str, package: Path) -> Any:
        """Reference to a version with a package, uploaded unless one of that name exists; the pipeline likewise."""
        if pipeline not in self._pipeline_ids:
            self._pipeline_ids[pipeline] = self._pipeline(pipeline)
        pipeline_id = self._pipeline_ids[pipeline]
        found = self._version(pipeline_id, version)
        if found is None:
            upload = self._uploads.upload_pipeline_version
            try:
                found = self._call(upload, "V2beta1PipelineVersion", str(package), name=version, pipelineid=pipeline_id)
            except ClusterAnswerError as error:
                found = self._version(pipeline_id, version) if error.status == CONFLICT else None
                if found is None:
                    raise _explained(error) from error
        version_id = _identifier(found.pipeline_version_id, "version")
        return self._api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)

    def find_experiment(self, name: str) -> str | None:
        """Id of the experiment of that name, None where there is none."""
        operation = self._experiments.experiment_service_list_experiments
        found = self._named(operation, "V2beta1ListExperimentsResponse", "experiments", name, **self._scope)
        return _identifier(found.experiment_id, "experiment") if found else None

    def experiment(self, name: str) -> str:
        """Id of the experiment of that name; it is created when missing."""
        if found := self.find_experiment(name):
            return found
        experiment = self._api.V2beta1Experiment(display_name=name, **self._scope)
        create = self._experiments.experiment_service_create_experiment
        return _identifier(self._call(create, "V2beta1Experiment", experiment).experiment_id, "experiment")

    def create_run(self, name: str, experiment_id: str, version: Any, arguments: dict[str, Any]) -> str:
        """Start a run, and return its id."""
        run = self._api.V2beta1Run(
            display_name=name,
            experiment_id=experiment_id,
            pipeline_version_reference=version,
            runtime_config=self._api.V2beta1RuntimeConfig(parameters=arguments),
        )
        return _identifier(self._call(self._runs.run_service_create_run, "V2beta1Run", run).run_id, "run")

    def run(self, run_id: str) -> Any:
        """State, error and tasks of a run: kfp_server_api's `V2beta1Run`."""
        return self._call(self._runs.run_service_get_run, "V2beta1Run", run_id)

    def runs(self) -> list[Any]:
        """All runs of the namespace: kfp_server_api's `V2beta1Run`."""
        return list(self._pages(self._runs.run_service_list_runs, "V2beta1ListRunsResponse", "runs", **self._scope))

    def runs_in_progress(self) -> list[Any]:
        """The runs of the namespace that wait or run: kfp_server_api's `V2beta1Run`."""
        operation, answer = self._runs.run_service_list_runs, "V2beta1ListRunsResponse"
        queries = [{"filter": _filter("state", state), **self._scope} for state in ("PENDING", "RUNNING")]
        return [run for query in queries for run in self._pages(operation, answer, "runs", **query)]

    def versions(self, pipeline: str) -> list[Any]:
        """All versions of a pipeline, by its name: kfp_server_api's `V2beta1PipelineVersion`."""
        operation = self._pipelines.pipeline_service_list_pipelines
        found = self._named(operation, "V2beta1ListPipelinesResponse", "pipelines", pipeline, **self._scope)
        if found is None:
            return []
        listing, answer = self._pipelines.pipeline_service_list_pipeline_versions, "V2beta1ListPipelineVersionsResponse"
        owner = _identifier(found.pipeline_id, "pipeline")
        return list(self._pages(listing, answer, "pipeline_versions", pipeline_id=owner))

    def delete_run(self, run_id: str) -> None:
        """Delete a run, and with it what the cache knows of it; a missing one is no error."""
        self._delete(self._runs.run_service_delete_run, run_id)

    def delete_version(self, pipeline_id: str, version_id: str) -> None:
        """Delete a version of a pipeline; a missing one is no error."""
        self._delete(self._pipelines.pipeline_service_delete_pipeline_version, pipeline_id, version_id)

    def _delete(self, operation: Callable[..., Any], *names: str, **query: str) -> None:
        try:
            self._call(operation, "object", *names, **query)
        except ClusterAnswerError as error:
            if error.status != NOT_FOUND:
                raise

    def node_log(self, run_id: str, node: str) -> str:
        """Log of a node of the run's workflow, by Argo's id of it, as Argo archived it; empty where there is none.

        The endpoint is no part of the API's description, and hence of the generated client (`RunArtifactServer`).
        """
        client = self._transport.client
        read = functools.partial(client.call_api, auth_settings=["Bearer"])
        path, names = "/apis/v2beta1/runs/{run}/nodes/{node}/artifacts/main-logs:read", {"run": run_id, "node": node}
        try:
            content = self._transport.content(read, path, "GET", names)
        except ClusterAnswerError:
            return ""
        try:
            return base64.b64decode(str(content.get("data", "")), validate=True).decode("utf-8", "replace")
        except ValueError as error:
            raise self._transport.malformed(f"a log that is no base64: {error}") from None

    def last_run(self, recurring_run_id: str) -> Any | None:
        """Youngest run of a recurring run: kfp_server_api's `V2beta1Run`, or None."""
        query = {"sort_by": "created_at desc", "filter": _filter("recurring_run_id", recurring_run_id)}
        operation = self._runs.run_service_list_runs
        answer = self._call(operation, "V2beta1ListRunsResponse", page_size=1, **query, **self._scope)
        return answer.runs[0] if answer.runs else None

    def recurring_runs(self) -> list[Any]:
        """All recurring runs of the namespace: kfp_server_api's `V2beta1RecurringRun`."""
        operation = self._recurring.recurring_run_service_list_recurring_runs
        answer = "V2beta1ListRecurringRunsResponse"
        return list(self._pages(operation, answer, "recurring_runs", **self._scope))

    def create_recurring_run(self, version: Any, arguments: dict[str, Any], *, cron: str, **named: str) -> str:
        """Create a disabled recurring run that never runs twice at a time and does not catch up, and return its id.

        `named` are its `display_name`, `description` and `experiment_id`.
        """
        api = self._api
        recurring_run = api.V2beta1RecurringRun(
            mode=api.RecurringRunMode.DISABLE,
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=cron)),
            max_concurrency="1",
            no_catchup=True,
            pipeline_version_reference=version,
            runtime_config=api.V2beta1RuntimeConfig(parameters=arguments),
            **named,
        )
        create = self._recurring.recurring_run_service_create_recurring_run
        made = self._call(create, "V2beta1RecurringRun", recurring_run)
        return _identifier(made.recurring_run_id, "recurring run")

    def set_enabled(self, recurring_run_id: str, *, enabled: bool) -> None:
        """Enable or disable a recurring run."""
        enable = self._recurring.recurring_run_service_enable_recurring_run
        disable = self._recurring.recurring_run_service_disable_recurring_run
        self._call(enable if enabled else disable, "object", recurring_run_id)

    def delete_recurring_run(self, recurring_run_id: str) -> None:
        """Delete a recurring run; its runs stay, those in progress too. A missing one is no error.

        Kubernetes would end runs in progress with their owner. Servers before 2.16 do not know the policy, and do.
        """
        delete = self._recurring.recurring_run_service_delete_recurring_run
        orphan = self._api.V2beta1DeletePropagationPolicy.ORPHAN
        self._delete(delete, recurring_run_id, propagation_policy=orphan)

    def version_warning(self) -> str:
        """What the server's version may not support, in one line; empty for the client's version or a later one."""
        client = importlib.metadata.version("kfp")
        server = _release(self.version)
        if server is None:
            return f"{self._transport.host} names no release ({self.version}), expected {_SUPPORTED}"
        if server >= (_release(client) or _OLDEST):
            return ""
        older = f"{self._transport.host} runs Kubeflow Pipelines {self.version}, older than the client's {client}"
        lacking = " and ".join(f"cluster.{name}" for name, since in _SINCE.items() if since > server)
        return f"{older}: it has no {lacking}" if lacking else older

    def accepted(self, line: Line) -> Line:
        """The line without defaults that the server is too old for; `InputError` names what the line itself gives."""
        server = _release(self.version) or _NEXT_MAJOR
        lacking = {name: since for name, since in _SINCE.items() if since > server and getattr(line.cluster, name)}
        errors = [
            f"{line.name}: {line.cluster.key(name)}: got {getattr(line.cluster, name)}, expected 0 or none: Kubeflow "
            f"Pipelines {self.version} refuses packages with it, servers have it from {major}.{minor} on"
            for name, (major, minor) in lacking.items()
            if name in line.cluster.model_fields_set
        ]
        if errors:
            raise InputError(*errors)
        return line.replace(cluster=line.cluster.replace(**dict.fromkeys(lacking, 0))) if lacking else line

    def run_url(self, run_id: str) -> str:
        """Page of a run in the user interface, whose address `VIGIL_KFP_UI` or `KF_PIPELINES_UI_ENDPOINT` may give."""
        address = os.environ.get(KFP_UI) or os.environ.get("KF_PIPELINES_UI_ENDPOINT") or self._transport.host
        return f"{address.rstrip('/')}/#/runs/details/{run_id}"

    def _health(self, service: Any) -> dict[str, Any]:
        """Answer of the health endpoint: version (`tag_name`) and `multi_user`, where the server gives them."""
        host = self._transport.host
        try:
            content = self._transport.content(service.healthz_service_get_healthz)
        except ClusterAnswerError as error:
            if error.status != NOT_FOUND:
                raise
            expected = f"expected Kubeflow Pipelines {_SUPPORTED}, not an older server or another address"
            raise ClusterUnavailableError(f"no v2beta1 API at {host}: {expected}") from error
        tag = content.get("tag_name")
        version = _release(tag)
        if version and not (_OLDEST <= version < _NEXT_MAJOR):
            raise ClusterUnavailableError(f"{host} runs Kubeflow Pipelines {tag}, expected {_SUPPORTED}")
        return content

    def _pipeline(self, name: str) -> str:
        """Id of the pipeline of that name; it is created when missing."""
        operation = self._pipelines.pipeline_service_list_pipelines
        if found := self._named(operation, "V2beta1ListPipelinesResponse", "pipelines", name, **self._scope):
            return _identifier(found.pipeline_id, "pipeline")
        pipeline = self._api.V2beta1Pipeline(name=name, display_name=name, **self._scope)
        create = self._pipelines.pipeline_service_create_pipeline
        return _identifier(self._call(create, "V2beta1Pipeline", pipeline).pipeline_id, "pipeline")

    def _version(self, pipeline_id: str, name: str) -> Any | None:
        operation = self._pipelines.pipeline_service_list_pipeline_versions
        answer = "V2beta1ListPipelineVersionsResponse"
        return self._named(operation, answer, "pipeline_versions", name, pipeline_id=pipeline_id)

    def _named(self, operation: Callable[..., Any], answer: str, field: str, name: str, **query: str) -> Any | None:
        found = self._pages(operation, answer, field, filter=_filter("display_name", name), **query)
        # The server's database may ignore the case.
        return next(iter([item for item in found if item.display_name == name]), None)

    def _pages(self, operation: Callable[..., Any], answer: str, field: str, **query: str) -> Iterator[Any]:
        token, seen = "", set[str]()
        while token not in seen and len(seen) < _MAX_PAGES:
            seen.add(token)
            page = self._call(operation, answer, page_size=_PAGE, page_token=token, **query)
            items = getattr(page, field) or []
            if (page.total_size and not items and not token) or any(item == type(item)() for item in items):
                raise self._transport.malformed(f"its list lacks {field}")
            yield from items
            token = page.next_page_token or ""
            if not token:
                return
        raise self._transport.malformed(f"its list of {field} has no end")


def _explained(error: ClusterAnswerError) -> ClusterAnswerError:
    """An upload's error; the server has one text for everything that is wrong with it, permissions included."""
    if error.status != BAD_REQUEST:
        return error
    causes = "the server says no more: perhaps the caller may not create pipelines here, see --namespace, --token-file"
    return ClusterAnswerError(f"{error} ({causes})", error.status)


def _release(tag: object) -> tuple[int, int] | None:
    """Major and minor version of a tag; None for one that names no release, as `master`."""
    version = re.match(r"v?(\d+)\.(\d+)", str(tag))
    return (int(version[1]), int(version[2])) if version else None


def _filter(key: str, value: str) -> str:
    equals = 1  # Predicate.Operation of the API's filter.proto
    return json.dumps({"predicates": [{"operation": equals, "key": key, "stringValue": value}]})


def _identifier(value: str | None, what: str) -> str:
    if not value:
        raise ClusterUnavailableError(f"malformed answer: a {what} without an id")
    return value
