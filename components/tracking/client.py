"""MLflow's client, and what its errors mean: it is unavailable and may accept the same later, or it refuses."""

import fcntl
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError, without_credentials
from components.tracking.events import TRACKING_URI

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)

SQLITE = "sqlite:///"
_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")
"""What MLflow's own store says of a run or experiment that was deleted; a proxy's 404 has another code."""
_REFUSAL_STATUS = (400, 409, 413, 422)
_PROXY_STATUS = re.compile(r"failed with error code (\d{3})")


class DeletedExperimentError(InputError):
    """The experiment of a line is deleted; it can be restored."""


def keep_mlflow_quiet() -> None:
    """Set what MLflow reads when any part of it is imported: no telemetry, no progress, no log of what is raised."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


def tracking_client(uri: str = "") -> "MlflowClient":
    """Client of a tracking URI, or the environment's, that gives up on an unavailable server after seconds."""
    keep_mlflow_quiet()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    uri = uri or os.environ.get(TRACKING_URI, "")
    if not uri.startswith(SQLITE):
        return MlflowClient(tracking_uri=uri or None)
    # MLflow creates the tables of a database without a lock, so processes open it one after the other.
    folder = Path(uri.removeprefix(SQLITE)).parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        return MlflowClient(tracking_uri=uri)
    finally:
        os.close(descriptor)


def experiment_id(client: "MlflowClient", line: str) -> str:
    """Id of the experiment of a line, created where it is missing; the same for processes that create it at once.

    Its artifacts lie beside a sqlite database, whose default is the working directory, or where the server decides.
    Raises `DeletedExperimentError` where it was deleted, with the command that restores it.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(line)
    if experiment is None:
        uri = os.environ[TRACKING_URI]
        local = (Path(uri.removeprefix(SQLITE)).parent / "mlartifacts").as_uri() if uri.startswith(SQLITE) else None
        try:
            return str(client.create_experiment(line, artifact_location=local))
        except MlflowException:
            experiment = client.get_experiment_by_name(line)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {experiment.experiment_id}"
        command = f"{TRACKING_URI}={without_credentials(os.environ[TRACKING_URI])} {restore}"
        raise DeletedExperimentError(f"MLflow: the experiment {line} is deleted; `{command}` restores it")
    return str(experiment.experiment_id)


def pages(search: Callable[..., Any], **arguments: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, page by page."""
    token = None
    while True:
        page = search(page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def is_refusal(error: Exception) -> bool:
    """Whether MLflow has understood, and would answer the same again; a refused login is none."""
    from mlflow.exceptions import MlflowException

    refused = isinstance(error, MlflowException) and error.error_code in _REFUSALS
    return refused or _status(error) in _REFUSAL_STATUS


def is_denied(error: Exception) -> bool:
    """Whether MLflow, or what is in front of it, refuses the login or the access."""
    return _status(error) in (401, 403)


def _status(error: Exception) -> int | None:
    """HTTP status of the answer that an error comes from; None where there was none."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        answer = getattr(error, "response", None)  # of an HTTPError, by which the upload of a file ends
        return getattr(answer, "status_code", None)
    # MLflow takes every status that it does not know for an internal error.
    proxy = _PROXY_STATUS.search(str(error))
    return int(proxy[1]) if proxy else int(error.get_http_status_code())


def is_mlflow_error(error: Exception) -> bool:
    """Whether MLflow or its database raised an error."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, (MlflowException, SQLAlchemyError))


def is_unavailable(error: Exception) -> bool:
    """Whether MLflow, its database or the network failed, so that the same may succeed later."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, (MlflowException, SQLAlchemyError, OSError)) and not is_refusal(error)


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Turn MLflow's errors, as of an unreachable server, into a `RuntimeError` of one line without credentials."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise RuntimeError(f"MLflow: {without_credentials(str(error).splitlines()[0])}") from None


@contextmanager
def outage_tolerated(stage: str, consequence: str) -> Iterator[None]:
    """Log a warning with the consequence where MLflow becomes unavailable in the block; a refusal is a RuntimeError."""
    try:
        yield
    except Exception as error:
        if is_refusal(error):
            raise RuntimeError(f"MLflow: {one_line(error)}") from None
        if not is_unavailable(error):
            raise
        logger.warning("%s: MLflow does not answer, %s (%s)", stage, consequence, one_line(error))


def one_line(error: Exception) -> str:
    """The start of an error's message, without line ends and credentials."""
    return without_credentials(" ".join(str(error).split()) or type(error).__name__)[:300]
