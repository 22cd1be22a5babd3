"""A Kubeflow Pipelines cluster: its version and namespace, pipeline versions, experiments, runs, recurring runs."""

import importlib.metadata
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.errors import check
from components.stage.provenance import KFP_UI
from pipelines.cluster.transport import ClusterAnswerError, ClusterUnavailableError, Connection, Transport

NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""Namespace of the pod that runs the command."""
NOT_FOUND = 404

# Changelog of Kubeflow Pipelines, 2.14.0: "enable dsl.Collected for parameters & artifacts" (pull request 11725), by
# which the training pipeline gathers its detectors, and "support more than one label & annotations setting per
# component" (12049), of which each task has two. Older servers are untested.
_OLDEST, _NEXT_MAJOR = (2, 14), (3, 0)
_SUPPORTED = "2.14 or a later 2.x"
_CONFLICT = 409
_PAGE = 100
_MAX_PAGES = 10_000
_EQUALS = 1  # Predicate.Operation of the API's filter.proto


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What a recurring run is created with, besides what it runs."""

    name: str
    cron: str
    description: str
    enabled: bool


class Kubeflow:
    """The operations of the v2beta1 API that VIGIL uses, in one namespace. All raise `ClusterError`."""

    def __init__(self, connection: Connection) -> None:
        """Connect, and check the server's version and the namespace.

        Raises:
            InputError: no address, token, CA file or namespace where one is needed.
            ClusterError: the server does not answer, refuses, or is too old or too new.
        """
        import kfp_server_api as api

        self._api = api
        self._transport = Transport(connection)
        self._call = self._transport.call
        client = self._transport.client
        self._experiments = api.ExperimentServiceApi(client)
        self._pipelines = api.PipelineServiceApi(client)
        self._recurring = api.RecurringRunServiceApi(client)
        self._runs = api.RunServiceApi(client)
        self._uploads = api.PipelineUploadServiceApi(client)
        self._pipeline_ids: dict[str, str] = {}
        health = self._health(api.HealthzServiceApi(client))
        self.version = str(health.get("tag_name") or "unknown")
        self.namespace = _namespace(connection, multi_user=health.get("multi_user") is True)
        self._scope = {"namespace": self.namespace} if self.namespace else {}

    def upload_version(self, pipeline: str, version: str, package: Path) -> Any:
        """Reference to a version with a package, uploaded unless one of that name exists; the pipeline likewise."""
        if pipeline not in self._pipeline_ids:
            self._pipeline_ids[pipeline] = self._pipeline(pipeline)
        pipeline_id = self._pipeline_ids[pipeline]
        if found := self._version(pipeline_id, version):
            return found
        upload = self._uploads.upload_pipeline_version
        try:
            made = self._call(upload, "V2beta1PipelineVersion", str(package), name=version, pipelineid=pipeline_id)
        except ClusterAnswerError as error:
            found = self._version(pipeline_id, version) if error.status == _CONFLICT else None
            if found is None:
                raise
            return found
        return self._reference(pipeline_id, made)

    def find_experiment(self, name: str) -> str | None:
        """Id of the experiment of that name, None where there is none."""
        operation = self._experiments.experiment_service_list_experiments
        found = self._named(operation, "V2beta1ListExperimentsResponse", "experiments", name, **self._scope)
        return _identifier(found[0].experiment_id, "experiment") if found else None

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

    def create_recurring_run(
        self, schedule: Schedule, experiment_id: str, version: Any, arguments: dict[str, Any]
    ) -> str:
        """Create a recurring run that never runs twice at a time and does not catch up, and return its id."""
        api = self._api
        recurring_run = api.V2beta1RecurringRun(
            display_name=schedule.name,
            description=schedule.description,
            experiment_id=experiment_id,
            mode=api.RecurringRunMode.ENABLE if schedule.enabled else api.RecurringRunMode.DISABLE,
            trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=schedule.cron)),
            max_concurrency="1",
            no_catchup=True,
            pipeline_version_reference=version,
            runtime_config=api.V2beta1RuntimeConfig(parameters=arguments),
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
        try:
            self._call(delete, "object", recurring_run_id, propagation_policy=orphan)
        except ClusterAnswerError as error:
            if error.status != NOT_FOUND:
                raise

    def version_warning(self) -> str:
        """What the server's version may not support, in one line; empty for the client's version or a later one."""
        client = importlib.metadata.version("kfp")
        server = _release(self.version)
        if server is None:
            return f"{self._transport.host} names no release ({self.version}), expected {_SUPPORTED}"
        if server >= (_release(client) or _OLDEST):
            return ""
        older = f"{self._transport.host} runs Kubeflow Pipelines {self.version}, older than the client's {client}"
        return f"{older}: it ignores settings of tasks that are newer than itself"

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
        version = _release(content.get("tag_name"))
        if version and not (_OLDEST <= version < _NEXT_MAJOR):
            tag = content["tag_name"]
            raise ClusterUnavailableError(f"{host} runs Kubeflow Pipelines {tag}, expected {_SUPPORTED}")
        return content

    def _pipeline(self, name: str) -> str:
        """Id of the pipeline of that name; it is created when missing."""
        operation = self._pipelines.pipeline_service_list_pipelines
        if found := self._named(operation, "V2beta1ListPipelinesResponse", "pipelines", name, **self._scope):
            return _identifier(found[0].pipeline_id, "pipeline")
        pipeline = self._api.V2beta1Pipeline(name=name, display_name=name, **self._scope)
        create = self._pipelines.pipeline_service_create_pipeline
        return _identifier(self._call(create, "V2beta1Pipeline", pipeline).pipeline_id, "pipeline")

    def _version(self, pipeline_id: str, name: str) -> Any | None:
        operation = self._pipelines.pipeline_service_list_pipeline_versions
        answer = "V2beta1ListPipelineVersionsResponse"
        found = self._named(operation, answer, "pipeline_versions", name, pipeline_id=pipeline_id)
        return self._reference(pipeline_id, found[0]) if found else None

    def _reference(self, pipeline_id: str, version: Any) -> Any:
        version_id = _identifier(version.pipeline_version_id, "version")
        return self._api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id, pipeline_version_id=version_id)

    def _named(self, operation: Callable[..., Any], answer: str, field: str, name: str, **query: str) -> list[Any]:
        found = self._pages(operation, answer, field, filter=_filter("display_name", name), **query)
        return [item for item in found if item.display_name == name]  # the server's database may ignore the case

    def _pages(self, operation: Callable[..., Any], answer: str, field: str, **query: str) -> Iterator[Any]:
        token, seen = "", set[str]()
        for _ in range(_MAX_PAGES):
            page = self._call(operation, answer, page_size=_PAGE, page_token=token, **query)
            items = getattr(page, field) or []
            if (page.total_size and not items and not token) or any(item == type(item)() for item in items):
                raise ClusterUnavailableError(f"malformed answer of {self._transport.host}: its list lacks {field}")
            yield from items
            token = page.next_page_token or ""
            if not token:
                return
            if token in seen:
                break
            seen.add(token)
        raise ClusterUnavailableError(f"malformed answer of {self._transport.host}: its list of {field} has no end")


def _release(tag: object) -> tuple[int, int] | None:
    """Major and minor version of a tag; None for one that names no release, as `master`."""
    version = re.match(r"v?(\d+)\.(\d+)", str(tag))
    return (int(version[1]), int(version[2])) if version else None


def _namespace(connection: Connection, *, multi_user: bool) -> str:
    if not multi_user:
        expected = "none, as the cluster is single-user"
        check(not connection.namespace, "namespace", connection.namespace, expected)
        return ""
    own = NAMESPACE_FILE.read_text(encoding="utf-8").strip() if NAMESPACE_FILE.is_file() else ""
    namespace = connection.namespace or own
    check(bool(namespace), "namespace", namespace, "one by --namespace, as the cluster is multi-user")
    return namespace


def _filter(key: str, value: str) -> str:
    return json.dumps({"predicates": [{"operation": _EQUALS, "key": key, "stringValue": value}]})


def _identifier(value: str | None, what: str) -> str:
    if not value:
        raise ClusterUnavailableError(f"malformed answer: a {what} without an id")
    return value
