"""Runs a line's pipeline on this machine by KFP's local runner, without a cluster."""

import contextlib
import os
import signal
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from components.artifacts import RECORDS, read_json
from components.errors import InputError
from components.stage import INPUT_ERROR
from components.tracking import RUN_ID, end_parent, end_parent_if_reachable
from pipelines.console import StageFailed, StageLog
from pipelines.line import Line
from pipelines.workdir import FINISHED, Workdir, open_workdir

_TASK_ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "TOKENIZERS_PARALLELISM": "false",
}


class StageError(RuntimeError):
    """A stage failed for another reason than bad input; the message names it."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run left in its folder."""

    workdir: Workdir
    tracking_uri: str
    records: list[dict[str, Any]]


def run_line(line: Line, workdir: Path) -> RunResult:
    """Run the pipeline of a line; stages that an earlier run in the folder finished are reused.

    Args:
        line: the production line.
        workdir: folder for artifacts, log, MLflow's database and results.

    Raises:
        InputError: a stage found something wrong with what the user gave.
        StageError: a stage failed for another reason.
        KeyboardInterrupt: the run was interrupted or terminated; its processes have ended.
    """
    with open_workdir(workdir, line.name) as folder, _environment(folder) as tracking_uri:
        run_id = folder.begin(line.name)
        os.environ[RUN_ID] = run_id
        with _recorded(line.name, run_id, folder):
            outputs = _execute(line, folder)
        folder.publish(Path(outputs["report"].path), folder.report)
        folder.publish(Path(outputs["predictions"].path) / RECORDS, folder.metrics)
        return RunResult(workdir=folder, tracking_uri=tracking_uri, records=read_json(folder.metrics))


@contextlib.contextmanager
def _environment(folder: Workdir) -> Iterator[str]:
    """Set what the tasks inherit, yield MLflow's address, and restore the environment."""
    before = dict(os.environ)
    tracking_uri = os.environ.get("MLFLOW_TRACKING_URI", folder.tracking_uri)
    os.environ.update({**_TASK_ENVIRONMENT, "MLFLOW_TRACKING_URI": tracking_uri})
    try:
        yield tracking_uri
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _recorded(line: str, run_id: str, folder: Workdir) -> Iterator[None]:
    """Record how the block ended, in the folder and in MLflow; the block's own error is the one that is raised."""
    try:
        yield
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with contextlib.suppress(OSError):
            folder.set_status(line, run_id, status)
        end_parent_if_reachable(line, status)
        raise
    folder.set_status(line, run_id, FINISHED)
    end_parent(line, FINISHED)


def _execute(line: Line, folder: Workdir) -> dict[str, Any]:
    """Run the compiled package and return its output artifacts by name."""
    from kfp import compiler, components, local

    from pipelines.training import training

    compiler.Compiler().compile(training, str(folder.package))
    pipeline = components.load_component_from_file(str(folder.package))
    local.init(
        local.SubprocessRunner(use_venv=False),
        pipeline_root=str(folder.artifacts),
        enable_caching=True,
    )
    log = StageLog(folder.log)
    with contextlib.closing(log), _own_processes(), contextlib.redirect_stdout(log), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(pipeline(**line.arguments()).outputs)
        except (StageFailed, RuntimeError) as error:
            raise _failure(log, folder) from error


def _failure(log: StageLog, folder: Workdir) -> Exception:
    if log.failure is None:
        return StageError(f"task {log.failed_task} ended without a word, as when memory runs out; see {folder.log}")
    stage, kind, message = log.failure
    if kind == INPUT_ERROR:
        return InputError(message)
    return StageError(f"stage {stage} failed: {message}; see {folder.log}")


@contextlib.contextmanager
def _own_processes() -> Iterator[None]:
    """Treat SIGTERM as an interruption, and end every process that the block started."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    before = set(psutil.Process().children(recursive=True))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
        started = [process for process in psutil.Process().children(recursive=True) if process not in before]
        for process in started:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(started, timeout=10)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
