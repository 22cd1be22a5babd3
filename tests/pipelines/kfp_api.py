"""A fake API server of Kubeflow Pipelines: the v2beta1 endpoints that VIGIL uses, in memory, over HTTP.

Requests are checked against kfp_server_api's models: unknown fields, wrong types and missing required fields are
answered with 400, as are arguments that the uploaded package does not take. It schedules and runs nothing. Errors,
lengths, pages, permissions and what an answer leaves out are those of Kubeflow Pipelines 2.17 with MySQL, by its source
(backend/src/apiserver); the comments name the places.
"""

import base64
import contextlib
import functools
import http.server
import itertools
import json
import re
import socket
import ssl
import struct
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
import yaml
from google.protobuf.json_format import ParseDict, ParseError
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig

Item = dict[str, Any]
PREFIX = "/apis/v2beta1"
REQUIRED = {
    "V2beta1Experiment": ("display_name",),
    "V2beta1Pipeline": ("display_name", "name"),
    "V2beta1Run": ("display_name", "experiment_id", "pipeline_version_reference", "runtime_config"),
    "V2beta1RecurringRun": (
        "display_name",
        "experiment_id",
        "pipeline_version_reference",
        "runtime_config",
        "trigger",
        "mode",
        "max_concurrency",
    ),
    "V2beta1PipelineVersionReference": ("pipeline_id", "pipeline_version_id"),
    "V2beta1CronSchedule": ("cron",),
}
NATIVE: Mapping[str, type | tuple[type, ...]] = {
    "str": str,
    "int": int,
    "bool": bool,
    "datetime": str,
    "object": (dict, list, str, int, float, bool),
}
DEFAULT_PAGE, LARGEST_PAGE = 20, 200  # server/list_request_util.go
LENGTHS = {"Experiment": 128, "Pipeline": 128, "PipelineVersion": 127, "Namespace": 63}  # validation/length.go
COLUMN = 255
"""Characters of a text column without a length of its own, as jobs.Description (client_manager.go, model/job.go)."""
NOT_UPLOADED = "Failed to create a pipeline version"
"""All that the server says of an upload that is not permitted or not readable (pipeline_upload_server.go)."""
FILTER_KEYS = {  # APIToModelFieldMap of the models
    "pipelines": ("pipeline_id", "id", "name", "display_name", "created_at", "description", "namespace"),
    "versions": ("pipeline_version_id", "id", "name", "display_name", "created_at", "description", "status"),
    "experiments": (
        *("experiment_id", "id", "name", "display_name", "created_at", "description", "namespace"),
        *("storage_state", "last_run_created_at"),
    ),
    "runs": (
        *("run_id", "id", "display_name", "name", "created_at", "finished_at", "description", "scheduled_at"),
        *("storage_state", "status", "namespace", "experiment_id", "state", "recurring_run_id"),
    ),
    "recurringruns": ("id", "recurring_run_id", "name", "display_name", "created_at", "updated_at", "description"),
}
PARAMETER_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "STRING": str,
    "NUMBER_INTEGER": int,
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
}


class RefusalError(Exception):
    """An answer with an HTTP error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6, 500: 13}
"""Codes of gRPC, which the gateway answers beside the HTTP status."""


def task_detail(name: str, state: str, *children: str) -> Item:
    """A task as the server shows it: without error and pod, under a random id, by Argo's display name.

    `children` are Argo's ids of the nodes below it, WORKFLOW-HASH (toApiPipelineTaskDetail in api_converter.go).
    """
    detail: Item = {"task_id": str(uuid.uuid4()), "display_name": name, "state": state, "execution_id": "0"}
    return {**detail, "child_tasks": [{"pod_name": node} for node in children]}


def check_model(model: str, value: Any, where: str = "body") -> None:
    """Refuse a value that is not what kfp_server_api's model of that name holds."""
    if model.startswith(("list[", "dict(")):
        kind = list if model.startswith("list[") else dict
        inner = re.fullmatch(r"list\[(.*)\]|dict\(str, (.*)\)", model)
        assert inner is not None
        check_kind(value, kind, where)
        for item in value if kind is list else value.values():
            check_model(inner[1] or inner[2], item, where)
    elif model in NATIVE:
        check_kind(value, NATIVE[model], where)
    elif hasattr(getattr(kfp_server_api, model), "allowable_values"):
        allowed = getattr(kfp_server_api, model).allowable_values
        if value not in allowed:
            raise RefusalError(400, f"{where}: {value!r} is none of {allowed}")
    else:
        check_fields(model, value, where)


