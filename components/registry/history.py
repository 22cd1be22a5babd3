"""Reads from MLflow what the pipeline runs of production lines left there; nothing is created or changed."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.errors import InputError, check, without_credentials
from components.metrics.records import KIND_METRICS, METRICS, PROXY_HEADS, SPRO_METRICS, Record
from components.tracking.client import SQLITE, keep_mlflow_quiet, pages, tracking_client
from components.tracking.events import CACHED_TAG, PARENT_TAG, PIPELINE, RUN_ID_TAG, STAGE_TAG, TRACKING_URI

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINISHED, RUNNING, UNKNOWN, DRIFT = "FINISHED", "RUNNING", "unknown", "drift"
_PAGE = 1000
_EXPERIMENTS_PER_CALL = 100
_MEASURED = (*METRICS, *KIND_METRICS, *SPRO_METRICS, *PROXY_HEADS, "latency_ms")
_NOT_SETTINGS = ("line", "object", "seed", "profile", "vigil_version", "dataset_uri", "dataset_shots", "trials")
_WITHOUT_INFLUENCE = ("registration_", "gate_", "evaluation_latency_images")
"""Beginnings of parameters that change no figure; `gate_` is the former name of `registration_`."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What two runs must share, beside the seed's draws, for their figures to be comparable."""

    dataset: str
    """Digest of the data set."""
    shots: str
    """Good training images, or `all`."""
    profile: str
    version: str
    """Version of VIGIL."""
    settings: tuple[tuple[str, str], ...] = ()
    """Every other parameter that may change a result, sorted by name."""


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """One pipeline run; times in UTC, texts empty where nothing was recorded."""

    line: str
    run_id: str
    """`VIGIL_RUN_ID` of the run."""
    status: str
    """`RUNNING`, `FINISHED`, `FAILED` or `KILLED`."""
    started: datetime
    ended: datetime | None
    seed: int | None
    conditions: Conditions
    records: tuple[Record, ...]
    """Empty where nothing was measured: the results are those of an earlier run, or the run failed before it."""
    failure: str = ""
    """Stage that failed and its message."""
    registered: str = ""
    """`DETECTOR/TRAINING_SET` that became the version `model_version`."""
    model_version: str = ""
    registry: str = ""
    """Where the version is, without credentials."""
    link: str = ""
    """Address of the run at the tracking server, or its folder."""


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a line's registered model; time in UTC."""

    registry: str
    """Where it is registered, without credentials."""
    number: int
    aliases: tuple[str, ...]
    created: datetime
    gate: str
    """Outcome of the gate; empty, as its reasons, where none was recorded."""
    gate_reasons: str
    metric: str = ""
    """`NAME=VALUE` by which it was gated; empty where none was recorded."""


@dataclass(frozen=True, kw_only=True)
class DriftCheck:
    """One measurement of drift; time in UTC."""

    started: datetime
    retrain: bool
    reasons: str


@dataclass(frozen=True, kw_only=True)
class LineHistory:
    """All that is known of one line, newest first; each pipeline run once."""

    line: str
    runs: tuple[PastRun, ...]
    versions: tuple[ModelVersion, ...] = ()
    drift: tuple[DriftCheck, ...] = ()


