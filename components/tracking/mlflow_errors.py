"""What an error of MLflow's client means: no answer, after which the same may succeed later, or a refusal."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from components.errors import without_credentials

_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_STATE")
"""What MLflow's own store says of a run or experiment that was deleted; a proxy's 404 has another code."""
_REFUSAL_STATUS = (400, 409, 413, 422)
_PROXY_STATUS = re.compile(r"failed with error code (\d{3})")
_MAX_ERROR = 300


def is_silence(error: Exception) -> bool:
    """Whether MLflow, its database or the way to them failed, so that the same may succeed later."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, (MlflowException, SQLAlchemyError, OSError)) and not is_refusal(error)


def is_refusal(error: Exception) -> bool:
    """Whether MLflow has understood, and would answer the same again; a refused login is none."""
    from mlflow.exceptions import MlflowException

    if not isinstance(error, MlflowException):
        answer = getattr(error, "response", None)  # of an HTTPError, by which the upload of a file ends
        return getattr(answer, "status_code", None) in _REFUSAL_STATUS
    # MLflow takes every status that it does not know for an internal error.
    proxy = _PROXY_STATUS.search(str(error))
    status = int(proxy[1]) if proxy else error.get_http_status_code()
    return status in _REFUSAL_STATUS or error.error_code in _REFUSALS


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn MLflow's errors, such as that of a server out of reach, into a `RuntimeError` of one line.

    Credentials in the address are left out.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise RuntimeError(f"MLflow: {without_credentials(str(error).splitlines()[0])}") from None


@contextmanager
def outage_told(stage: str, consequence: str) -> Iterator[None]:
    """Go on behind the block where MLflow stops answering in it, and say so in a line of the stage.

    Args:
        stage: name of the stage that says it.
        consequence: what is not done therefore.

    Raises:
        RuntimeError: MLflow refuses; the message is one line without credentials.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        if not is_silence(error):
            raise RuntimeError(f"MLflow: {one_line(error)}") from None
        print(f"[vigil] {stage}: MLflow does not answer, {consequence} ({one_line(error)})", flush=True)


def one_line(error: Exception) -> str:
    """The start of an error's message, without line ends and credentials."""
    return without_credentials(" ".join(str(error).split()) or type(error).__name__)[:_MAX_ERROR]