def check_kind(value: Any, kind: type | tuple[type, ...], where: str) -> None:
    is_stray_bool = isinstance(value, bool) and kind in (int, (int, float))
    if not isinstance(value, kind) or is_stray_bool:
        raise RefusalError(400, f"{where}: {value!r} is no {kind}")


def check_fields(model: str, value: Any, where: str) -> None:
    check_kind(value, dict, where)
    known = getattr(kfp_server_api, model)
    types = {known.attribute_map[name]: kind for name, kind in known.openapi_types.items()}
    for name, item in value.items():
        if name not in types:
            raise RefusalError(400, f"{where}: unknown field {name} of {model}")
        check_model(types[name], item, f"{where}.{name}")
    for name in REQUIRED.get(model, ()):
        if not value.get(name):
            raise RefusalError(400, f"{where}: {model} without {name}")


@dataclass
class Fault:
    """What happens to requests instead of an answer."""

    kind: str | int
    """A status; or hang, reset, html, text, list, huge, binary, redirect; or `lost`: done, but the answer is lost."""
    method: str
    path: str
    """Regular expression that the path holds."""
    times: int
    body: str = ""


@dataclass
class KfpApi:
    """The server's state, and what tests set."""

    health: Item | None = field(default_factory=lambda: {"commit_sha": "0", "tag_name": "2.17.0", "multi_user": False})
    """Answer of the health endpoint; None for a server that has none."""
    namespaces: tuple[str, ...] = ()
    """Those that the caller may use, on a multi-user server."""
    forbidden: tuple[str, ...] = ()
    """What the caller's role lacks in them, as `create runs`: verb and resource of a SubjectAccessReview."""
    logs: dict[str, str] = field(default_factory=dict)
    """Archived log by Argo's id of the node."""
    half_made: list[Item] = field(default_factory=list)
    """Scheduled workflows without a row in the database: they run, and no list shows them."""
    token: str = ""
    """Bearer token that callers must send."""
    page_limit: int = 2
    """Largest page, small to make every list have several."""
    endless_pages: bool = False
    script: list[Item] = field(default_factory=list)
    """What successive looks at a run add to it; the last one stays."""
    items: dict[str, list[Item]] = field(
        default_factory=lambda: {kind: [] for kind in ("pipelines", "versions", "experiments", "runs", "recurringruns")}
    )
    calls: list[str] = field(default_factory=list)
    """All requests: method and path."""
    changes: list[str] = field(default_factory=list)
    """Requests that changed something."""
    faults: list[Fault] = field(default_factory=list)
    packages: dict[str, Item] = field(default_factory=dict)
    """Uploaded package by version id."""
    platforms: dict[str, Item] = field(default_factory=dict)
    """Its second document, the settings for Kubernetes, by version id."""
    url: str = ""
    release: threading.Event = field(default_factory=threading.Event)
    """Ends the requests that hang."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    def fail(self, kind: str | int, method: str = "", path: str = "", times: int = 1_000_000, body: str = "") -> None:
        """Let the next requests fail."""
        self.faults.append(Fault(kind=kind, method=method, path=path, times=times, body=body))

    def recurring(self, name: str) -> list[Item]:
        """The recurring runs of a display name."""
        return [run for run in self.items["recurringruns"] if run["display_name"] == name]

    def take_fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method in ("", method) and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def answer(self, request: "Request") -> Item:
        """Answer a request, or raise `RefusalError`."""
        for method, path, route in ROUTES:
            match = re.fullmatch(PREFIX + path, request.path)
            if match and method == request.method:
                answer = self.routed(route, request, *match.groups())
                if method != "GET":
                    self.changes.append(f"{method} {request.path}")
                return answer
        raise RefusalError(404, "Not Found")

    def routed(self, route: "Route", request: "Request", *parts: str) -> Item:
        try:
            self.check_caller(request)
            return route(self, request, *parts)
        except RefusalError as refusal:
            if route is KfpApi.upload_version and refusal.status != 409:
                raise RefusalError(400, NOT_UPLOADED) from refusal
            raise

    def check_caller(self, request: "Request") -> None:
        if self.multi_user and self.token and request.headers.get("authorization") != f"Bearer {self.token}":
            raise RefusalError(401, f"unknown caller {request.headers.get('authorization')}")

    @property
    def multi_user(self) -> bool:
        return bool(self.health and self.health.get("multi_user"))

    def permitted(self, namespace: str, verb: str, resource: str) -> str:
        """The namespace that counts, once the caller may do this in it: a single-user server has none."""
        if not self.multi_user:
            return ""
        if not namespace:
            raise RefusalError(400, "Namespace cannot be empty in multi-user mode")
        if namespace not in self.namespaces or f"{verb} {resource}" in self.forbidden:
            raise RefusalError(403, f"User is not authorized to {verb} {resource} in namespace {namespace}")
        return namespace

    def get_health(self, request: "Request") -> Item:
        if self.health is None:
            raise RefusalError(404, "Not Found")
        return self.health

    def listed(self, request: "Request", kind: str, field_name: str, **scope: str) -> Item:
        query = request.query
        resource = {"versions": "pipelines", "recurringruns": "jobs"}.get(kind, kind)
        namespace = scope.pop("permission", query.get("namespace", ""))
        namespace = self.permitted(namespace, "list", resource)
        if not scope:
            scope = {"namespace": namespace}
        found = [item for item in self.items[kind] if all(item.get(name, "") == scope[name] for name in scope)]
        for name, value in filters(query.get("filter", ""), FILTER_KEYS[kind]):
            found = [item for item in found if str(item.get(name, "")).lower() == value.lower()]
        if query.get("sort_by") == "created_at desc":
            found.reverse()
        start = page_start(query)
        size = int(query.get("page_size") or DEFAULT_PAGE)
        end = start + min(self.page_limit, LARGEST_PAGE, size)
        more = {"next_page_token": page_token(query, 0 if self.endless_pages else end)} if end < len(found) else {}
        return {field_name: found[start:end], "total_size": len(found), **more} if found else {}

    def added(self, kind: str, id_name: str, item: Item) -> Item:
        number = next(self.numbers)
        made_at = f"2026-01-01T00:{number // 60 % 60:02d}:{number % 60:02d}Z"
        item = {**item, id_name: f"{kind}-{number}", "created_at": made_at}
        self.items[kind].append(item)
        return item

    def found(self, kind: str, id_name: str, value: str) -> Item:
        for item in self.items[kind]:
            if item[id_name] == value:
                return item
        raise RefusalError(404, f"no {kind} {value}")

    def list_pipelines(self, request: "Request") -> Item:
        return self.listed(request, "pipelines", "pipelines")

    def create_pipeline(self, request: "Request") -> Item:
        return self.named(request, "V2beta1Pipeline", "pipelines", "pipeline_id")

    def list_experiments(self, request: "Request") -> Item:
        return self.listed(request, "experiments", "experiments")

    def create_experiment(self, request: "Request") -> Item:
        return self.named(request, "V2beta1Experiment", "experiments", "experiment_id")

    def named(self, request: "Request", model: str, kind: str, id_name: str) -> Item:
        body = request.json(model)
        body["namespace"] = self.permitted(body.get("namespace", ""), "create", kind)
        check_length(model.removeprefix("V2beta1"), body["display_name"])
        check_length("Namespace", body["namespace"])
        same = (body["display_name"], body["namespace"])
        if same in [(item["display_name"], item["namespace"]) for item in self.items[kind]]:
            raise RefusalError(409, f"{kind} {body['display_name']} already exists")
        kept = {"storage_state": "AVAILABLE", "last_run_created_at": "1970-01-01T00:00:00Z"}
        return self.added(kind, id_name, body | (kept if kind == "experiments" else {}))

    def list_versions(self, request: "Request", pipeline_id: str) -> Item:
        owner = self.found("pipelines", "pipeline_id", pipeline_id)["namespace"]
        return self.listed(request, "versions", "pipeline_versions", pipeline_id=pipeline_id, permission=owner)

    def delete_version(self, request: "Request", pipeline_id: str, version_id: str) -> Item:
        owner = self.found("pipelines", "pipeline_id", pipeline_id)["namespace"]
        self.permitted(owner, "delete", "pipelines")
        self.items["versions"].remove(self.found("versions", "pipeline_version_id", version_id))
        return {}

    def upload_version(self, request: "Request") -> Item:
        name, pipeline_id = request.query["name"], request.query["pipelineid"]
        pipeline = self.found("pipelines", "pipeline_id", pipeline_id)
        self.permitted(pipeline["namespace"], "create", "pipelines")
        check_length("PipelineVersion", name)
        if not re.fullmatch(r"[a-z0-9]+(-+[a-z0-9]+|\.[a-z0-9]+)*", name):
            raise RefusalError(400, f"the name {name} of the version is none of Kubernetes")
        if name in [item["name"] for item in self.items["versions"] if item["pipeline_id"] == pipeline_id]:
            raise RefusalError(409, NOT_UPLOADED)
        package = documents(request.upload())
        if package[0]["pipelineInfo"]["name"] not in ("vigil-training", "vigil-probe"):
            raise RefusalError(400, "the package is no pipeline")
        made = self.added(
            "versions", "pipeline_version_id", {"display_name": name, "name": name, "pipeline_id": pipeline_id}
        )
        self.packages[made["pipeline_version_id"]] = package[0]
        if len(package) > 1:
            self.platforms[made["pipeline_version_id"]] = package[1]
        return made

    def create_run(self, request: "Request") -> Item:
        body = self.runnable(request, "V2beta1Run", "runs")
        history = [{"update_time": "2026-01-01T00:00:00Z", "state": "PENDING"}]
        return self.added("runs", "run_id", {**body, "state": "PENDING", "state_history": history, **AVAILABLE})

    def list_runs(self, request: "Request") -> Item:
        return self.listed(request, "runs", "runs")

    def get_run(self, request: "Request", run_id: str) -> Item:
        run = self.found("runs", "run_id", run_id)
        self.permitted(run["namespace"], "get", "runs")
        if self.script:
            run.update(self.script.pop(0))
        for detail in run.get("run_details", {}).get("task_details", []):
            for name in ("error", "pod_name"):  # what the server never fills
                detail.pop(name, None)
        return run

    def delete_run(self, request: "Request", run_id: str) -> Item:
        run = self.found("runs", "run_id", run_id)
        self.permitted(run["namespace"], "delete", "runs")
        self.items["runs"].remove(run)
        return {}

    def read_artifact(self, request: "Request", run_id: str, node: str, name: str) -> Item:
        """An artifact of Argo's, of which a pod has its log; run_artifact_server.go."""
        run = self.found("runs", "run_id", run_id)
        self.permitted(run["namespace"], "readArtifact", "runs")
        if name != "main-logs" or node not in self.logs:
            raise RefusalError(404, "artifact not found: <nil>")
        return {"data": base64.b64encode(self.logs[node].encode()).decode()}

    def list_recurring(self, request: "Request") -> Item:
        return self.listed(request, "recurringruns", "recurringRuns")

    def create_recurring(self, request: "Request") -> Item:
        body = self.runnable(request, "V2beta1RecurringRun", "jobs")
        if not 1 <= int(body["max_concurrency"]) <= 10:
            raise RefusalError(400, f"max_concurrency {body['max_concurrency']}")
        if len(body["trigger"]["cron_schedule"]["cron"].split()) != 6:
            raise RefusalError(400, "the cron has not six fields")
        if max(map(len, (body.get("description", ""), body["display_name"]))) > COLUMN:  # CreateJob, then the row
            self.half_made.append(body)
            raise RefusalError(500, "Failed to add recurring run to recurring run table: Data too long for column")
        made = self.added("recurringruns", "recurring_run_id", body)
        made["updated_at"] = made["created_at"]
        return with_status(made)

    def runnable(self, request: "Request", model: str, resource: str) -> Item:
        """A request for a run, its version, experiment and arguments checked, and the package as it is compiled."""
        body = request.json(model)
        experiment = self.found("experiments", "experiment_id", body["experiment_id"])
        namespace = self.permitted(experiment["namespace"], "create", resource)
        reference = body["pipeline_version_reference"]
        self.found("versions", "pipeline_version_id", reference["pipeline_version_id"])
        version = reference["pipeline_version_id"]
        check_arguments(self.packages[version], body["runtime_config"]["parameters"])
        if version in self.platforms:
            check_platform(self.platforms[version])
        return {**body, "namespace": namespace}

    def delete_recurring(self, request: "Request", run_id: str) -> Item:
        """Without the propagation policy ORPHAN, Kubernetes ends and deletes the runs in progress."""
        recurring = self.found("recurringruns", "recurring_run_id", run_id)
        self.permitted(recurring["namespace"], "delete", "jobs")
        if request.query.get("propagation_policy") != kfp_server_api.V2beta1DeletePropagationPolicy.ORPHAN:
            for run in self.items["runs"]:
                if run.get("recurring_run_id") == run_id and run["state"] in ("PENDING", "RUNNING"):
                    run["state"] = "FAILED"
        self.items["recurringruns"].remove(recurring)
        return {}

    def switch_recurring(self, request: "Request", run_id: str, verb: str) -> Item:
        run = self.found("recurringruns", "recurring_run_id", run_id)
        self.permitted(run["namespace"], verb, "jobs")
        run["mode"] = verb.upper()
        with_status(run)
        return {}