def read_history(uri: str, lines: Sequence[str] | None = None, since: datetime | None = None) -> list[LineHistory]:
    """Read lines from MLflow at a tracking URI, a server or a database that exists, without runs before `since`.

    Lines that MLflow does not know are left out; None reads every experiment with pipeline runs. Raises `InputError`
    where the URI is no tracking URI or its database is missing, `OSError` where MLflow cannot be reached or refuses.
    """
    with _client(uri) as client:
        if lines is None:
            found = pages(client.search_experiments, max_results=_PAGE)
        else:
            found = filter(None, map(client.get_experiment_by_name, lines))
        experiments = {str(experiment.experiment_id): str(experiment.name) for experiment in found}
        runs = _runs(client, experiments, f"tags.`{STAGE_TAG}` = '{PIPELINE}'", since)
        drift = _runs(client, experiments, f"tags.`{STAGE_TAG}` = '{DRIFT}'", since)
        cached = f"tags.`{STAGE_TAG}` = 'evaluation' and tags.`{CACHED_TAG}` LIKE '%'"
        reused = _runs(client, experiments, cached, since)
        versions = _versions(client, lines)
        return [
            LineHistory(
                line=name,
                runs=distinct_runs(_past_runs(name, runs[name], reused[name], uri)),
                versions=tuple(versions.get(name, ())),
                drift=tuple(
                    DriftCheck(
                        started=_time(run.info.start_time),
                        retrain=run.data.tags.get("vigil.retrain") == "yes",
                        reasons=run.data.tags.get("vigil.retrain_reasons", ""),
                    )
                    for run in drift[name]
                ),
            )
            for name in sorted(experiments.values())
            if lines is not None or runs[name]
        ]


def fetch_detector(line: str, alias: str, directory: Path) -> Path:
    """Download the detector artifact of a line's version with an alias such as `champion`, below a directory.

    Raises `InputError` where the line has no such version, `OSError` where MLflow cannot be reached or refuses.
    """
    with _client(os.environ[TRACKING_URI]) as client:
        models = pages(client.search_registered_models, filter_string=f"name = '{line}'", max_results=_PAGE)
        version = next((model.aliases[alias] for model in models if alias in model.aliases), None)
        if version is None:
            raise InputError(f"detector: line {line!r} has no {alias} in MLflow")
        return download_detector(line, version, directory)


def download_detector(line: str, version: str, directory: Path) -> Path:
    """Download the detector artifact of a version, without the rest of the model, below a directory."""
    import mlflow

    uri = f"models:/{line}/{version}"
    path = mlflow.models.get_model_info(uri).flavors["python_function"]["artifacts"]["detector"]["path"]
    return Path(mlflow.artifacts.download_artifacts(f"{uri}/{path}", dst_path=str(directory)))


def distinct_runs(runs: Iterable[PastRun]) -> tuple[PastRun, ...]:
    """Newest first, with what was logged twice under one run id merged: ended beats running, measured beats not."""
    found: dict[tuple[str, str], PastRun] = {}
    for run in sorted(runs, key=lambda run: (run.status != RUNNING, bool(run.records), run.started)):
        found[run.line, run.run_id] = run
    return tuple(sorted(found.values(), key=lambda run: run.started, reverse=True))


def records_of(metrics: Mapping[str, float], seed: int | None) -> tuple[Record, ...]:
    """Records out of metrics named `DETECTOR.TRAINING_SET.METRIC`; what was not measured is None."""
    trials: dict[tuple[str, str], dict[str, float]] = {}
    for name, value in metrics.items():
        parts = name.rsplit(".", 2)
        if len(parts) == len(("detector", "training set", "metric")) and parts[2] in _MEASURED:
            trials.setdefault((parts[0], parts[1]), {})[parts[2]] = value
    return tuple(
        Record(detector=detector, training_set=added, seed=seed, **values)
        for (detector, added), values in sorted(trials.items())
    )


def public_uri(uri: str) -> str:
    """The URI without user, password and query."""
    return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", uri)[0])


@contextmanager
def _client(uri: str) -> "Iterator[MlflowClient]":
    """Client of a tracking URI; MLflow's errors in the block become OSErrors without the password of the URI."""
    scheme = urlsplit(uri).scheme
    known = scheme in ("http", "https") or scheme.partition("+")[0] in ("sqlite", "postgresql", "mysql", "mssql")
    check(known, "tracking-uri", public_uri(uri), "http(s)://HOST:PORT or a database such as sqlite:///PATH")
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        check(path.is_file(), "tracking-uri", uri, "the database of earlier runs; there is no such file")
    keep_mlflow_quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield tracking_client(uri)
    except (MlflowException, SQLAlchemyError) as error:
        lines = str(error).replace(uri, public_uri(uri)).strip().splitlines() or [type(error).__name__]
        raise OSError(f"MLflow at {public_uri(uri)}: {without_credentials(lines[0])}") from None


def _runs(
    client: "MlflowClient", experiments: Mapping[str, str], query: str, since: datetime | None
) -> dict[str, list[Any]]:
    """Runs that a query finds by line, newest first."""
    if since is not None:
        query += f" and attributes.start_time >= {int(since.timestamp() * 1000)}"
    runs: dict[str, list[Any]] = {name: [] for name in experiments.values()}
    ids = list(experiments)
    options = {"filter_string": query, "max_results": _PAGE, "order_by": ["attributes.start_time DESC"]}
    for start in range(0, len(ids), _EXPERIMENTS_PER_CALL):
        for run in pages(client.search_runs, experiment_ids=ids[start : start + _EXPERIMENTS_PER_CALL], **options):
            runs[experiments[run.info.experiment_id]].append(run)
    return runs


def _versions(client: "MlflowClient", lines: Sequence[str] | None) -> dict[str, list[ModelVersion]]:
    """Versions of the lines' registered models, newest first: two searches for each line, or for all of them."""
    found: dict[str, list[ModelVersion]] = {}
    for query in [None] if lines is None else [f"name = '{line}'" for line in lines]:
        models = pages(client.search_registered_models, filter_string=query, max_results=_PAGE)
        aliases = {model.name: sorted(model.aliases.items()) for model in models}
        for entry in pages(client.search_model_versions, filter_string=query, max_results=_PAGE):
            version = ModelVersion(
                registry=public_uri(client.tracking_uri),
                number=int(entry.version),
                aliases=tuple(
                    name for name, number in aliases.get(entry.name, ()) if str(number) == str(entry.version)
                ),
                created=_time(entry.creation_timestamp),
                gate=entry.tags.get("vigil.gate", ""),
                gate_reasons=entry.tags.get("vigil.gate_reasons", ""),
                metric=entry.tags.get("vigil.metric", ""),
            )
            found.setdefault(entry.name, []).append(version)
    return {name: sorted(own, key=lambda version: -version.number) for name, own in found.items()}


def _past_runs(line: str, runs: Sequence[Any], reused: Sequence[Any], uri: str) -> Iterator[PastRun]:
    """The runs, without the records that one took from the cache of another one of them."""
    origins = {run.data.tags.get(PARENT_TAG): run.data.tags[CACHED_TAG] for run in reused}
    ids = {run.data.tags.get(RUN_ID_TAG) or run.info.run_id for run in runs}
    for run in runs:
        info, params = run.info, run.data.params
        tags = {name.removeprefix("vigil."): text for name, text in run.data.tags.items() if name.startswith("vigil.")}
        run_id = tags.get("run_id") or info.run_id
        seed = tags.get("seed", params.get("seed", ""))
        number = int(seed) if seed.isdecimal() else None
        shots = tags.get("shots", params.get("dataset_shots", UNKNOWN))
        settings = [
            (name, value)
            for name, value in sorted(params.items())
            if name not in _NOT_SETTINGS and not name.startswith(_WITHOUT_INFLUENCE)
        ]
        address = f"{public_uri(uri).rstrip('/')}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
        cached = origins.get(info.run_id) in ids - {run_id}
        yield PastRun(
            line=line,
            run_id=run_id,
            status=info.status,
            started=_time(info.start_time),
            ended=_time(info.end_time) if info.end_time else None,
            seed=number,
            conditions=Conditions(
                dataset=tags.get("dataset_digest", UNKNOWN),
                shots="all" if shots == "0" else shots,
                profile=tags.get("profile", params.get("profile", UNKNOWN)),
                version=tags.get("version", UNKNOWN),
                settings=tuple(settings),
            ),
            records=() if cached else records_of(run.data.metrics, number),
            failure=": ".join(filter(None, (tags.get("failed_stage"), tags.get("failure")))),
            registered=tags.get("best", ""),
            model_version=tags.get("model_version", ""),
            registry=public_uri(uri),
            link=address if uri.startswith(("http://", "https://")) else "",
        )


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