AVAILABLE = {"storage_state": "AVAILABLE"}


def check_length(what: str, value: str) -> None:
    if len(value) > LENGTHS[what]:
        raise RefusalError(400, f"{what} is too long: {len(value)}, at most {LENGTHS[what]}")


def page_token(query: Mapping[str, str], start: int) -> str:
    """A token that only the same filter and order take (list/list.go)."""
    state = {"Filter": query.get("filter", ""), "SortBy": query.get("sort_by", ""), "KeyFieldValue": start}
    return base64.b64encode(json.dumps(state).encode()).decode()


def page_start(query: Mapping[str, str]) -> int:
    """Where the page of a token begins, 0 without one."""
    if not query.get("page_token"):
        return 0
    try:
        state = json.loads(base64.b64decode(query["page_token"], validate=True))
    except ValueError:
        raise RefusalError(400, "Invalid page token") from None
    given = (query.get("filter", ""), query.get("sort_by", ""))
    if any(given) and given != (state["Filter"], state["SortBy"]):
        raise RefusalError(400, "page token does not match the supplied sort by and/or filtering criteria")
    return int(state["KeyFieldValue"])


def check_platform(platform: Item) -> None:
    """Refuse what is no setting of an executor: by strict protobuf JSON (argocompiler/container.go)."""
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for text in {json.dumps(executor, sort_keys=True) for executor in executors.values()}:
        if error := platform_error(text):
            raise RefusalError(500, f"failed to unmarshal kubernetes config: {error}")


@functools.cache
def platform_error(executor: str) -> str:
    """What protobuf refuses of an executor's settings, as JSON; empty for none."""
    try:
        ParseDict(json.loads(executor), KubernetesExecutorConfig())
    except ParseError as error:
        return str(error)
    return ""


@functools.cache
def documents(package: bytes) -> list[Item]:
    """The YAML documents of a package."""
    return list(yaml.load_all(package, Loader=yaml.CSafeLoader))


def with_status(run: Item) -> Item:
    run["status"] = "ENABLED" if run["mode"] == "ENABLE" else "DISABLED"
    return run


def check_arguments(package: Item, arguments: Item) -> None:
    """Refuse arguments that the package does not take."""
    parameters = package["root"]["inputDefinitions"]["parameters"]
    for name, value in arguments.items():
        if name not in parameters:
            raise RefusalError(400, f"unknown parameter {name}")
        check_kind(value, PARAMETER_TYPES[parameters[name]["parameterType"]], f"parameter {name}")
    for name, parameter in parameters.items():
        if name not in arguments and not parameter.get("isOptional"):
            raise RefusalError(400, f"parameter {name} is missing")


def filters(text: str, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Keys and values of a filter of equalities."""
    for predicate in json.loads(text)["predicates"] if text else []:
        if set(predicate) != {"operation", "key", "stringValue"} or predicate["operation"] not in (1, "EQUALS"):
            raise RefusalError(400, f"filter {text}")
        if predicate["key"] not in keys:
            raise RefusalError(400, f"filter by {predicate['key']}")
        yield predicate["key"], predicate["stringValue"]


Route = Callable[..., Item]
ROUTES: tuple[tuple[str, str, Route], ...] = (
    ("GET", "/healthz", KfpApi.get_health),
    ("GET", "/pipelines", KfpApi.list_pipelines),
    ("POST", "/pipelines", KfpApi.create_pipeline),
    ("POST", "/pipelines/upload_version", KfpApi.upload_version),
    ("GET", "/pipelines/([^/]+)/versions", KfpApi.list_versions),
    ("DELETE", "/pipelines/([^/]+)/versions/([^/]+)", KfpApi.delete_version),
    ("GET", "/experiments", KfpApi.list_experiments),
    ("POST", "/experiments", KfpApi.create_experiment),
    ("GET", "/runs", KfpApi.list_runs),
    ("POST", "/runs", KfpApi.create_run),
    ("GET", "/runs/([^/:]+)", KfpApi.get_run),
    ("DELETE", "/runs/([^/:]+)", KfpApi.delete_run),
    ("GET", "/runs/([^/]+)/nodes/([^/]+)/artifacts/([^/]+):read", KfpApi.read_artifact),
    ("GET", "/recurringruns", KfpApi.list_recurring),
    ("POST", "/recurringruns", KfpApi.create_recurring),
    ("DELETE", "/recurringruns/([^/:]+)", KfpApi.delete_recurring),
    ("POST", "/recurringruns/([^/:]+):(enable|disable)", KfpApi.switch_recurring),
)


@dataclass
class Request:
    """One request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes

    def json(self, model: str) -> Item:
        content = json.loads(self.body)
        check_model(model, content)
        kfp_server_api.ApiClient().deserialize(Answer(data=self.body), model)
        return dict(content)

    def upload(self) -> bytes:
        """The file of a multipart request."""
        head = f"Content-Type: {self.headers['content-type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        for part in message.iter_parts():
            if part.get_param("name", header="content-disposition") == "uploadfile":
                return bytes(part.get_payload(decode=True))
        raise RefusalError(400, "no uploadfile")


@dataclass
class Answer:
    """What kfp_server_api deserializes."""

    data: bytes


class Handler(http.server.BaseHTTPRequestHandler):
    """Hands requests to the state, and carries out faults."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits for the client's delayed answer to the head, 40 ms a call
    api: ClassVar[KfpApi]

    def handle_request(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        request = Request(method=self.command, path=parts.path, query=query, headers=self.headers, body=body)
        with self.api.lock:
            self.api.calls.append(f"{request.method} {request.path}")
            fault = self.api.take_fault(request.method, request.path)
        if fault and fault.kind != "lost":
            self.carry_out(fault)
            return
        status, content = self.answered(request)
        if fault:
            self.reset()
        else:
            self.send(status, json.dumps(content).encode())

    def answered(self, request: Request) -> tuple[int, Item]:
        with self.api.lock:
            try:
                return 200, self.api.answer(request)
            except RefusalError as refusal:
                text = str(refusal)
                if request.path.endswith("/upload_version") or ":read" in request.path:  # not the gateway's own form
                    return refusal.status, {"error_message": text, "error_details": text}
                return refusal.status, {"code": CODES[refusal.status], "message": text, "details": []}

    def carry_out(self, fault: Fault) -> None:
        bodies = {
            "html": b"<!doctype html><html><body>Log in</body></html>",
            "text": b"upstream not ready",
            "list": b"[]",
            "null": b"null",
            "binary": b"\xff\xfe\x00",
        }
        if isinstance(fault.kind, int):
            self.send(fault.kind, fault.body.encode())
        elif fault.kind == "hang":
            self.api.release.wait(30)
            self.reset()
        elif fault.kind == "reset":
            self.reset()
        elif fault.kind == "redirect":
            self.send(302, b"", location="https://dex.example.com/auth?state=1")
        elif fault.kind == "huge":
            self.send_huge()
        else:
            self.send(200, bodies[fault.kind])

    def send(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_huge(self) -> None:
        size = 128 * 1024 * 1024
        self.send_response(200)
        self.send_header("content-length", str(size))
        self.end_headers()
        with contextlib.suppress(OSError):
            for _ in range(size // 2**20):
                self.wfile.write(b" " * 2**20)
        self.close_connection = True

    def reset(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet."""

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    do_GET = do_POST = do_DELETE = handle_request  # noqa: N815


@contextlib.contextmanager
def serve(api: KfpApi, certificate: str = "") -> Iterator[KfpApi]:
    """Serve the API on a free port of this machine, by TLS when a PEM file with certificate and key is given."""
    handler = type("BoundHandler", (Handler,), {"api": api})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    api.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        api.release.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
